"""What is told to CloudWatch adds up with the status, once for each thing that happened, and names nobody."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, get_args

import psycopg
import pytest
from chalice.app import SQSEvent
from chalice.test import Client

from app import app
from chalicelib import edge, load, metrics, report, settle, split
from chalicelib.errors import NotYet
from chalicelib.journey import MAX_ATTEMPTS
from chalicelib.postgres import connection, manifest, vitals
from chalicelib.settings import settings
from tests.stages.conftest import CONTACTS, Pipeline, cut_into, poison

TICK: Any = SimpleNamespace(detail={"once": True})
Told = Callable[[], dict[str, list[float]]]
BODY = b"email,name,age\na@x.org,Ada,36\nb@x.org,Bob,old\nc@x.org,Cy,3\n"


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """The values by name that have been told since this was asked last; each line is as CloudWatch takes it."""

    def read() -> dict[str, list[float]]:
        metrics.flush()
        values: defaultdict[str, list[float]] = defaultdict(list)
        for line in capsys.readouterr().out.splitlines():
            if line.startswith('{"_aws"'):
                for name, found in _checked(json.loads(line)).items():
                    values[name] += found
        return dict(values)

    read()
    return read


def _checked(line: dict[str, Any]) -> dict[str, list[float]]:
    (directive,) = line.pop("_aws")["CloudWatchMetrics"]
    assert directive["Namespace"] == "Rowmill"
    assert [sorted(one) for one in directive["Dimensions"]] == [["function", "service"], ["service"]]
    assert (line.pop("function"), line.pop("service")) == ("none", "rowmill-local")
    assert {one["Name"]: one["Unit"] for one in directive["Metrics"]} == {name: metrics.UNITS[name] for name in line}  # type: ignore[index]
    return line


def test_every_name_has_a_unit() -> None:
    assert set(metrics.UNITS) == set(get_args(metrics.Name))


def test_a_file_is_told_once_and_as_its_status_has_it(pipeline: Pipeline, told: Told) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages)
    values = told()
    upload = pipeline.upload(upload_id)
    assert (values["RowsLoaded"], values["RowsRejected"], values["ChunksLoaded"]) == ([2], [1], [1])
    assert values["UploadSeconds"] == [pytest.approx(upload["timings"]["stored_to_completed_s"], abs=0.001)]
    assert values["UploadCostUsd"] == [upload["cost"]["usd"]]
    assert 0 < values["ChunkSeconds"][0] < values["UploadSeconds"][0]
    pipeline.load(messages)
    report.show(messages[0]["upload"])  # as a worker does that was slow to get here
    pipeline.sweep()
    again = told()
    assert not again.keys() & {"RowsLoaded", "ChunksLoaded", "UploadSeconds", "UploadCostUsd"}


def test_rows_that_are_settled_are_told_when_they_are(
    pipeline: Pipeline, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 2)
    pipeline.dataset()
    upload = pipeline.run(BODY + b"c@x.org,Cy again,4\nd@x.org,Di,5\n")
    values = told()
    assert sum(values["RowsLoaded"]) == upload["loaded"] == 3
    assert sum(values["RowsRejected"]) == upload["rejected"] == 2


@pytest.mark.parametrize(
    ("options", "first_load", "loaded"),
    [({"max_errors": 5}, False, [2]), ({"max_errors": 0}, False, []), ({}, True, [2])],
    ids=["within its budget", "above it", "first load"],
)
def test_rows_that_show_themselves_at_once_are_told_at_the_end(
    pipeline: Pipeline,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, int],
    first_load: bool,
    loaded: list[float],
) -> None:
    monkeypatch.setenv("ROWMILL_FIRST_LOAD_BYTES", "1" if first_load else str(1 << 30))
    settings.cache_clear()
    pipeline.dataset()
    upload_id = pipeline.create(BODY, **options)
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    before = told()
    pipeline.settle()
    after = told()
    assert "RowsLoaded" not in before
    assert (after.get("RowsLoaded", []), before.get("RowsRejected", []) + after.get("RowsRejected", [])) == (
        loaded,
        [1],
    )


def test_a_check_loads_no_rows(pipeline: Pipeline, told: Told) -> None:
    pipeline.dataset()
    pipeline.run(BODY, validate_only=True)
    values = told()
    assert values["ChunksLoaded"] == [1]
    assert not values.keys() & {"RowsLoaded", "RowsRejected", "UploadSeconds", "UploadCostUsd"}


def test_a_chunk_that_is_given_up_is_told_once(pipeline: Pipeline, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline.dataset()
    pipeline.split(pipeline.create(BODY))
    (message,) = pipeline.messages()
    record = _record(message)
    with monkeypatch.context() as patch:
        poison(patch, 1)
        for _ in range(5):
            edge.each(SQSEvent({"Records": [record]}, None), lambda one: settle.finish(load.chunk(one)))
    values = told()
    assert values["ChunksDead"] == [1]
    assert "Errors" not in values  # each attempt was put off, the last one gave the chunk up


def test_a_file_that_no_splitter_gets_through_is_told_as_an_error_once_and_comes_again_within_seconds(
    pipeline: Pipeline, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    record = _record(pipeline.event(pipeline.create(BODY)))
    monkeypatch.setattr(split, "_cut", lambda *_: 1 / 0)
    for _ in range(MAX_ATTEMPTS):
        # Not left to its queue, which would give it out again in an hour and a half.
        assert edge.each(SQSEvent({"Records": [record]}, None), split.file) == {"batchItemFailures": []}
    assert "Errors" not in told()
    edge.each(SQSEvent({"Records": [record]}, None), split.file)
    assert told() == {"Errors": [1]}


def test_ten_deliveries_in_vain_give_a_chunk_up_at_last(pipeline: Pipeline, told: Told) -> None:
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    pipeline.split(upload_id)
    (message,) = pipeline.messages()
    key = manifest.named(message["upload"], message)
    assert key
    assert [manifest.spend(connection.connection(), key) for _ in range(4)] == [True, True, True, False]
    assert told()["ChunksDead"] == [1]


def test_what_fails_is_an_error_and_what_postgres_puts_off_is_not(pipeline: Pipeline, told: Told) -> None:
    records = [_record({"fault": name}, name) for name in ("gone", "own", "early", "none")]

    def fail(message: dict[str, Any]) -> None:
        faults = {"gone": psycopg.errors.TooManyConnections, "own": ZeroDivisionError}
        if message["fault"] == "early":
            raise NotYet("rows_throttled", "Not yet.", retry_after=1)
        if fault := faults.get(message["fault"]):
            raise fault

    edge.each(SQSEvent({"Records": records}, None), fail)
    assert told() == {"ThrottledByPostgres": [1], "Errors": [1]}


def test_a_request_is_timed_and_only_a_fault_of_ours_is_an_error(
    pipeline: Pipeline, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = Client(app).http
    assert http.get("/v1/uploads").status_code == 401
    assert [*told()] == ["RequestSeconds"]
    monkeypatch.setattr("chalicelib.accounts.login", lambda *_: 1 / 0)
    body = json.dumps({"username": "ada", "password": "correct horse"}).encode()
    answer = http.post("/v1/auth/login", headers={"Content-Type": "application/json"}, body=body)
    assert answer.status_code == 500
    values = told()
    assert (values["Errors"], len(values["RequestSeconds"])) == ([1], 1)


def test_a_sweep_tells_how_much_is_under_way(pipeline: Pipeline, told: Told) -> None:
    pipeline.begin(BODY)
    edge.swept(TICK, pipeline.sweep)
    values = told()
    assert (values["UploadsRunning"], values["UploadsStuck"]) == ([1], [0])
    assert values["PostgresConnections"][0] >= 1


def test_however_many_ends_a_sweep_shows_each_counts_for_the_alarm_over_all_functions(told: Told) -> None:
    """As after an outage. No more than a hundred values go into a line, and each line says whose they are."""
    for _ in range(250):
        metrics.measure("UploadCostUsd", 1)
    assert told() == {"UploadCostUsd": [1] * 250}


def test_a_sweep_that_fails_is_an_error_and_so_is_a_call(told: Told) -> None:
    def fail(*_: object) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        edge.swept(TICK, fail)
    with pytest.raises(ZeroDivisionError):
        edge.called({}, fail)
    assert told() == {"Errors": [1, 1]}


def test_an_upload_that_nothing_moves_is_stuck_unless_it_is_to_wait(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)

    def age(seconds: float) -> int:
        past = f"clock_timestamp() - interval '{seconds} seconds'"
        pipeline.sql(f"UPDATE rowmill.upload SET created_at = {past}")
        pipeline.sql(f"UPDATE rowmill.event SET at = {past}")
        pipeline.sql(f"UPDATE rowmill.chunk SET created_at = {past}, sent_at = {past}")
        return vitals.pulse(connection.connection()).stuck

    assert age(vitals.STUCK_SECONDS - 60) == 0
    assert age(vitals.STUCK_SECONDS + 60) == 1
    pipeline.sql("UPDATE rowmill.dataset SET descriptor = descriptor || '{\"max_rows_per_second\": 1}'")
    assert age(vitals.STUCK_SECONDS + 60) == 0
    pipeline.sql("UPDATE rowmill.dataset SET descriptor = descriptor - 'max_rows_per_second'")
    pipeline.pause(upload_id)
    assert age(vitals.STUCK_SECONDS + 60) == 0
    pipeline.resume(upload_id)  # which is a move
    assert vitals.pulse(connection.connection()).stuck == 0
    assert age(vitals.STUCK_SECONDS + 60) == 1
    pipeline.load(messages)
    assert vitals.pulse(connection.connection()) == vitals.Pulse(
        0, 0, vitals.pulse(connection.connection()).connections
    )


def test_an_operator_sees_what_waits_who_works_and_what_is_in(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 2)
    _, messages = pipeline.begin(BODY)
    seen: list[dict[str, Any]] = []
    real = load.prepare

    def looked_at(*given: Any) -> Any:
        with psycopg.connect(pipeline.url, autocommit=True) as other:
            seen.append(vitals.look(other))
        return real(*given)

    before = vitals.look(connection.connection())
    with monkeypatch.context() as patch:
        patch.setattr(load, "prepare", looked_at)
        pipeline.load(messages[:1])
    assert before["uploads"] == {"queued": 1}
    assert (before["waiting"]["high"]["chunks"], before["workers"], before["last_minute"]["rows"]) == (2, {}, 0)
    assert before["waiting"]["high"]["oldest_s"] > 0
    assert (seen[0]["workers"], seen[0]["waiting"]["high"]["chunks"]) == ({"load": 1}, 1)
    after = vitals.look(connection.connection())["last_minute"]
    assert (after["rows"], after["rejected"], after["chunks"], after["rows_per_second"]) == (1, 1, 1, 0.1)
    pipeline.load(messages[1:])
    done = vitals.look(connection.connection())
    assert (done["uploads"], done["waiting"], done["untold"]["events"]) == ({}, {}, 1)
    assert done["connections"]["used"] < done["connections"]["most"]


def _record(message: dict[str, Any], name: str = "m") -> dict[str, Any]:
    queue = "arn:aws:sqs:us-east-1:0:rowmill-local-low"
    return {"messageId": name, "receiptHandle": "r", "body": json.dumps(message), "eventSourceARN": queue}


def test_no_line_names_a_tenant_an_upload_or_a_cell(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.dataset(CONTACTS)
    upload = pipeline.run(BODY)
    pipeline.sweep()
    metrics.flush()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('{"_aws"')]
    assert lines
    assert not [
        word for word in (pipeline.tenant, upload["id"], "x.org", "contacts") if any(word in one for one in lines)
    ]
