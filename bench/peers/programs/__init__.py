"""Loaders that run in the peers' own venv, each a process: ready, a line on stdin, done, and the end of stdin.

They import nothing of Rowmill. Each is written as its own documentation suggests for loading much.
"""

from __future__ import annotations

import sys
from collections.abc import Callable


def when_told(load: Callable[[], object]) -> None:
    """Do the work between two lines; stay until stdin ends, so that what was spent can be read from /proc."""
    print("ready", flush=True)
    if sys.stdin.readline():
        load()
        print("done", flush=True)
        sys.stdin.read()
