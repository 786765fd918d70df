"""app.py, chalicelib, resources.yaml and the alarms as one SAM template and one zip with its bytecode.

Made once per content: the result lives in `.rowmill/build/<digest>`; the digest covers everything that goes in, so a
directory that exists is right and is reused. Chalice runs in a process of its own on a copy of the sources: it writes
into the project it packages, and it imports app.py under the stage's names.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import yaml

from infra import lock, watch
from infra.cloud import DeployError

ROOT = Path(__file__).resolve().parent.parent
RECIPE = "with bytecode, by hashes; a template of JSON"  # another one makes another package of the same sources
MOST_UNPACKED = 262_144_000  # bytes of code that Lambda takes: 250 MB, as its quotas have it
_CHALICE = "import sys; from chalice.cli import main; sys.exit(main())"


@dataclass(frozen=True, slots=True)
class Package:
    """What a deploy sends. `template` points at `code` by a relative path until it is uploaded."""

    digest: str
    directory: Path

    @property
    def template(self) -> Path:
        return self.directory / "sam.json"

    @property
    def code(self) -> Path:
        return self.directory / "deployment.zip"

    def read(self) -> dict[str, Any]:
        """The merged template, intrinsics in their long form."""
        loaded: dict[str, Any] = json.loads(self.template.read_text())
        return loaded


def package(stage: str, *, vendored: bool = True) -> Package:
    """The package of a stage. `vendored=False` leaves requirements out of the zip, for a cloud whose
    functions run on this interpreter: wheels built for Lambda's Linux would not load on every machine."""
    digest = _digest(stage, vendored)
    built = Package(digest, ROOT / ".rowmill" / "build" / digest)
    if not built.template.exists():
        _build(stage, vendored, built.directory)
    return built


def _digest(stage: str, vendored: bool) -> str:
    tools = f"{version('chalice')} {sys.version_info[:2]} {stage} {vendored} {RECIPE}"
    digest = hashlib.sha256(tools.encode())
    for path in _sources():
        digest.update(f"\n{path.relative_to(ROOT)} ".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _sources() -> Iterator[Path]:
    yield ROOT / "app.py"
    yield ROOT / "requirements.lock"
    yield ROOT / "infra" / "resources.yaml"
    yield ROOT / "infra" / "watch.py"
    yield from sorted((ROOT / ".chalice").glob("*.json"))
    yield from sorted(p for p in (ROOT / "chalicelib").rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def _build(stage: str, vendored: bool, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as scratch:
        project, out = Path(scratch, "project"), Path(scratch, "out")
        _copy(project, vendored)
        _run_chalice(stage, project, out)
        _add_alarms(out / "sam.yaml", out / "sam.json")
        _add_bytecode(out / "deployment.zip", Path(scratch, "compiled"))
        _refuse_oversized(out / "deployment.zip")
        try:
            out.rename(target)
        except OSError:
            if not target.exists():  # otherwise another process built the same content meanwhile
                raise


def _copy(project: Path, vendored: bool) -> None:
    """Only what ships, and nothing of what Chalice kept from an earlier run."""
    for source in _sources():
        copy = project / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, copy)
    # Chalice would ask the index by itself, and take whatever it is given; `vendor` goes into the zip as it is.
    (project / "requirements.txt").write_text("")
    if vendored:
        lock.install(project / "requirements.lock", project / "vendor")
        shutil.rmtree(project / "vendor" / "bin", ignore_errors=True)


def _run_chalice(stage: str, project: Path, out: Path) -> None:
    arguments = ["package", "--stage", stage, "--merge-template", "infra/resources.yaml", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", _CHALICE, *arguments],
        cwd=project,
        env=_environment(stage),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DeployError(f"chalice package failed:\n{done.stdout}{done.stderr}")


def _add_alarms(made: Path, template: Path) -> None:
    """The alarms and the dashboard, which are tables of Python: as YAML by hand they are 1,500 lines. As JSON, which is
    read at every deploy: YAML of this size takes a second."""
    loaded = yaml.safe_load(made.read_text())
    loaded["Resources"] |= watch.resources()
    template.write_text(json.dumps(loaded, indent=1))
    made.unlink()


def _add_bytecode(code: Path, folder: Path) -> None:
    """Compile what is in the zip, into it. A function cannot write beside its code, so without this it would compile
    all of it at each cold start, which is half of what its imports take. Python then looks at no source's date: the
    zip's say nothing. What does not compile (a library may hold files for other versions) stays as it is."""
    with ZipFile(code, "a", ZIP_DEFLATED) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.endswith(".py")])
        options = ["-q", "-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder)]
        subprocess.run([sys.executable, "-m", "compileall", *options, str(folder)], capture_output=True, check=False)
        for path in sorted(folder.rglob("*.pyc")):
            entry = ZipInfo(str(path.relative_to(folder)))  # of 1980, as all are: the same content, the same zip
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes(), ZIP_DEFLATED)


def _refuse_oversized(code: Path) -> None:
    """Lambda would say so when all else is deployed."""
    with ZipFile(code) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MOST_UNPACKED:
        raise DeployError(f"the package has {size:,} bytes unpacked, and Lambda takes {MOST_UNPACKED:,}")


def _environment(stage: str) -> dict[str, str]:
    """This environment without what it says of another deployment: queue names end up in the template. And Chalice,
    which imports what it packages, leaves no bytecode beside it: it would ship that, too."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROWMILL_")}
    return {"AWS_DEFAULT_REGION": "us-east-1"} | kept | {"ROWMILL_STAGE": stage, "PYTHONDONTWRITEBYTECODE": "1"}
