"""The load test: many users at once on the whole embedded cloud, and an audit of every row they sent.

`people` makes the accounts, `generator` is Locust in a process of its own, where each user makes `visits`; `meters`
looks at the system meanwhile, `audit` holds the tables against what was sent, `report` tells.
"""
