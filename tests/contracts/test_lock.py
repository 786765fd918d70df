"""What the package is made of is what was looked at: every wheel by its digest."""

from __future__ import annotations

import hashlib
import re
from importlib.metadata import requires
from pathlib import Path
from zipfile import ZipFile

import pytest

from infra import lock
from infra.cloud import DeployError
from infra.package import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
LOCKED = dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", LOCK, re.MULTILINE))


def name_of(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    return {name_of(line): line.partition("==")[2] for line in lines}


def test_the_lock_has_every_pin_and_all_that_these_need() -> None:
    assert {name: LOCKED.get(name) for name in pins()} == pins()
    for name in LOCKED:
        needed = [line for line in requires(name) or () if "extra ==" not in line and "implementation" not in line]
        missing = {name_of(line) for line in needed if ";" not in line} - LOCKED.keys() - {"boto3", "botocore"}
        assert not missing, f"{name}: python -m infra lock"


def test_no_wheel_is_without_a_digest() -> None:
    entries = re.split(r"\n(?=[a-z])", LOCK.partition("\n")[2].strip())
    assert len(entries) == len(LOCKED) > 10
    assert all(re.fullmatch(r"\S+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+", entry) for entry in entries)


@pytest.mark.parametrize("is_other", [False, True], ids=["the same", "another"])
def test_a_wheel_with_other_bytes_is_refused(tmp_path: Path, is_other: bool) -> None:
    wheel = tmp_path / "little-1.0-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.writestr("little.py", "")
        archive.writestr("little-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: little\nVersion: 1.0\n")
        archive.writestr("little-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("little-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes() + b"!" * is_other).hexdigest()
    (tmp_path / "lock").write_text(f"little @ {wheel.as_uri()} --hash=sha256:{digest}\n")
    if is_other:
        with pytest.raises(DeployError, match="DO NOT MATCH THE HASHES"):
            lock.install(tmp_path / "lock", tmp_path / "out")
    else:
        lock.install(tmp_path / "lock", tmp_path / "out")
    assert (tmp_path / "out" / "little.py").exists() is not is_other
