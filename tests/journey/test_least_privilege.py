"""The whole chain again on a cloud that enforces every function's own IAM role; then what roles may beside what they did."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest

from chalicelib.formats.threats import EICAR
from infra.local import instance
from infra.local.emulator import CALLS_LOG
from infra.package import ROOT
from tests.journey import rare
from tests.journey.conftest import PEOPLE, Account, Cloud, eventually, new_account, people
from tests.journey.test_webhooks import private, told
from tests.receiver import receiving

MANUAL = ROOT / "docs" / "aws.md"


@pytest.mark.needs("roles that bind and calls that are listed")
def test_every_step_is_allowed_by_its_own_role_and_nothing_else_is(tmp_path: Path) -> None:
    with (
        instance.running(tmp_path / "strict", settings={"AUTH": "true", CALLS_LOG: str(tmp_path / "calls")}) as here,
        new_account(Cloud(here), tmp_path) as account,
    ):
        rare.clock_stopped(account.cloud)
        rare.forged(account)
        account.dataset()
        header, *rows = people(2500).splitlines(keepends=True)
        body = header + b"".join(rows) + rows[0] + b"ragged\n"
        upload = account.ended(account.start(body))
        assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 2500, 2)
        codes = [reject["errors"][0]["code"] for reject in account.rowmill.iterate_rejects(upload["id"])]
        assert sorted(codes) == ["duplicate_in_file", "width_mismatch"]
        checked = account.ended(account.start(b"id,name\n9001,Ada\n9001,Again\n", max_errors=1))
        assert (checked["state"], checked["loaded"], checked["rejected"]) == ("completed_with_errors", 1, 1)
        _sealed(account, upload["id"])
        _corrected(account, upload["id"])
        _read_again(account)
        _in_parts(account)
        _as_a_piece(account, body)
        _in_segments(account)
        _quarantined(account)
        _by_hand(account)
        _told(account)
        _encrypted(account)
        _undone(account)
        _deleted(account, upload["id"])
        _books(account)
        _by_key(account)
        _kept_long_enough(account, checked["id"])
        with new_account(account.cloud, tmp_path) as other:
            _erased(other)
        assert account.cloud.sweep()["uploads_seen"] == 0
        rare.all_of_it(account)
        _both_ways(account.cloud, tmp_path / "calls")


@dataclass
class Compared:
    """What a role may do, as pairs of patterns, action and resource, and what it was seen to do."""

    may: set[tuple[str, str]] = field(default_factory=set)
    did: set[tuple[str, str]] = field(default_factory=set)

    @property
    def unseen(self) -> set[tuple[str, str]]:
        """Of what it may do, what nothing that it did comes under."""
        return {
            (action, where)
            for action, where in self.may
            if not any(fnmatchcase(act, action) and fnmatchcase(place, where) for act, place in self.did)
        }


def _both_ways(cloud: Cloud, calls: Path) -> None:
    """Nobody was refused anything, and what nobody was seen to do is what docs/aws.md has the reasons for."""
    roles = {one["Role"].rpartition("/")[2]: one["FunctionName"] for one in _functions(cloud)}
    seen = {role: Compared() for role in roles}
    refused = []
    for line in calls.read_text().splitlines():
        role, action, resource, outcome = line.split(" ")
        if role in roles:
            seen[role].did.add((action, resource))
            refused += [line] if outcome != "allowed" else []
    for role, one in seen.items():
        one.may |= set(_pairs(cloud, role))
    assert refused == []
    assert _named(cloud, roles, seen) == set(_explained())


def _functions(cloud: Cloud) -> list[dict[str, Any]]:
    return list(cloud.client("lambda").list_functions()["Functions"])


def _pairs(cloud: Cloud, role: str) -> Iterator[tuple[str, str]]:
    iam = cloud.client("iam")
    for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        for statement in iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]["Statement"]:
            yield from product(_listed(statement["Action"]), _listed(statement["Resource"]))


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _named(cloud: Cloud, roles: Mapping[str, str], seen: Mapping[str, Compared]) -> set[tuple[str, str, str]]:
    """What was not seen: function, action and where, as the manual has them. The three loaders are one program each
    with a queue of its own, and are one here: what they may is compared, what they did is put together."""
    keys = {one["OutputKey"]: one["OutputValue"] for one in _stack(cloud)["Outputs"]}
    load, tiers = Compared(), []
    found = set()
    for role, name in roles.items():
        what = name.removeprefix("rowmill-local-")
        if tier := what.partition("load_")[2]:
            tiers.append({(action, where.replace(tier, "tier")) for action, where in seen[role].may})
            load.did |= {(action, where.replace(tier, "tier")) for action, where in seen[role].did}
        else:
            found |= {(what, action, _short(where, keys)) for action, where in seen[role].unseen}
    load.may = tiers[0]
    assert tiers == [load.may] * 3
    return found | {("load", action, _short(where, keys)) for action, where in load.unseen}


def _stack(cloud: Cloud) -> dict[str, Any]:
    (stack,) = cloud.client("cloudformation").describe_stacks(StackName="rowmill-local")["Stacks"]
    return dict(stack)


def _short(where: str, outputs: Mapping[str, str]) -> str:
    if where == outputs["StageKeyArn"]:
        return "the stage's key"
    if where.startswith("arn:aws:logs:"):
        return "its log"
    if where.startswith("arn:aws:s3:::"):
        return where.partition("/")[2] or "the bucket"
    return where.rpartition(":")[2].removeprefix("rowmill-local-")


def _explained() -> Iterator[tuple[str, str, str]]:
    """The rows of the manual's table, one for each of who and what: who, may, on, why."""
    table = MANUAL.read_text().partition("### Allowed and not seen")[2].partition("\n#")[0]
    for row in re.findall(r"^\| (.+) \| (`.+`) \| (.+) \| .+ \|$", table, re.MULTILINE):
        yield from product(*(cell.replace("`", "").split(", ") for cell in row))


def _sealed(account: Account, upload_id: str) -> None:
    """A receipt; file and table that match it, rows that do not; and a file that is not there any more."""
    said = account.rowmill.get_receipt(upload_id)["receipt"]
    assert (said["counts"]["loaded"], said["counts"]["rejected"], said["table"]["rows"]) == (2500, 2, 2500)
    assert [one["n"] for one in account.rowmill.iterate_receipts(upload_id)] == [1]
    assert len(account.rowmill.receipt_keys()["keys"]) == 1
    assert account.rowmill.verify(upload_id)["result"] == "match"
    (dataset,) = account.cloud.sql("SELECT dataset FROM rowmill.upload WHERE upload_id = %s", upload_id)[0]
    account.cloud.sql(f"UPDATE data.d_{dataset} SET name = 'edited' WHERE id = 7")
    found = account.rowmill.verify(upload_id)
    assert (found["result"], found["source"], found["rows"] and found["rows"]["edited"]) == ("differs", "match", 1)
    account.cloud.sql(f"UPDATE data.d_{dataset} SET name = 'name 7' WHERE id = 7")
    s3, bucket = account.cloud.client("s3"), "rowmill-local-000000000000-uploads"
    lost = account.ended(account.start(b"id,name\n60000,Ada\n"))["id"]
    account.rowmill.get_receipt(lost)
    s3.delete_object(Bucket=bucket, Key=f"uploads/{account.tenant}/{lost}/source")
    assert account.rowmill.verify(lost)["source"] == "gone"


def _encrypted(account: Account) -> None:
    """Sealed by loaders and by hand, opened for rows, rejects and a comparison; data keys that are wrapped anew."""
    key = {"required": True, "unique": True}
    fields = [{"name": "id", "type": "integer", "constraints": key}]
    fields += [{"name": "email", "format": "email", "encrypted": True, "constraints": key}]
    account.dataset({"fields": fields}, "patients")
    upload = account.ended(account.start(b"id,email\n1,a@x.org\n2,A@x.org\n3,none\n4,d@x.org\n", "patients"))
    assert (upload["loaded"], upload["rejected"]) == (2, 2)
    assert [one["raw"] for one in account.rowmill.iterate_rejects(upload["id"])] == ["2,A@x.org", "3,none"]
    whole = account.ended(account.start(b"id,email\n6,f@x.org\n7,F@x.org\n", "patients", on_error="abort"))
    assert [one["raw"] for one in account.rowmill.iterate_rejects(whole["id"])] == ["7,F@x.org"]
    account.rowmill.get_receipt(upload["id"])
    (dataset,) = account.cloud.sql("SELECT dataset FROM rowmill.upload WHERE upload_id = %s", upload["id"])[0]
    account.cloud.sql(f"UPDATE data.d_{dataset} SET email = 'edited' WHERE id = 4")
    found = account.rowmill.verify(upload["id"])
    assert (found["result"], found["rows"] and found["rows"]["edited"]) == ("differs", 1)
    account.rowmill.change_row("patients", "1", values={"email": "b@x.org"})
    account.rowmill.create_row("patients", {"id": 5, "email": "e@x.org"})
    account.cloud.sql(f"DELETE FROM data.d_{dataset} WHERE id = 4")
    wrapped = json.dumps({"side": "keys"})
    answer = account.cloud.client("lambda").invoke(FunctionName="rowmill-local-doctor", Payload=wrapped)
    assert json.load(answer["Payload"])["checked"] == 4
    assert {row["email"] for row in account.rowmill.iterate_rows("patients")} == {"b@x.org", "e@x.org"}


def _undone(account: Account) -> None:
    """Over rows that were there before."""
    account.dataset(PEOPLE, "undone")
    account.ended(account.start(people(20), "undone"))
    upload = account.ended(account.start(people(30), "undone", mode="upsert"))
    assert (upload["loaded"], upload["updated"]) == (10, 20)
    account.rowmill.revert(upload["id"])
    undone = account.ended(upload["id"])
    assert (undone["state"], undone["reverted_rows"], undone["restored_rows"]) == ("reverted", 10, 20)
    assert list(account.rowmill.iterate_conflicts(upload["id"])) == []


def _told(account: Account) -> None:
    """The end of every upload by the topic, and of this one by a webhook."""
    with receiving() as receiver, private(account.cloud):
        webhook = account.rowmill.create_webhook(receiver.url)
        account.ended(account.start(b"id,name\n80000,Ada\n"))
        told(account, webhook)
        assert len(receiver.got) == 1
    eventually(lambda: not account.cloud.sql("SELECT FROM rowmill.delivery WHERE state = 'pending'"))
    by_topic = account.cloud.sql("SELECT DISTINCT state FROM rowmill.delivery WHERE kind = 'topic'")
    assert by_topic == [("delivered",)]


def _deleted(account: Account, upload_id: str) -> None:
    """An upload that is over, and one in parts that waits for its file."""
    with account.cloud.in_parts_above(1000):
        waiting = account.rowmill.create_upload(account.file(people(1000)), "people")["id"]
    for one in (upload_id, waiting):
        account.rowmill.delete_upload(one)
        assert account.http.get(f"/uploads/{one}").status_code == 404
    account.cloud.sweep()  # or the clock's own is at it
    for one in (upload_id, waiting):
        eventually(lambda one=one: not _kept(account, one))


def _erased(account: Account) -> None:
    """An upload with its rows, then an account with all that it has."""
    account.dataset()
    upload_id = account.ended(account.start(people(10)))["id"]
    account.ended(account.start(b"id,name\n11,Eve\n"))
    account.rowmill.create_api_key("nightly")
    account.rowmill.delete_upload(upload_id, rows=True)
    account.cloud.sweep()
    eventually(lambda: account.table() == [(11, "Eve")])
    name = account.cloud.sql("SELECT username FROM rowmill.account WHERE tenant = %s", account.tenant)[0][0]
    account.rowmill.delete_account(name)
    account.cloud.sweep()
    schema = "SELECT FROM pg_namespace WHERE nspname = %s"
    eventually(lambda: account.cloud.sweep() and not account.cloud.sql(schema, account.tenant))
    eventually(lambda: not _kept(account, upload_id))


def _kept(account: Account, upload_id: str) -> list[str]:
    """What the bucket still has of an upload."""
    s3, bucket = account.cloud.client("s3"), "rowmill-local-000000000000-uploads"
    found = [
        s3.list_object_versions(Bucket=bucket, Prefix=f"{folder}/{account.tenant}/{upload_id}/")
        for folder in ("uploads", "results")
    ]
    parts = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return [name for answer in (*found, *parts) for name in ("Versions", "DeleteMarkers", "Key") if name in answer]


def _by_key(account: Account) -> None:
    """A machine, from the making of its key to the end of it."""
    made = account.rowmill.create_api_key("nightly")
    bearer = {"Authorization": f"Bearer {made['secret']}"}
    assert account.http.get("/uploads", headers=bearer).status_code == 200
    assert [one["id"] for one in account.rowmill.iterate_api_keys()] == [made["id"]]
    account.rowmill.delete_api_key(made["id"])
    assert account.http.get("/uploads", headers=bearer).status_code == 401


def _kept_long_enough(account: Account, upload_id: str) -> None:
    """An upload that ended long ago: its file, and what is shown of it."""
    assert account.rowmill.quota()["files"]["used"] >= 2
    account.cloud.sql(
        "UPDATE rowmill.upload SET finished_at = finished_at - interval '91 days' WHERE upload_id = %s", upload_id
    )
    account.cloud.sweep()
    account.cloud.sweep()  # one that the clock had begun may have been ahead of the first
    bucket = account.cloud.client("s3").list_buckets()["Buckets"][0]["Name"]
    prefix = f"uploads/{account.tenant}/{upload_id}/"
    left = account.cloud.client("s3").list_object_versions(Bucket=bucket, Prefix=prefix)
    assert not (left.get("Versions") or left.get("DeleteMarkers"))
    assert account.http.get(f"uploads/{upload_id}").status_code == 404


def _by_hand(account: Account) -> None:
    """Rows one by one, and by an index."""
    account.dataset(PEOPLE | {"indexes": ["name"]})
    account.rowmill.create_row("people", {"id": 70_000, "name": "Zoe"})
    assert account.rowmill.change_row("people", "70000", values={"name": "zoe"})["name"] == "zoe"
    assert [row["id"] for row in account.rowmill.iterate_rows("people", where={"name": "zoe"})] == [70_000]
    account.rowmill.delete_row("people", "70000")
    account.dataset(name="passing")
    account.rowmill.delete_dataset("passing")
    assert [one["name"] for one in account.rowmill.iterate_datasets() if one["name"] == "passing"] == []


def _books(account: Account) -> None:
    """The routes of the book API; a picture by a form and one with the request, which nobody reads without leave."""
    png = b"\x89PNG\r\n\x1a\n" + bytes(100)
    api, who = account.cloud.instance.api_url, {"Authorization": f"Bearer {account.token}"}
    form = {"title": "Emma", "author": "Jane Austen"}
    book = httpx.post(f"{api}/books/", headers=who, data=form, files={"picture": ("a.png", png, "image/png")}).json()
    assert httpx.get(book["picture_url"]).content == png
    assert httpx.get(book["picture_url"].partition("?")[0]).status_code == 403
    account.rowmill.send_picture("books", str(book["id"]), account.file(png + b"more", "b.png"))
    assert httpx.get(book["picture_url"]).status_code == 404
    sent = httpx.post(f"{api}/bulk-upload/", headers=who, files={"file": b"title,author,description\na,b,c\n"}).json()
    assert account.ended(sent["batch_id"])["loaded"] == 1
    account.http.post(f"/datasets/books/rows/{book['id']}/picture", json={"content_type": "image/gif", "size": 9})
    assert httpx.post(f"{api}/books/{book['id']}/delete/", headers=who).status_code == 204
    awaited = account.http.post("/datasets/books/rows/2/picture", json={"content_type": "image/gif", "size": 9}).json()
    account.cloud.sql("UPDATE rowmill.picture SET state = 'gone' WHERE picture_id = %s", awaited["id"])
    assert account.cloud.sweep()["pictures_deleted"] == 1


def _as_a_piece(account: Account, body: bytes) -> None:
    """A file that the splitter rewrites; the row that repeats another is read from the piece when it is settled."""
    account.dataset(PEOPLE, "packed")
    upload = account.ended(account.start(gzip.compress(body), "packed"))
    text = bytearray()
    account.rowmill.download_text(upload["id"], text.extend)
    assert text == body
    assert (upload["state"], upload["loaded"], upload["rejected"]) == ("completed_with_errors", 2500, 2)
    repeats = gzip.compress(b"id,name\n9001,Ada\n9001,Again\n")
    assert account.ended(account.start(repeats, "packed", max_errors=1))["rejected"] == 1


def _in_segments(account: Account) -> None:
    """A file whose segments are scanned by several splitters."""
    account.dataset(PEOPLE, "segments")
    with account.cloud.configured("split", ROWMILL_SEGMENT_BYTES="50000", ROWMILL_CHUNK_POLICY="0:10000:1000"):
        upload = account.ended(account.start(people(5000, padding=100), "segments"))
    assert (upload["state"], upload["loaded"]) == ("completed", 5000)
    chunks = account.cloud.sql(
        "SELECT c.byte_start / (plan ->> 'segment_bytes')::int FROM rowmill.upload u"
        " JOIN rowmill.chunk c ON c.upload = u.number WHERE upload_id = %s",
        upload["id"],
    )
    assert len(set(chunks)) > 10
    assert account.cloud.sql("SELECT FROM rowmill.segment") == []


def _quarantined(account: Account) -> None:
    """A file with malware, and the piece that was made of one: they are tagged."""
    account.dataset(PEOPLE, "harmful")
    for body in (b"id,name\n1," + EICAR + b"\n", gzip.compress(b"id,name\n1," + EICAR + b"\n")):
        assert account.ended(account.start(body, "harmful"))["state"] == "quarantined"


def _corrected(account: Account, upload_id: str) -> None:
    """The rejects as files, made while the client waits; and one of them back."""
    for form in ("xlsx", "csv"):
        fetched = io.BytesIO()
        account.rowmill.download_rejects(upload_id, form, fetched.write)
    path = account.file(fetched.getvalue().replace(b"1,name 1", b"9999,name 1"), "corrected.csv")
    child = account.rowmill.create_retry(upload_id, path)
    account.rowmill.send_file(child, path)
    assert account.ended(child["id"])["loaded"] == 1
    assert account.rowmill.get_upload(upload_id)["rejected_open"] == 1


def _read_again(account: Account) -> None:
    """Rejects by what would mend them, and the records that it mends."""
    account.dataset({"fields": [{"name": "day", "type": "date"}]}, "days")
    file = account.file(b"day\n31/12/2023\n2023-12-30\n", "days.csv")
    parent = account.rowmill.upload(file, "days", {"dialect": {"date_order": None}})
    (cause,) = account.rowmill.causes(parent["id"])["causes"]
    child = account.rowmill.retry_causes(parent["id"], [cause["id"]])
    assert account.ended(child["id"])["loaded"] == 1


def _in_parts(account: Account) -> None:
    """A file in parts: one is there already, the rest is sent by a client that resumes."""
    body = people(2500, padding=100).replace(b"name", b"part")
    account.dataset({**PEOPLE, "fields": [{"name": "id", "type": "integer"}, {"name": "part"}]}, "parts")
    with account.cloud.in_parts_above(100_000):
        created = account.rowmill.create_upload(account.file(body), "parts")
        part = {"number": 1, "sha256": base64.b64encode(hashlib.sha256(body[:100_000]).digest()).decode()}
        ticket = account.http.post(f"/uploads/{created['id']}/parts", json={"parts": [part]}).json()["parts"][0]
        assert httpx.put(ticket["url"], content=body[:100_000], headers=ticket["headers"]).status_code == 200
        account.rowmill.resume_file(created, account.file(body))
        assert account.ended(created["id"])["loaded"] == 2500
        assert account.http.post(f"/uploads/{created['id']}/complete", json={"parts": []}).status_code == 202
