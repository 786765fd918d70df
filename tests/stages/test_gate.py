"""The gate before loading: what is found in a file, wherever it stands, leaves no row in the table."""

from __future__ import annotations

import gzip
from typing import Any

import boto3
import pytest

from chalicelib.aws import s3
from chalicelib.formats.threats import EICAR
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline, cut_into
from tests.workbooks import of_rows

HEADER = b"email,name,age\n"
GOOD = b"".join(b"u%d@x.org,Ada,36\n" % n for n in range(20))
FILES = {
    "the test file itself": EICAR,
    "a cell": HEADER + GOOD + b"e@x.org," + EICAR + b",1\n",
    "a quoted cell": HEADER + GOOD + b'e@x.org,"two\n' + EICAR + b'\n",1\n',
    "the last bytes": HEADER + GOOD + EICAR,
    "gzip": gzip.compress(HEADER + GOOD + b"e@x.org," + EICAR + b",1\n"),
    "gzip of the test file": gzip.compress(EICAR),
    "UTF-16": (HEADER + GOOD + b"e@x.org," + EICAR + b",1\n").decode().encode("utf-16"),
    "a workbook": of_rows([["email", "name", "age"], ["a@x.org", "Ada", 36], ["e@x.org", EICAR.decode(), 1]]),
}


def tags(pipeline: Pipeline, key: str) -> dict[str, str]:
    found = boto3.client("s3").get_object_tagging(Bucket=settings().bucket, Key=key)
    return {tag["Key"]: tag["Value"] for tag in found["TagSet"]}


def is_quarantined(pipeline: Pipeline, upload: dict[str, Any]) -> None:
    assert (upload["state"], upload["status"]) == ("quarantined", "failed")
    assert upload["error"]["code"] == "quarantined"
    assert upload["malware"] == {"scanner": "off", "verdict": "infected", "threat": "EICAR test file"}
    assert (pipeline.rows(), upload["loaded"], upload["rejected"]) == ([], 0, 0)
    assert tags(pipeline, f"uploads/{pipeline.tenant}/{upload['id']}/source") == {s3.QUARANTINED: "true"}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_holds_eicar_ends_quarantined_without_a_row(
    pipeline: Pipeline, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 5)
    pipeline.dataset()
    is_quarantined(pipeline, pipeline.run(FILES[name]))


def test_a_clean_file_says_that_no_scanner_has_seen_it(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(HEADER + GOOD)
    assert upload["state"] == "completed"
    assert upload["malware"] == {"scanner": "off", "verdict": "unscanned", "threat": None}
