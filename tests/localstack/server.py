"""Genuine LocalStack in host mode beside a PostgreSQL of ours, as one instance that the embedded cloud's code knows.

The one thing to know: it is written down and marked like an embedded cloud, so the same `down` takes it away, also
after a Ctrl-C or when the tests are killed: `python -m infra.local down --folder .rowmill/localstack`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from infra.local import database, instance
from infra.local.cloud import CHECKOUT, CREDENTIALS, NOTHING_ELSE, CloudFailed
from infra.local.place import MARK, Place
from infra.local.processes import Process, spawn, tail
from infra.local.record import Instance, note, write_env

PYTHON = CHECKOUT / ".venv-localstack" / "bin" / "python"
FOLDER = CHECKOUT / ".rowmill" / "localstack"
SERVICES = (
    "apigateway,cloudformation,cloudwatch,dynamodb,events,iam,kms,lambda,logs,s3,secretsmanager,ses,sns,sqs,ssm,sts"
)
SECONDS = 60.0


@contextlib.contextmanager
def running(folder: Path = FOLDER) -> Iterator[Instance]:
    """Both servers, empty, for the length of a `with` block. Logs stay in the folder."""
    if instance.find(folder):
        raise instance.AlreadyUp(f"{folder} is in use by an instance that is up")
    instance.down(folder)  # what a run that was killed left
    folder.mkdir(parents=True, exist_ok=True)
    with instance.tethered(folder):
        try:
            yield _start(Place.new(folder))
        finally:
            instance.down(folder)


def deploy(here: Instance) -> list[str]:
    """What the deploy command says of it, line by line; the last is the API's address."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ROWMILL_"))}
    done = subprocess.run(
        [sys.executable, "-m", "infra", "up", "--stage", "local"],
        check=False,
        capture_output=True,
        cwd=CHECKOUT,
        env=environment | here.environment,
        text=True,
    )
    if done.returncode:
        raise CloudFailed(done.stdout + done.stderr)
    return done.stdout.splitlines()


def _start(place: Place) -> Instance:
    here = note(Instance(place))
    place.cloud_log.unlink(missing_ok=True)
    port = database.free_port()
    process = _launch(place, port)
    here = note(replace(here, cloud=process, endpoint=f"http://127.0.0.1:{port}"))
    server = database.start(place)
    here = note(replace(here, database=server.process, database_url=server.url))
    _wait_ready(process, here.endpoint, place.cloud_log)
    write_env(here)
    return here


def _launch(place: Place, port: int) -> Process:
    place.temp.mkdir(parents=True, exist_ok=True)
    return spawn(
        [PYTHON, "-m", "localstack.runtime.main"],
        environment=_environment(place, port),
        log=place.cloud_log,
        folder=place.temp,
    )


def _environment(place: Place, port: int) -> dict[str, str]:
    """From nothing, so that no setting of the user's own LocalStack or AWS account gets in."""
    temp, address = str(place.temp), f"127.0.0.1:{port}"
    return {
        **CREDENTIALS,
        **NOTHING_ELSE,
        MARK: place.mark,
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": temp,
        "TMPDIR": temp,
        "XDG_CACHE_HOME": f"{temp}/cache",
        "FILESYSTEM_ROOT": f"{temp}/root",
        "OVERRIDE_IN_DOCKER": "0",
        "DOCKER_HOST": f"unix://{temp}/no-docker",
        "GATEWAY_LISTEN": address,
        "LOCALSTACK_HOST": address,
        "DNS_ADDRESS": "0",
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "API_ENDPOINT": "http://127.0.0.1:9",  # else it asks its maker what it lacks whenever it lacks something
        "SERVICES": SERVICES,
        "S3_SKIP_SIGNATURE_VALIDATION": "0",  # else any signature is good
        "SQS_ENDPOINT_STRATEGY": "path",
        "LAMBDA_SYNCHRONOUS_CREATE": "1",
        "LAMBDA_EVENT_SOURCE_MAPPING_POLL_INTERVAL_SEC": "0.05",
        "LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_EMPTY_POLL_SEC": "0.2",  # 10 s, if nobody says
        # The two substitutions, of tests/localstack/plugin.
        "LAMBDA_RUNTIME_EXECUTOR": "process",
        "PROVIDER_OVERRIDE_DYNAMODB": "moto",
    }


def _wait_ready(process: Process, endpoint: str, log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not _ready(endpoint):
        if not process.alive or time.monotonic() > deadline:
            raise CloudFailed(f"LocalStack did not start. {log} ends with\n{tail(log)}")
        time.sleep(0.05)


def _ready(endpoint: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{endpoint}/_localstack/init", timeout=5) as answer:
            return bool(json.load(answer)["completed"]["READY"])
    except (urllib.error.URLError, OSError):
        return False
