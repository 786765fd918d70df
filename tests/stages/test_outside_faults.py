"""Faults that come from outside a chunk: what Postgres, S3 and older or newer releases do to it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from psycopg.conninfo import make_conninfo

from chalicelib import aws, load, quota, report, settle, split
from chalicelib.aws import dynamodb
from chalicelib.edge.faults import as_ours
from chalicelib.errors import NotYet, Unavailable
from chalicelib.journey import LOAD_SECONDS
from chalicelib.paging import Asked
from chalicelib.postgres import connection as room
from chalicelib.postgres import locks
from chalicelib.postgres.connection import connection, is_row_fault, is_transient, refusal
from chalicelib.settings import settings
from infra.local import database
from infra.local.place import Place
from infra.local.processes import no_groups
from tests.stages.conftest import Pipeline, cut_into, onward
from tests.stages.test_journey_in_process import adds_up

ROWS = 20
BODY = b"email,name,age\n" + b"".join(b"u%d@x.org,U,%d\n" % (i, i) for i in range(ROWS))
PASSING = {
    "25006": "read-only: a failover, or a host that is short of disk",
    "25P03": "idle in a transaction for too long: something else was slow",
    "25P04": "a transaction that took too long",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "55P03": "lock timeout",
    "57014": "statement timeout",
    "57P01": "terminated by an operator",
    "58030": "input or output error",
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 10)


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_a_chunk_that_was_in_the_way_of_others_is_loaded_again_at_once(pipeline: Pipeline, sqlstate: str) -> None:
    _, messages = pipeline.begin(BODY)
    ((number,),) = [tuple(row.values()) for row in pipeline.sql("SELECT max(number) FROM rowmill.dataset")]
    pipeline.sql("DROP SEQUENCE IF EXISTS public.tries")
    pipeline.sql("CREATE SEQUENCE public.tries")  # a rollback does not set it back
    pipeline.sql(
        "CREATE OR REPLACE FUNCTION public.fail_twice() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS"
        f" $$ BEGIN IF nextval('public.tries') < 3 THEN RAISE 'not now' USING ERRCODE = '{sqlstate}'; END IF;"
        " RETURN NEW; END $$"
    )
    pipeline.sql(
        f"CREATE TRIGGER fail BEFORE INSERT ON data.d_{number} FOR EACH ROW EXECUTE FUNCTION public.fail_twice()"
    )
    pipeline.load(messages[:1])
    assert len(pipeline.rows()) == ROWS / 2


@pytest.mark.parametrize("sqlstate", PASSING)
def test_a_fault_of_the_database_puts_the_chunk_off_and_spends_no_attempt(pipeline: Pipeline, sqlstate: str) -> None:
    upload_id, messages = pipeline.begin(BODY)
    ((number,),) = [tuple(row.values()) for row in pipeline.sql("SELECT max(number) FROM rowmill.dataset")]
    pipeline.sql(
        "CREATE OR REPLACE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE 'not now' USING ERRCODE = '{sqlstate}'; END $$"
    )
    pipeline.sql(f"CREATE TRIGGER fail BEFORE INSERT ON data.d_{number} FOR EACH ROW EXECUTE FUNCTION public.fail()")
    for _ in range(5):
        with pytest.raises(psycopg.Error) as raised:
            load.chunk(messages[0])
        assert (raised.value.sqlstate, is_transient(raised.value)) == (sqlstate, True)
    assert {row["attempts"] for row in pipeline.sql("SELECT attempts FROM rowmill.chunk")} == {0}
    pipeline.sql(f"DROP TRIGGER fail ON data.d_{number}")
    pipeline.load(messages)
    assert (pipeline.upload(upload_id)["state"], len(pipeline.rows())) == ("completed", ROWS)


def test_a_database_that_takes_no_writes_for_a_while_has_messages_put_off(pipeline: Pipeline) -> None:
    """So hosts keep a disk from filling up, and so is a server that is not the first one any more."""
    upload_id, messages = pipeline.begin(BODY)
    with _read_only(pipeline):
        for work in (lambda: load.chunk(messages[0]), pipeline.sweep):
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as raised:
                work()
            assert isinstance(as_ours(raised.value), Unavailable)
    pipeline.load(messages)
    assert (pipeline.upload(upload_id)["state"], len(pipeline.rows())) == ("completed", ROWS)
    assert {row["attempts"] for row in pipeline.sql("SELECT attempts FROM rowmill.chunk")} == {1}


def test_an_attempt_is_given_back_if_the_database_takes_no_writes_from_its_middle_on(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was counted while there were writes, and can be uncounted when there are some again."""
    _, messages = pipeline.begin(BODY)
    real = load.prepare
    with ExitStack() as held, monkeypatch.context() as patch:

        def prepare(*arguments: Any) -> Any:
            held.enter_context(_read_only(pipeline))
            return real(*arguments)

        patch.setattr(load, "prepare", prepare)
        patch.setattr(room.time, "sleep", lambda _: held.close())
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            load.chunk(messages[0])
    assert {row["attempts"] for row in pipeline.sql("SELECT attempts FROM rowmill.chunk")} == {0}


def test_while_the_database_takes_no_writes_no_upload_is_half_announced(pipeline: Pipeline) -> None:
    """The status table would have it, and the day's files, and nobody else would know of it."""
    pipeline.dataset()
    with _read_only(pipeline):
        for _ in range(3):
            with pytest.raises(Unavailable, match="no writes"):
                pipeline.create(BODY)
    assert report.uploads(pipeline.tenant, Asked({}, None, 10)).items == []
    assert quota.shown(pipeline.tenant, time.time())["files"]["used"] == 0
    assert pipeline.run(BODY)["state"] == "completed"


def test_who_was_led_to_a_server_that_only_follows_looks_for_the_first_one_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failover the name may lead to what was the first server for some seconds more; a process lives for hours."""

    def write() -> None:
        connection().execute("CREATE TABLE IF NOT EXISTS written (n int)")

    with _pair(tmp_path) as (first, standby), ThreadPoolExecutor(1) as process:
        monkeypatch.setattr(room, "settings", lambda: replace(settings(), database_url=standby))
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            process.submit(write).result()
        monkeypatch.setattr(room, "settings", lambda: replace(settings(), database_url=first))
        time.sleep(room.STANDBY_SECONDS)
        process.submit(write).result()
        process.submit(room.close).result()


@contextmanager
def _pair(folder: Path) -> Iterator[tuple[str, str]]:
    """The URLs of a server and of one that follows it."""
    place = Place.new(folder)
    footing = database.find_footing(place)
    first = database.start(place, footing)
    started = [first.process]
    try:
        behind = replace(footing, home=footing.home / "standby")
        subprocess.run(
            footing.command("pg_basebackup", "-d", first.url, "-R", "-c", "fast", "-D", str(behind.data)),
            check=True,
            cwd=footing.home,
            user=footing.user,
            group=footing.user,
            extra_groups=no_groups(footing.user),
        )
        port = database.free_port()
        started.append(database._launch(behind, place, port))
        standby = make_conninfo(first.url, port=port)
        assert database._answers(started[-1], standby)
        yield first.url, standby
    finally:
        for process in reversed(started):
            database.stop(process)
        shutil.rmtree(place.refuge, ignore_errors=True)


@contextmanager
def _read_only(pipeline: Pipeline) -> Iterator[None]:
    with psycopg.connect(pipeline.url, autocommit=True) as db:
        db.execute("SET default_transaction_read_only = off")
        db.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        try:
            _reload(db, "on")
            yield
        finally:
            db.execute("ALTER SYSTEM RESET default_transaction_read_only")
            _reload(db, "off")


def _reload(db: psycopg.Connection[Any], wanted: str) -> None:
    """Wait until sessions have heard of it, that of the stages among them."""
    db.execute("SELECT pg_reload_conf()")
    while connection().execute("SHOW default_transaction_read_only").fetchone() != (wanted,):
        pass


@pytest.mark.parametrize("sqlstate", ["22003", "22P02", "22008", "22021", "23505", "23502", "54000"])
def test_a_fault_of_a_row_is_no_fault_of_the_database(sqlstate: str) -> None:
    error = psycopg.errors.lookup(sqlstate)()
    assert (is_row_fault(error), is_transient(error)) == (True, False)
    assert refusal(error) == f"refused (SQLSTATE {sqlstate})"


@pytest.mark.parametrize("sqlstate", PASSING)
def test_a_fault_of_the_database_is_no_word_on_a_row(sqlstate: str) -> None:
    error = psycopg.errors.lookup(sqlstate)()
    with pytest.raises(psycopg.Error) as raised:
        refusal(error)
    assert raised.value is error


@pytest.mark.parametrize(
    ("code", "passing"),
    [
        ("ThrottlingException", True),
        ("ProvisionedThroughputExceededException", True),
        ("TransactionConflictException", True),
        ("SlowDown", True),
        ("InternalError", True),
        ("AccessDenied", False),
        ("NoSuchKey", False),
        ("PreconditionFailed", False),
    ],
)
def test_which_answers_of_aws_may_change_if_asked_again(code: str, passing: bool) -> None:
    error = ClientError({"Error": {"Code": code}}, "AnyCall")
    assert aws.is_transient(error) == passing


def test_a_storage_that_says_nothing_puts_the_chunk_off_and_spends_no_attempt(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, messages = pipeline.begin(BODY)
    quick = aws._CONFIG.merge(Config(read_timeout=0.1, retries={"mode": "standard", "total_max_attempts": 2}))
    with monkeypatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as silent:
        patch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{silent.getsockname()[1]}")
        patch.setattr(aws, "_CONFIG", quick)
        aws.client.cache_clear()
        with pytest.raises(Unavailable):
            load.chunk(messages[0])
    aws.client.cache_clear()
    assert {row["attempts"] for row in pipeline.sql("SELECT attempts FROM rowmill.chunk")} == {0}
    pipeline.load(messages)
    assert pipeline.upload(upload_id)["state"] == "completed"


def test_a_worker_is_not_ended_while_it_waits_for_a_service_that_says_nothing() -> None:
    """Its attempt would stay counted, and four such give the chunk up: a storage that hangs for three minutes."""
    kept = aws.client("s3").meta.config
    tries = kept.retries["total_max_attempts"]
    pauses = sum(2**n for n in range(tries - 1))
    assert tries * kept.read_timeout + pauses < LOAD_SECONDS - 5


def test_an_object_that_was_deleted_ends_the_upload_with_what_was_read_before(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    pipeline.load(messages[:1])
    key = f"uploads/{pipeline.tenant}/{upload_id}/source"
    boto3.client("s3").delete_object(Bucket="rowmill-local-uploads", Key=key)
    pipeline.load(messages)
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["unprocessed"]) == ("completed_with_errors", 10, 10)
    assert "object_replaced, 1 attempt." in upload["error"]["errors"][0]["detail"]
    assert adds_up(upload)


def displacing(pipeline: Pipeline) -> tuple[str, dict[str, Any]]:
    """An upload to be settled, whose settling has to read the file: the later of two lines was loaded first."""
    upload_id, messages = pipeline.begin(BODY + BODY.splitlines(keepends=True)[1])
    pipeline.load(messages[::-1])
    (message,) = pipeline.messages("settle")
    return upload_id, message


def test_an_object_that_was_replaced_before_the_settling_ends_the_upload(pipeline: Pipeline) -> None:
    upload_id, message = displacing(pipeline)
    key = f"uploads/{pipeline.tenant}/{upload_id}/source"
    boto3.client("s3").put_object(Bucket="rowmill-local-uploads", Key=key, Body=BODY)
    onward(settle.contested(message))
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["error"]["code"], upload["unprocessed"]) == ("failed", "object_replaced", 1)
    assert adds_up(upload)


def test_settling_that_fails_by_itself_is_given_up_after_four_attempts_and_can_be_redriven(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, message = displacing(pipeline)
    with monkeypatch.context() as patch:
        patch.setattr(settle, "replay", lambda *arguments: 1 // 0)
        for _ in range(4):
            with pytest.raises(Unavailable):
                settle.contested(message)
        onward(settle.contested(message))
    assert pipeline.upload(upload_id)["error"]["code"] == "settle_failed"
    pipeline.redrive(upload_id)
    pipeline.settle()
    upload = pipeline.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", ROWS, 1)


def test_settling_that_lost_its_database_for_a_moment_spends_no_attempt(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt can be uncounted when the database is back, and not before."""
    upload_id, message = displacing(pipeline)
    back = room._connect

    def unreachable() -> room.Connection:
        raise Unavailable("database_unavailable", "It is just being started.")

    def cut_off(db: room.Connection, *_: Any) -> None:
        pipeline.sql("SELECT pg_terminate_backend(%s)", db.info.backend_pid)
        monkeypatch.setattr(room, "_connect", unreachable)
        db.execute("SELECT")

    with monkeypatch.context() as patch:
        patch.setattr(settle, "replay", cut_off)
        patch.setattr(room.time, "sleep", lambda _: monkeypatch.setattr(room, "_connect", back))
        with pytest.raises((psycopg.OperationalError, Unavailable)):
            settle.contested(message)
    assert [row["settle_attempts"] for row in pipeline.sql("SELECT settle_attempts FROM rowmill.upload")] == [0]
    onward(settle.contested(message))
    assert pipeline.upload(upload_id)["state"] == "completed_with_errors"


def test_attempts_at_settling_that_a_restart_of_postgres_cut_off_are_not_counted(pipeline: Pipeline) -> None:
    upload_id, message = displacing(pipeline)
    pipeline.sql(
        "UPDATE rowmill.upload SET settle_attempts = 4, settle_asked_at = pg_postmaster_start_time() - interval '1 second'"
    )
    onward(settle.contested(message))
    assert pipeline.upload(upload_id)["state"] == "completed_with_errors"


def test_settling_is_sent_for_once_and_done_by_one(pipeline: Pipeline) -> None:
    upload_id, message = displacing(pipeline)
    for _ in range(3):
        pipeline.sweep()
    assert pipeline.messages("settle") == []  # asked a moment ago
    pipeline.sql("UPDATE rowmill.upload SET settle_asked_at = settle_asked_at - interval '26 seconds'")
    with (
        psycopg.connect(pipeline.url, autocommit=True) as settler,
        locks.alone(settler, locks.settle(message["upload"])) as held,
    ):
        assert held
        pipeline.sweep()
        assert pipeline.messages("settle") == []  # somebody is at it
        assert settle.contested(message) is None
    pipeline.sweep()
    pipeline.settle()
    assert pipeline.upload(upload_id)["state"] == "completed_with_errors"


def test_an_upload_that_is_under_way_is_never_set_to_be_forgotten(pipeline: Pipeline) -> None:
    upload_id, messages = pipeline.begin(BODY)
    for message in messages:
        item = dynamodb.find(pipeline.tenant, upload_id)
        assert item is not None
        assert "expires_at" not in item
        pipeline.load([message])


def test_messages_of_other_releases_are_understood(pipeline: Pipeline) -> None:
    """Bodies are ids; a field that is not known is left alone, and no release has sent others than these."""
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    onward(split.file({"tenant": pipeline.tenant, "upload_id": upload_id, "version": 9, "tries": 3}))
    messages = pipeline.messages()
    assert [message.keys() for message in messages] == [{"upload", "chunk"}] * 2
    onward(load.chunk({**messages[0], "generation": 1, "pass": "load", "tries": "many"}))
    onward(load.chunk(messages[1]))
    onward(settle.contested({"upload": messages[0]["upload"], "version": 2}))
    assert pipeline.upload(upload_id)["state"] == "completed"


def test_a_plan_names_no_option_that_a_file_does_without(pipeline: Pipeline) -> None:
    """A release that is deployed again may not know it, and would refuse a file for it that is under way."""
    pipeline.begin(BODY)
    ((plan,),) = [tuple(row.values()) for row in pipeline.sql("SELECT plan FROM rowmill.upload")]
    assert plan["dialect"].keys() == {"delimiter", "quote", "header", "skip_lines", "ragged", "encoding"}


def test_a_file_that_a_later_release_has_planned_waits_for_it(pipeline: Pipeline) -> None:
    """How it is to be read is not known here; nothing of it is wrong."""
    upload_id, messages = pipeline.begin(BODY)
    planned = "UPDATE rowmill.upload SET plan = jsonb_set(plan, '{dialect}', (plan -> 'dialect') %s)"
    pipeline.sql(planned % """|| '{"later": 1}'""")
    for _ in range(5):
        with pytest.raises(NotYet, match="later release"):
            load.chunk(messages[0])
    assert {row["attempts"] for row in pipeline.sql("SELECT attempts FROM rowmill.chunk")} == {0}
    pipeline.sql(planned % "- 'later'")
    pipeline.load(messages)
    assert (pipeline.upload(upload_id)["state"], len(pipeline.rows())) == ("completed", ROWS)
