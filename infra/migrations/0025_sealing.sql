-- Data keys of encrypted fields (chalicelib/vault.py). KMS has what opens them; here they are wrapped.

CREATE TABLE rowmill.data_key (
    number     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,   -- what sealed values call it by
    tenant     text NOT NULL,                                      -- who owns the dataset
    dataset    integer NOT NULL REFERENCES rowmill.dataset ON DELETE CASCADE,
    purpose    text NOT NULL CHECK (purpose IN ('upload', 'hand', 'blind')),
    upload     integer NOT NULL,                                   -- 0 of what is the dataset's own
    kms_key    text NOT NULL,                                      -- ARN of the key that wraps it
    wrapped    bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    wrapped_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (dataset, purpose, upload)
);
CREATE UNIQUE INDEX data_key_of_upload ON rowmill.data_key (upload) WHERE purpose = 'upload';
