"""The load beside other ways to get a file into Postgres: one server, one job, rounds in turns, ratios to psql's.

The one thing to know: a figure is a ratio to `psql \\copy` of the same round on the same server, since nothing else
holds still on a shared machine. `python -m bench.peers --help` says what can be chosen.
"""
