"""What a deployment would do with work nobody has run yet: a model, fed with measured times and AWS's published limits.

`measure` takes the times on an embedded cloud; `model` plays uploads through queues, functions and a database;
`validate` plays what was measured and compares; `scenarios` plays what was not.
"""
