"""What `rowmill top` and `rowmill metrics` make of logs: each line counts once, and only lines of ours."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from rich.console import Console
from rowmill_client.deployment import QUEUES, Deployment, Line, Unanswered, parsed
from rowmill_client.exposition import Exporter
from rowmill_client.top_commands import shown, summed

NOW = 1_795_921_801_715


def line(at: int = NOW, function: str = "api", namespace: str = "Rowmill", **values: Any) -> str:
    directive = {"Namespace": namespace, "Dimensions": [["service"]], "Metrics": [{"Name": name} for name in values]}
    told = {
        "_aws": {"Timestamp": at, "CloudWatchMetrics": [directive]},
        "function": function,
        "service": "rowmill-prod",
    }
    return json.dumps(told | values)


class Logs:
    """CloudWatch Logs with one group, that answers as little at once as it may."""

    class exceptions:
        class ResourceNotFoundException(Exception):
            pass

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.throttled = ""

    def say(self, at: int, text: str) -> None:
        self.events.append({"timestamp": at, "logStreamName": "a", "message": text})

    def get_paginator(self, operation: str) -> Logs:
        assert operation == "filter_log_events"
        return self

    def paginate(self, *, logGroupName: str, startTime: int, filterPattern: str) -> Iterator[dict[str, Any]]:
        assert filterPattern == '"_aws"'
        if self.throttled and logGroupName.endswith(self.throttled):
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "FilterLogEvents")
        if not logGroupName.endswith("-api"):
            raise self.exceptions.ResourceNotFoundException
        for event in self.events:
            if event["timestamp"] >= startTime:
                yield {"events": [event]}
        yield {"events": []}


@pytest.fixture
def logs() -> Logs:
    return Logs()


@pytest.fixture
def deployment(logs: Logs) -> Deployment:
    return Deployment("prod", {"logs": logs})


@pytest.mark.parametrize(
    "text",
    [
        "START RequestId: 1",
        "{",
        "[]",
        '{"_aws": 1}',
        '{"_aws": {"CloudWatchMetrics": []}}',
        line(namespace="Other", Errors=1),
        line(Errors="many"),
        line(Errors=[None]),
        line(Errors=1).replace('"function"', '"else"'),
    ],
)
def test_what_is_no_line_of_ours_is_passed_over(text: str) -> None:
    assert parsed(text) is None


@pytest.mark.parametrize("value", [2, [2], [2.0]])
def test_a_value_may_be_alone_or_in_a_list(value: Any) -> None:
    assert parsed(line(Errors=value)) == Line(NOW, "api", {"Errors": [2.0]})


def test_a_line_counts_once_however_often_it_is_looked_at_and_two_alike_count_twice(
    logs: Logs, deployment: Deployment
) -> None:
    def read() -> float:
        return sum(sum(one.values["Errors"]) for one in deployment.lines(NOW))

    logs.say(NOW - 1, line(Errors=100))
    logs.say(NOW, line(Errors=1))
    logs.say(NOW, line(Errors=1))
    assert read() == 2
    logs.say(NOW, line(Errors=1))
    logs.say(NOW + 60_000, line(Errors=10))
    assert read() == 11
    assert read() == 0
    logs.say(NOW + 55_000, line(Errors=5))  # stored late
    assert read() == 5


def test_no_line_is_lost_when_one_of_the_logs_could_not_be_read(logs: Logs, deployment: Deployment) -> None:
    """AWS lets an account make a few such requests a second, and there are thirteen."""
    logs.say(NOW, line(Errors=1))
    logs.say(NOW + 60_000, line(Errors=10))
    logs.throttled = "-define"
    with pytest.raises(Unanswered):
        deployment.lines(NOW)
    logs.throttled = ""
    assert [one.values for one in deployment.lines(NOW)] == [{"Errors": [1.0]}, {"Errors": [10.0]}]


def test_counts_add_up_times_are_summed_and_what_is_looked_at_is_the_last(logs: Logs, deployment: Deployment) -> None:
    exporter = Exporter(deployment, 0)
    logs.say(1, line(1, RowsLoaded=[5, 6], RequestSeconds=0.5, UploadsStuck=3))
    exporter.text()
    logs.say(2, line(2, RowsLoaded=1, RequestSeconds=[0.25, 1], UploadsStuck=0))
    assert [one for one in exporter.text().splitlines() if not one.startswith("#")] == [
        'rowmill_request_seconds_count{function="api",service="rowmill-prod"} 3.0',
        'rowmill_request_seconds_sum{function="api",service="rowmill-prod"} 1.75',
        'rowmill_rows_loaded_total{function="api",service="rowmill-prod"} 12.0',
        'rowmill_uploads_stuck{function="api",service="rowmill-prod"} 0.0',
    ]


def test_functions_are_summed_up_by_what_they_did() -> None:
    lines = [Line(1, "api", {"RequestSeconds": [n / 100]}) for n in range(1, 101)]
    lines.append(Line(1, "load_low", {"Errors": [1.0, 1.0], "ThrottledByPostgres": [1.0]}))
    assert summed(lines) == {
        "api": {"done": 100, "p50_s": 0.51, "p95_s": 0.96, "errors": 0, "throttled": 0},
        "load_low": {"done": 0, "p50_s": None, "p95_s": None, "errors": 2, "throttled": 1},
    }


@pytest.mark.parametrize("width", [40, 80, 109, 110, 200])
def test_a_screen_is_no_wider_than_the_terminal_and_says_what_is_wrong(width: int) -> None:
    depth = {"waiting": 1_234_567, "in_hand": 0, "put_off": 1, "oldest_s": 4000.5}
    seen = {
        "stage": "prod",
        "at": "2026-11-29T03:33:45Z",
        "uploads": {"processing": 2, "paused": 1},
        "stuck": 1,
        "connections": {"used": 190, "most": 200},
        "workers": {"load": 2},
        "last_minute": {"chunks": 1, "rows": 1_000_000, "rejected": 0, "rows_per_second": 61_234.5},
        "queues": dict.fromkeys(QUEUES, depth),
        "functions": summed([Line(1, "api\x1b[31m", {"Errors": [1.0]})]),
        "window_s": 300,
    }
    console = Console(file=io.StringIO(), width=width)
    console.print(shown(seen, width))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, said.splitlines())) <= width
    for fact in ("rowmill prod", "3 uploads under way", "1 stuck", "61,234 rows/s", "1 errors in 5 min", "190 of 200"):
        assert fact in said
    assert "\x1b" not in said
    if width >= 80:
        assert "1 h 6 min" in said
