"""Queues deliver at least once: whatever comes twice, happens once."""

from __future__ import annotations

import pytest
from rowmill_client.deployment import QUEUES

from tests.journey.conftest import PEOPLE, Account, eventually, people

KEYLESS = {"fields": PEOPLE["fields"]}  # nothing but the protocol keeps a second copy of a row out


@pytest.mark.needs("two batches of a queue at once")
def test_an_event_that_s3_repeats_during_and_after_the_split_splits_once(account: Account) -> None:
    account.dataset()
    before = account.cloud.messages("intake")
    with account.cloud.held("INSERT", "NEW.first_record > 1"):
        upload_id = account.start(people(8000, padding=1200))
        eventually(account.cloud.blocked)
        account.cloud.send("intake", account.notification(upload_id), account.notification(upload_id))
        eventually(lambda: account.cloud.messages("intake") <= before + 1)  # all but the one being worked on
    upload = account.ended(upload_id)
    account.cloud.send("intake", account.notification(upload_id))
    eventually(lambda: account.cloud.messages("intake") <= before)
    assert account.rowmill.get_upload(upload_id) == upload
    assert (upload["state"], upload["loaded"]) == ("completed", 8000)
    assert _cuts(account, upload_id) == upload["chunks_total"] == 2
    assert [row[0] for row in account.table()] == list(range(1, 8001))


@pytest.mark.needs("two batches of a queue at once")
def test_a_chunk_delivered_three_times_at_once_loads_once(account: Account) -> None:
    account.dataset(KEYLESS)
    before = account.cloud.messages("high")
    with account.cloud.held("UPDATE", "NEW.attempts > OLD.attempts"):
        upload_id = account.start(people(900))
        eventually(account.cloud.blocked)
        ((n,),) = account.cloud.sql("SELECT n FROM rowmill.chunk WHERE upload = %s", account.number(upload_id))
        message = {"upload": account.number(upload_id), "chunk": n}
        account.cloud.send("high", message, message)
        eventually(lambda: account.cloud.messages("high", ("Delayed",)) == 2)  # somebody is at it: later, perhaps
        assert len(account.cloud.blocked()) == 1
    upload = account.ended(upload_id)
    eventually(lambda: account.cloud.messages("high") <= before)
    assert account.rowmill.get_upload(upload_id) == upload
    assert (upload["state"], upload["rows_total"], upload["loaded"], upload["rejected"]) == ("completed", 900, 900, 0)
    assert [row[0] for row in account.table()] == list(range(1, 901))


def test_a_chunk_delivered_again_after_the_end_changes_nothing(account: Account) -> None:
    account.dataset(KEYLESS)
    upload = account.ended(account.start(people(10)))
    number = account.number(upload["id"])
    ((n,),) = account.cloud.sql("SELECT n FROM rowmill.chunk WHERE upload = %s", number)
    before = account.cloud.messages("high")
    account.cloud.send("high", {"upload": number, "chunk": n})
    eventually(lambda: account.cloud.messages("high") <= before)
    assert len(account.table()) == 10
    assert account.rowmill.get_upload(upload["id"]) == upload


def test_an_upload_that_is_over_has_left_no_message_in_any_queue(account: Account) -> None:
    account.dataset()
    before = {queue: account.cloud.messages(queue) for queue in QUEUES}
    upload = account.ended(account.start(people(10)))
    assert account.rowmill.get_receipt(upload["id"])
    eventually(lambda: all(account.cloud.messages(queue) <= count for queue, count in before.items()))


def _cuts(account: Account, upload_id: str) -> int:
    return len(list(account.rowmill.iterate_chunks(upload_id)))
