"""The attempt to break exactly-once: real functions, a real Postgres, faults between and around them, an audit.

`plan` draws a seed's files and faults; `rig` is the running cloud with a proxy before Postgres and one before
AWS; `drive` runs one seed; `oracle` says what must have come of it, from the files alone; `audit` compares.
`mutants` shows that the audit can fail. `python -m bench.campaign --help` is the door.
"""
