"""Telling people: one event an end, at least one delivery each, and an account of every attempt."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import boto3
import psycopg
import pytest

from chalicelib import accounts, events, mend, notify, settle, signatures, webhooks
from chalicelib.aws import sqs
from chalicelib.contract import OPERATIONS, checks
from chalicelib.errors import Refused
from chalicelib.paging import Asked
from chalicelib.postgres import announcements, deliveries, outbox
from chalicelib.postgres.connection import connection
from chalicelib.settings import settings
from tests.receiver import Receiver, receiving
from tests.stages.conftest import Pipeline, acting, cut_into, onward, poison

ROOT = Path(__file__).resolve().parents[2]
BODY = b"email,name,age\na@x.org,Ada,36\nb@x.org,Bob,old\n"
LONG_AGO = "UPDATE rowmill.{} SET {} = now() - interval '1 minute'"


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline) -> Pipeline:
    """A pipeline whose webhooks may be on this machine."""
    monkeypatch.setenv("ROWMILL_WEBHOOK_PRIVATE", "1")
    settings.cache_clear()
    return pipeline


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def hooked(pipeline: Pipeline, receiver: Receiver, **more: Any) -> dict[str, Any]:
    return webhooks.create(pipeline.tenant, {"url": receiver.url, **more}, None)


def log(pipeline: Pipeline, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    return webhooks.deliveries(pipeline.tenant, webhook["id"], Asked({})).items


def due_again(pipeline: Pipeline) -> None:
    """What was put off is due, and its delayed message comes."""
    for row in pipeline.sql("UPDATE rowmill.delivery SET due_at = now() WHERE state = 'pending' RETURNING number"):
        notify.tell({"delivery": row["number"]})


def shown(pipeline: Pipeline, webhook: dict[str, Any]) -> dict[str, Any]:
    return webhooks.get(pipeline.tenant, webhook["id"])


# One event an end


def test_an_end_is_told_once_signed_and_without_a_row(private: Pipeline, receiver: Receiver) -> None:
    webhook = hooked(private, receiver)
    private.dataset()
    upload = private.run(BODY)
    private.tell()
    (got,) = receiver.got
    event = got.verified(webhook["secret"])
    assert got.event_id == event["id"] == f"evt_{upload['id'][4:]}_1"
    assert (event["type"], got.path) == ("upload.completed_with_errors", "/hook")
    assert event["data"] == {
        "upload_id": upload["id"],
        "dataset": "contacts",
        "generation": 1,
        "state": "completed_with_errors",
        "status": "partial",
        "rows_total": 2,
        "valid": 0,
        "loaded": 1,
        "updated": 0,
        "skipped": 0,
        "rejected": 1,
        "unprocessed": 0,
        "error": None,
        "parent_id": None,
    }
    page = (ROOT / "docs" / "webhooks.md").read_text()
    shown = json.loads(page.partition("```json\n")[2].partition("```")[0])
    assert (shown.keys(), shown["data"].keys()) == (event.keys(), event["data"].keys())
    assert b"x.org" not in got.body
    (delivery,) = log(private, webhook)
    assert (delivery["state"], delivery["attempts_begun"]) == ("delivered", 1)
    assert [(one["status"], one["error"]) for one in delivery["attempts"]] == [(204, None)]


def test_messages_that_come_again_tell_nothing_again(private: Pipeline, receiver: Receiver) -> None:
    hooked(private, receiver)
    private.dataset()
    private.run(BODY)
    messages = private.messages("notify")
    assert len(messages) == 1
    for message in messages * 3:
        notify.tell(message)
    sent = private.messages("notify")
    assert len(sent) == 1
    for message in sent * 3:
        notify.tell(message)
    private.tell()
    assert len(receiver.got) == 1


def test_two_workers_at_one_event_make_its_deliveries_once(private: Pipeline, receiver: Receiver) -> None:
    """Both have seen that nobody had yet."""
    hooked(private, receiver)
    private.dataset()
    private.run(BODY)
    (message,) = private.messages("notify")
    seen = outbox.find(connection(), message["event"])
    assert seen
    assert not seen.is_sent
    assert len(outbox.spread(connection(), seen, [])) == 1
    assert outbox.spread(connection(), seen, []) == []


def test_an_end_whose_messages_are_all_lost_is_told_by_the_sweep(private: Pipeline, receiver: Receiver) -> None:
    """Lost are that of the event, and then that of its delivery."""
    hooked(private, receiver)
    private.dataset()
    private.run(BODY)
    private.messages("notify")
    assert private.sweep()["events_resent"] == 0  # it may be under way
    private.sql(LONG_AGO.format("outbox", "created_at"))
    assert private.sweep()["events_resent"] == 1
    assert private.sweep()["events_resent"] == 0  # asked for a moment ago
    (message,) = private.messages("notify")
    notify.tell(message)
    private.messages("notify")
    private.sql(LONG_AGO.format("delivery", "due_at"))
    assert private.sweep()["events_resent"] == 1
    private.tell()
    assert len(receiver.got) == 1
    private.sql("UPDATE rowmill.delivery SET asked_at = NULL")
    assert private.sweep()["events_resent"] == 0


@pytest.mark.parametrize("dies", ["before_the_status", "before_the_message", "between_event_and_delivery"])
def test_a_worker_that_dies_on_the_way_costs_no_event(
    private: Pipeline, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    hooked(private, receiver)
    private.dataset()

    class Killed(BaseException):
        pass

    def killed(queue: str, bodies: Any, group: str) -> None:
        if queue == settings().notify_queue and bodies:
            raise Killed

    upload_id = private.create(BODY)
    private.split(upload_id)
    (message,) = private.messages()
    from chalicelib import load

    with monkeypatch.context() as patch:
        if dies == "before_the_status":
            settle.finish(load.chunk(message))
        else:
            if dies == "before_the_message":
                patch.setattr(sqs, "send_all", killed)
            with pytest.raises(Killed) if dies == "before_the_message" else _nothing():
                onward(load.chunk(message))
    if dies == "between_event_and_delivery":
        (event,) = private.messages("notify")
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(sqs, "send_all", killed)
            notify.tell(event)
    private.sql(LONG_AGO.format("outbox", "created_at"))
    private.sql(LONG_AGO.format("delivery", "due_at"))
    private.sweep()
    private.tell()
    assert [got.event_id for got in receiver.got] == [f"evt_{upload_id[4:]}_1"]


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def test_a_redrive_that_ends_anew_is_another_event_and_the_first_keeps_its_counts(
    private: Pipeline, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = hooked(private, receiver)
    cut_into(monkeypatch, 1)
    private.dataset()
    upload_id = private.create(b"email,name,age\na@x.org,Ada,36\nb@x.org,Bob,37\n")
    private.split(upload_id)
    messages = private.messages()
    with monkeypatch.context() as patch:
        poison(patch, 2)
        for message in messages * 4:
            with _ignoring():
                private.load([message])
    upload = private.upload(upload_id)
    assert (upload["state"], upload["loaded"], upload["unprocessed"]) == ("completed_with_errors", 1, 1)
    late = private.messages("notify")  # nobody has seen to it when the redrive begins
    private.redrive(upload_id)
    private.load(private.messages())
    assert private.upload(upload_id)["state"] == "completed"
    for message in late:
        notify.tell(message)
    private.tell()
    told = [(got.event_id[-2:], got.verified(webhook["secret"])) for got in receiver.got]
    assert [(end, event["type"], event["data"]["loaded"], event["data"]["unprocessed"]) for end, event in told] == [
        ("_1", "upload.completed_with_errors", 1, 1),
        ("_2", "upload.completed", 2, 0),
    ]


class _ignoring:
    def __enter__(self) -> None: ...
    def __exit__(self, kind: Any, *_: object) -> bool:
        return kind is not None


def test_uploads_that_no_splitter_met_are_told_too(private: Pipeline, receiver: Receiver) -> None:
    webhook = hooked(private, receiver)
    private.dataset()
    canceled, expired, failed = (private.create(BODY) for _ in range(3))
    private.cancel(canceled)
    boto3.client("s3").delete_object(Bucket=settings().bucket, Key=f"uploads/{private.tenant}/{expired}/source")
    private.sql("UPDATE rowmill.announcement SET created_at = now() - interval '2 h', closes_at = now() - interval '1 h'"
                " WHERE upload_id = %s", expired)  # fmt: skip
    private.sweep()
    mend.bury(private.event(failed))
    private.sql(LONG_AGO.format("outbox", "created_at"))
    private.sweep()
    private.tell()
    told = {got.event_id: got.verified(webhook["secret"]) for got in receiver.got}
    assert {event["data"]["upload_id"]: event["type"] for event in told.values()} == {
        canceled: "upload.canceled",
        expired: "upload.expired",
        failed: "upload.failed",
    }
    assert all(event_id.endswith("_0") for event_id in told)
    assert all(event["data"]["dataset"] == "contacts" for event in told.values())


def test_a_cancel_that_was_cut_off_is_told_as_one_and_not_as_a_file_that_never_came(
    private: Pipeline, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = hooked(private, receiver)
    private.dataset()
    upload_id = private.create(BODY)
    boto3.client("s3").delete_object(Bucket=settings().bucket, Key=f"uploads/{private.tenant}/{upload_id}/source")

    def dies(*_: object) -> bool:
        raise psycopg.OperationalError("the server closed the connection unexpectedly")

    with monkeypatch.context() as patch, pytest.raises(psycopg.OperationalError):
        patch.setattr(announcements, "close", dies)
        private.cancel(upload_id)
    private.sql(
        "UPDATE rowmill.announcement SET created_at = now() - interval '2 h', closes_at = now() - interval '1 h'"
    )
    private.sweep()
    private.sql(LONG_AGO.format("outbox", "created_at"))
    private.sweep()
    private.tell()
    assert private.upload(upload_id)["state"] == "canceled"
    assert [got.verified(webhook["secret"])["type"] for got in receiver.got] == ["upload.canceled"]


@pytest.mark.parametrize("held", [{"validate_only": True}, {"on_drift": "hold"}], ids=["looked_at_first", "drift"])
def test_an_upload_that_waits_to_be_confirmed_is_told_once_as_it_was_then(
    private: Pipeline, receiver: Receiver, held: dict[str, Any]
) -> None:
    """Whoever is told after it was confirmed, or ended, hears what the check had found."""
    webhook = hooked(private, receiver)
    private.dataset()
    if "on_drift" in held:
        private.run(
            b"email,name,age\n" + b"".join(b"u%d@y.org,U,%d\n" % (n, n % 9) for n in range(30)), on_drift="warn"
        )
        private.tell()
        receiver.got.clear()
    upload_id = private.create(b"email,name,age\na@x.org,Ada,3600\nb@x.org,Bob,old\n", **held)
    private.split(upload_id)
    messages = private.messages()
    private.load(messages * 2)
    private.settle()
    assert private.upload(upload_id)["state"] == "needs_review"
    (late,) = private.messages("notify")
    private.confirm(upload_id)
    (again,) = private.messages("intake")
    private.go_on(again)
    private.load([*messages, *private.messages()])
    assert private.upload(upload_id)["state"] == "completed_with_errors"
    notify.tell(late)
    private.tell()
    told = {got.event_id: got.verified(webhook["secret"]) for got in receiver.got}
    assert len(receiver.got) == 2
    review, end = told[f"evt_{upload_id[4:]}_1_review"], told[f"evt_{upload_id[4:]}_1"]
    counted = ("state", "status", "rows_total", "valid", "loaded", "rejected", "unprocessed")
    assert review["type"] == "upload.needs_review"
    assert [review["data"][name] for name in counted] == ["needs_review", "pending", 2, 1, 0, 1, 0]
    assert [end["data"][name] for name in counted] == ["completed_with_errors", "partial", 2, 0, 1, 1, 0]
    assert len(private.messages("receipt")) == 1 + ("on_drift" in held)  # of an end, and of nothing else


def test_an_upload_that_nobody_confirms_is_told_as_waiting_and_as_ended(private: Pipeline, receiver: Receiver) -> None:
    webhook = hooked(private, receiver)
    private.dataset()
    upload = private.run(BODY, validate_only=True)
    private.messages("notify")  # lost
    private.cancel(upload["id"])
    private.sql(LONG_AGO.format("outbox", "created_at"))
    private.sweep()
    private.tell()
    told = {got.event_id[30:]: got.verified(webhook["secret"])["data"] for got in receiver.got}
    assert {end: (data["state"], data["valid"], data["unprocessed"]) for end, data in told.items()} == {
        "_1_review": ("needs_review", 1, 0),
        "_1": ("canceled", 0, 1),
    }


def test_a_file_that_makes_its_dataset_is_told_of_by_mail_when_it_waits(private: Pipeline) -> None:
    upload = private.run(BODY, "fresh", infer=True)
    assert upload["state"] == "needs_review"
    (event_id,) = (message["event"] for message in private.messages("notify"))
    told = outbox.find(connection(), event_id)
    assert told
    assert (told.data or {})["dataset"] == "fresh"
    delivery = deliveries.Delivery(1, 1, "email", event_id, "upload.needs_review", told.created_at, told.data or {},
                                   private.tenant, None, None, None, False, [])  # fmt: skip
    subject, text = events.letter(delivery)
    assert subject == "fresh: upload waits to be confirmed, 2 rows valid, 0 rejected"
    assert f"Upload {upload['id']} into fresh waits to be confirmed." in text
    assert "valid: 2\n" in text


# Attempts


def test_what_fails_is_tried_again_under_the_same_id_and_the_same_bytes(private: Pipeline, receiver: Receiver) -> None:
    webhook = hooked(private, receiver)
    receiver.answers.extend([500, 503])
    private.dataset()
    private.run(BODY)
    private.tell()
    (delivery,) = log(private, webhook)
    assert (delivery["state"], len(receiver.got)) == ("pending", 1)
    assert shown(private, webhook)["state"] == "failing"
    due_again(private)
    due_again(private)
    assert len({got.event_id for got in receiver.got}) == len({got.body for got in receiver.got}) == 1
    (delivery,) = log(private, webhook)
    assert delivery["state"] == "delivered"
    assert [one["status"] for one in delivery["attempts"]] == [500, 503, 204]
    assert shown(private, webhook)["state"] == "active"


def test_attempts_are_spread_over_a_day_and_then_given_up(private: Pipeline, receiver: Receiver) -> None:
    webhook = hooked(private, receiver)
    receiver.answers.extend([500] * 20)
    private.dataset()
    private.run(BODY)
    private.tell()
    waits = []
    while rows := private.sql("SELECT number, due_at - now() AS left FROM rowmill.delivery WHERE state = 'pending'"):
        waits.append(rows[0]["left"].total_seconds())
        due_again(private)
    assert len(receiver.got) == notify.MAX_DELIVERY_ATTEMPTS == 8
    for wait, least in zip(waits, notify.BACKOFF, strict=True):
        assert least - 5 <= wait <= 1.1 * least
    assert 20 * 3600 < sum(notify.BACKOFF) < 24 * 3600
    (delivery,) = log(private, webhook)
    assert (delivery["state"], delivery["next_attempt_at"]) == ("failed", None)
    assert shown(private, webhook)["state"] == "failing"
    private.tell()
    assert len(receiver.got) == 8


def test_a_short_wait_is_a_delayed_message_and_a_long_one_the_sweep_s(private: Pipeline, receiver: Receiver) -> None:
    hooked(private, receiver)
    receiver.answers.extend([500] * 20)
    private.dataset()
    private.run(BODY)
    private.tell()
    url = boto3.client("sqs").get_queue_url(QueueName=settings().notify_queue)["QueueUrl"]

    def delayed() -> int:
        name = "ApproximateNumberOfMessagesDelayed"
        found = boto3.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"]
        return int(found[name])

    assert delayed() == 1
    due_again(private)
    assert delayed() == 2
    due_again(private)
    assert delayed() == 2  # half an hour: longer than SQS delays
    private.sql(LONG_AGO.format("delivery", "due_at"))
    assert private.sweep()["events_resent"] == 1
    private.tell()
    assert len(receiver.got) == 4


def test_a_receiver_that_is_gone_is_disabled_until_somebody_enables_it(private: Pipeline, receiver: Receiver) -> None:
    webhook = hooked(private, receiver)
    receiver.answers.append(410)
    private.dataset()
    private.run(BODY)
    private.tell()
    now = shown(private, webhook)
    assert (now["state"], now["disabled_reason"]) == ("disabled", "gone")
    assert log(private, webhook)[0]["state"] == "failed"
    private.run(b"email,name,age\nc@x.org,Cy,3\n")
    private.tell()
    assert len(receiver.got) == 1
    with pytest.raises(Refused) as refused:
        webhooks.ping(private.tenant, webhook["id"])
    assert (refused.value.code, refused.value.status) == ("webhook_disabled", 409)
    assert webhooks.change(private.tenant, webhook["id"], {"enabled": True})["state"] == "active"
    private.run(b"email,name,age\nd@x.org,Di,4\n")
    private.tell()
    assert len(receiver.got) == 2


def test_a_receiver_that_fails_for_days_is_disabled_once_a_delivery_is_given_up(
    private: Pipeline, receiver: Receiver
) -> None:
    webhook = hooked(private, receiver)
    receiver.answers.extend([500] * 20)
    private.dataset()
    private.run(BODY)
    private.tell()
    private.sql("UPDATE rowmill.webhook SET failing_since = now() - interval '6 days'")
    due_again(private)
    assert shown(private, webhook)["state"] == "failing"  # this delivery has its day
    for _ in range(6):
        due_again(private)
    now = shown(private, webhook)
    assert (now["state"], now["disabled_reason"]) == ("disabled", "failing")


def test_what_is_on_its_way_to_a_webhook_that_is_disabled_ends_there(private: Pipeline, receiver: Receiver) -> None:
    webhook = hooked(private, receiver)
    private.dataset()
    private.run(BODY)
    (message,) = private.messages("notify")
    notify.tell(message)
    assert webhooks.change(private.tenant, webhook["id"], {"enabled": False})["disabled_reason"] == "asked"
    private.tell()
    assert receiver.got == []
    (delivery,) = log(private, webhook)
    assert (delivery["state"], delivery["attempts"][0]["error"]) == ("failed", "webhook_disabled")


def test_a_worker_that_dies_in_an_attempt_has_spent_it_and_another_tries_again(
    private: Pipeline, receiver: Receiver
) -> None:
    webhook = hooked(private, receiver)
    private.dataset()
    private.run(BODY)
    (event,) = private.messages("notify")
    notify.tell(event)
    (message,) = private.messages("notify")
    assert deliveries.claim(connection(), message["delivery"], notify.LEASE_SECONDS)  # and the worker is gone
    notify.tell(message)
    assert receiver.got == []  # for all we know somebody is at it
    private.sql(LONG_AGO.format("delivery", "due_at"))
    private.sweep()
    private.tell()
    (delivery,) = log(private, webhook)
    assert (delivery["state"], delivery["attempts_begun"], len(delivery["attempts"])) == ("delivered", 2, 1)


def test_deliveries_are_forgotten_after_a_month_and_events_are_not(private: Pipeline, receiver: Receiver) -> None:
    webhook = hooked(private, receiver)
    private.dataset()
    private.run(BODY)
    webhooks.ping(private.tenant, webhook["id"])
    private.tell()
    private.sql("UPDATE rowmill.delivery SET finished_at = now() - interval '29 days'")
    assert private.sweep()["deliveries_forgotten"] == 0
    private.sql("UPDATE rowmill.delivery SET finished_at = now() - interval '31 days'")
    assert private.sweep()["deliveries_forgotten"] == 2
    assert log(private, webhook) == []
    assert [row["kind"] for row in private.sql("SELECT kind FROM rowmill.outbox")] == ["completed_with_errors"]


# Who hears of what


def test_a_webhook_hears_of_what_it_subscribed_to_and_of_uploads_that_name_it(
    private: Pipeline, receiver: Receiver
) -> None:
    hooked(private, receiver, events=["upload.failed"])
    quiet = hooked(private, receiver, events=[])
    private.dataset()
    private.run(BODY)
    private.tell()
    assert receiver.got == []
    private.run(b"email,name,age\nc@x.org,Cy,3\n", notify={"webhook": quiet["id"]})
    private.tell()
    (got,) = receiver.got
    got.verified(quiet["secret"])


def test_another_tenant_s_webhook_hears_of_nothing_and_cannot_be_named(private: Pipeline, receiver: Receiver) -> None:
    other = Pipeline()
    theirs = hooked(other, receiver)
    private.dataset()
    private.run(BODY)
    private.tell()
    assert receiver.got == []
    with pytest.raises(Refused) as refused:
        private.create(BODY, notify={"webhook": theirs["id"]})
    assert refused.value.code == "notify_invalid"
    assert refused.value.errors[0]["column"] == "options.notify.webhook"


def test_a_ping_is_delivered_like_an_event(private: Pipeline, receiver: Receiver) -> None:
    webhook = hooked(private, receiver)
    asked = webhooks.ping(private.tenant, webhook["id"])
    assert (asked["state"], asked["type"], asked["upload_id"]) == ("pending", "webhook.ping", None)
    private.tell()
    (got,) = receiver.got
    event = got.verified(webhook["secret"])
    assert (event["id"], event["data"]) == (asked["event_id"], {"webhook_id": webhook["id"]})
    assert log(private, webhook)[0]["state"] == "delivered"


def test_a_deleted_webhook_hears_nothing_and_leaves_nothing(private: Pipeline, receiver: Receiver) -> None:
    webhook = hooked(private, receiver)
    webhooks.ping(private.tenant, webhook["id"])
    webhooks.delete(private.tenant, webhook["id"])
    private.tell()
    assert receiver.got == []
    assert private.sql("SELECT FROM rowmill.delivery") == private.sql("SELECT FROM rowmill.outbox") == []


# Secrets


def test_after_a_rotation_both_secrets_hold_for_a_day(private: Pipeline, receiver: Receiver) -> None:
    webhook = hooked(private, receiver)
    rotated = webhooks.rotate(private.tenant, webhook["id"])
    assert rotated["secret"] != webhook["secret"]
    webhooks.ping(private.tenant, webhook["id"])
    private.tell()
    for secret in (webhook["secret"], rotated["secret"]):
        receiver.got[0].verified(secret)
    private.sql("UPDATE rowmill.webhook SET former_until = now()")
    webhooks.ping(private.tenant, webhook["id"])
    private.tell()
    receiver.got[1].verified(rotated["secret"])
    with pytest.raises(Exception, match="No matching signature"):
        receiver.got[1].verified(webhook["secret"])


def test_a_secret_is_in_no_table_no_message_and_no_log(
    private: Pipeline, receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    webhook = hooked(private, receiver)
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", webhook["secret"])
    webhooks.ping(private.tenant, webhook["id"])
    messages = private.messages("notify")
    for message in messages:
        notify.tell(message)
    (row,) = private.sql("SELECT w::text AS text FROM rowmill.webhook w")
    kept = row["text"] + json.dumps(messages) + "".join(capfd.readouterr())
    bare = webhook["secret"].removeprefix(signatures.PREFIX)
    assert bare not in kept
    assert receiver.url not in "".join(capfd.readouterr())


def test_secrets_go_on_when_another_key_is_put_in_front(
    private: Pipeline, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = hooked(private, receiver)
    monkeypatch.setenv("WEBHOOK_SECRET", "a newer key," + settings().webhook_secret)
    settings.cache_clear()
    webhooks.ping(private.tenant, webhook["id"])
    private.tell()
    receiver.got[0].verified(webhook["secret"])
    rotated = webhooks.rotate(private.tenant, webhook["id"])
    monkeypatch.setenv("WEBHOOK_SECRET", "a newer key")
    settings.cache_clear()
    assert (
        signatures.secret(webhook["id"], private.sql("SELECT secret FROM rowmill.webhook")[0]["secret"])
        == rotated["secret"]
    )
    webhooks.ping(private.tenant, webhook["id"])
    private.tell()  # the former secret's key has gone: the event cannot be signed with both
    assert log(private, webhook)[0]["attempts"][0]["error"] == "webhook_key_missing"


def test_the_receiver_of_the_docs_knows_what_is_ours(private: Pipeline, receiver: Receiver) -> None:
    """The lines that people copy, run."""
    code = (ROOT / "docs" / "webhooks.md").read_text().partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    verified = names["verified"]
    webhook = hooked(private, receiver)
    webhooks.rotate(private.tenant, webhook["id"])
    webhooks.ping(private.tenant, webhook["id"])
    private.tell()
    (got,) = receiver.got
    assert verified(webhook["secret"], got.headers, got.body)
    assert not verified(webhook["secret"], got.headers, got.body + b" ")
    assert not verified("whsec_AAAA", got.headers, got.body)
    assert not verified(webhook["secret"], got.headers | {"webhook-id": "evt_2"}, got.body)
    for moment in ("1", "now", "9" * 5000):  # anybody may send what makes no sense: that is no error of the receiver
        assert not verified(webhook["secret"], got.headers | {"webhook-timestamp": moment}, got.body)
    assert not verified(webhook["secret"], got.headers | {"webhook-signature": "v1,\xe9"}, got.body)
    names["time"] = Mock(time=lambda: time.time() + 301)
    assert not verified(webhook["secret"], got.headers, got.body)


# The topic and e-mail


@pytest.fixture
def topic(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A topic, and a queue `dead` that listens to what one state's uploads come to."""
    arn = boto3.client("sns").create_topic(Name="events")["TopicArn"]
    monkeypatch.setenv("ROWMILL_EVENTS_TOPIC", arn)
    settings.cache_clear()
    boto3.client("sns").subscribe(
        TopicArn=arn,
        Protocol="sqs",
        Endpoint="arn:aws:sqs:us-east-1:123456789012:rowmill-local-dead",
        Attributes={"RawMessageDelivery": "true", "FilterPolicy": json.dumps({"state": ["completed"]})},
    )
    yield pipeline


def test_the_topic_hears_of_every_end_and_a_filter_chooses(topic: Pipeline) -> None:
    topic.dataset()
    topic.run(BODY)
    done = topic.run(b"email,name,age\nc@x.org,Cy,3\n")
    topic.tell()
    (event,) = topic.messages("dead")
    assert (event["type"], event["data"]["upload_id"]) == ("upload.completed", done["id"])
    assert [row["state"] for row in topic.sql("SELECT state FROM rowmill.delivery WHERE kind = 'topic'")] == [
        "delivered"
    ] * 2


def _tell_in_vain(topic: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the topic is away, which afterwards is there again."""
    with monkeypatch.context() as away:
        away.setenv("ROWMILL_EVENTS_TOPIC", settings().events_topic + "-gone")
        settings.cache_clear()
        topic.tell()
    settings.cache_clear()


def test_a_topic_that_fails_is_tried_again(topic: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    topic.dataset()
    topic.run(b"email,name,age\nc@x.org,Cy,3\n")
    _tell_in_vain(topic, monkeypatch)
    (row,) = topic.sql("SELECT state, log FROM rowmill.delivery")
    assert (row["state"], row["log"][0]["error"]) == ("pending", "aws_NotFound")
    due_again(topic)
    assert len(topic.messages("dead")) == 1


def test_a_topic_hears_nothing_late_of_an_account_that_was_deleted(
    topic: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = accounts.signup({"username": "eve", "password": "correct horse"})
    topic.tenant = session["tenant_id"]
    topic.dataset()
    topic.run(b"email,name,age\nc@x.org,Cy,3\n")
    _tell_in_vain(topic, monkeypatch)
    pending = topic.sql("SELECT number FROM rowmill.delivery WHERE state = 'pending'")
    assert len(pending) == 1
    with acting("api"):
        accounts.delete(session["tenant_id"], session["user_id"], "eve")
    for _ in range(3):
        topic.sweep()
    # What the event said is gone, so there is nothing to tell, however often it is asked for.
    due_again(topic)
    notify.tell({"delivery": pending[0]["number"]})
    assert topic.messages("dead") == []
    assert topic.sql("SELECT FROM rowmill.delivery WHERE state = 'pending'") == []


def test_an_upload_writes_to_the_address_it_names_if_its_domain_is_allowed(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset()
    asked = {"email": "ada@example.org"}
    with pytest.raises(Refused) as refused:
        pipeline.create(BODY, notify=asked)  # this deployment sends no e-mail
    assert refused.value.code == "notify_invalid"
    monkeypatch.setenv("ROWMILL_MAIL_SENDER", "rowmill@example.org")
    monkeypatch.setenv("ROWMILL_MAIL_DOMAINS", "Example.org, example.net")
    settings.cache_clear()
    boto3.client("sesv2").create_email_identity(EmailIdentity="rowmill@example.org")
    with pytest.raises(Refused):
        pipeline.create(BODY, notify={"email": "ada@stranger.example"})
    upload = pipeline.run(BODY, notify=asked)
    assert upload["options"]["notify"] == asked
    pipeline.tell()
    pipeline.tell()
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.ses.models import ses_backends

    (letter,) = ses_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].sent_messages
    assert letter.destinations["ToAddresses"] == ["ada@example.org"]
    assert letter.subject == "contacts: upload completed with errors, 1 rows loaded, 1 rejected"
    assert upload["id"] in letter.body
    assert "rejected: 1" in letter.body
    assert "x.org" not in letter.body.replace("example.org", "")


@pytest.mark.parametrize(
    "address",
    ["ada", "ada@", "@x.org", "a b@x.org", "ada@x.org\r\nBcc: eve@x.org", "ada@x.org,eve@x.org", "Ada <a@x.org>"],
)
def test_an_address_is_one_address(address: str) -> None:
    body = {"dataset": "a", "size": 1, "options": {"notify": {"email": address}}}
    with pytest.raises(Refused) as refused:
        checks.body(OPERATIONS["POST", "/v1/uploads"], body, 0)
    assert refused.value.code == "notify_invalid"
