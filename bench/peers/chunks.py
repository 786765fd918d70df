"""A process that loads chunks as the deployed function does, but reads their bytes from a local file.

`python -m bench.peers.chunks FILE`: a message a line on stdin, `done` for each.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from chalicelib import load, settle
from chalicelib.aws import s3, secrets
from chalicelib.postgres.connection import connection


def main() -> None:
    secrets.fetch()
    with Path(sys.argv[1]).open("rb") as file:

        def read(key: str, etag: str, start: int, end: int) -> bytes:
            return os.pread(file.fileno(), end - start, start)

        setattr(s3, s3.read.__name__, read)
        connection()
        print("ready", flush=True)
        for line in sys.stdin:
            settle.finish(load.chunk(json.loads(line)))
            print("done", flush=True)


if __name__ == "__main__":
    main()
