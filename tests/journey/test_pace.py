"""A dataset's pace on the whole chain: queues delay what waits, and no more rows go in than it says."""

from __future__ import annotations

from itertools import combinations

from chalicelib.postgres.pace import CATCH_UP_SECONDS
from tests.journey.conftest import PEOPLE, Account, people

RATE = 40


def test_rows_go_in_at_the_pace_of_their_dataset(account: Account) -> None:
    account.dataset(PEOPLE | {"max_rows_per_second": RATE})
    upload_id = account.start(people(200))
    upload = account.ended(upload_id, 60)
    assert (upload["state"], upload["loaded"]) == ("completed", 200)
    chunks = account.cloud.sql(
        "SELECT date_part('epoch', started_at), records, attempts FROM rowmill.chunk WHERE upload = %s AND pass = 'load'"
        " ORDER BY started_at",
        account.number(upload_id),
    )
    assert [(records, attempts) for _, records, attempts in chunks] == [(RATE, 1)] * 5
    for (first, before), (last, after) in combinations([(at, n) for n, (at, _, _) in enumerate(chunks)], 2):
        rows = RATE * (after - before)  # from the first's beginning until just before the last
        assert rows <= RATE * (last - first + CATCH_UP_SECONDS), chunks
