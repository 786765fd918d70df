"""Messages that put one tenant's upload into another's name: what they say is looked up, and Postgres' keys agree."""

from __future__ import annotations

import boto3
import psycopg
import pytest

from chalicelib import accounts, mend, settle, split
from chalicelib.settings import settings
from tests.stages.conftest import Pipeline, acting, onward

BODY = b"email,name,age\na@x.org,Ada,36\nb@x.org,Bea,30\n"


@pytest.fixture
def other(pipeline: Pipeline) -> str:
    """Another tenant, with a dataset of the same name."""
    mine, theirs = pipeline.tenant, accounts.signup({"username": "other", "password": "correct horse"})["tenant_id"]
    pipeline.tenant = theirs
    pipeline.dataset()
    pipeline.tenant = mine
    pipeline.dataset()
    return str(theirs)


def rows_of(pipeline: Pipeline, tenant: str) -> int:
    return int(pipeline.sql(f'SELECT count(*) AS n FROM "{tenant}".contacts')[0]["n"])


def test_a_chunk_loads_for_the_tenant_of_its_upload_whatever_its_message_says(pipeline: Pipeline, other: str) -> None:
    upload_id = pipeline.create(BODY)
    pipeline.split(upload_id)
    forged = [{**message, "tenant": other, "dataset": 1, "upload_id": "upl_x"} for message in pipeline.messages()]
    pipeline.load(forged)
    assert pipeline.upload(upload_id)["state"] == "completed"
    assert (rows_of(pipeline, pipeline.tenant), rows_of(pipeline, other)) == (2, 0)


def test_a_file_is_not_opened_in_the_name_of_another_tenant(pipeline: Pipeline, other: str) -> None:
    """Not even if that tenant has an object there."""
    upload_id = pipeline.create(BODY)
    forged = {"Records": [{"eventName": "x", "s3": {"object": {"key": f"uploads/{other}/{upload_id}/source"}}}]}
    boto3.client("s3").put_object(Bucket=settings().bucket, Key=f"uploads/{other}/{upload_id}/source", Body=BODY)
    for message in (forged, {"tenant": other, "upload_id": upload_id}):
        with acting("split"):
            assert split.file(message) is None
        with acting("bury"):
            onward(mend.bury(message))
    assert pipeline.sql("SELECT FROM rowmill.upload") == []
    assert pipeline.sql("SELECT closed FROM rowmill.announcement") == [{"closed": None}]
    assert pipeline.upload(upload_id)["state"] == "awaiting_upload"
    pipeline.split(upload_id)
    pipeline.load(pipeline.messages())
    assert pipeline.upload(upload_id)["state"] == "completed"
    assert (rows_of(pipeline, pipeline.tenant), rows_of(pipeline, other)) == (2, 0)


def test_postgres_keeps_no_upload_under_another_tenant_than_its_announcement_s(pipeline: Pipeline, other: str) -> None:
    upload_id = pipeline.create(BODY)
    pipeline.split(upload_id)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        pipeline.sql("UPDATE rowmill.upload SET tenant = %s WHERE upload_id = %s", other, upload_id)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        pipeline.sql("UPDATE rowmill.announcement SET tenant = %s WHERE upload_id = %s", other, upload_id)


def test_settling_and_burying_believe_no_number_that_is_none(pipeline: Pipeline, other: str) -> None:
    for nonsense in ({"upload": -1}, {"upload": True, "tenant": other}, {"upload": "1 OR 1=1"}, {"upload": [1]}):
        assert settle.contested(nonsense) is None
        assert mend.bury(nonsense) is None
