-- Of a large file whose rows are the first of their dataset each index is built once, over all of them: they are staged, as
-- those of an upload that is all or nothing are, though nobody has asked for that.
ALTER TABLE rowmill.upload ADD COLUMN first_load boolean NOT NULL DEFAULT false;
