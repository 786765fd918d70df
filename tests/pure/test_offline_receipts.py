"""A receipt held against a file, without the network: what is genuine, and what differs."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from rowmill_client import offline
from rowmill_client.errors import Unusable

from chalicelib import seals

BODY = b"email,name\n" + b"".join(b"u%d@x.org,U\n" % n for n in range(6))
CUTS = (11, 34, 58, len(BODY))


def said(body: bytes = BODY, **changed: Any) -> dict[str, Any]:
    lines = [
        [n, start, end, hashlib.sha256(body[start:end]).hexdigest()]
        for n, (start, end) in enumerate(itertools.pairwise(CUTS), 1)
    ]
    return {
        "upload_id": "upl_1",
        "n": 1,
        "state": "completed",
        "file": {"size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "reason": None},
        "text": None,
        "chunks": {"columns": ["n", "byte_start", "byte_end", "sha256"], "items": lines},
    } | changed


def check(folder: Path, told: dict[str, Any], body: bytes, keys: dict[str, Any] | None = None) -> offline.OfflineResult:
    """What holding this file against this receipt comes to."""
    receipt, file = folder / "receipt.json", folder / "file.csv"
    receipt.write_text(json.dumps(told))
    file.write_bytes(body)
    return offline.check(receipt, file, seals.keys() if keys is None else keys)


def sealed(told: dict[str, Any]) -> dict[str, Any]:
    return {"receipt": told, "jws": seals.seal(json.dumps(told).encode())}


def test_the_file_that_a_receipt_is_of_matches_it(tmp_path: Path) -> None:
    found = check(tmp_path, sealed(said()), BODY)
    assert (found["result"], found["problems"], found["chunks"]) == ("match", [], [])
    assert (found["size"], found["sha256"]) == (len(BODY), hashlib.sha256(BODY).hexdigest())


def test_of_an_upload_that_was_undone_the_file_still_matches_and_the_undo_is_told(tmp_path: Path) -> None:
    undone = {"reverted_rows": 4, "restored_rows": 1, "conflicts": 1, "forced": False}
    found = check(tmp_path, sealed(said(state="reverted", undone=undone)), BODY)
    assert (found["result"], found["state"], found["undone"]) == ("match", "reverted", undone)
    assert check(tmp_path, sealed(said()), BODY)["undone"] is None


@pytest.mark.parametrize(
    ("body", "chunks"),
    [
        (BODY.replace(b"u3@", b"v3@"), [2]),
        (BODY.replace(b"name", b"nome"), []),
        (BODY[:-1], [3]),
        (BODY + b"u6@x.org,U\n", []),
        (b"", [1, 2, 3]),
    ],
)
def test_any_other_file_differs_and_is_told_by_its_chunks(tmp_path: Path, body: bytes, chunks: list[int]) -> None:
    found = check(tmp_path, sealed(said()), body)
    assert (found["result"], found["chunks"], found["size"]) == ("differs", chunks, len(body))


@pytest.mark.parametrize(("body", "result"), [(BODY, "match"), (BODY + b"u6@x.org,U\n", "differs")])
def test_what_comes_through_a_pipe_is_read_to_its_end(tmp_path: Path, body: bytes, result: str) -> None:
    """As `verify --offline receipt.json <(zcat contacts.csv.gz)` gives it: nobody can say its size before."""
    receipt, pipe = tmp_path / "receipt.json", tmp_path / "pipe"
    receipt.write_text(json.dumps(sealed(said())))
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(body,), daemon=True).start()
    found = offline.check(receipt, pipe, seals.keys())
    assert (found["result"], found["size"]) == (result, len(body))


def test_a_file_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_text(json.dumps(sealed(said())))
    for file in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(Unusable):
            offline.check(tmp_path / "receipt.json", file, seals.keys())


def test_the_text_that_was_made_of_a_file_matches_by_its_chunks(tmp_path: Path) -> None:
    packed = {"size": 40, "sha256": hashlib.sha256(b"packed").hexdigest(), "reason": None}
    told = sealed(said(text={"size": len(BODY)}, file=packed))
    found = check(tmp_path, told, BODY)
    assert (found["result"], found["of"], found["chunks"]) == ("match", "text", [])
    found = check(tmp_path, told, BODY.replace(b"u3@", b"v3@"))
    assert (found["result"], found["of"], found["chunks"]) == ("differs", "text", [2])
    found = check(tmp_path, told, BODY + b"x")
    assert (found["result"], found["of"], found["chunks"]) == ("differs", "file", None)
    bare = said(text={"size": len(BODY)}, file=packed)
    bare["chunks"] = bare["chunks"] | {"items": None}
    assert check(tmp_path, sealed(bare), BODY)["problems"] == ["the receipt has no digest of the text"]


def test_a_file_that_text_was_made_of_is_compared_as_a_whole(tmp_path: Path) -> None:
    told = said(text={"size": 999})
    assert check(tmp_path, sealed(told), BODY)["chunks"] is None
    assert check(tmp_path, sealed(told), BODY + b"x")["result"] == "differs"


def test_without_a_digest_of_the_whole_file_its_chunks_tell(tmp_path: Path) -> None:
    told = said(file={"size": len(BODY), "sha256": None, "reason": "file_too_large"})
    assert check(tmp_path, sealed(told), BODY)["result"] == "match"
    assert check(tmp_path, sealed(told), BODY.replace(b"u3@", b"v3@"))["chunks"] == [2]
    nothing = told | {"chunks": told["chunks"] | {"items": None}}
    assert check(tmp_path, sealed(nothing), BODY)["result"] == "differs"


def _with_payload(told: dict[str, Any]) -> dict[str, Any]:
    head, _, signature = sealed(said())["jws"].split(".")
    payload = base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")
    return {"receipt": told, "jws": f"{head}.{payload}.{signature}"}


def _with_header(**changed: str) -> dict[str, Any]:
    head, payload, signature = sealed(said())["jws"].split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "==")) | changed
    spelled = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    return {"jws": f"{spelled}.{payload}.{signature}"}


@pytest.mark.parametrize(
    "told",
    [
        _with_payload(said(n=2)),
        _with_header(alg="none"),
        _with_header(typ="JWT"),
        _with_header(kid="another"),
        sealed(said()) | {"receipt": said(n=2)},
        {"jws": ""},
        {"jws": "a.b"},
        {"jws": "!.!.!"},
        {"jws": "e30.e30.e30"},
        {"jws": sealed(said())["jws"] + "A"},
        {"jws": base64.urlsafe_b64encode(b"[" * 99_999).decode() + ".e30.e30"},
    ],
    ids=["payload", "alg", "typ", "kid", "copy", "empty", "short", "signs", "bare", "longer", "deep"],
)
def test_what_was_changed_or_made_up_is_not_genuine(tmp_path: Path, told: dict[str, Any]) -> None:
    with pytest.raises(offline.NotGenuine):
        check(tmp_path, told, BODY)


def test_another_key_of_the_same_name_does_not_open_it(tmp_path: Path) -> None:
    (key,) = seals.keys()["keys"]
    other = key | {"x": seals.public_key("somebody else")}
    with pytest.raises(offline.NotGenuine):
        check(tmp_path, sealed(said()), BODY, {"keys": [other]})
    assert check(tmp_path, sealed(said()), BODY, {"keys": [other | {"kid": "x"}, key]})["result"] == "match"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"jws": 1}', "\xff", "[" * 99_999])
def test_what_is_no_receipt_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "receipt.json").write_bytes(text.encode("latin-1"))
    (tmp_path / "file.csv").write_bytes(BODY)
    with pytest.raises(Unusable):
        offline.check(tmp_path / "receipt.json", tmp_path / "file.csv", seals.keys())


def test_keys_of_other_kinds_in_a_set_are_passed_over(tmp_path: Path) -> None:
    """As RFC 7517 has it: a name and a curve are not what every key has."""
    (key,) = seals.keys()["keys"]
    others = [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "oct", "kid": key["kid"], "k": "AQAB"}]
    assert check(tmp_path, sealed(said()), BODY, {"keys": [*others, key]})["result"] == "match"


def test_a_key_that_no_longer_signs_opens_what_it_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chalicelib.settings import settings

    told, first = sealed(said()), settings().receipt_keys
    with monkeypatch.context() as patch:
        patch.setenv("RECEIPT_SECRET", "the next one")
        patch.setenv("RECEIPT_KEYS", f"{seals.public_key('the next one')},{first}")
        settings.cache_clear()
        assert seals.is_ours(told["jws"])
        assert check(tmp_path, told, BODY)["result"] == check(tmp_path, sealed(said()), BODY)["result"] == "match"
        kids = [one["kid"] for one in seals.keys()["keys"]]
        assert json.loads(base64.urlsafe_b64decode(told["jws"].split(".")[0] + "=="))["kid"] == kids[1]
    settings.cache_clear()
