-- Datasets that others may read or write, and how fast a dataset may fill.

-- What a dataset is called by those whose it is not. Nobody chooses it, so nobody can offer another's.
ALTER TABLE rowmill.dataset
    ADD COLUMN dataset_id text NOT NULL DEFAULT 'dst_' || replace(uuidv7()::text, '-', '');
CREATE UNIQUE INDEX dataset_by_id ON rowmill.dataset (dataset_id);
-- Of deleted ones, too: a file that comes is told which dataset it was for.
CREATE INDEX dataset_of_tenant ON rowmill.dataset (tenant, name);

-- To a tenant, as all that an account has is its tenant's. Gone with the dataset.
CREATE TABLE rowmill.dataset_grant (
    dataset    integer NOT NULL REFERENCES rowmill.dataset,
    tenant     text NOT NULL REFERENCES rowmill.tenant,
    role       text NOT NULL CHECK (role IN ('reader', 'writer')),
    granted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (dataset, tenant)
);
CREATE INDEX dataset_grant_of_tenant ON rowmill.dataset_grant (tenant);
CREATE INDEX account_of_tenant ON rowmill.account (tenant);

-- When the next rows of a dataset with max_rows_per_second may go in.
CREATE TABLE rowmill.pace (
    dataset integer PRIMARY KEY REFERENCES rowmill.dataset,
    due     timestamptz NOT NULL
);

-- How often the rows of a dataset have changed, counted in the transactions that change them: what was read while the sum
-- was the same is still so. In several rows, or chunks of one dataset would commit one after another; and without a foreign
-- key, for whose sake they would wait for whoever changes the dataset.
CREATE TABLE rowmill.dataset_change (
    dataset integer NOT NULL,
    slot    smallint NOT NULL,
    changes bigint NOT NULL,
    PRIMARY KEY (dataset, slot)
);
