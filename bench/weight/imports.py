"""Sizes out of the package's own records, and imports in new processes."""

from __future__ import annotations

import importlib.util
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

from infra.local import cloud

RUNTIME: Final = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
PROBE: Final = """
import json, sys, time
sys.path[:0] = json.loads(sys.argv[1])
before, measured = json.loads(sys.stdin.read())
def resident():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
exec(before)
memory, wall, cpu = resident(), time.perf_counter(), time.process_time()
exec(measured)
spent = time.perf_counter() - wall, time.process_time() - cpu
sys.stdout.write(json.dumps([*spent, (resident() - memory) / 1000, resident() / 1000]))
"""


@dataclass(frozen=True, slots=True)
class Dependency:
    """A line of requirements.txt: what comes with it, how it is imported, by which functions, and what it is for."""

    brings: Sequence[str]  # distributions
    imported: str
    by: str
    without: str


LAZY: Final = (
    "polars",
    "cryptography",
    "PyJWT",
    "argon2-cffi",
    "fastjsonschema",
)  # imported by whom they serve, after app.py
DEPENDENCIES: Final[Mapping[str, Dependency]] = {
    "polars": Dependency(
        ("polars", "polars_runtime_32"),
        "import polars",
        "load",
        "without it a chunk takes three times the processor time",
    ),
    "psycopg": Dependency(("psycopg", "psycopg_binary"), "import psycopg", "all", "PostgreSQL"),
    "aws-lambda-powertools": Dependency(
        ("aws_lambda_powertools", "jmespath"),
        "from aws_lambda_powertools import Logger",
        "all",
        "JSON lines with their ids, and metrics: some 120 lines of our own",
    ),
    "pyre2": Dependency(("pyre2",), "import re2", "all", "patterns of tenants in linear time"),
    "stringzilla": Dependency(
        ("stringzilla",),
        "import stringzilla",
        "all",
        "cutting is half as fast again: lines counted by vector instructions",
    ),
    "argon2-cffi": Dependency(
        ("argon2_cffi", "argon2_cffi_bindings", "cffi", "pycparser"),
        "import argon2",
        "api, at a login",
        "argon2id; hashlib has scrypt",
    ),
    "cryptography": Dependency(
        ("cryptography",),
        "from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa",
        "api, at a token",
        "tokens of an issuer elsewhere; PyJWT loads it where it finds it",
    ),
    "PyJWT": Dependency(("pyjwt",), "import jwt", "api", "tokens: some 40 lines over hmac"),
    "fastjsonschema": Dependency(
        ("fastjsonschema",),
        "import fastjsonschema",
        "api, at a body",
        "requests held to the contract; jsonschema takes 4 MB and ten times as long to import",
    ),
    "multipart": Dependency(
        ("multipart",), "import multipart", "all", "forms from strangers: some 40 lines of our own"
    ),
    "python-ulid": Dependency(("python_ulid",), "from ulid import ULID", "all", "ids in order of time: some 10 lines"),
}
STARTS: Final[Mapping[str, str]] = {
    "api": "import app, jwt",
    "split": "import app; app.split.aws.warm()",
    **dict.fromkeys(("load_high", "load_medium", "load_low"), "import app; app.load.rows.warm(); app.load.aws.warm()"),
    **dict.fromkeys(("settle", "bury", "notify", "receipt", "sweep", "doctor", "render", "define"), "import app"),
}
Spent = tuple[float, float, float, float]  # wall and processor seconds, MB that it added, MB of the process


@dataclass(frozen=True, slots=True)
class Lambda:
    """Folders that a function's sys.path has besides the standard library's, and its environment."""

    folders: Sequence[str]
    environment: Mapping[str, str]

    def probe(self, before: str, measured: str) -> Spent:
        """One new process: what a statement takes after another one. -I, -S: of this machine it sees nothing else."""
        command = [sys.executable, "-I", "-S", "-B", "-c", PROBE, json.dumps(self.folders)]
        told = subprocess.run(
            command,
            check=True,
            env=dict(self.environment),
            input=json.dumps([before, measured]),
            capture_output=True,
            text=True,
        )
        wall, cpu, added, whole = json.loads(told.stdout)
        return wall, cpu, added, whole


def size(built: Path) -> dict[str, int]:
    with ZipFile(built) as archive:
        return {"unpacked": sum(one.file_size for one in archive.infolist()), "packed": built.stat().st_size}


def sizes(built: Path) -> dict[str, dict[str, int]]:
    """By distribution, what its files take in the package, unpacked and packed: those of its RECORD, and bytecode."""
    found = {}
    with ZipFile(built) as archive:
        there = {one.filename: one for one in archive.infolist()}
        for record in (name for name in there if name.endswith(".dist-info/RECORD")):
            names = [line.split(",")[0].strip('"') for line in archive.read(record).decode().splitlines()]
            names += [importlib.util.cache_from_source(name) for name in names if name.endswith(".py")]
            files = [there[name] for name in names if name in there]
            distribution = record.split("-")[0].lower()
            unpacked, packed = (sum(getattr(one, kind) for one in files) for kind in ("file_size", "compress_size"))
            found[distribution] = {"unpacked": unpacked, "packed": packed}
    return found


def measure(folder: Path, built: Path, runs: int) -> dict[str, Any]:
    """In turns, so that a slow moment of the machine meets all; medians."""
    with ZipFile(built) as archive:
        archive.extractall(folder / "task")
    here = Lambda((str(folder / "task"), str(_runtime(folder / "runtime"))), _environment())
    eager = {name: one.imported for name, one in DEPENDENCIES.items() if name not in LAZY}
    cases: dict[str, tuple[str, str]] = {f"start {name}": ("", start) for name, start in STARTS.items()}
    cases |= {name: ("import app", DEPENDENCIES[name].imported) for name in LAZY}
    for name, imported in eager.items():
        others = [statement for other, statement in eager.items() if other != name]
        cases[name] = ("; ".join(["import boto3, chalice.app", *others]), imported)
    told = {"as shipped": _probed(here, cases, runs)}
    for path in (folder / "task").rglob("*.pyc"):
        path.unlink()
    return {"imports": told | {"without bytecode": _probed(here, cases, runs)}}


def _probed(here: Lambda, cases: Mapping[str, tuple[str, str]], runs: int) -> dict[str, list[float]]:
    """What is imported alike is imported once, for all."""
    taken = [{case: here.probe(*case) for case in dict.fromkeys(cases.values())} for _ in range(runs)]
    return {name: [statistics.median(run[case][n] for run in taken) for n in range(4)] for name, case in cases.items()}


def _environment() -> dict[str, str]:
    known = {"DATABASE_URL": "postgresql://127.0.0.1:1/", "JWT_SECRET": "x" * 40, "ROWMILL_STAGE": "prod"}
    return {**cloud.CREDENTIALS, **cloud.NOTHING_ELSE, **known}


def _runtime(folder: Path) -> Path:
    """What Lambda's Python comes with, by links into this environment."""
    folder.mkdir()
    for name in RUNTIME:
        spec = importlib.util.find_spec(name)
        assert spec
        assert spec.origin
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (folder / source.name).symlink_to(source)
    return folder
