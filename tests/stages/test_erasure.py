"""What is deleted for good: an upload with its rows, and an account with all that is its own."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from chalicelib import accounts, apikeys, callers, catalog, erasure, pictures, retention, sharing, table_rows, webhooks
from chalicelib.aws import apikeys as kept_keys
from chalicelib.aws import dynamodb
from chalicelib.datasets.addresses import Addressed
from chalicelib.errors import Refused
from chalicelib.postgres import changes, erasures, removals
from chalicelib.postgres.connection import Connection, connection
from chalicelib.settings import settings
from tests.stages.conftest import CONTACTS, Pipeline, acting

CANARY = "canary-7f3a"
ROWS = f"email,name,age\n{CANARY}@x.org,{CANARY},36\nb@x.org,Bea,none of {CANARY}\n".encode()


def numbers(pipeline: Pipeline) -> list[int]:
    return [row["number"] for row in pipeline.sql("SELECT number FROM rowmill.dataset ORDER BY number")]


def told_of(pipeline: Pipeline, *words: str) -> dict[str, int]:
    """Tables that hold one of these words anywhere, and in how many rows."""
    tables = pipeline.sql(
        "SELECT relnamespace::regnamespace || '.' || relname AS name FROM pg_class WHERE relkind IN ('r', 'p')"
        " AND relnamespace IN ('rowmill'::regnamespace, 'data'::regnamespace, 'stage'::regnamespace)"
    )
    found = {}
    for table in (row["name"] for row in tables):
        condition = " OR ".join(["strpos(t::text, %s) > 0"] * len(words))
        ((count,),) = [
            row.values() for row in pipeline.sql(f"SELECT count(*) FROM {table} t WHERE {condition}", *words)
        ]
        if count:
            found[table] = count
    return found


def objects(tenant: str) -> list[str]:
    """Keys of every version and mark that the bucket has of a tenant."""
    seen = boto3.client("s3").list_object_versions(Bucket=settings().bucket)
    kept = [one["Key"] for one in (*seen.get("Versions", []), *seen.get("DeleteMarkers", []))]
    return [key for key in kept if tenant in key]


def items(table: str, *words: str) -> list[str]:
    found = boto3.client("dynamodb").scan(TableName=table)["Items"]
    return [str(item) for item in found if any(word in str(item) for word in words)]


# An upload with its rows


def test_the_rows_of_an_upload_go_with_it_if_that_is_asked_and_no_others(pipeline: Pipeline) -> None:
    pipeline.dataset()
    first = pipeline.run(b"email,name,age\na@x.org,Ada,1\nb@x.org,Bea,2\n")["id"]
    pipeline.run(b"email,name,age\nc@x.org,Cy,3\n")
    before = changes_of(pipeline)
    with acting("api"):
        delete(pipeline, first, rows=True)
    assert [row["email"] for row in pipeline.rows()] == ["a@x.org", "b@x.org", "c@x.org"]  # not before the sweep
    pipeline.sweep()
    assert [row["email"] for row in pipeline.rows()] == ["c@x.org"]
    assert changes_of(pipeline) > before  # what was read before is not shown again
    pipeline.sweep()
    assert [row["email"] for row in pipeline.rows()] == ["c@x.org"]


def delete(pipeline: Pipeline, upload_id: str, *, rows: bool) -> None:
    from chalicelib import control

    control.delete(pipeline.tenant, upload_id, rows=rows)


def changes_of(pipeline: Pipeline) -> int:
    return int(pipeline.sql(f"SELECT {changes.COUNT} AS n FROM rowmill.dataset d")[0]["n"])


def test_rows_may_be_asked_for_after_their_upload_is_gone(pipeline: Pipeline) -> None:
    pipeline.dataset()
    upload_id = pipeline.run(ROWS)["id"]
    pipeline.delete(upload_id)
    pipeline.sweep()
    assert len(pipeline.rows()) == 1
    with acting("api"):
        delete(pipeline, upload_id, rows=True)
    pipeline.sweep()
    assert pipeline.rows() == []
    assert CANARY not in str(told_of(pipeline, CANARY))


def test_rows_of_many_uploads_take_a_sweep_no_longer_than_those_of_one(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep has less than a minute, and ends uploads after this."""
    pipeline.dataset()
    for n in range(6):
        upload_id = pipeline.run(b"email,name,age\nu%d@x.org,Ada,1\n" % n)["id"]
        with acting("api"):
            delete(pipeline, upload_id, rows=True)
    parts: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(removals, "erase_rows", lambda db, number: bool(parts.append(number)))  # never the last
        patch.setattr(retention, "time", SimpleNamespace(monotonic=lambda: 4.0 * len(parts)))
        pipeline.sweep()
    assert len(parts) <= 3, "of four seconds each"
    pipeline.sweep()
    assert pipeline.rows() == []


def test_more_deleted_uploads_go_in_a_sweep_than_others_but_for_so_long(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an account of 100,000 uploads fifty went at a time, however fast the storage was."""
    monkeypatch.setattr(retention, "MOST_A_SWEEP", 1)
    pipeline.dataset()
    for upload_id in [pipeline.create(ROWS) for _ in range(4)]:
        pipeline.cancel(upload_id)
        pipeline.delete(upload_id)
    noted, real = list[str](), removals.note_purged

    def note_purged(db: Connection, upload_id: str) -> None:
        noted.append(upload_id)
        real(db, upload_id)

    with monkeypatch.context() as patch:
        patch.setattr(removals, "note_purged", note_purged)
        patch.setattr(retention, "time", SimpleNamespace(monotonic=lambda: 5.0 * len(noted)))
        pipeline.sweep()
        assert len(noted) == 3, "of five seconds each"
    pipeline.sweep()
    assert objects(pipeline.tenant) == []


def test_what_is_kept_of_rows_that_others_wrote_over_goes_too(pipeline: Pipeline) -> None:
    pipeline.dataset(mode="upsert")
    first = pipeline.run(f"email,name,age\na@x.org,{CANARY},1\n".encode())["id"]
    later = pipeline.run(b"email,name,age\na@x.org,Ada,1\n")["id"]
    with acting("api"):
        delete(pipeline, first, rows=True)
    pipeline.sweep()
    assert told_of(pipeline, CANARY) == {}
    assert [row["name"] for row in pipeline.rows()] == ["Ada"]
    pipeline.revert(later)
    assert pipeline.rows() == []


# An account


class Owner:
    """Somebody with one of everything, who has shared a dataset with somebody else."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.other = pipeline, pipeline.tenant
        asked = {"username": CANARY, "password": "correct horse", "email": f"{CANARY}@example.org"}
        session = accounts.signup(asked)
        self.user_id, self.tenant = session["user_id"], session["tenant_id"]
        self.refresh = session["refresh"]
        pipeline.tenant = self.tenant
        pipeline.dataset({"fields": [*CONTACTS["fields"], {"name": CANARY}]}, CANARY, mode="upsert")
        pipeline.dataset()
        wide = ROWS.replace(b"\n", b",\n").replace(b"age,", f"age,{CANARY}".encode())
        upload = pipeline.run(wide, CANARY)
        assert (upload["loaded"], upload["rejected"]) == (1, 1)
        self.upload = upload["id"]
        assert pipeline.run(wide.replace(b"36", b"37"), CANARY)["updated"] == 1
        pipeline.run(b"email\n", CANARY)  # which lacks columns, and says so
        pipeline.attest()
        self.waiting = pipeline.create(ROWS)
        webhooks.create(self.tenant, {"url": f"https://hooks.example.org/{CANARY}"}, None)
        self.key = apikeys.create(self.tenant, self.user_id, {"name": CANARY})["secret"]
        name = pipeline.sql("SELECT username FROM rowmill.account WHERE tenant = %s", self.other)[0]["username"]
        sharing.grant(self.tenant, "contacts", name, {"role": "writer"})
        self.shared = catalog.get(self.tenant, "contacts")["id"]

    def delete(self) -> None:
        with acting("api"):
            accounts.delete(self.tenant, self.user_id, CANARY)

    def later(self, interval: str) -> None:
        """So much time has gone by since then."""
        self.pipeline.sql(
            "UPDATE rowmill.tenant SET erased_at = erased_at - %s::interval, erase_at = now() WHERE tenant = %s",
            interval,
            self.tenant,
        )


@pytest.fixture
def owner(pipeline: Pipeline) -> Owner:
    return Owner(pipeline)


def test_an_account_goes_with_all_that_is_its_own_and_others_keep_theirs(pipeline: Pipeline, owner: Owner) -> None:
    pipeline.tenant = owner.other
    pipeline.dataset(name="own")
    pipeline.run(b"email,name,age\no@x.org,Other,1\n", "own")
    assert told_of(pipeline, CANARY)["rowmill.account"] == 1  # where this test would find it
    assert objects(owner.tenant)
    owner.delete()
    for _ in range(3):
        pipeline.sweep()
    assert told_of(pipeline, CANARY) == {}
    assert objects(owner.tenant) == []
    assert [one for one in items(settings().uploads_table, owner.tenant) if "upl_" in one and CANARY in one] == []
    assert dynamodb.find(owner.tenant, owner.upload) is dynamodb.find(owner.tenant, owner.waiting) is None
    assert items(settings().keys_table, CANARY, owner.user_id) == []
    assert pipeline.sql("SELECT FROM pg_namespace WHERE nspname = %s", owner.tenant) == []
    assert [row["name"] for row in pipeline.rows("own")] == ["Other"]

    owner.later("3 hours")
    pipeline.sweep()
    assert set(told_of(pipeline, owner.tenant)) >= {"rowmill.tenant", "rowmill.upload"}  # queues may still name them
    owner.later("17 days")
    pipeline.sweep()
    assert told_of(pipeline, owner.tenant, owner.upload, owner.waiting, owner.user_id) == {}
    assert [row["name"] for row in pipeline.rows("own")] == ["Other"]


def test_nothing_opens_for_a_deleted_account_and_its_name_is_free(pipeline: Pipeline, owner: Owner) -> None:
    owner.delete()
    owner.delete()  # who lost the answer asks again
    for token in (owner.key,):
        with pytest.raises(Refused, match="token"):
            callers.authenticate(f"Bearer {token}")
    with pytest.raises(Refused) as refused:
        accounts.refresh(owner.refresh, None)
    assert refused.value.code == "refresh_invalid"
    with pytest.raises(Refused) as refused:
        accounts.login({"username": CANARY, "password": "correct horse"}, "192.0.2.1")
    assert refused.value.code == "login_failed"
    assert accounts.signup({"username": CANARY, "password": "correct horse"})["tenant_id"] != owner.tenant


def test_an_access_token_that_is_still_good_makes_nothing_that_stays(pipeline: Pipeline, owner: Owner) -> None:
    owner.delete()
    pipeline.tenant = owner.tenant
    with pytest.raises(Refused) as refused:
        pipeline.dataset(name="another")
    assert refused.value.code == "account_erased"
    with pytest.raises(Refused) as refused:
        apikeys.create(owner.tenant, owner.user_id, {"name": "another"})
    assert refused.value.code == "token_invalid"
    assert list(kept_keys.page(owner.user_id, "", 10)) == []
    under_way(pipeline, owner)
    for _ in range(3):
        pipeline.sweep()
    under_way(pipeline, owner)
    owner.later("3 hours")
    pipeline.sweep()
    assert told_of(pipeline, CANARY) == {}


def under_way(pipeline: Pipeline, owner: Owner) -> None:
    """A webhook of a request that had asked before the account was deleted."""
    pipeline.sql(
        "INSERT INTO rowmill.webhook (webhook_id, tenant, url, events, description, secret)"
        " VALUES ('whk_' || gen_random_uuid(), %s, %s, '{}', '', '')",
        owner.tenant,
        f"https://hooks.example.org/{CANARY}",
    )


def test_an_access_token_that_is_still_good_writes_nothing_here_or_elsewhere(pipeline: Pipeline, owner: Owner) -> None:
    pipeline.tenant = owner.other
    pipeline.dataset({"fields": [{"name": "n"}], "identity": "id"}, "theirs")
    theirs = catalog.get(owner.other, "theirs")["id"]
    sharing.grant(owner.other, "theirs", CANARY, {"role": "writer"})
    row = Addressed(owner.tenant, theirs, str(table_rows.create(owner.tenant, theirs, {"n": "1"})[1]["id"]))
    name = pipeline.sql("SELECT username FROM rowmill.account WHERE tenant = %s", owner.other)[0]["username"]
    owner.delete()
    pipeline.tenant = owner.tenant
    for ask in (
        lambda: webhooks.create(owner.tenant, {"url": f"https://hooks.example.org/{CANARY}"}, None),
        lambda: sharing.grant(owner.tenant, CANARY, name, {"role": "reader"}),
        lambda: pipeline.create(ROWS),
        lambda: pipeline.create(ROWS, theirs),
        lambda: table_rows.create(owner.tenant, "contacts", {"email": "c@x.org", "name": CANARY}),
        lambda: table_rows.create(owner.tenant, theirs, {"n": CANARY}),
        lambda: table_rows.change(row, {"n": CANARY}, None),
        lambda: pictures.begin(row, "image/png", 100),
    ):
        with acting("api"), pytest.raises(Refused) as refused:
            ask()
        assert (refused.value.code, refused.value.status) == ("account_erased", 403)
    pipeline.tenant = owner.other
    assert [one["n"] for one in pipeline.rows("theirs")] == ["1"]


def test_what_is_under_way_ends_first(pipeline: Pipeline, owner: Owner) -> None:
    """Uploads of the account, and of somebody else into its dataset; chunks of them come late."""
    own = pipeline.create(ROWS)
    pipeline.split(own)
    chunks = pipeline.messages()
    pipeline.tenant = owner.other
    theirs = pipeline.create(ROWS, owner.shared)
    pipeline.split(theirs)
    chunks += pipeline.messages()
    owner.delete()
    for _ in range(4):
        pipeline.sweep()
    pipeline.load(chunks)
    pipeline.sweep()
    assert told_of(pipeline, CANARY).keys() <= {"rowmill.announcement"}  # the name of their file is theirs
    assert pipeline.upload(theirs)["state"] == "canceled"
    owner.later("17 days")
    pipeline.sweep()
    left: dict[str, Any] = told_of(pipeline, owner.tenant)
    assert left.keys() <= {"rowmill.tenant", "rowmill.dataset"}


def test_an_erasure_that_breaks_off_is_gone_on_with(
    pipeline: Pipeline, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.delete()
    for broken in ("forget", "cancel"):
        with monkeypatch.context() as patch:
            patch.setattr(dynamodb, broken, lambda *ignored: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                pipeline.sweep()
    for _ in range(3):
        pipeline.sweep()
    assert told_of(pipeline, CANARY) == {}
    assert objects(owner.tenant) == []
    assert dynamodb.find(owner.tenant, owner.upload) is None


def test_the_last_of_an_erasure_is_gone_on_with_too(
    pipeline: Pipeline, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.delete()
    for _ in range(3):
        pipeline.sweep()
    owner.later("17 days")
    with monkeypatch.context() as patch:
        patch.setattr(erasures, "_forget", lambda *ignored: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pipeline.sweep()
    pipeline.sweep()
    assert told_of(pipeline, owner.tenant, owner.upload) == {}


@pytest.mark.parametrize(("at_once", "sweeps"), [(10, 1), (1, 2)])
def test_an_account_that_cannot_be_erased_holds_up_no_other(
    pipeline: Pipeline, owner: Owner, monkeypatch: pytest.MonkeyPatch, at_once: int, sweeps: int
) -> None:
    """Neither in its own sweep, nor by being the first of each."""
    second = accounts.signup({"username": "second", "password": "correct horse"})
    owner.delete()
    with acting("api"):
        accounts.delete(second["tenant_id"], second["user_id"], "second")
    real = erasures.drop
    monkeypatch.setattr(erasures, "drop", lambda db, tenant: 1 / 0 if tenant == owner.tenant else real(db, tenant))
    monkeypatch.setattr(erasure, "TENANTS_A_SWEEP", at_once)
    for _ in range(sweeps):
        with contextlib.suppress(ZeroDivisionError):
            pipeline.sweep()
    waits = "SELECT tenant FROM rowmill.tenant WHERE erase_at <= now()"
    assert pipeline.sql(waits) == [{"tenant": owner.tenant}]  # the other is done for now, and this one is not forgotten


def test_a_sweep_erases_no_more_of_an_account_than_it_has_time_for(
    pipeline: Pipeline, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.tenant = owner.tenant
    for name in ("second", "third"):
        pipeline.dataset(name=name)
    count = "SELECT count(*) FROM rowmill.{} WHERE tenant = %s"
    (uploads,) = pipeline.sql(count.format("announcement"), owner.tenant)
    # One of each at once: of hundreds of tables the locks would not do, and of 100,000 uploads a minute would not.
    monkeypatch.setattr(erasures, "MOST_TABLES", 1)
    monkeypatch.setattr(erasures, "MOST_AT_ONCE", 1)
    owner.delete()
    tables = "SELECT relname FROM pg_class WHERE relnamespace = 'data'::regnamespace AND relname ~ '^d_[0-9]+$'"
    there = [len(pipeline.sql(tables)) for _ in range(8) if pipeline.sweep() is not None]
    assert {1, 2} <= set(there) and there[-1] == 0
    for _ in range(4):
        pipeline.sweep()
    assert told_of(pipeline, CANARY) == {}
    owner.later("17 days")
    for left in reversed(range(uploads["count"])):
        pipeline.sweep()
        assert pipeline.sql(count.format("announcement"), owner.tenant) == [{"count": left}]
    pipeline.sweep()
    assert told_of(pipeline, owner.tenant, owner.upload, owner.waiting) == {}


def test_an_account_that_is_erased_alone_has_all_uploads_of_the_sweep(
    pipeline: Pipeline, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a tenth of them: an account of 100,000 uploads took days."""
    monkeypatch.setattr(erasure, "MOST_A_SWEEP", erasure.TENANTS_A_SWEEP)
    owner.delete()
    pipeline.sweep()
    assert erasures.list_standing(connection(), owner.tenant, 10) == []


def test_a_sweep_begins_no_upload_of_an_account_after_so_many_seconds(
    pipeline: Pipeline, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sweeps have less than a minute, and end uploads after this."""
    owner.delete()
    before, forgotten = len(erasures.list_standing(connection(), owner.tenant, 10)), list[str]()
    with monkeypatch.context() as patch:
        patch.setattr(dynamodb, "forget", lambda tenant, upload_id: forgotten.append(upload_id))
        for module in (erasure, retention):
            patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: 3.0 * len(forgotten)))
        with acting("sweep"):
            erasure.sweep()
    assert len(forgotten) == 2, "of three seconds each"
    assert len(erasures.list_standing(connection(), owner.tenant, 10)) == before - 2


def test_an_account_is_deleted_by_its_own_name_alone(pipeline: Pipeline, owner: Owner) -> None:
    with pytest.raises(Refused) as refused:
        accounts.delete(owner.tenant, owner.user_id, "somebody")
    assert (refused.value.code, refused.value.status) == ("username_mismatch", 422)
    assert pipeline.sql("SELECT erased_at FROM rowmill.tenant WHERE tenant = %s", owner.tenant) == [{"erased_at": None}]
    connection()
