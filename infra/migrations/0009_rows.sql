-- Rows that somebody makes or changes one by one, and datasets that are deleted.

-- Their lineage is of an upload that never is: the last number there could be, so they stand behind all files.
ALTER TABLE rowmill.upload ALTER COLUMN number SET MAXVALUE 2147483646;
CREATE SEQUENCE rowmill.handmade_row AS bigint MAXVALUE 4294967295;

-- How many rows of an upload have been changed or deleted by hand since: they are in the table no more, or not as its
-- own. What the upload has counted stays as it was.
CREATE TABLE rowmill.takeover (
    upload integer PRIMARY KEY REFERENCES rowmill.upload,
    rows   bigint  NOT NULL
);

-- A dataset that was deleted: its table and its name are gone, its uploads keep their history.
ALTER TABLE rowmill.dataset ADD COLUMN deleted_at timestamptz;
ALTER TABLE rowmill.dataset DROP CONSTRAINT dataset_tenant_name_key;
CREATE UNIQUE INDEX dataset_name ON rowmill.dataset (tenant, name) WHERE deleted_at IS NULL;
