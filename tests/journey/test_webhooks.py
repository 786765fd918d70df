"""Telling people, from outside: a receiver of their own, real workers and queues, and every way to lose a message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from rowmill_client import ApiError, Delivery, NewWebhook

from tests.journey.conftest import Account, Cloud, eventually, people
from tests.journey.test_control import rowmill
from tests.receiver import Receiver, receiving

# The end is committed and shown, and whoever shows it notes that: nobody has been sent for yet.
END_IS_NOTED = (
    "UPDATE",
    "OLD.finished_at IS NOT NULL AND NEW.projected_at > OLD.projected_at AND NEW.generation = OLD.generation",
    "upload",
)
back_here = pytest.mark.needs("a way back to this machine")
AGED = "now() - interval '1 minute'"


@contextmanager
def private(cloud: Cloud, allowed: bool = True) -> Iterator[None]:
    """The deployment with webhooks on this machine, or without."""
    with ExitStack() as stack:
        for function in ("api", "notify"):
            stack.enter_context(cloud.configured(function, ROWMILL_WEBHOOK_PRIVATE="1" if allowed else ""))
        yield


@pytest.fixture(scope="module")
def webhooks_here(deployed: Cloud) -> Iterator[None]:
    """For all tests of this file: whatever is configured anew starts all of its processes anew."""
    with private(deployed):
        yield


@pytest.fixture
def hooked(webhooks_here: None, account: Account) -> Account:
    account.dataset()
    return account


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def told(account: Account, webhook: NewWebhook, state: str = "delivered") -> list[Delivery]:
    """A webhook's deliveries, once the newest has come to this."""

    def look() -> list[Delivery]:
        found = list(account.rowmill.iterate_deliveries(webhook["id"]))
        return found if found and found[0]["state"] == state and found[0]["attempts"] else []

    return eventually(look)


def loaded(account: Account) -> Any:
    return account.ended(account.start(people(3), mode="upsert"))


@contextmanager
def nobody_reads(cloud: Cloud, function: str) -> Iterator[None]:
    """No message of this function's queue is taken."""
    functions = cloud.client("lambda")
    (mapping,) = functions.list_event_source_mappings(FunctionName=cloud.name(function))["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    eventually(lambda: functions.get_event_source_mapping(UUID=mapping["UUID"])["State"] == "Disabled")
    try:
        yield
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def lose(cloud: Cloud, queue: str) -> int:
    """Take every message of a queue that nobody reads away; how many there were."""
    queues, lost = cloud.client("sqs"), 0
    url = queues.get_queue_url(QueueName=cloud.name(queue))["QueueUrl"]
    while messages := queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            lost += 1
    return lost


@back_here
def test_an_end_is_told_once_however_often_its_messages_come(hooked: Account, receiver: Receiver) -> None:
    webhook = hooked.rowmill.create_webhook(receiver.url)
    upload = loaded(hooked)
    (delivery,) = told(hooked, webhook)
    (number,) = hooked.cloud.sql("SELECT number FROM rowmill.delivery WHERE webhook = %s", webhook["id"])[0]
    again: list[dict[str, Any]] = [{"event": delivery["event_id"]}, {"delivery": number}]
    before = hooked.cloud.messages("notify", ("", "NotVisible"))  # of workers that other tests have killed
    hooked.cloud.send("notify", *again * 3)
    eventually(lambda: hooked.cloud.messages("notify", ("", "NotVisible")) <= before)
    (got,) = receiver.got
    event = got.verified(webhook["secret"])
    assert got.event_id == delivery["event_id"] == event["id"]
    assert (event["type"], event["data"]["upload_id"], event["data"]["loaded"]) == ("upload.completed", upload["id"], 3)
    assert b"name 1" not in got.body


@back_here
def test_who_hears_of_the_end_finds_it_in_the_status(hooked: Account, receiver: Receiver) -> None:
    hooked.rowmill.create_webhook(receiver.url)
    loaded(hooked)
    (got,) = eventually(lambda: receiver.got)
    assert hooked.rowmill.get_upload(json.loads(got.body)["data"]["upload_id"])["state"] == "completed"


@back_here
def test_a_receiver_that_fails_once_hears_it_again_under_the_same_id(hooked: Account, receiver: Receiver) -> None:
    receiver.answers.append(500)
    webhook = hooked.rowmill.create_webhook(receiver.url)
    loaded(hooked)
    (delivery,) = told(hooked, webhook)
    assert [(one["status"], one["error"]) for one in delivery["attempts"]] == [(500, "status_refused"), (204, None)]
    first, second = receiver.got
    assert (first.event_id, first.body) == (second.event_id, second.body)
    for got in receiver.got:
        got.verified(webhook["secret"])
    assert hooked.rowmill.get_webhook(webhook["id"])["state"] == "active"


@back_here
def test_a_receiver_that_is_gone_is_disabled(hooked: Account, receiver: Receiver) -> None:
    receiver.answers.append(410)
    webhook = hooked.rowmill.create_webhook(receiver.url)
    loaded(hooked)
    told(hooked, webhook, "failed")
    now = hooked.rowmill.get_webhook(webhook["id"])
    assert (now["state"], now["disabled_reason"]) == ("disabled", "gone")
    with pytest.raises(ApiError, match="webhook_disabled"):
        hooked.rowmill.ping_webhook(webhook["id"])
    assert hooked.rowmill.change_webhook(webhook["id"], {"enabled": True})["state"] == "active"
    hooked.rowmill.ping_webhook(webhook["id"])
    told(hooked, webhook)
    assert len(receiver.got) == 2


@back_here
def test_a_redirect_is_a_failure_and_leads_nowhere(hooked: Account, receiver: Receiver) -> None:
    with receiving() as inner:
        receiver.answers.append((307, {"Location": inner.url}))
        webhook = hooked.rowmill.create_webhook(receiver.url)
        hooked.rowmill.ping_webhook(webhook["id"])
        (delivery,) = told(hooked, webhook, "pending")
        assert (delivery["attempts"][0]["status"], delivery["attempts"][0]["error"]) == (307, "redirected")
        assert inner.got == []


@back_here
def test_a_private_address_is_refused_when_it_is_registered_and_again_when_it_is_called(
    account: Account, receiver: Receiver
) -> None:
    """The second as a name does that was public once: what was registered then leads here now."""
    refused = (receiver.url, f"https://127.0.0.1:{receiver.port}/", "https://169.254.169.254/", "https://localhost/")
    with private(account.cloud, allowed=False):
        for url in refused:
            with pytest.raises(ApiError, match="webhook_url_"):
                account.rowmill.create_webhook(url)
        webhook = account.rowmill.create_webhook("https://hooks.invalid/")
        account.cloud.sql(
            "UPDATE rowmill.webhook SET url = %s WHERE webhook_id = %s",
            f"https://localhost:{receiver.port}/",
            webhook["id"],
        )
        account.rowmill.ping_webhook(webhook["id"])
        (delivery,) = told(account, webhook, "pending")
    assert delivery["attempts"][0]["error"] == "webhook_url_forbidden"
    assert receiver.got == []


@back_here
def test_an_end_whose_message_is_lost_is_told_by_the_sweep(hooked: Account, receiver: Receiver) -> None:
    webhook = hooked.rowmill.create_webhook(receiver.url)
    cloud = hooked.cloud
    with nobody_reads(cloud, "notify"):
        upload = loaded(hooked)
        eventually(lambda: lose(cloud, "notify"))
    assert receiver.got == []
    number = hooked.number(upload["id"])
    cloud.sql(f"UPDATE rowmill.outbox SET created_at = {AGED}, asked_at = NULL WHERE upload = %s", number)
    cloud.sweep()
    told(hooked, webhook)
    assert len(receiver.got) == 1


@back_here
@pytest.mark.needs("processes to kill")
@pytest.mark.timeout(200)
def test_a_worker_killed_between_the_end_and_its_message_costs_no_event(hooked: Account, receiver: Receiver) -> None:
    webhook = hooked.rowmill.create_webhook(receiver.url)
    cloud = hooked.cloud
    event, moment, table = END_IS_NOTED
    # Its own: the clock may be at the end of an earlier one.
    with cloud.held(event, f"{moment} AND NEW.tenant = '{hooked.tenant}'", table):
        upload_id = hooked.start(people(3))
        number = hooked.number(upload_id)
        (backend,) = eventually(cloud.blocked)
        over = cloud.sql("SELECT state FROM rowmill.upload WHERE number = %s AND finished_at IS NOT NULL", number)
        assert over == [("completed",)]
        assert cloud.kill_worker(backend)
        eventually(lambda: cloud.is_gone(backend))
    assert receiver.got == []
    cloud.sql(f"UPDATE rowmill.outbox SET created_at = {AGED}, asked_at = NULL WHERE upload = %s", number)
    cloud.sweep()
    told(hooked, webhook)
    assert len(receiver.got) == 1
    assert hooked.ended(upload_id)["loaded"] == 3


def test_the_topic_hears_of_it_and_a_policy_tells_whom(account: Account) -> None:
    cloud = account.cloud
    account.dataset()
    topics, queues = cloud.client("sns"), cloud.client("sqs")
    url = queues.create_queue(QueueName="listens")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"tenant": [account.tenant], "state": ["completed_with_errors"]})
    topics.subscribe(
        TopicArn=f"arn:aws:sns:{topics.meta.region_name}:{cloud.account}:{cloud.name('events')}",
        Protocol="sqs",
        Endpoint=arn,
        Attributes={"RawMessageDelivery": "true", "FilterPolicy": policy},
    )
    account.ended(account.start(b"id,name\n7,Ada\n"))
    upload = account.ended(account.start(b"id,name\n1,Ada\nx,Bob\n"))
    (message,) = eventually(lambda: queues.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages"))
    assert json.loads(message["Body"])["data"]["upload_id"] == upload["id"]


@pytest.mark.needs("letters to read")
def test_an_allowed_address_hears_of_it(account: Account) -> None:
    cloud = account.cloud
    account.dataset()
    body = b"id,name\n1,Ada\nx,Bob\n"
    cloud.client("sesv2").create_email_identity(EmailIdentity="rowmill@example.org")
    with ExitStack() as stack:
        mail = {"ROWMILL_MAIL_SENDER": "rowmill@example.org", "ROWMILL_MAIL_DOMAINS": "example.org"}
        for function in ("api", "notify"):
            stack.enter_context(cloud.configured(function, **mail))
        upload = account.ended(account.start(body, notify={"email": "ada@example.org"}))
        (letter,) = eventually(lambda: _letters(cloud))
    assert (letter["Source"], letter["To"]) == ("rowmill@example.org", ["ada@example.org"])
    assert letter["Subject"] == "people: upload completed with errors, 1 rows loaded, 1 rejected"
    assert upload["id"] in letter["BodyText"]
    assert "Bob" not in letter["BodyText"]
    with pytest.raises(ApiError, match="notify_invalid"):
        account.start(body, notify={"email": "ada@example.org"})  # without the settings, none may be written to


def _letters(cloud: Cloud) -> list[dict[str, Any]]:
    found = httpx.get(f"{cloud.instance.endpoint}/_ministack/ses/messages").json()["messages"]
    return [letter for letters in found.values() for letter in letters]


@back_here
def test_the_command_line_does_all_of_it(hooked: Account, receiver: Receiver) -> None:
    added = rowmill(hooked, "webhook", "add", receiver.url, "--event", "upload.completed", "--json")
    webhook = json.loads(added.stdout)
    rotated = rowmill(hooked, "webhook", "rotate", webhook["id"]).stdout.strip()
    assert rowmill(hooked, "webhook", "ping", webhook["id"]).returncode == 0
    told(hooked, webhook)
    for secret in (webhook["secret"], rotated):
        receiver.got[0].verified(secret)
    (listed,) = json.loads(rowmill(hooked, "webhook", "list", "--json").stdout)
    assert (listed["id"], "secret" in listed) == (webhook["id"], False)
    (delivery,) = json.loads(rowmill(hooked, "webhook", "deliveries", webhook["id"], "--json").stdout)
    assert (delivery["type"], delivery["state"]) == ("webhook.ping", "delivered")
    shown = rowmill(hooked, "webhook", "set", webhook["id"], "--only-named", "--disable", "--json")
    assert (json.loads(shown.stdout)["events"], json.loads(shown.stdout)["state"]) == ([], "disabled")
    assert rowmill(hooked, "webhook", "delete", webhook["id"]).returncode == 0
    assert rowmill(hooked, "webhook", "get", webhook["id"]).returncode == 1
