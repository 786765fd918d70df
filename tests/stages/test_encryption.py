"""Encrypted fields: sealed where they are stored, open to whoever may read them, and nowhere else in the open."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import boto3
import psycopg
import pytest
from botocore.exceptions import ClientError

from chalicelib import accounts, aws, catalog, receipts, rejects, sharing, table_rows, triage, vault
from chalicelib.aws import kms
from chalicelib.datasets.addresses import Addressed
from chalicelib.errors import Refused, Unavailable
from chalicelib.paging import Asked
from chalicelib.postgres.repeats import Repeat
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline, acting, consulted, cut_into

UNIQUE = {"required": True, "unique": True}
PATIENTS: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": UNIQUE},
        {"name": "email", "format": "email", "encrypted": True, "constraints": UNIQUE},
        {"name": "name", "encrypted": True},
        {"name": "city"},
    ]
}
HEAD = b"id,email,name,city\n"


@pytest.fixture(autouse=True)
def field_key(pipeline: Pipeline) -> Iterator[str]:
    """The KMS key of encrypted fields."""
    vault.open_keys.forget()
    key = boto3.client("kms").create_key()["KeyMetadata"]
    boto3.client("kms").create_alias(AliasName=settings().field_key, TargetKeyId=key["KeyId"])
    yield str(key["Arn"])
    vault.open_keys.forget()


def table(pipeline: Pipeline) -> str:
    """The table of the last dataset."""
    return f"data.d_{pipeline.sql('SELECT max(number) AS last FROM rowmill.dataset')[0]['last']}"


def patients(*numbers: int, name: str = "Nobody") -> bytes:
    return HEAD + b"".join(b"%d,P%d@Example.org,%s,Bonn\n" % (n, n, name.encode()) for n in numbers)


def codes(pipeline: Pipeline, upload: dict[str, Any]) -> list[tuple[int, str, str]]:
    return [(one["row"], e["code"], e["column"]) for one in pipeline.rejects(upload["id"]) for e in one["errors"]]


def at(pipeline: Pipeline, key: str) -> Addressed:
    return Addressed(pipeline.tenant, "patients", key)


def test_an_encrypted_field_is_sealed_in_postgres_and_open_to_its_owner(pipeline: Pipeline) -> None:
    pipeline.dataset(PATIENTS, "patients")
    upload = pipeline.run(HEAD + b"1,a@x.org,Ada Lovelace,London\n2,g@x.org,,Arlington\n", "patients")
    assert (upload["state"], upload["loaded"]) == ("completed", 2)
    assert pipeline.rows("patients") == [
        {"id": 1, "email": "a@x.org", "name": "Ada Lovelace", "city": "London"},
        {"id": 2, "email": "g@x.org", "name": None, "city": "Arlington"},
    ]
    there = pipeline.sql(f"SELECT * FROM {table(pipeline)} ORDER BY id")
    assert [row["city"] for row in there] == ["London", "Arlington"]
    assert there[1]["name"] is None
    for sealed in (there[0]["name"], there[0]["email"], there[1]["email"]):
        assert base64.b64decode(sealed)[0] == 1
    (view,) = pipeline.sql(f'SELECT * FROM "{pipeline.tenant}".patients WHERE id = 1')
    assert list(view) == ["id", "email", "name", "city"]


def test_a_sealed_value_opens_nowhere_but_where_it_was_sealed(pipeline: Pipeline) -> None:
    pipeline.dataset(PATIENTS, "patients")
    pipeline.run(patients(1, 2, 3), "patients")
    here = table(pipeline)
    pipeline.sql(f"UPDATE {here} t SET name = s.name FROM {here} s WHERE t.id = 1 AND s.id = 2")
    pipeline.sql(f"UPDATE {here} SET name = email WHERE id = 2")
    pipeline.sql(f"UPDATE {here} SET name = 'in the open' WHERE id = 3")
    for key in ("1", "2", "3"):
        with pytest.raises(Refused) as refused:
            table_rows.get(at(pipeline, key))
        assert (refused.value.code, refused.value.status) == ("seal_broken", 409)
    pipeline.dataset(PATIENTS, "others")
    pipeline.run(patients(1), "others")
    there = table(pipeline)
    pipeline.sql(f"UPDATE {here} t SET name = s.name, _row = s._row FROM {there} s WHERE t.id = 1")
    with pytest.raises(Refused):  # of another dataset, though under the same number
        table_rows.get(at(pipeline, "1"))


def test_one_address_in_two_spellings_is_one_key(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 2)
    pipeline.dataset(PATIENTS, "patients")
    pipeline.run(patients(1), "patients")
    body = HEAD + b"2,b@x.org,B,\n3,p1@example.ORG,old,\n4,B@X.org,again,\n5,c@x.org,C,\n6,C@x.ORG,last,\n"
    upload = pipeline.run(body, "patients")
    assert (upload["state"], upload["loaded"]) == ("completed_with_errors", 2)
    assert codes(pipeline, upload) == [
        (2, "duplicate_in_db", "email"),
        (3, "duplicate_in_file", "email"),
        (5, "duplicate_in_file", "email"),
    ]
    assert [one["raw"] for one in pipeline.rejects(upload["id"])][1:] == ["4,B@X.org,again,", "6,C@x.ORG,last,"]
    assert [row["id"] for row in pipeline.rows("patients")] == [1, 2, 5]


def test_a_file_that_comes_in_whole_is_sealed_while_it_waits(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into(monkeypatch, 3)
    pipeline.dataset(PATIENTS, "patients")
    upload_id = pipeline.create(patients(*range(1, 8)), "patients", on_error="abort")
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    number = pipeline.sql("SELECT number FROM rowmill.upload")[0]["number"]
    waiting = pipeline.sql(f"SELECT name FROM stage.u_{number}")
    assert len(waiting) == 7 and not any("Nobody" in row["name"] for row in waiting)
    pipeline.settle()
    assert pipeline.upload(upload_id)["state"] == "completed"
    assert {row["name"] for row in pipeline.rows("patients")} == {"Nobody"}
    upload = pipeline.run(patients(8, 7, 9, 9), "patients", max_errors=9)
    assert codes(pipeline, upload) == [(2, "duplicate_in_db", "id"), (4, "duplicate_in_file", "id")]
    assert pipeline.rejects(upload["id"])[0]["raw"] == "7,P7@Example.org,Nobody,Bonn"


def test_what_an_upsert_wrote_over_opens_again_when_it_is_undone(pipeline: Pipeline) -> None:
    schema = {**PATIENTS, "fields": [{**PATIENTS["fields"][0], "constraints": {}}, *PATIENTS["fields"][1:]]}
    pipeline.dataset(schema, "patients", mode="upsert")
    pipeline.run(patients(1, 2, name="Before"), "patients")
    upload = pipeline.run(patients(2, 3, 3, name="After"), "patients")
    assert (upload["loaded"], upload["updated"]) == (1, 2)
    assert sorted(row["name"] for row in pipeline.rows("patients")) == ["After", "After", "Before"]
    assert pipeline.revert(upload["id"])["state"] == "reverted"
    assert [(row["id"], row["name"]) for row in pipeline.rows("patients")] == [(1, "Before"), (2, "Before")]


def test_a_row_that_is_changed_by_hand_is_sealed_anew(pipeline: Pipeline) -> None:
    pipeline.dataset(PATIENTS, "patients")
    upload = pipeline.run(patients(1, 2), "patients")
    made = {"id": 9, "email": "Z@x.org", "name": "Zoe", "city": None}
    assert table_rows.create(pipeline.tenant, "patients", made)[1] == made
    assert table_rows.change(at(pipeline, "1"), {"city": "Köln"}, None)["name"] == "Nobody"
    assert table_rows.change(at(pipeline, "1"), {"name": "Somebody"}, None)["email"] == "P1@Example.org"
    assert table_rows.get(at(pipeline, "1")) == {"id": 1, "email": "P1@Example.org", "name": "Somebody", "city": "Köln"}
    with pytest.raises(Refused) as refused:
        table_rows.change(at(pipeline, "2"), {"email": "z@X.ORG"}, None)
    assert (refused.value.code, refused.value.errors[0]["column"]) == ("duplicate_in_db", "email")
    assert pipeline.run(HEAD + b"3,z@x.org,,\n", "patients")["rejected"] == 1
    pipeline.revert(upload["id"], force=True)
    assert pipeline.rows("patients") == [made]


def test_a_repeated_request_is_answered_from_what_is_sealed(pipeline: Pipeline) -> None:
    pipeline.dataset(PATIENTS, "patients")
    body = {"id": 9, "email": "z@x.org", "name": "Zoe"}

    def repeat(body: dict[str, Any]) -> Repeat:
        return Repeat(pipeline.tenant, ["rows"], "key-1", body)

    first = table_rows.create(pipeline.tenant, "patients", body, repeat(body))
    assert table_rows.create(pipeline.tenant, "patients", body, repeat(body)) == first
    assert len(pipeline.rows("patients")) == 1
    with pytest.raises(Refused) as refused:
        table_rows.create(pipeline.tenant, "patients", body | {"name": "Yoe"}, repeat(body | {"name": "Yoe"}))
    assert refused.value.code == "idempotency_key_reused"


def test_rejects_tell_no_value_and_open_for_who_sent_the_file(pipeline: Pipeline) -> None:
    pipeline.dataset(PATIENTS, "patients")
    upload = pipeline.run(HEAD + b"1,no-address,Ada,\n2,a@x.org,Ada\nthree,b@x.org,Ada,\n", "patients")
    found = pipeline.rejects(upload["id"])
    assert [one["raw"] for one in found] == ["1,no-address,Ada,", "2,a@x.org,Ada", "three,b@x.org,Ada,"]
    assert found[0]["errors"][0]["detail"] == "the value is not an e-mail address (name@host)"
    assert found[2]["errors"][0]["detail"] == '"three" is not an integer of 64 bits'
    causes = rejects.summary(pipeline.tenant, upload["id"])["causes"]
    assert {(one["column"], one["samples"][0]["value"]) for one in causes} == {
        ("email", None),
        (None, None),
        ("id", '"three"'),
    }
    link = rejects.file(pipeline.tenant, upload["id"], "csv")
    assert link and link["url"].startswith("data:text/csv;charset=utf-8;base64,")
    text = base64.b64decode(link["url"].partition(",")[2]).decode("utf-8-sig")
    assert [line["email"] for line in csv.DictReader(io.StringIO(text))] == ["no-address", "", "b@x.org"]
    bucket = boto3.client("s3").list_objects_v2(Bucket=settings().bucket)["Contents"]
    assert [one["Key"].rsplit("/", 1)[1] for one in bucket] == ["source"]


def test_rejects_that_were_sealed_for_an_owner_who_is_gone_are_shown_to_nobody_as_records(pipeline: Pipeline) -> None:
    """Nor is what they are sealed to."""
    writer, name = pipeline.tenant, pipeline.sql("SELECT username FROM rowmill.account")[0]["username"]
    session = accounts.signup({"username": "owner", "password": "correct horse"})
    pipeline.tenant = session["tenant_id"]
    pipeline.dataset(PATIENTS, "patients")
    sharing.grant(pipeline.tenant, "patients", name, {"role": "writer"})
    shared, pipeline.tenant = catalog.get(pipeline.tenant, "patients")["id"], writer
    upload = pipeline.run(patients(1) + b"x,a@x.org,Ada,\n", shared)
    assert pipeline.rejects(upload["id"])[0]["raw"] == "x,a@x.org,Ada,"
    with acting("api"):
        accounts.delete(session["tenant_id"], session["user_id"], "owner")
    pipeline.sweep()
    for look in (lambda: pipeline.rejects(upload["id"]), lambda: rejects.file(writer, upload["id"], "csv")):
        with pytest.raises(Refused) as refused:
            look()
        assert (refused.value.code, refused.value.status) == ("files_expired", 410)
    assert pipeline.upload(upload["id"])["rejected"] == 1
    assert pipeline.sql("SELECT number FROM rowmill.data_key WHERE wrapped <> ''") == []
    assert consulted({"side": "keys"})["checked"] == 0  # or nobody's keys behind it could be wrapped anew


def test_no_fix_is_offered_for_records_that_are_sealed(pipeline: Pipeline) -> None:
    fields = [*PATIENTS["fields"], {"name": "since", "type": "date"}]
    pipeline.dataset({"fields": fields}, "patients")
    good = b"".join(b"%d,%d@x.org,,,2024-01-01\n" % (n, n) for n in range(100, 40_000))
    bad = b"".join(b"%d,%d@x.org,,,%d.1.2024\n" % (n, n, n) for n in range(13, 30))
    upload = pipeline.run(b"id,email,name,city,since\n" + good + bad, "patients")
    assert upload["rejected"] == 17
    (cause,) = triage.listing(pipeline.tenant, upload["id"])["causes"]
    assert (cause["rejects"], cause["fix"]) == (17, None)
    assert "encrypted fields" in cause["unfixed"]
    with pytest.raises(Refused) as refused:
        triage.option_of(pipeline.tenant, upload["id"], [cause["id"]])
    assert refused.value.code == "cause_unfixed"


def test_a_receipt_is_of_what_is_stored_and_a_comparison_seals_the_file_again(pipeline: Pipeline) -> None:
    pipeline.dataset(PATIENTS, "patients")
    upload = pipeline.run(patients(1, 2, 3), "patients")
    pipeline.attest()
    here = table(pipeline)

    def compared() -> dict[str, Any]:
        receipts.verify(pipeline.tenant, upload["id"])
        pipeline.attest()
        return receipts.verification(pipeline.tenant, upload["id"])

    told = receipts.get(pipeline.tenant, upload["id"], Asked({}, None, 100))
    assert told and told["receipt"]["table"]["fields"] == ["id", "email", "name", "city"]
    assert compared()["result"] == "match"
    pipeline.sql(f"UPDATE {here} t SET name = s.name FROM {here} s WHERE t.id = 1 AND s.id = 2")
    found = compared()
    assert (found["result"], found["rows"]["edited"]) == ("differs", 1)


@pytest.mark.usefixtures("own_clients")
def test_while_the_key_is_off_chunks_wait_and_rows_stay_shut(pipeline: Pipeline) -> None:
    codes = ["DisabledException", "KMSInvalidStateException", "AccessDeniedException", "ValidationException"]
    codes += ["IncorrectKeyException", "InvalidKeyUsageException"]

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": codes.pop()}}, "Decrypt")

    pipeline.dataset(PATIENTS, "patients")
    pipeline.run(patients(1), "patients")
    upload_id = pipeline.create(patients(2), "patients")
    pipeline.split(upload_id)
    (message,) = pipeline.messages()
    aws.client("kms").meta.events.register("before-call.kms", refuse)
    vault.open_keys.forget()
    for attempt in (partial(pipeline.load, [message]), partial(pipeline.rows, "patients")) * 3:
        with pytest.raises(Unavailable) as waits:
            attempt()
        assert waits.value.code == "field_key_unavailable"
    assert pipeline.sql("SELECT attempts FROM rowmill.chunk WHERE state = 'queued'") == [{"attempts": 0}]
    assert not codes
    aws.client("kms").meta.events.unregister("before-call.kms", refuse)
    pipeline.load([message])
    assert len(pipeline.rows("patients")) == 2


def test_data_keys_are_wrapped_by_another_key_and_no_row_is_touched(
    pipeline: Pipeline, field_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.dataset(PATIENTS, "patients")
    upload = pipeline.run(patients(1) + b"2,none,,\n", "patients")
    table_rows.change(at(pipeline, "1"), {"city": "Ulm"}, None)
    rows, there = pipeline.rows("patients"), pipeline.sql(f"SELECT * FROM {table(pipeline)}")
    other = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
    monkeypatch.setenv("ROWMILL_FIELD_KEY", other)
    settings.cache_clear()
    assert consulted({"side": "keys"}) == {"checked": 3, "differences": [], "next": None}
    kept = pipeline.sql("SELECT DISTINCT kms_key FROM rowmill.data_key")
    assert [row["kms_key"] for row in kept] == [other] != [field_key]
    boto3.client("kms").schedule_key_deletion(KeyId=field_key.rpartition("/")[2])
    vault.open_keys.forget()
    assert pipeline.rows("patients") == rows
    assert pipeline.sql(f"SELECT * FROM {table(pipeline)}") == there
    assert pipeline.rejects(upload["id"])[0]["raw"] == "2,none,,"
    assert pipeline.run(patients(5), "patients")["loaded"] == 1


def test_what_is_sealed_opens_in_the_region_that_has_a_replica_of_the_key(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # moto's ids of such keys are longer than AWS's, and than what its ciphertexts have room for.
    monkeypatch.setattr("moto.kms.utils.KEY_ID_LEN", 40)
    monkeypatch.setattr("moto.kms.utils.CIPHERTEXT_HEADER_FORMAT", ">40s12s16s")
    monkeypatch.setattr("moto.kms.utils.HEADER_LEN", 68)
    here = boto3.client("kms")
    key = here.create_key(MultiRegion=True)["KeyMetadata"]
    monkeypatch.setenv("ROWMILL_FIELD_KEY", key["Arn"])
    settings.cache_clear()
    pipeline.dataset(PATIENTS, "patients")
    pipeline.run(patients(1), "patients")
    rows = pipeline.rows("patients")
    replica = here.replicate_key(KeyId=key["KeyId"], ReplicaRegion="eu-west-1")["ReplicaKeyMetadata"]["Arn"]
    assert replica != key["Arn"]
    elsewhere, there = (boto3.client("kms", region_name=region) for region in ("eu-central-1", "eu-west-1"))
    vault.open_keys.forget()
    monkeypatch.setattr(kms, "client", lambda _: elsewhere)
    with pytest.raises(Unavailable):
        pipeline.rows("patients")
    monkeypatch.setattr(kms, "client", lambda _: there)
    assert pipeline.rows("patients") == rows
    monkeypatch.setenv("ROWMILL_FIELD_KEY", replica)
    settings.cache_clear()
    assert consulted({"side": "keys"})["differences"] == []
    assert {row["kms_key"] for row in pipeline.sql("SELECT kms_key FROM rowmill.data_key")} == {replica}


def test_a_file_that_makes_its_dataset_has_no_encrypted_field(pipeline: Pipeline) -> None:
    upload = pipeline.run(patients(1), "found", infer=True)
    assert upload["state"] == "needs_review"
    with pytest.raises(Refused) as refused:
        pipeline.confirm(upload["id"], schema=PATIENTS)
    assert (refused.value.code, refused.value.errors[0]["column"]) == ("schema_invalid", "email")


def test_rows_that_are_there_are_neither_sealed_nor_opened_by_another_schema(pipeline: Pipeline) -> None:
    pipeline.dataset(PATIENTS, "patients")
    pipeline.run(patients(1), "patients")
    wider = {"fields": [*PATIENTS["fields"], {"name": "phone", "encrypted": True}]}
    pipeline.dataset(wider, "patients")
    pipeline.run(b"id,email,name,city,phone\n2,b@x.org,,,0228\n", "patients")
    assert [row["phone"] for row in pipeline.rows("patients")] == [None, "0228"]
    shut = {"fields": [*wider["fields"][:3], {"name": "city", "encrypted": True}, wider["fields"][4]]}
    opened = {"fields": [*wider["fields"][:2], {"name": "name"}, *wider["fields"][3:]]}
    for other, column in ((shut, "city"), (opened, "name")):
        with pytest.raises(Refused) as refused:
            pipeline.dataset(other, "patients")
        assert (refused.value.code, refused.value.errors[0]["column"]) == ("dataset_incompatible", column)


def test_rows_are_not_found_by_what_nobody_may_see(pipeline: Pipeline) -> None:
    pipeline.dataset(PATIENTS, "patients")
    for query in ({"email": "a@x.org"}, {"name.gte": "a"}, {"sort": "-email"}, {"id": "1", "name": "a"}):
        with pytest.raises(Refused) as refused:
            table_rows.listing(pipeline.tenant, "patients", Asked(query, None, 10))
        assert (refused.value.code, refused.value.status) == ("column_encrypted", 400)
    pipeline.dataset({**PATIENTS, "primaryKey": "email"}, "people")
    pipeline.run(patients(1), "people")
    with pytest.raises(Refused) as refused:
        table_rows.get(Addressed(pipeline.tenant, "people", "P1%40Example.org"))
    assert refused.value.code == "key_encrypted"
    assert table_rows.create(pipeline.tenant, "people", {"id": 5, "email": "e@x.org"})[0] is None


def test_values_are_shown_as_if_they_had_not_been_sealed(pipeline: Pipeline) -> None:
    cells = b"t,+007,1.50,f,2024-02-29,A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\n"
    kinds = ["string", "integer", "number", "boolean", "date"]
    shown = []
    for encrypted in (False, True):
        fields: list[dict[str, Any]] = [{"name": kind, "type": kind, "encrypted": encrypted} for kind in kinds]
        fields[3] |= {"trueValues": ["t"], "falseValues": ["f"]}
        fields.append({"name": "uuid", "format": "uuid", "encrypted": encrypted})
        name = pipeline.dataset({"fields": fields}, f"d{encrypted}")
        head = ",".join([*kinds, "uuid"]).encode() + b"\n"
        more = b'"a\\b\tc\nd",-0,-0.00,t,0001-01-01,\n,9223372036854775807,1e3,,,\nx,,NaN,,,\nx,,-INF,,,\n'
        upload = pipeline.run(head + cells + more, name)
        assert upload["loaded"] == 5
        shown.append(pipeline.rows(name))
    assert shown[0] == shown[1]


CANARY = "kanarienvogel"
NUMBER = 7_771_234_567_891_234
FORMS = [
    form
    for word in (CANARY, CANARY.upper(), CANARY.title(), str(NUMBER))
    for form in (
        word,
        word.encode().hex(),
        *(hashed(word.encode()).hexdigest() for hashed in (hashlib.sha256, hashlib.md5)),
    )
]
BIRDS: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": UNIQUE},
        {"name": "email", "format": "email", "encrypted": True, "constraints": UNIQUE},
        {"name": "note", "encrypted": True, "constraints": {"maxLength": 60}},
        {"name": "wage", "type": "integer", "encrypted": True, "constraints": {"maximum": 10**18}},
        {"name": "city"},
    ]
}


class Watched:
    """Everything that a run writes, looked at again and again."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline, self.seen, self.places = pipeline, list[str](), set[str]()
        for call in ("SendMessage", "SendMessageBatch"):
            aws.client("sqs").meta.events.register(f"before-parameter-build.sqs.{call}", self._sent)

    def _sent(self, params: Any, **_: Any) -> None:
        self.look_at("queues", repr(params))

    def look_at(self, place: str, text: str) -> None:
        self.places.add(place)
        self.seen += [f"{form} in {place}" for form in FORMS if form in text]

    def look(self) -> None:
        with psycopg.connect(self._pipeline.url, autocommit=True) as db:
            tables = db.execute(
                "SELECT relnamespace::regnamespace || '.' || relname FROM pg_class WHERE relkind IN ('r', 'p', 'm') AND relpersistence <> 't' AND relnamespace NOT IN"
                " ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
            ).fetchall()
            for (table,) in tables:
                for (row,) in db.execute(f"SELECT t::text FROM {table} t"):
                    self.look_at(f"table {table}", row)
        for name in (settings().uploads_table, settings().keys_table):
            for item in boto3.resource("dynamodb").Table(name).scan()["Items"]:
                self.look_at(f"status {name}", repr(item))
        s3 = boto3.client("s3")
        for one in s3.list_object_versions(Bucket=settings().bucket)["Versions"]:
            if not one["Key"].endswith("/source"):
                body = s3.get_object(Bucket=settings().bucket, Key=one["Key"], VersionId=one["VersionId"])[
                    "Body"
                ].read()
                self.look_at(f"object {one['Key']}", body.decode(errors="replace"))


def birds(*numbers: int, wage: int = NUMBER) -> bytes:
    return b"id,email,note,wage,city\n" + b"".join(
        b"%d,%s%d@x.org,%s,%d,Bonn\n" % (n, CANARY.encode(), n, CANARY.upper().encode(), wage + n) for n in numbers
    )


def _by_hand(pipeline: Pipeline) -> None:
    body = {"id": 900, "email": f"{CANARY}@y.org", "note": CANARY, "wage": NUMBER}
    table_rows.create(pipeline.tenant, "birds", body, Repeat(pipeline.tenant, ["rows"], "key-1", body))
    row = Addressed(pipeline.tenant, "birds", "2")
    table_rows.change(row, {"note": CANARY.title()}, None)
    for document in ({"email": CANARY}, {"wage": f"{NUMBER}x"}, {"email": f"{CANARY}3@x.org"}):
        with pytest.raises(Refused):
            table_rows.change(row, document, None)
    table_rows.remove(row, None)


@pytest.mark.usefixtures("own_clients")
def test_no_value_is_ever_in_the_open_but_in_its_own_file(
    pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run through all that is kept of rows, looked at after each step; the messages of the queues as they are sent."""
    caplog.set_level(logging.DEBUG, "rowmill")
    cut_into(monkeypatch, 10)
    pipeline.dataset(BIRDS, "birds")
    watched = Watched(pipeline)

    def run(body: bytes, **options: Any) -> dict[str, Any]:
        upload_id = pipeline.create(body, "birds", **options)
        pipeline.split(upload_id)
        messages = pipeline.messages()
        pipeline.load(messages[:-1])
        watched.look()
        pipeline.load(messages[-1:])
        watched.look()
        pipeline.settle()
        return pipeline.upload(upload_id)

    bad = (
        f"50,{CANARY}@,,,\n51,{CANARY}51@x.org,{CANARY * 9},{NUMBER}x,\n52,{CANARY}52@x.org,{CANARY}\n"
        f'53,"{CANARY}"53@x.org,,,\n54,{CANARY}54@x.org,{CANARY},{NUMBER}{NUMBER},\n'
        f"1,{CANARY.upper()}1@X.org,{CANARY},,\n55,{CANARY}1@x.org,{CANARY},,\n56,{CANARY}56@x.org,{CANARY}\0,,\n"
    ).encode()
    first = run(birds(*range(1, 12)) + bad, on_drift="warn")
    assert (first["loaded"], first["rejected"]) == (11, 8)
    assert CANARY in pipeline.rejects(first["id"])[0]["raw"]
    assert run(birds(*range(30, 60), wage=1), on_drift="warn")["loaded"] == 30
    assert run(birds(*range(100, 130)) + bad, on_error="abort")["state"] == "failed"
    assert run(birds(*range(100, 110)), on_error="abort")["state"] == "completed"
    assert run(birds(1, 200, 201, 200), max_errors=5)["rejected"] == 2
    checked = run(birds(1, 300, 301, 300) + bad, validate_only=True)
    assert checked["state"] == "needs_review"
    pipeline.confirm(checked["id"])
    pipeline.split(checked["id"])
    pipeline.load(pipeline.messages())
    pipeline.settle()
    watched.look()
    headless = f"{NUMBER},{CANARY}@x.org,{CANARY},1,Bonn\n".encode()
    assert (
        run(headless + birds(400)[len(b"id,email,note,wage,city\n") :], dialect={"header": True})["state"] == "failed"
    )
    run(headless)
    run(headless.replace(b"Bonn", b"Bonn,more"))
    pipeline.attest()
    pipeline.tell()
    for form in ("csv", "xlsx"):
        assert rejects.file(pipeline.tenant, first["id"], form)
    triage.listing(pipeline.tenant, first["id"])
    _by_hand(pipeline)
    watched.look()
    pipeline.revert(first["id"])
    assert pipeline.conflicts(first["id"])
    watched.look()
    watched.look_at("logs", caplog.text + "".join(capsys.readouterr()))
    assert watched.seen == []
    assert watched.places >= {
        *(
            "logs",
            "queues",
            "table rowmill.reject",
            "table rowmill.contested",
            "table rowmill.cause",
        ),
        *("table rowmill.profile", "table rowmill.fingerprint", "table rowmill.key_hash", "table rowmill.repeat"),
        *("table rowmill.receipt", "table rowmill.conflict", f"status {settings().uploads_table}"),
    }
    for kept in pipeline.sql("SELECT profile FROM rowmill.upload WHERE profile IS NOT NULL"):
        for column in kept["profile"][1:4]:
            assert (column["low"], column["high"], column["values"], column["hashes"]) == (None, None, None, [])
