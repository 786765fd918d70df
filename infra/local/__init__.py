"""The embedded cloud: an AWS emulator and a PostgreSQL server as plain processes, no Docker and no account.

One instance is one folder. `instance.up`, `instance.down` and `instance.running` are the only doors;
`python -m infra.local up|down|status` is the same on a command line.
"""
