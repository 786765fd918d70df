"""What a package's requirements.txt comes to on Lambda: each wheel by its SHA-256, in requirements.lock.

Written by `python -m infra lock` whenever requirements.txt changes. Packaging installs from it and nothing else, so
what somebody puts under a version that is there already is refused.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from infra.cloud import DeployError

# Of Lambda's machines; the Python is that which packages.
PLATFORM: Final = (
    "--only-binary",
    ":all:",
    "--platform",
    "manylinux2014_x86_64",
    "--platform",
    "manylinux_2_17_x86_64",
)
PYTHONS: Final = ("3.11", "3.12", "3.13")
_HEAD: Final = "# Made of requirements.txt by `python -m infra lock`: what the Lambda package gets, by SHA-256.\n"


def write(root: Path) -> Path:
    """Look up what the pins need and write it down; nothing is installed."""
    wheels: dict[str, set[str]] = {}
    for python in PYTHONS:
        for pin, digest in _resolved(root / "requirements.txt", python):
            wheels.setdefault(pin, set()).add(digest)
    lines = (
        f"{pin} \\\n" + " \\\n".join(f"    --hash=sha256:{one}" for one in sorted(wheels[pin]))
        for pin in sorted(wheels)
    )
    path = root / "requirements.lock"
    path.write_text(_HEAD + "\n".join(lines) + "\n")
    return path


def _resolved(requirements: Path, python: str) -> Iterable[tuple[str, str]]:
    """Each wheel as `name==version`, and its digest."""
    found: dict[str, Any] = json.loads(
        _pip(
            *("install", "--dry-run", "--ignore-installed", "--report", "-", "--target", "nowhere"),
            *(*PLATFORM, "--python-version", python, "-r", str(requirements)),
        )
    )
    for one in found["install"]:
        said = one["metadata"]
        name = said["name"].lower().replace("_", "-")
        yield f"{name}=={said['version']}", one["download_info"]["archive_info"]["hashes"]["sha256"]


def install(lock: Path, target: Path) -> None:
    """Put the wheels of the lock into a folder, as Lambda would import them. Raises DeployError if one is another."""
    _pip(
        "install", "--require-hashes", "--no-deps", "--no-compile", "--target", str(target), *PLATFORM, "-r", str(lock)
    )


def _pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DeployError(f"pip failed:\n{done.stderr}")
    return done.stdout
