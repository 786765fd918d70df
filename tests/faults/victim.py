"""A load worker that kills itself with SIGKILL at a numbered point: `python -m tests.faults.victim`.

Each line of its input, {"point": 7, "queue": "high", "body": {...}}, is given to a new process, forked from this
one so that it need not import everything again. One line of output tells how each ended: its exit code, or minus
the signal that ended it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

from tests.faults.deliveries import handled
from tests.faults.points import Run, watched


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _work(**json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _work(point: int, queue: str, body: dict[str, Any]) -> None:
    code = 1
    try:
        os.dup2(2, 1)  # where the log goes; the parent reads only how this ended
        with watched(Run(point, for_good=True)):
            code = 0 if handled(queue, body, "message-1") else 3
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
