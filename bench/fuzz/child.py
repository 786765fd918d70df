"""The process that fuzzes one target, or shows what it says to given inputs. `python -m bench.fuzz` starts it.

The readers match with patterns written in C, which no coverage shows. So the judge is instrumented with them: it
takes the same turns a byte at a time, and an input that leads it somewhere new is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Final

from bench.fuzz.bounds import limit_process

Target = Callable[[bytes], None]
TARGETS: Final = {
    "reader": "text:reader",
    "cutter": "text:cutter",
    "sniff": "text:sniff",
    "gzip": "packed:gzipped",
    "xlsx": "packed:workbooks",
    "encodings": "packed:encoded",
}


def target(name: str) -> Target:
    module, _, function = TARGETS[name].partition(":")
    found: Target = getattr(import_module(f"bench.fuzz.{module}"), function)
    return found


def main() -> None:
    """Arguments: the target's name, then libFuzzer's own."""
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["chalicelib", "tests.pure.judge", "bench.reading"]):
        tried = target(sys.argv[1])
    limit_process()
    atheris.Setup([sys.argv[0], *sys.argv[2:]], tried)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
