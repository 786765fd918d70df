"""The only rooms that talk to Postgres: `connection` (one a process), `ledger` (uploads), `manifest` (chunks),
`outcomes` (rejected and contested rows), `tables`, `staging` and `replay` (the rows of datasets), `people` (accounts,
datasets).
"""
