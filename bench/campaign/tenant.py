"""One account as its owner uses it, through the client and the API; and what can be told of its rows afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from rowmill_client import Patience, Rowmill, RowmillError

from bench.campaign import files
from bench.campaign.plan import Upload, draw
from bench.campaign.rig import Rig

ASKED = 10  # times, while the API is itself under fire
BUCKET = "rowmill-local-000000000000-uploads"


@dataclass(slots=True)
class Tenant:
    """An account with its datasets."""

    rig: Rig
    rowmill: Rowmill
    name: str
    token: str
    folder: Path

    def settle_in(self) -> None:
        """Load files that look like everybody else's, in peace."""
        for upload in draw(0).uploads:
            data = files.write(upload.recipe)
            created = self.announce(upload, data)
            self.store(replace(upload, event="once"), created, data)
            self.rowmill.wait(created["id"], timeout=60)

    def announce(self, upload: Upload, data: bytes) -> Any:
        """Create the upload."""
        path = self._file(data)
        return self.rowmill.create_upload(path, upload.recipe.shape, upload.options)

    def store(self, upload: Upload, created: Any, data: bytes) -> None:
        """Send the file, with S3's event as the plan has it."""
        with _deaf(self.rig) if upload.event == "lost" else contextlib.nullcontext():
            self.rowmill.send_file(created, self._file(data))
        if upload.event == "twice":
            self.rig.send("intake", self.event(created["id"]), self.event(created["id"]))

    def _file(self, data: bytes) -> Path:
        path = self.folder / f"{hashlib.sha256(data).hexdigest()}.csv"
        if not path.exists():
            path.write_bytes(data)
        return path

    def ask(self, upload_id: str, what: str) -> bool:
        """Cancel or redrive an upload; False if there is nothing to cancel or redrive (409)."""
        url = f"{self.rig.here.api_url}/v1/uploads/{upload_id}/{what}"
        headers = {"Authorization": f"Bearer {self.token}"}
        for _ in range(ASKED):
            answer = httpx.post(url, headers=headers, timeout=30)
            if answer.status_code in (202, 409):
                return answer.status_code == 202
            time.sleep(0.3)
        answer.raise_for_status()
        return False

    def fix(self, upload_id: str, fixes: Sequence[str], key: str) -> str:
        """Have rejects read again; the new upload's id. Asked again while the API is itself under fire."""
        for left in reversed(range(ASKED)):
            try:
                return self.rowmill.retry_causes(upload_id, fixes, key)["id"]
            except (httpx.HTTPError, RowmillError):
                if not left:
                    raise
                time.sleep(0.3)
        raise AssertionError("unreachable")

    def event(self, upload_id: str) -> dict[str, Any]:
        """What S3 says of an upload's file."""
        key = f"uploads/{self.name}/{upload_id}/source"
        return {"Records": [{"eventName": "ObjectCreated:Post", "s3": {"object": {"key": key}}}]}


@contextlib.contextmanager
def tenant(rig: Rig) -> Iterator[Tenant]:
    """A new account with one dataset a shape."""
    with Rowmill(rig.here.api_url) as rowmill, tempfile.TemporaryDirectory() as folder:
        session = Patience().keep_trying(lambda: rowmill.signup(f"user-{uuid.uuid4()}", "correct horse"))
        for shape, schema in files.SCHEMAS.items():
            rowmill.put_dataset(shape, dict(schema))
        yield Tenant(rig, rowmill, session["tenant_id"], session["access"], Path(folder))


@contextlib.contextmanager
def _deaf(rig: Rig) -> Iterator[None]:
    """The bucket tells nobody of what arrives."""
    s3 = rig.client("s3")
    told = s3.get_bucket_notification_configuration(Bucket=BUCKET)
    told.pop("ResponseMetadata")
    s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration={})
    try:
        yield
    finally:
        s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=told)


def digest(rig: Rig, tenants: Sequence[str]) -> str:
    """All rows of these tenants' tables in one hash."""
    found = []
    for (number,) in rig.sql("SELECT number FROM rowmill.dataset WHERE tenant = ANY(%s) ORDER BY 1", list(tenants)):
        found += rig.sql(f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY _row)) FROM data.d_{int(number)} t")
    return json.dumps(found)
