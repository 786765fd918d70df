"""What each dependency weighs in the package and at a cold start, and how long each function takes to start.

The one thing to know: imports are timed in new processes that see the package for AWS and what Lambda's Python brings,
nothing else, with its bytecode and without: a function cannot keep any, so what is not shipped is compiled at every
start. Calls go to an embedded cloud, whose functions see the checkout's environment.
"""
