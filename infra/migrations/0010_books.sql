-- Pictures of rows that are told by a number, and where an account may be written to.

-- A picture is awaited from the form that was handed out for it, shown once its bytes were looked at, and gone when
-- another took its place or the row is deleted. What is not shown is deleted from the storage, then here.
CREATE TABLE rowmill.picture (
    picture_id   text PRIMARY KEY,
    dataset      integer NOT NULL REFERENCES rowmill.dataset,
    row_id       bigint NOT NULL,
    object_key   text NOT NULL,
    content_type text NOT NULL,
    size         integer NOT NULL CHECK (size > 0),
    version_id   text,                            -- of the object whose bytes were looked at
    state        text NOT NULL DEFAULT 'awaited' CHECK (state IN ('awaited', 'shown', 'gone')),
    changed_at   timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX picture_of_row ON rowmill.picture (dataset, row_id) WHERE state = 'shown';
CREATE INDEX picture_of_any_row ON rowmill.picture (dataset, row_id);
CREATE INDEX picture_to_delete ON rowmill.picture (changed_at) WHERE state <> 'shown';

ALTER TABLE rowmill.account ADD COLUMN email text;
