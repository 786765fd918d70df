"""What the model has found, as the shortest story that shows it."""

from __future__ import annotations

import pytest

from tests.faults.deliveries import Deliveries
from tests.faults.state import status_table


@pytest.mark.parametrize("end", ["canceled", "failed"])
def test_an_upload_that_ended_before_it_was_split_is_still_over_when_the_status_table_is_rebuilt(
    deliveries: Deliveries, end: str
) -> None:
    pipeline = deliveries.pipeline
    pipeline.dataset()
    upload_id = pipeline.create(b"email,name,age\na@x.org,A,1\n")
    if end == "canceled":
        pipeline.cancel(upload_id)
    else:
        deliveries.send("dead", pipeline.event(upload_id))
        deliveries.drain()
    assert pipeline.upload(upload_id)["state"] == end
    status_table().items.clear()
    deliveries.sweep()
    assert pipeline.upload(upload_id)["state"] == end
