"""What a fault, a repeat or an operator leads to and a file that just loads does not, each made to happen here.

For the comparison of what roles may do with what they did: so that it does not depend on luck, the clock must stand still.
"""

from __future__ import annotations

import gzip
import json
import os
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx

from chalicelib.journey import MAX_ATTEMPTS
from infra.local.instance import nothing
from tests.journey.conftest import PEOPLE, Account, Cloud, eventually, people
from tests.journey.test_webhooks import AGED, lose, nobody_reads

TIERS = {"high": 10, "medium": 2000, "low": 6000}
READERS = {"intake": "split", "settle": "settle", "dead": "bury", "notify": "notify", "receipt": "receipt"}
READERS |= {tier: f"load_{tier}" for tier in TIERS}
LATER = 99  # a version of messages that no release has yet
END_IS_DRAWN = ("UPDATE", "OLD.pass = 'check' AND NEW.pass = 'load'", "upload")


def all_of_it(account: Account) -> None:
    with account.cloud.configured("split", ROWMILL_CHUNK_POLICY="0:1000000:1000000,1000:1000000:1000000"):
        for tier, rows in TIERS.items():
            _sent_again(account, tier, rows)
    _never_heard_of(account)
    _settled_late(account)
    _checked(account)
    _given_up(account)
    _untold(account)
    _unreadable(account)
    _scanned(account)
    _in_versions(account)
    _of_a_later_release(account.cloud)


def asked(cloud: Cloud, queue: str, body: Mapping[str, Any], version: int = 1) -> None:
    """Have a message of this queue handled now, by its function."""
    attributes = {"version": {"dataType": "Number", "stringValue": str(version)}}
    record = nothing(f"rowmill-local-{queue}") | {"body": json.dumps(body), "messageAttributes": attributes}
    said = invoked(cloud, READERS[queue], {"Records": [record]})
    assert said == {"batchItemFailures": []}


def invoked(cloud: Cloud, function: str, event: Mapping[str, Any]) -> Any:
    answer = cloud.client("lambda").invoke(FunctionName=f"rowmill-local-{function}", Payload=json.dumps(event))
    said = json.load(answer["Payload"])
    assert "FunctionError" not in answer, said
    return said


def clock_stopped(cloud: Cloud) -> None:
    events = cloud.client("events")
    for rule in events.list_rules()["Rules"]:
        events.disable_rule(Name=rule["Name"])


def _sent_again(account: Account, tier: str, rows: int) -> None:
    """A chunk whose upload is resumed, whose message is in the dead queue, and whose message is lost."""
    cloud = account.cloud
    account.dataset(PEOPLE, f"of_{tier}")
    with nobody_reads(cloud, f"load_{tier}"):
        upload_id = account.start(people(rows), f"of_{tier}")
        number = _queued(account, upload_id)
        account.rowmill.pause(upload_id)
        account.rowmill.resume(upload_id)
        asked(cloud, "dead", {"upload": number, "chunk": 1})
        assert lose(cloud, tier) == 3
        cloud.sql(f"UPDATE rowmill.chunk SET sent_at = {AGED} WHERE upload = %s", number)
        assert cloud.sweep()["chunks_resent"] == 1
    assert account.ended(upload_id)["loaded"] == rows


def _queued(account: Account, upload_id: str) -> int:
    """The number of an upload whose chunks wait for somebody to load them."""
    state = "SELECT FROM rowmill.upload WHERE upload_id = %s AND state = 'queued'"
    eventually(lambda: account.cloud.sql(state, upload_id))
    return account.number(upload_id)


def _never_heard_of(account: Account) -> None:
    """A file whose event is lost: the operator finds it, and the clock; and a status that is lost."""
    cloud, table = account.cloud, "rowmill-local-uploads"
    with nobody_reads(cloud, "split"):
        upload_id = account.start(b"id,name\n1,Ada\n", "of_high")
        eventually(lambda: lose(cloud, "intake"))
        cloud.client("dynamodb").delete_item(
            TableName=table, Key={"tenant": {"S": account.tenant}, "upload_id": {"S": upload_id}}
        )
        found = invoked(cloud, "doctor", {"side": "ledger", "mend": True})["differences"]
        assert {one["code"] for one in found if one["upload_id"] == upload_id} == {"status_lost", "not_split"}
        assert invoked(cloud, "doctor", {"side": "status"})["differences"] == []
        assert lose(cloud, "intake") == 1
        cloud.sql(f"UPDATE rowmill.announcement SET created_at = {AGED} WHERE upload_id = %s", upload_id)
        assert cloud.sweep()["files_awaited"] == 1
    assert account.ended(upload_id)["state"].startswith("completed")


def _settled_late(account: Account) -> None:
    """A piece with a row that repeats another, and nobody to settle it: whoever comes by sends for somebody."""
    cloud = account.cloud
    account.dataset(PEOPLE, "late")
    header, *rows = people(2500).splitlines(keepends=True)
    with nobody_reads(cloud, "settle"):
        upload_id = account.start(gzip.compress(header + b"".join(rows) + rows[0]), "late")
        eventually(lambda: lose(cloud, "settle"))
        number = account.number(upload_id)
        chunk = {"upload": number, "chunk": 1}
        for queue, body in (("intake", account.notification(upload_id)), ("medium", chunk), ("dead", chunk)):
            _nobody_was_sent_for(cloud, number)
            asked(cloud, queue, body)
            assert lose(cloud, "settle") == 1
        _nobody_was_sent_for(cloud, number)
        cloud.sweep()
    upload = account.ended(upload_id)
    assert (upload["loaded"], upload["rejected"]) == (2500, 1)
    account.rowmill.get_receipt(upload_id)
    ((dataset,),) = cloud.sql("SELECT dataset FROM rowmill.upload WHERE number = %s", number)
    cloud.sql(f"UPDATE data.d_{dataset} SET name = 'edited' WHERE id = 7")
    assert account.rowmill.verify(upload_id)["result"] == "differs"  # the record is looked up in the piece


def _nobody_was_sent_for(cloud: Cloud, number: int) -> None:
    cloud.sql("UPDATE rowmill.upload SET settle_asked_at = NULL WHERE number = %s", number)


def _checked(account: Account) -> None:
    """Checks whose load is begun by a loader, by a settler, by a client, and by whoever buries what a dead loader left."""
    cloud = account.cloud
    account.dataset(PEOPLE, "repeating")
    assert account.ended(account.start(people(10) + b"1,again\n", "repeating", on_drift="hold"))["loaded"] == 10
    account.dataset({"fields": PEOPLE["fields"]}, "plain")  # no key: a check looks for no repeats
    with nobody_reads(cloud, "load_high"):  # or the splitter may be the last one
        upload_id = account.start(people(10), "plain", on_drift="hold")
        _queued(account, upload_id)
    assert account.ended(upload_id)["loaded"] == 10
    account.dataset(PEOPLE, "confirmed")
    upload_id = account.start(people(10), "confirmed", validate_only=True)
    eventually(lambda: account.rowmill.get_upload(upload_id)["state"] == "needs_review")
    account.rowmill.confirm(upload_id)
    assert account.ended(upload_id)["loaded"] == 10
    account.dataset(PEOPLE, "left")
    with cloud.held(*END_IS_DRAWN):
        upload_id = account.start(people(10), "left", on_drift="hold")
        (backend,) = eventually(cloud.blocked)
        assert cloud.kill_worker(backend)
        eventually(lambda: cloud.is_gone(backend))
    asked(cloud, "dead", {"upload": account.number(upload_id), "pass": "check", "chunk": 1})
    assert account.ended(upload_id)["loaded"] == 10


def _given_up(account: Account) -> None:
    """Uploads whose end is drawn by whoever buries them, and by a client; and parts that a client gives up."""
    cloud = account.cloud
    with nobody_reads(cloud, "load_high"):
        buried, canceled = (account.start(people(3), "of_high") for _ in range(2))
        number, _ = _queued(account, buried), _queued(account, canceled)
        for _ in range(MAX_ATTEMPTS):
            asked(cloud, "dead", {"upload": number, "chunk": 1})
        account.rowmill.cancel(canceled)
    assert [account.ended(one)["state"] for one in (buried, canceled)] == ["failed", "canceled"]
    with cloud.in_parts_above(1000):
        created = account.rowmill.create_upload(account.file(people(1000)), "of_high")
    account.rowmill.cancel(created["id"])


def _untold(account: Account) -> None:
    """An end whose messages are lost, that to who tells of it and that to who seals it."""
    cloud = account.cloud
    with nobody_reads(cloud, "receipt"):
        with nobody_reads(cloud, "notify"):
            number = account.number(account.ended(account.start(b"id,name\n90,Ada\n", "of_high"))["id"])
            eventually(lambda: lose(cloud, "notify"))
            cloud.sql(f"UPDATE rowmill.outbox SET created_at = {AGED}, asked_at = NULL WHERE upload = %s", number)
            assert cloud.sweep()["events_resent"] == 1
        eventually(lambda: lose(cloud, "receipt"))
        cloud.sql(f"UPDATE rowmill.upload SET finished_at = {AGED}, receipt_asked_at = NULL WHERE number = %s", number)
        assert cloud.sweep()["receipts_resent"] == 1


def _unreadable(account: Account) -> None:
    """A packed file that ends too early, when two parts of its piece are written."""
    body = b"id,name\n" + b"".join(b"%d,%s\n" % (n, os.urandom(2000).hex().encode()) for n in range(2500))
    upload = account.ended(account.start(gzip.compress(body, 1)[:-10], "of_high"))
    assert (upload["state"], upload["loaded"]) == ("failed", 0)


def _scanned(account: Account) -> None:
    """By a scanner that finds something in the piece that was made of a packed file: both are tagged."""
    with scanner() as address, ExitStack() as stack:
        told = {"ROWMILL_SCANNER": "clamd", "ROWMILL_SCANNER_ADDRESS": address}
        stack.enter_context(account.cloud.configured("split", **told))
        upload = account.ended(account.start(gzip.compress(people(10)), "of_high"))
    assert upload["state"] == "quarantined"


@contextmanager
def scanner() -> Iterator[str]:
    """Where somebody speaks clamd's language who finds something in whatever is not packed."""

    class Talk(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.read(len(b"zINSTREAM\0"))
            seen = b""
            while size := int.from_bytes(self.rfile.read(4)):
                seen += self.rfile.read(size)
            self.wfile.write(b"stream: OK\0" if seen.startswith(b"\x1f\x8b") else b"stream: Odd FOUND\0")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _in_versions(account: Account) -> None:
    """An upload that is deleted with more than one object in each place, and a picture that was looked at."""
    s3, bucket = account.cloud.client("s3"), account.cloud.bucket
    upload_id = account.ended(account.start(gzip.compress(people(10)), "of_high"))["id"]
    for folder in ("uploads", "pieces", "results"):
        for name in ("one", "other"):
            s3.put_object(Bucket=bucket, Key=f"{folder}/{account.tenant}/{upload_id}/{name}", Body=b"")
    account.rowmill.delete_upload(upload_id)
    account.dataset({"fields": [{"name": "title"}], "identity": "id"}, "pictured")
    row = account.rowmill.create_row("pictured", {"title": "Emma"})
    png = account.file(b"\x89PNG\r\n\x1a\n" + bytes(100), "a.png")
    picture = account.rowmill.send_picture("pictured", str(row["id"]), png)
    account.cloud.sql("UPDATE rowmill.picture SET state = 'gone' WHERE picture_id = %s", picture["id"])
    swept = account.cloud.sweep()
    assert (swept["uploads_removed"], swept["pictures_deleted"]) == (1, 1)


def _of_a_later_release(cloud: Cloud) -> None:
    """Messages that nobody understands yet: each goes back to its queue, and waits."""
    for queue in READERS:
        asked(cloud, queue, {"whatever": 1}, LATER)


def forged(account: Account) -> None:
    """Forms and URLs that were signed for something else are refused."""
    account.dataset(PEOPLE, "forged")
    created = account.rowmill.create_upload(account.file(people(3)), "forged")
    form = created["upload"]
    fields = form["fields"]
    for name in ("x-amz-signature", "policy", "key", "x-amz-credential"):
        changed = {**fields, name: ("0" if fields[name][0] != "0" else "1") + fields[name][1:]}
        answer = httpx.post(form["url"], data=changed, files={"file": people(3)})
        assert answer.status_code in (400, 403), name
    assert httpx.post(form["url"], data={"key": fields["key"]}, files={"file": people(3)}).status_code == 403
    account.rowmill.send_file(created, account.folder / "a.csv")
    assert account.ended(created["id"])["loaded"] == 3
