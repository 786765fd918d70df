"""What an operator sees of a deployment: by their credentials, of all functions, and nothing of a tenant's."""

from __future__ import annotations

import itertools
import json
import re
import socket
import time
import urllib.request
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rowmill_client import deployment
from rowmill_client.cli import app
from rowmill_client.deployment import Deployment
from rowmill_client.exposition import Exporter
from typer.testing import CliRunner, Result

from infra.local.cloud import NOTHING_ELSE
from tests.contracts.test_cli import OPERATORS, examples
from tests.journey.conftest import Account, eventually

FILE = b"id,name\n1,Ada\n2,Bob\nx,Cy\n"


def run(account: Account, *words: str) -> Result:
    return CliRunner().invoke(app, words, env={**NOTHING_ELSE, **account.cloud.environment})


def test_an_operator_sees_all_of_a_deployment_and_nothing_of_a_tenant(account: Account) -> None:
    account.dataset()
    upload = account.ended(account.start(FILE))
    assert upload["loaded"] == 2

    def told() -> dict[str, Any] | None:
        ended = run(account, "top", "--once", "--json")
        assert ended.exit_code == 0, ended.output
        seen: dict[str, Any] = json.loads(ended.stdout)
        return seen if seen["functions"].get("load_high", {}).get("done") else None

    seen = eventually(told)
    assert set(seen["queues"]) == set(deployment.QUEUES)
    assert seen["last_minute"]["rows"] >= 2
    assert seen["last_minute"]["rejected"] >= 1
    assert seen["functions"]["api"]["p95_s"] > 0
    assert 0 < seen["connections"]["used"] < seen["connections"]["most"]
    plain = run(account, "top", "--once").stdout
    assert re.search(r"Postgres \d+ of \d+ connections", plain)
    for secret in (account.tenant, upload["id"], "people", "Ada", account.token):
        assert secret not in plain + json.dumps(seen)


def test_what_functions_tell_can_be_scraped_and_only_grows(account: Account) -> None:
    account.dataset()

    def scraped() -> dict[tuple[str, str], float]:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"http://127.0.0.1:{port}/metrics"
        ) as one:
            text = one.read().decode()
        families = text_string_to_metric_families(text)
        return {(s.name, s.labels["function"]): s.value for family in families for s in family.samples}

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    exporter = Exporter(_operated(account), int(1000 * time.time()))
    server, thread = exporter.serve(port)
    ids, key = itertools.count(1), ("rowmill_rows_loaded_total", "load_high")

    def loaded() -> dict[tuple[str, str], float]:
        account.ended(account.start("".join(["id,name\n", *(f"{next(ids)},Di\n" for _ in range(3))]).encode()))
        return scraped()

    def swept() -> float | None:
        account.cloud.sweep()
        return scraped().get(("rowmill_postgres_connections", "sweep"))

    # Asked again and again: a busy emulator takes what a process has said last only when it next works.
    try:
        before = eventually(lambda: found if key in (found := loaded()) else None)
        after = eventually(lambda: found if (found := loaded())[key] >= before[key] + 3 else None)
        assert scraped()[key] == after[key]
        assert after["rowmill_request_seconds_sum", "api"] > 0
        assert eventually(swept)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _operated(account: Account) -> Deployment:
    made = Deployment(account.cloud.stage)
    made._clients.update({name: account.cloud.client(name) for name in ("lambda", "sqs", "logs")})
    return made


@pytest.mark.parametrize("command", OPERATORS)
def test_an_example_works_and_with_json_prints_one_document(account: Account, command: str) -> None:
    for words in examples(command):
        plain = run(account, *words)
        assert (plain.exit_code, plain.stderr) == (0, ""), plain.output
        ended = run(account, *words, "--json")
        assert ended.exit_code == 0, ended.output
        assert json.loads(ended.stdout)


@pytest.mark.parametrize(("words", "code"), [(("top", "--json"), 2), (("top", "--once", "--stage", "nowhere"), 1)])
def test_what_cannot_be_looked_at_is_a_line(account: Account, words: tuple[str, ...], code: int) -> None:
    ended = run(account, *words)
    assert (ended.exit_code, ended.stdout) == (code, "")
    assert "Traceback" not in ended.stderr
    assert ended.stderr.startswith("rowmill: ")
