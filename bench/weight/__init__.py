"""What each dependency weighs in the package and at a cold start, and how long each function takes to start.

The one thing to know: imports are timed in new processes that see the package for AWS and what Lambda's Python brings,
nothing else. As shipped means without bytecode: the package has none, and a function cannot keep any. Calls go to an
embedded cloud, where a process starts from a checkout that has its bytecode.
"""
