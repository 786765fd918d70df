"""What the others need, fetched when it is first asked for: a venv of their own, and two programs of Debian's.

Nothing is started by installing it: Redis' server comes from redis-tools, which has the program and no service.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

from bench.peers.results import ABSENT
from infra.local.cloud import CHECKOUT

REQUIREMENTS: Final = CHECKOUT / "requirements-peers.txt"
VENV: Final = CHECKOUT / ".venv-peers"


class Absent(Exception):
    """Something cannot be had on this machine; the text says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(ABSENT + reason)


@cache
def venv() -> Path:
    """The folder of the venv's programs."""
    stamp, wanted = VENV / "ready", hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing the peers into {VENV.name} (a minute or two and 650 MB the first time)", flush=True)
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _do([sys.executable, "-m", "venv", str(VENV)], "no venv could be made")
        _do([*pip, "-r", str(REQUIREMENTS)], "pip could not install requirements-peers.txt")
        stamp.write_text(wanted)
    return VENV / "bin"


@cache
def redis_server() -> str:
    """A path at which Redis' server runs under the name redis-server."""
    return shutil.which("redis-server") or debian("redis-check-rdb", "redis-tools")


@cache
def debian(program: str, package: str) -> str:
    """The path of a program, its Debian package installed if need be and if we may."""
    if found := shutil.which(program):
        return found
    if not shutil.which("apt-get"):
        raise Absent(f"{program} is not installed, and there is no apt-get to install {package} with")
    if os.geteuid() != 0:
        raise Absent(f"{program} is not installed, and only root may do so: apt-get install {package}")
    print(f"installing {package} by apt-get", flush=True)
    _do(["apt-get", "update", "-qq"], "apt-get update failed")
    _do(["apt-get", "install", "-qq", "--no-install-recommends", package], f"apt-get install {package} failed")
    return shutil.which(program) or _missing(program, package)


def _missing(program: str, package: str) -> str:
    raise Absent(f"{package} is installed, and has no {program}")


def _do(command: list[str], otherwise: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        said = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()
        raise Absent(f"{otherwise}: {said[-1] if said else done.returncode}")
