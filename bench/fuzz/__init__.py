"""The readers under bytes that nobody would write: guided by coverage, each input in bounds of time and memory.

Four files: `__main__` is the command and shares out the time, `child` is the process that runs one target,
`text` and `packed` are the targets: what must hold of any bytes at all.
"""
