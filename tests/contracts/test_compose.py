"""localstack-compose.yml, which needs Docker to run: what can be read from it without."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from infra import cloud
from infra.package import ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "localstack-compose.yml").read_text())
# A service is named otherwise by boto3 than by LocalStack.
ALIASES = {"sesv2": "ses", "events": "events"}


def test_images_are_pinned_and_what_stays_up_tells_of_its_health() -> None:
    services = COMPOSE["services"]
    assert services["localstack"]["image"] == "localstack/localstack:4.14.0"  # the last without an account
    assert services["postgres"]["image"] == "postgres:18"
    for name in ("localstack", "postgres"):
        assert services[name]["healthcheck"]["test"]
        assert services["bootstrap"]["depends_on"][name] == {"condition": "service_healthy"}


def test_functions_join_the_network_that_the_database_is_in() -> None:
    network = COMPOSE["networks"]["rowmill"]["name"]
    assert COMPOSE["services"]["localstack"]["environment"]["LAMBDA_DOCKER_NETWORK"] == network
    assert all(service["networks"] == ["rowmill"] for service in COMPOSE["services"].values())


def test_ports_are_open_to_this_machine_alone() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_service_that_functions_or_the_deploy_call_is_started() -> None:
    started = set(COMPOSE["services"]["localstack"]["environment"]["SERVICES"].split(","))
    sources = [*ROOT.glob("chalicelib/**/*.py"), *ROOT.glob("infra/*.py"), ROOT / "tests/localstack/server.py"]
    called = {name for path in sources for name in re.findall(r"client\(\"([a-z0-9]+)\"", path.read_text())}
    assert {"s3", "sqs", "secretsmanager"} <= called
    assert {ALIASES.get(name, name) for name in called} <= started


def test_who_says_where_localstack_is_as_its_own_tools_have_it_says_it_to_the_deploy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOCALSTACK_HOST", "localstack:4566")
    assert cloud._localstack() == "http://localstack:4566"
    monkeypatch.delenv("LOCALSTACK_HOST")
    assert cloud._localstack() == ""
