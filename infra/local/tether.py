"""Waits until its stdin ends, that is, until the process at the other end dies, and takes the instance away.

`python -m infra.local.tether FOLDER`; see `infra.local.instance.running`.
"""

import sys
from pathlib import Path

from infra.local.instance import down

if __name__ == "__main__":
    sys.stdin.read()
    down(Path(sys.argv[1]))
