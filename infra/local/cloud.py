"""The AWS emulator (ministack) of one instance, as a process of its own.

It keeps all state in memory and serves one port of 127.0.0.1. A stop is therefore a kill: there is nothing
to save, and its Lambda processes are to vanish with it. Its environment is made here from nothing, so that
neither the user's AWS profile nor a stray LAMBDA_EXECUTOR=docker can reach it.
"""

import importlib.metadata
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.local.place import MARK, Place
from infra.local.processes import Process, destroy, family, marked, spawn, tail

VERSION = "1.5.33"
REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}
CHECKOUT = Path(__file__).resolve().parents[2]
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "ROWMILL_API_PROCESSES")
NOTHING_ELSE = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
"""Keeps boto3 from every other source of credentials, and loopback from a proxy."""


class CloudFailed(RuntimeError):
    """The emulator is missing, of another version, or did not start."""


@dataclass(frozen=True, slots=True)
class Cloud:
    process: Process
    endpoint: str


def start(place: Place, settings: Mapping[str, str] | None = None) -> Cloud:
    """Start it and return at once; `wait_ready` waits. `settings` are further variables of the emulator."""
    require_version()
    place.temp.mkdir(parents=True, exist_ok=True)
    with socket.socket() as listener:
        # Bound here and inherited: the port is ours from now on, and known to all before the server starts.
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        process = spawn(
            [sys.executable, "-m", "infra.local.server", str(listener.fileno()), str(place.folder)],
            environment=_environment(place, port) | dict(settings or {}),
            log=place.cloud_log,
            folder=CHECKOUT,
            pass_fds=[listener.fileno()],
        )
    return Cloud(process, f"http://127.0.0.1:{port}")


def wait_ready(cloud: Cloud, log: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not _healthy(cloud.endpoint):
        if not cloud.process.alive or time.monotonic() > deadline:
            raise CloudFailed(f"The emulator did not start. {log} ends with\n{tail(log)}")
        time.sleep(0.05)


def stop(process: Process, mark: str) -> None:
    """Kill the server, its Lambda processes, and any that outlived an earlier, killed server."""
    destroy(family(process))
    destroy(marked(mark))


def require_version(wanted: str = VERSION) -> None:
    """The emulator changes weekly, and what it does is relied on in detail: another version is an error."""
    try:
        found = importlib.metadata.version("ministack")
    except importlib.metadata.PackageNotFoundError:
        found = "not installed"
    if found != wanted:
        raise CloudFailed(f"ministack {wanted} is needed, found: {found}. Run: pip install ministack=={wanted}")


def _environment(place: Place, port: int) -> dict[str, str]:
    temp = str(place.temp)
    return {
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        **CREDENTIALS,
        **NOTHING_ELSE,
        MARK: place.mark,
        "PYTHONUNBUFFERED": "1",
        "TZ": "UTC",
        "TMPDIR": temp,
        "S3_DATA_DIR": f"{temp}/s3",
        "STATE_DIR": f"{temp}/state",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "LAMBDA_EXECUTOR": "local",
        "PERSIST_STATE": "0",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        # At start and stop it removes every container it takes for its own, other people's too. Hide Docker.
        "DOCKER_HOST": f"unix://{temp}/no-docker",
    }


def _healthy(endpoint: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{endpoint}/_ministack/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
