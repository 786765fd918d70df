"""A plan on the running cloud: what it tells, and that it is what is then done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.cloud import DeployError
from infra.deploy import Asked, deploy, plan
from infra.local import instance
from tests.journey.conftest import Cloud

ORIGIN = "gatewayresponse.header.Access-Control-Allow-Origin"


@pytest.fixture
def own_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Whose API may get another address: the embedded cloud makes it anew where its origins change.

    None of its functions is asked for anything, so none is started beforehand.
    """
    monkeypatch.setattr(instance, "_warm", lambda _: None)
    with instance.running(tmp_path) as here:
        yield Cloud(here)


@pytest.mark.needs("clouds of a test's own")
def test_a_plan_changes_nothing_and_is_what_is_then_done(own_cloud: Cloud) -> None:
    here = own_cloud.instance
    asked = Asked(database_url=here.database_url, public_endpoint=here.endpoint)
    other = replace(asked, allowed_origin="https://a.example")
    buckets, gateway = own_cloud.client("s3"), own_cloud.client("apigateway")

    def origins() -> list[str]:
        rules = buckets.get_bucket_cors(Bucket="rowmill-local-000000000000-uploads")["CORSRules"]
        found: list[str] = rules[0]["AllowedOrigins"]
        # What the gateway answers by itself names the same.
        (api,) = gateway.get_rest_apis()["items"]  # whose id is another on this cloud after each change
        kept = gateway.get_gateway_responses(restApiId=api["id"], limit=500)["items"]
        named = {one.get("responseParameters", {}).get(ORIGIN) for one in kept if not one.get("defaultResponse")}
        assert named == {f"'{found[0]}'"}
        return found

    with instance._pointed_at(here.endpoint):
        told: list[str] = []
        assert plan("local", asked, told.append) is None
        assert told == ["the stack would not change"]
        told.clear()
        change = plan("local", other, told.append)
        assert change is not None
        assert [line.split()[:3] for line in told if "UploadsBucket " in line] == [
            ["Modify", "AWS::S3::Bucket", "UploadsBucket"]
        ]
        assert not [line for line in told if "SQS::Queue" in line or "DynamoDB::Table" in line]
        assert told[-1] == f"python -m infra up --stage local --planned {change.name}"
        assert origins() == ["*"]
        try:
            # What is asked now is not what was planned: the plan it is that is done.
            assert deploy("local", asked, planned=change.name, say=told.append).stack_changed
            assert origins() == ["https://a.example"]
        finally:
            deploy("local", asked, say=told.append)
        assert origins() == ["*"]
        with pytest.raises(DeployError, match="not planned from these sources"):
            deploy("local", asked, planned="plan-0123456789abcdef-1")
        digest = change.name.split("-")[1]
        with pytest.raises(DeployError, match="plan again"):
            deploy("local", asked, planned=f"plan-{digest}-gone")
