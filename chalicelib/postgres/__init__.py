"""The only rooms that talk to Postgres. To begin with: `connection` (one a thread), `locks` (who is at work on what),
`announcements` (admitted uploads), `ledger` (uploads), `manifest` (chunks), `outcomes` (rejected and contested rows),
`projection` (what the status is to show), `repair` (what is stuck), `tables`, `staging` and `replay` (the rows of
datasets), `people` (accounts, datasets). The others are each about what they are called.
"""
