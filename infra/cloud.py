"""Which cloud this is, and what differs there: addresses and the names that are global.

The one thing to know: no other module asks for an endpoint, a region or an account, so the three clouds
differ here and nowhere else.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

import boto3
from botocore.config import Config

Kind = Literal["aws", "embedded", "localstack"]


class DeployError(Exception):
    """A deploy stopped; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """An account in a region of one cloud. `endpoint` is None on AWS."""

    kind: Kind
    endpoint: str | None
    region: str
    account: str
    session: boto3.Session = field(default_factory=boto3.Session, repr=False, compare=False)
    """Its own: boto3's default one keeps the credentials of whatever the process talked to first. One for all clients:
    each would read anew what AWS's services are, which is most of what it takes to make one."""

    def client(self, service: str, patience: int = 60) -> Any:
        """A boto3 client of this cloud, that waits so many seconds for an answer and then asks again."""
        style = "path" if self.endpoint else "auto"
        return self.session.client(
            service,
            region_name=self.region,
            endpoint_url=self.endpoint,
            config=Config(s3={"addressing_style": style}, retries={"mode": "standard"}, read_timeout=patience),
        )

    @property
    def functions_endpoint(self) -> str:
        """AWS_ENDPOINT_URL for functions. LocalStack gives its containers one that works inside them."""
        return self.endpoint or "" if self.kind == "embedded" else ""

    @property
    def runs_on_this_python(self) -> bool:
        """Whether functions find this interpreter's packages, so that a package need not carry any."""
        return self.kind == "embedded"

    def uploads_bucket(self, stage: str) -> str:
        return f"rowmill-{stage}-{self.account}-uploads"

    @property
    def artifact_bucket(self) -> str:
        return f"rowmill-artifacts-{self.account}-{self.region}"

    def object_url(self, bucket: str, key: str) -> str:
        """Where CloudFormation finds an object."""
        if self.endpoint:
            return f"{self.endpoint}/{bucket}/{key}"
        return f"https://{bucket}.s3.{self.region}.amazonaws.com/{key}"

    def api_url(self, rest_api: str) -> str:
        """The base that `/v1/…` is appended to."""
        if self.endpoint:
            return f"{self.endpoint}/restapis/{rest_api}/api/_user_request_"
        return f"https://{rest_api}.execute-api.{self.region}.amazonaws.com/api"


def connect() -> Cloud:
    """The cloud that the environment names. Asks it who we are, so a wrong credential fails here."""
    endpoint = (os.environ.get("AWS_ENDPOINT_URL") or _localstack()).rstrip("/") or None
    session = boto3.Session()
    region = session.region_name or ("us-east-1" if endpoint else None)
    if region is None:
        raise DeployError("no region: set AWS_DEFAULT_REGION")
    kind = _kind(endpoint)
    sts = session.client("sts", endpoint_url=endpoint, region_name=region)
    return Cloud(kind, endpoint, region, sts.get_caller_identity()["Account"], session)


def _localstack() -> str:
    """Where LocalStack is, if LOCALSTACK_HOST says so as to all of LocalStack's own tools; empty if nothing does."""
    if "LOCALSTACK_HOST" not in os.environ:
        return ""
    from localstack_client.config import get_service_endpoint  # noqa: PLC0415 - of working copies alone

    return str(get_service_endpoint("sts"))


def _kind(endpoint: str | None) -> Kind:
    if endpoint is None:
        return "aws"
    return "embedded" if _answers(f"{endpoint}/_ministack/health") else "localstack"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - the endpoint we were given
            return bool(response.status == HTTPStatus.OK)
    except urllib.error.HTTPError:
        return False
    except OSError as cause:
        raise DeployError(f"nothing answers at {url}: {cause}") from cause
