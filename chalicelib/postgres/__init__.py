"""The only rooms that talk to Postgres: `connection` (one a process), `ledger` (uploads and chunks),
`tables` (the rows of datasets), `people` (tenants, accounts, datasets)."""
