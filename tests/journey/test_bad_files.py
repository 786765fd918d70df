"""Files that are wrong in part or in whole: each ends, says why, and accounts for every record."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rowmill_client import ApiError

from bench.bad_input import cases, watch
from chalicelib.formats.threats import EICAR
from infra.local import instance
from tests.journey.conftest import COUNTS, Account, Cloud, adds_up, new_account
from tests.workbooks import of_rows, zipped

CONTACTS = {
    "fields": [
        {"name": "email", "type": "string", "constraints": {"required": True, "unique": True}},
        {"name": "name", "type": "string"},
        {"name": "age", "type": "integer"},
    ]
}
HEADER = b"email,name,age\n"
GOOD = b"a@x.org,Ada,36\n"
GARBAGE = random.Random(1).randbytes(4000)


@dataclass(frozen=True, slots=True)
class Case:
    """A file, and how it must end: the code of the upload's error, or (row, line, column, code) of rejects."""

    body: bytes
    state: str
    rows: int | None = None
    error: str | None = None
    rejects: tuple[tuple[int, int, str | None, str], ...] = ()


CASES: Mapping[str, Case] = {
    "a wrong type": Case(
        HEADER + GOOD + b"b@x.org,Bob,old\n", "completed_with_errors", 2, rejects=((2, 3, "age", "type_invalid"),)
    ),
    "no good row": Case(
        HEADER + b"a@x.org,Ada,old\n", "completed_with_errors", 1, rejects=((1, 2, "age", "type_invalid"),)
    ),
    "a required value missing": Case(
        HEADER + GOOD + b",Bob,2\n", "completed_with_errors", 2, rejects=((2, 3, "email", "required_missing"),)
    ),
    "a key twice": Case(
        HEADER + GOOD + b"b@x.org,Bob,2\n" + GOOD,
        "completed_with_errors",
        3,
        rejects=((3, 4, "email", "duplicate_in_file"),),
    ),
    "ragged rows": Case(
        HEADER + b"a@x.org\nb@x.org,Bob,2\nc@x.org,Cy,3,more\nd@x.org,Di,4\n",
        "completed_with_errors",
        4,
        rejects=((1, 2, None, "width_mismatch"), (3, 4, None, "width_mismatch")),
    ),
    "a bad row after a quoted newline": Case(
        HEADER + b'a@x.org,"Ada\nL.",36\nb@x.org,Bob,x\n',
        "completed_with_errors",
        2,
        rejects=((2, 4, "age", "type_invalid"),),
    ),
    "a cell that is not UTF-8": Case(
        HEADER + b"a@x.org,Andr\xe9,1\n" + b"b@x.org,Bob,2\n",
        "completed_with_errors",
        2,
        rejects=((1, 2, "name", "encoding_invalid"),),
    ),
    "a column missing": Case(b"email,name\na@x.org,Ada\n", "failed", error="columns_missing"),
    "a column too many": Case(b"email,name,age,town\na@x.org,Ada,1,Ur\n", "failed", error="columns_unknown"),
    "a header alone": Case(HEADER, "completed", 0),
    "no byte at all": Case(b"", "failed", error="file_empty"),
    "a gzip archive": Case(gzip.compress(HEADER + GOOD), "completed", 1),
    "a gzip archive cut short": Case(gzip.compress(HEADER + GOOD)[:-1], "failed", error="gzip_truncated"),
    "a workbook": Case(of_rows([["email", "name", "age"], ["a@x.org", "Ada", 36]]), "completed", 1),
    "a workbook with nothing in it": Case(zipped({"[Content_Types].xml": b""}), "failed", error="workbook_corrupt"),
    "UTF-16": Case((HEADER + GOOD).decode().encode("utf-16"), "completed", 1),
    "a quote that never ends": Case(HEADER + GOOD + b'b@x.org,"Bob,2\nc@x.org,Cy,3\n', "completed_with_errors", 2),
    "noise": Case(GARBAGE, "failed"),
    "EICAR in a cell": Case(HEADER + GOOD + b"e@x.org," + EICAR + b",1\n", "quarantined", error="quarantined"),
    "EICAR in gzip": Case(gzip.compress(HEADER + GOOD + EICAR), "quarantined", error="quarantined"),
}


@pytest.fixture(scope="module")
def sent(deployed: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Account, dict[str, str]]]:
    """All of them at once, each into a dataset of its own."""
    with new_account(deployed, tmp_path_factory.mktemp("bad")) as account:
        yield (
            account,
            {
                name: account.start(case.body, account.dataset(CONTACTS, f"contacts {place}"))
                for place, (name, case) in enumerate(CASES.items())
            },
        )


@pytest.mark.parametrize("name", CASES)
def test_a_bad_file_ends_with_its_reason_and_a_sum_that_adds_up(
    sent: tuple[Account, dict[str, str]], name: str
) -> None:
    (account, uploads), case = sent, CASES[name]
    upload = account.ended(uploads[name])
    assert (upload["state"], upload["percent"]) == (case.state, 100.0)
    if case.error:
        assert upload["error"] and upload["error"]["code"] == case.error
    if case.rows is not None:
        assert upload["rows_total"] == case.rows
    assert adds_up(upload)
    assert len(account.table(upload["dataset"])) == upload["loaded"]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.rejects])
def test_a_rejected_row_names_its_row_line_column_and_code(sent: tuple[Account, dict[str, str]], name: str) -> None:
    account, uploads = sent
    account.ended(uploads[name])
    rejects = list(account.rowmill.iterate_rejects(uploads[name]))
    found = [(r["row"], r["line"], e["column"], e["code"]) for r in rejects for e in r["errors"]]
    assert tuple(found) == CASES[name].rejects
    lines = CASES[name].body.splitlines()
    assert [r["raw"] for r in rejects] == [_text(lines[r["line"] - 1]) for r in rejects]


def test_a_column_that_is_missing_or_too_many_is_named(sent: tuple[Account, dict[str, str]]) -> None:
    account, uploads = sent
    named: dict[str, Any] = {}
    for name in ("a column missing", "a column too many"):
        error: Any = account.ended(uploads[name])["error"]
        named[name] = [each["column"] for each in error["errors"]]
    assert named == {"a column missing": ["age"], "a column too many": ["town"]}


def test_a_dataset_nobody_declared_is_refused_before_any_byte_is_sent(account: Account) -> None:
    with pytest.raises(ApiError) as refused:
        account.rowmill.create_upload(account.file(HEADER), "nowhere")
    assert (refused.value.status, refused.value.code) == (422, "unknown_dataset")
    assert list(account.rowmill.iterate_uploads()) == []


def _text(raw: bytes) -> str:
    return raw.decode(errors="backslashreplace")


FULL = {  # a chunk or two of full size each; how many rows the long files of a run have then
    "every row bad: a wrong type": 100_000,
    "every row the same key, insert": 100_000,
    **{f"every row in the table already, {mode}": 200_000 for mode in cases.MODES},
    "1,500 columns, empty but for one": 100_000,
    "1,500 columns, every cell a wrong type": 36_000,
    "a cell of 2 MB in one row of fifty": 75_000,
}


@pytest.fixture(scope="module")
def unworn_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with instance.running(tmp_path_factory.mktemp("unworn")) as here:
        yield Cloud(here)


@pytest.fixture
def unworn(unworn_cloud: Cloud, tmp_path: Path) -> Iterator[Account]:
    """On a cloud whose workers have met nothing else: what they keep of hundreds of odd files is not these chunks'."""
    with new_account(unworn_cloud, tmp_path) as one:
        yield one


@pytest.mark.needs("clouds of a test's own")
@pytest.mark.parametrize("name", FULL)
def test_no_chunk_of_a_nasty_file_takes_more_memory_than_a_worker_may(unworn: Account, name: str) -> None:
    account = unworn
    (case,) = (case for case in cases.every(FULL[name]) if case.name == name)
    path = account.folder / "nasty.csv"
    case.write(path)
    account.rowmill.put_dataset("nasty", dict(case.schema or {}), case.mode)
    if case.before:
        account.rowmill.upload(path, "nasty", timeout=60)
    with watch.peaks(account.cloud.instance) as peaks:
        created = account.rowmill.create_upload(path, "nasty")
        account.rowmill.send_file(created, path)
        upload = account.ended(created["id"], seconds=60)
    assert {count: upload[count] for count in COUNTS if upload[count]} == case.counts
    assert peaks.keys() >= watch.BOUNDS_MB.keys()
    assert watch.too_large(peaks) == [], peaks
