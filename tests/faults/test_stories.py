"""Single stories worth telling by themselves: what the model found, and what it seldom comes by in half a minute."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from chalicelib import aws
from tests.faults.audit import audited
from tests.faults.deliveries import TIERS, Deliveries
from tests.faults.state import status_table
from tests.stages.conftest import cut_into

BODY = b"email,name,age\na@x.org,A,1\nb@x.org,B,2\n"


@pytest.mark.parametrize("end", ["canceled", "failed"])
def test_an_upload_that_ended_before_it_was_split_is_still_over_when_the_status_table_is_rebuilt(
    deliveries: Deliveries, end: str
) -> None:
    pipeline = deliveries.pipeline
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    if end == "canceled":
        pipeline.cancel(upload_id)
    else:
        deliveries.send("dead", pipeline.event(upload_id))
        deliveries.drain()
    assert pipeline.upload(upload_id)["state"] == end
    status_table().items.clear()
    deliveries.sweep()
    assert pipeline.upload(upload_id)["state"] == end


@pytest.mark.usefixtures("own_clients")
def test_a_status_that_arrives_after_the_end_was_shown_changes_nothing(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 1)  # the status of a file of one chunk is not shown before its end
    held: list[dict[str, Any]] = []

    def hold(params: dict[str, Any], **_: Any) -> None:
        if "progress" in params["UpdateExpression"]:
            held.append(dict(params))
            raise ConnectionClosedError(endpoint_url="http://aws")

    pipeline, events = deliveries.pipeline, aws.client("dynamodb").meta.events
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    pipeline.split(upload_id)
    messages = deliveries.waiting(*TIERS)
    events.register("before-parameter-build.dynamodb.UpdateItem", hold)
    deliveries.send("intake", pipeline.event(upload_id))
    deliveries.pass_time()  # or the status is not due
    (again,) = deliveries.waiting("intake")
    deliveries.deliver(again)
    events.unregister("before-parameter-build.dynamodb.UpdateItem", hold)
    for message in messages:
        deliveries.deliver(message)
    ended = pipeline.upload(upload_id)
    assert (ended["state"], len(held)) == ("completed", 1)
    with suppress(ClientError):
        aws.client("dynamodb").update_item(**held[0])
    assert pipeline.upload(upload_id) == ended


def test_a_chunk_that_kills_every_worker_is_given_up_after_four(
    deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 1)
    pipeline = deliveries.pipeline
    pipeline.dataset()
    upload_id = pipeline.create(BODY)
    pipeline.split(upload_id)
    deadly, other = deliveries.waiting(*TIERS)
    for _ in range(4):
        assert deliveries.deliver(deadly, "s3.GetObject").is_killed
    assert not deliveries.deliver(deadly, "s3.GetObject").is_killed
    deliveries.deliver(other)
    found = audited(deliveries, upload_id)
    assert (found.state, found.counts["loaded"], found.counts["unprocessed"]) == ("completed_with_errors", 1, 1)
