-- Uploads that are checked before they load: what they asked for, and which pass they are in.

ALTER TABLE rowmill.upload ADD COLUMN options jsonb NOT NULL DEFAULT '{}';  -- as declared, without mode and dialect
