"""What `make load` calls lost, doubled, unfair and slow: the arithmetic that its verdict stands on."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.load import audit, faults, files, meters, report, run, whale

SENT: dict[str, Any] = {"id": "upl_1", "rows": 1000, "bad": 10, "points": 495_000, "stored": 1.0}
ENDED = audit.Ended("upl_1", "completed_with_errors", "medium", 1.0, 1.05, 1.1, 1.2, 1.3, 10, 990, 990, 495_000)


@pytest.mark.parametrize("rows", files.SIZES)
@pytest.mark.parametrize("spoilt", [False, True])
def test_a_file_holds_what_its_kind_says_and_no_email_twice(rows: int, spoilt: bool) -> None:
    kind = files.Kind(rows, spoilt)
    lines = files.content(kind, "abcd1234").decode().splitlines()[1:]
    good = [
        cells for line in lines if (cells := line.split(","))[0] and cells[3] != "2024-02-30" and cells[4] != "many"
    ]
    assert (len(lines), len(lines) - len(good)) == (rows, kind.bad)
    assert sum(int(cells[4]) for cells in good) == kind.points
    assert len({cells[0] for cells in good}) == len(good)
    assert all(re.fullmatch(r"u[0-9]{7}@abcd1234\.example", cells[0]) for cells in good)


def test_what_is_still_under_way_is_lost_or_failed_only_when_it_is_over() -> None:
    under_way = run.Found([], [SENT, SENT | {"state": "failed"}], [], {}, is_over=False)
    assert (under_way.failed(), under_way.problems()) == (["upl_1"], [])
    over = replace(under_way, is_over=True)
    assert (len(over.failed()), len(over.problems())) == (2, 2)
    assert replace(over, uploads=[SENT | {"left": True}]).failed() == []


def test_two_tags_share_no_email() -> None:
    one, two = (
        {line.split(",")[0] for line in files.content(files.Kind(100, False), tag).decode().splitlines()[1:]}
        for tag in ("00010001", "00010002")
    )
    assert not one & two


def test_an_upload_that_is_as_it_was_sent_is_no_problem() -> None:
    assert list(audit.problems([SENT], {"upl_1": ENDED})) == []


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (replace(ENDED, rows=989, distinct=989), "989, 495000, 10"),
        (replace(ENDED, rows=991), "1 rows are there twice"),
        (replace(ENDED, points=495_001), "495001"),
        (replace(ENDED, rejects=9), "990, 495000, 9"),
        (replace(ENDED, state="processing"), "is processing, not completed_with_errors"),
    ],
)
def test_a_row_lost_doubled_or_changed_is_found(ended: audit.Ended, said: str) -> None:
    assert said in " ".join(audit.problems([SENT], {"upl_1": ended}))


def test_a_file_that_was_stored_and_never_begun_is_found() -> None:
    assert list(audit.problems([SENT], {})) == ["upl_1: stored, but never begun"]


def test_a_status_that_says_otherwise_than_the_table_is_found() -> None:
    told = SENT | {"state": "completed_with_errors", "loaded": 989, "rejected": 10}
    assert "the status says 989 loaded" in " ".join(audit.problems([told], {"upl_1": ENDED}))


def test_jains_index_is_one_for_equals_and_a_share_for_one_who_has_all() -> None:
    assert report.fairness([3, 3, 3, 3]) == 1
    assert report.fairness([8, 0, 0, 0]) == 0.25
    assert math.isnan(report.fairness([]))


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = list(range(100, 0, -1))
    assert [report.quantile(values, share) for share in (0.5, 0.95, 0.99, 1)] == [50, 95, 99, 100]
    assert math.isnan(report.quantile([], 0.5))


def test_the_bill_is_of_all_rows_together_and_leaves_out_files_without_a_price() -> None:
    sent = [{"rows": 1000, "usd": 0.001}, {"rows": 999_000, "usd": 0.002}, {"rows": 10, "usd": None}, {"rows": 10}]
    assert report.bill(sent) == 0.003
    assert math.isnan(report.bill([]))


def test_polls_are_told_apart_by_what_they_were_answered() -> None:
    poll, other = files.POLL, "GET /v1/uploads/{id}"
    requests = [(poll, 1.0, 10.0, 200), (poll, 2.0, 20.0, 304), (poll, 3.0, 30.0, 304), (poll, 4.0, 40.0, 503)]
    requests.append((poll, 5.0, 50.0, 429))
    found = run.Found([*requests, (other, 2.0, 99.0, 304), (poll, 99.0, 99.0, 304)], [], [], {}, is_over=True)
    told = report.figures(found, (0.0, 8.0))["polls"]
    times = {"count": 5, "p50": 30.0, "p95": 50.0, "p99": 50.0}
    assert told == times | {"per_s": 0.6, "unchanged": 0.4, "turned_away": 1, "errors": 1}


def test_a_request_may_be_told_to_come_again_by_429_and_beside_faults_by_503() -> None:
    told = {"audited": True, "problems": [], "failed": [], "errors": {"503": 3}, "faults": None}
    assert not report.is_good(told)
    assert report.is_good(told | {"faults": {"killed": {}}})
    assert not report.is_good(told | {"faults": {"killed": {}}, "errors": {"500": 1, "503": 3}})
    assert report.is_good(told | {"errors": {"429": 3}})


def test_a_window_in_which_nothing_ended_is_told_of() -> None:
    told = {"users": 2, "seconds": 5.0, "routes": {}, "waiting": {}}
    told |= {"audited": True, "problems": ["a row is lost"], "failed": [], "errors": {}}
    said = "load: 2 users: nothing came to its end in 5 s, give them more; NOT SOUND"
    assert report.markdown(told) == said


def test_what_a_run_does_not_know_is_left_out() -> None:
    """Files of another size than the smallest, whose statuses had no cost: neither an index of the waits nor a bill."""
    upload = SENT | {"user": 1, "state": "completed_with_errors", "loaded": 990, "rejected": 10}
    found = run.Found([("GET /v1/uploads", 1.0, 10.0, 200)], [upload], [], {"upl_1": ENDED}, is_over=True)
    told = report.figures(found, (0.0, 8.0)) | report.peaks(meters.Seen(), 9) | {"processor": {}, "resident_mb": None}
    told |= {"what": "one user", "users": 1, "pollers": 0, "faults": None}
    said = report.markdown(told)
    assert "nan" not in said
    assert "Jain's index over users: 1.0 of the uploads each got in." in said
    told |= {"fairness": {"waiting": 0.5, "uploads": 1.0}, "usd_per_million_rows": 0.3}
    assert "0.5 of the mean wait for 100 rows, 1.0 of the uploads each got in." in report.markdown(told)


def test_recovery_is_told_from_the_moment_that_the_database_ended() -> None:
    struck = faults.Faults(["split", "load_high", "split"], restart=(10.0, 12.0))
    ended = [replace(ENDED, stored=stored, finished=over) for stored, over in ((8, 9), (9, 11), (9, 14), (13, 20))]
    told = struck.figures({str(n): one for n, one in enumerate(ended)})
    assert told["killed"] == {"load_high": 1, "split": 2}
    assert (told["restart_s"], told["first_finished_s"], told["all_finished_s"]) == (2.0, 4.0, 4.0)
    assert struck.figures({"1": replace(ENDED, stored=9, finished=None)})["all_finished_s"] == math.inf


def test_a_whale_of_many_blocks_has_one_header_and_no_email_twice(tmp_path: Path) -> None:
    path = tmp_path / "whale.csv"
    points = whale.write(path, 250, block=100)
    lines = path.read_bytes().splitlines()
    assert len(lines) == len({line.partition(b",")[0] for line in lines}) == 251
    assert points == sum(int(line.rpartition(b",")[2]) for line in lines[1:])
