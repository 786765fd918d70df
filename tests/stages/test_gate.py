"""The gate before loading: what is found in a file, wherever it stands, leaves no row in the table."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import boto3
import psycopg
import pytest

from bench import clamav
from bench.embedded import CONTACTS
from bench.gauntlet.cases import every
from chalicelib import ahead, chunking, formats, mend, split
from chalicelib.aws import s3, sqs
from chalicelib.errors import NotYet, Refused, Unavailable
from chalicelib.formats.threats import EICAR
from chalicelib.postgres import locks
from chalicelib.scanners import clamd, guardduty
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline, cut_into, onward
from tests.workbooks import of_rows

with_clamd = pytest.mark.skipif(clamav.CLAMD is None, reason=clamav.ABSENT)
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


def is_quarantined(
    pipeline: Pipeline, upload: dict[str, Any], scanner: str = "off", threat: str = "EICAR test file"
) -> None:
    assert (upload["state"], upload["status"]) == ("quarantined", "failed")
    assert upload["error"]["code"] == "quarantined"
    assert upload["malware"] == {"scanner": scanner, "verdict": "infected", "threat": threat}
    assert (pipeline.rows(), upload["loaded"], upload["rejected"]) == ([], 0, 0)
    assert tags(pipeline, f"uploads/{pipeline.tenant}/{upload['id']}/source")[s3.QUARANTINED] == "true"


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_holds_eicar_ends_quarantined_without_a_row(
    pipeline: Pipeline, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 5)
    pipeline.dataset()
    is_quarantined(pipeline, pipeline.run(FILES[name]))


@pytest.mark.parametrize("segment", [1 << 20, 150])
def test_it_is_found_behind_the_first_bytes_whoever_scans_them(
    pipeline: Pipeline, segment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a segment is scanned ahead, too: what was found there of its chunks ends before it."""
    monkeypatch.setenv("ROWMILL_SEGMENT_BYTES", str(segment))
    cut_into(monkeypatch, 5)
    monkeypatch.setattr(formats, "SAMPLE_BYTES", 64)
    pipeline.dataset()
    upload_id = pipeline.create(HEADER + GOOD * 5 + b"e@x.org," + EICAR + b",1\n" + GOOD)
    monkeypatch.setattr(ahead, "_BEHIND_BYTES", 10)
    monkeypatch.setattr(chunking, "PROVABLE", 128)
    onward(split.file(pipeline.event(upload_id), 0.0))  # out of time after its first chunk, if it comes to that
    early = pipeline.messages()
    assert bool(early) == (segment < len(GOOD))
    for message in pipeline.messages("intake"):
        pipeline.go_on(message)
    pipeline.load(early)
    is_quarantined(pipeline, pipeline.upload(upload_id))


def test_a_clean_file_says_that_no_scanner_has_seen_it(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(HEADER + GOOD)
    assert upload["state"] == "completed"
    assert upload["malware"] == {"scanner": "off", "verdict": "unscanned", "threat": None}


def test_each_small_file_of_the_gauntlet_ends_as_it_must(pipeline: Pipeline) -> None:
    found, wanted = {}, {}
    for case in every():
        if case.state != "refused" and not case.is_large:
            pipeline.dataset(CONTACTS, case.name)
            upload = pipeline.run(b"".join(case.blocks()), case.name)
            found[case.name] = upload["state"], (upload["error"] or {}).get("code"), len(pipeline.rows(case.name))
            wanted[case.name] = case.state, case.code, upload["loaded"] if case.code is None else 0
    assert found == wanted


def test_what_is_quarantined_cannot_be_tried_again_and_its_file_is_not_read_for_a_receipt(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload = pipeline.run(FILES["a cell"])
    for ask in (pipeline.redrive, pipeline.revert, pipeline.pause):
        with pytest.raises(Refused) as refused:
            ask(upload["id"])
        assert (refused.value.status, "is quarantined" in refused.value.detail) == (409, True)
    pipeline.attest()
    receipt = pipeline.sql("SELECT jws FROM rowmill.receipt")
    assert len(receipt) == 1
    pipeline.delete(upload["id"])
    pipeline.sweep()
    key = f"uploads/{pipeline.tenant}/{upload['id']}/source"
    assert s3.head(key) is None


# With a scanner: nothing moves before it has answered.


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clamav.Daemon]:
    with clamav.running(tmp_path_factory.mktemp("clamav"), stream_bytes=1 << 20) as one:
        yield one


def configured(monkeypatch: pytest.MonkeyPatch, scanner: str, address: str = "", seconds: int = 3600) -> None:
    monkeypatch.setenv("ROWMILL_SCANNER", scanner)
    monkeypatch.setenv("ROWMILL_SCANNER_ADDRESS", address)
    monkeypatch.setenv("ROWMILL_SCANNER_SECONDS", str(seconds))
    settings.cache_clear()


def asked(pipeline: Pipeline, upload_id: str) -> list[dict[str, Any]]:
    """The file is split, and what the splitter asked of the scanner."""
    pipeline.split(upload_id)
    assert pipeline.messages() == []
    return [one for one in pipeline.messages("intake") if one.get("gate")]


def examined(pipeline: Pipeline, body: bytes, dataset: str = "contacts") -> dict[str, Any]:
    upload_id = pipeline.create(body, dataset)
    messages = asked(pipeline, upload_id)
    while messages:
        pipeline.go_on(messages[0])
        messages = pipeline.messages("intake")
    pipeline.load(pipeline.messages())
    return pipeline.upload(upload_id)


@with_clamd
@pytest.mark.parametrize("name", [name for name in FILES if "test file" not in name])  # which no header survives
def test_clamd_finds_what_no_built_in_check_does(
    pipeline: Pipeline, daemon: clamav.Daemon, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the built-in check is blind; the transcoded text is looked at as the piece that it becomes."""
    configured(monkeypatch, "clamd", daemon.address)
    monkeypatch.setattr("chalicelib.formats.threats._RARE", b"no byte of any file")
    pipeline.dataset()
    upload_id = pipeline.create(FILES[name])
    messages = asked(pipeline, upload_id)
    while messages:
        pipeline.go_on(messages[0])
        messages = pipeline.messages("intake")
    upload = pipeline.upload(upload_id)
    is_quarantined(pipeline, upload, "clamd", clamav.NAME)


@with_clamd
def test_a_file_that_clamd_passes_loads_and_is_said_to_be_clean(
    pipeline: Pipeline, daemon: clamav.Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(monkeypatch, "clamd", daemon.local_address)
    cut_into(monkeypatch, 3)  # more chunks than are sent early
    pipeline.dataset()
    for body in (HEADER + GOOD, gzip.compress(HEADER + GOOD.replace(b"u", b"v"))):
        upload = examined(pipeline, body)
        assert (upload["state"], upload["loaded"]) == ("completed", 20)
        assert upload["malware"] == {"scanner": "clamd", "verdict": "clean", "threat": None}


def test_nothing_is_clean_before_it_is_known_what_is_to_be_loaded(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packed file may have passed, and what is made of it not: while that is still being made nothing is said."""
    configured(monkeypatch, "clamd", "nowhere")
    monkeypatch.setattr(clamd.Clamd, "scan", lambda *_: None)
    pipeline.dataset()
    upload_id = pipeline.create(gzip.compress(HEADER + GOOD))
    split._open(s3.arrivals(pipeline.event(upload_id))[0])
    message = {"tenant": pipeline.tenant, "upload_id": upload_id, "gate": True}
    number = pipeline.sql("SELECT number FROM rowmill.upload")[0]["number"]
    real, was_free = sqs.send_for_gate, list[bool]()

    def sent(tenant: str, upload_id: str) -> None:
        with psycopg.connect(pipeline.url) as other, locks.alone(other, locks.gate(number)) as ours:
            was_free.append(ours)
        real(tenant, upload_id)

    with monkeypatch.context() as patch:
        patch.setattr(sqs, "send_for_gate", sent)
        pipeline.go_on(message)
    assert was_free == [True]  # whoever finds it held would let the message go, and nobody would go on
    with pytest.raises(NotYet):
        pipeline.go_on(message)
    (again,) = asked(pipeline, upload_id)[:1]
    for _ in range(2):
        pipeline.go_on(again)
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["state"] == "completed"


@with_clamd
def test_a_long_text_goes_to_clamd_in_slices_none_of_which_hides_what_lies_across_two(
    pipeline: Pipeline, daemon: clamav.Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(monkeypatch, "clamd", daemon.address)
    monkeypatch.setattr(clamd, "SLICE_BYTES", 600_000)
    monkeypatch.setattr("chalicelib.formats.threats._RARE", b"no byte of any file")
    body = HEADER + b"".join(b"u%07d@x.org,somebody,36\n" % n for n in range(80_000))
    pipeline.dataset()
    upload = examined(pipeline, body)  # longer than the stream that this daemon takes
    assert (upload["state"], upload["malware"]["verdict"], upload["loaded"]) == ("completed", "clean", 80_000)
    bad = body[: 1_200_000 - 30] + EICAR + body[1_200_000 - 30 :]
    pipeline.dataset(name="other")
    upload = examined(pipeline, bad, "other")
    assert (upload["state"], upload["malware"]["threat"], pipeline.rows("other")) == ("quarantined", clamav.NAME, [])


@with_clamd
def test_a_packed_file_that_clamd_takes_no_stream_of_is_refused_by_name(
    pipeline: Pipeline, daemon: clamav.Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(monkeypatch, "clamd", daemon.address)
    pipeline.dataset()
    packed = gzip.compress(HEADER + b"".join(b"u%07d@x.org,somebody,36\n" % n for n in range(60_000)), compresslevel=0)
    upload = examined(pipeline, packed)
    assert (upload["state"], upload["error"]["code"], upload["loaded"]) == ("failed", "file_unscannable", 0)


@with_clamd
def test_nothing_loads_while_clamd_is_down_and_all_does_when_it_is_back(
    pipeline: Pipeline, daemon: clamav.Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(monkeypatch, "clamd", daemon.address)
    pipeline.dataset()
    upload_id = pipeline.create(HEADER + GOOD)
    (message,) = asked(pipeline, upload_id)
    daemon.stop()
    try:
        for _ in range(2):
            with pytest.raises(Unavailable) as down:
                pipeline.go_on(message)
            assert down.value.code == "scanner_unavailable"
        chunk = pipeline.sql("SELECT upload, n AS chunk FROM rowmill.chunk")
        with pytest.raises(NotYet):  # should somebody send it all the same
            pipeline.load(chunk)
    finally:
        daemon.start()
    assert pipeline.rows() == []
    assert pipeline.upload(upload_id)["malware"]["verdict"] == "awaited"
    pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    assert (pipeline.upload(upload_id)["state"], len(pipeline.rows())) == ("completed", 20)


def test_a_scanner_that_stays_away_fails_the_upload_by_name_and_a_redrive_asks_it_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(monkeypatch, "clamd", "127.0.0.1:1", seconds=0)
    pipeline.dataset()
    upload = examined(pipeline, HEADER + GOOD)
    assert (upload["state"], upload["error"]["code"]) == ("failed", "scanner_unavailable")
    assert (upload["loaded"], upload["unprocessed"], pipeline.rows()) == (0, 20, [])
    assert pipeline.redrive(upload["id"])["state"] == "processing"
    assert pipeline.messages() == []
    (message,) = pipeline.messages("intake")
    monkeypatch.setattr(clamd.Clamd, "scan", lambda *_: None)
    pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    assert (pipeline.upload(upload["id"])["state"], len(pipeline.rows())) == ("completed", 20)


def test_who_asks_the_scanner_and_fails_by_an_error_of_its_own_fails_the_upload_once_it_has_waited_for_so_long(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(monkeypatch, "clamd", "127.0.0.1:1")
    monkeypatch.setattr(clamd.Clamd, "scan", lambda *_: 1 / 0)
    pipeline.dataset()
    upload_id = pipeline.create(HEADER + GOOD)
    (message,) = asked(pipeline, upload_id)
    with pytest.raises(ZeroDivisionError):
        pipeline.go_on(message)
    pipeline.sql("UPDATE rowmill.gate SET asked_at = asked_at - interval '1 hour'")
    pipeline.go_on(message)
    assert pipeline.upload(upload_id)["error"]["code"] == "scanner_unavailable"


def test_what_was_asked_of_the_scanner_in_vain_is_buried_by_name(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(monkeypatch, "clamd", "127.0.0.1:1")
    pipeline.dataset()
    upload_id = pipeline.create(HEADER + GOOD)
    (message,) = asked(pipeline, upload_id)
    onward(mend.bury(message))
    assert pipeline.upload(upload_id)["error"]["code"] == "scanner_unavailable"


def test_the_sweep_asks_the_scanner_again_if_the_message_was_lost(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(monkeypatch, "guardduty")
    pipeline.dataset()
    upload_id = pipeline.create(HEADER + GOOD)
    assert len(asked(pipeline, upload_id)) == 1
    assert pipeline.sweep()["scanners_asked"] == 0
    pipeline.sql("UPDATE rowmill.upload SET created_at = created_at - interval '1 minute'")
    assert (pipeline.sweep()["scanners_asked"], pipeline.sweep()["scanners_asked"]) == (1, 0)
    (message,) = pipeline.messages("intake")
    assert message == {"tenant": pipeline.tenant, "upload_id": upload_id, "gate": True}
    assert pipeline.messages() == []  # nor has it sent chunks that may not load


TOLD = {
    "NO_THREATS_FOUND": ("completed", None),
    "THREATS_FOUND": ("quarantined", "quarantined"),
    "UNSUPPORTED": ("failed", "file_unscannable"),
}


def tag(pipeline: Pipeline, upload_id: str, value: str) -> None:
    key = f"uploads/{pipeline.tenant}/{upload_id}/source"
    tags = {"TagSet": [{"Key": guardduty.TAG, "Value": value}]}
    boto3.client("s3").put_object_tagging(Bucket=settings().bucket, Key=key, Tagging=tags)


@pytest.mark.parametrize("told", TOLD)
def test_guardduty_is_waited_for_and_believed(pipeline: Pipeline, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    configured(monkeypatch, "guardduty")
    pipeline.dataset()
    upload_id = pipeline.create(HEADER + GOOD)
    (message,) = asked(pipeline, upload_id)
    with pytest.raises(NotYet):  # a tag that is missing says nothing
        pipeline.go_on(message)
    tag(pipeline, upload_id, "FAILED")
    with pytest.raises(Unavailable):
        pipeline.go_on(message)
    assert pipeline.upload(upload_id)["state"] == "queued"
    tag(pipeline, upload_id, told)
    pipeline.go_on(message)
    pipeline.load(pipeline.messages())
    upload = pipeline.upload(upload_id)
    state, code = TOLD[told]
    assert (upload["state"], (upload["error"] or {}).get("code")) == (state, code)
    assert len(pipeline.rows()) == (20 if state == "completed" else 0)
    if state == "quarantined":
        kept = tags(pipeline, f"uploads/{pipeline.tenant}/{upload_id}/source")
        assert kept == {guardduty.TAG: told, s3.QUARANTINED: "true"}


def test_no_file_goes_unscanned_by_a_slip_of_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no such scanner"):
        configured(monkeypatch, "clamav")
        settings()
    settings.cache_clear()
