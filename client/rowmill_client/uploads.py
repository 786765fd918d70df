"""Uploads: announced, sent, waited for, and what is asked of them on their way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import httpx

from . import multipart, storage
from .calls import Calls, deadline, linger, path_of
from .errors import ApiError, Unusable
from .resources import AT_REST, Chunk, Conflict, Event, PartsTicket, PartTicket, Ticket, Upload
from .storage import Progress
from .transport import document


class Uploads(Calls):
    """The tenant's uploads."""

    def create_upload(
        self,
        path: Path,
        dataset: str,
        options: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Upload:
        """Announce the file. The answer's `upload` is the ticket for `send_file`.

        Safe to repeat under the same `idempotency_key`; without one, every call is a new upload.
        """
        return self._announce("uploads", path, {"dataset": dataset}, options, idempotency_key)

    def create_retry(
        self,
        upload_id: str,
        path: Path,
        options: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Upload:
        """Announce the corrected rejects of an upload: its rejects file, or one with the dataset's columns."""
        return self._announce(path_of("uploads", upload_id, "retries"), path, {}, options, idempotency_key)

    def retry_causes(self, upload_id: str, fixes: Sequence[str], idempotency_key: str | None = None) -> Upload:
        """Read again, from the stored file, the rejects that the fixes of these causes mend. The new upload."""
        return cast(
            Upload,
            document(self._make(path_of("uploads", upload_id, "retry"), {"fix": list(fixes)}, idempotency_key)),
        )

    def _announce(
        self,
        door: str,
        path: Path,
        to: Mapping[str, str],
        options: Mapping[str, Any] | None,
        idempotency_key: str | None,
    ) -> Upload:
        file = storage.measure(path)
        body = {
            **to,
            "filename": file.filename,
            "size": file.size,
            "content_type": file.content_type,
            "checksum": file.checksum,
            "options": dict(options or {}),
        }
        answer = self._make(door, body, idempotency_key)
        return cast(Upload, document(answer))

    def send_file(self, upload: Upload, path: Path, on_progress: Progress | None = None) -> None:
        """Stream the file to the storage, as a form or in parts. Raises StorageRefused with the storage's own code."""
        self._send(upload["id"], upload["upload"], path, on_progress)

    def resume_file(self, upload: Upload, path: Path, on_progress: Progress | None = None) -> None:
        """Send what the storage lacks of a file that was cut off; nothing if none is waited for any more.

        Raises Unusable if this is not the file that was announced, whatever has become of the upload.
        """
        file = storage.measure(path)
        if file.size != upload["bytes_total"] or upload.get("checksum") not in (None, file.checksum):
            announced = f"{upload['filename']}, {upload['bytes_total']:,} bytes"
            raise Unusable(f"{path} is not the file that was announced ({announced}), or it has changed since")
        if upload["state"] != "awaiting_upload":
            return
        try:
            ticket = cast(Ticket, document(self._ask_for_parts(upload["id"], [])))
        except ApiError as fault:
            if fault.code != "state_conflict":
                raise
            return
        self._send(upload["id"], ticket, path, on_progress)

    def _send(self, upload_id: str, ticket: Ticket, path: Path, on_progress: Progress | None) -> None:
        if ticket["method"] == "POST":
            storage.send(ticket, path, on_progress, self._patience)
        elif ticket["method"] == "PUT":
            self._send_parts(upload_id, ticket, path, on_progress)
        else:
            raise Unusable(f"this client cannot send a file by {ticket['method']}: a newer one is needed")

    def _send_parts(self, upload_id: str, ticket: PartsTicket, path: Path, on_progress: Progress | None) -> None:
        def sign(parts: Sequence[multipart.Part]) -> list[PartTicket]:
            return cast(PartsTicket, document(self._ask_for_parts(upload_id, parts)))["parts"]

        sent = multipart.send(ticket, path, sign, on_progress, self._patience)
        self._transport.call("POST", path_of("uploads", upload_id, "complete"), body={"parts": sent}, again=True)

    def _ask_for_parts(self, upload_id: str, parts: Sequence[multipart.Part]) -> httpx.Response:
        body = {"parts": [{"number": part.number, "sha256": part.sha256} for part in parts]}
        return self._transport.call("POST", path_of("uploads", upload_id, "parts"), body=body, again=True)

    def upload(
        self,
        path: Path,
        dataset: str,
        options: Mapping[str, Any] | None = None,
        *,
        on_progress: Progress | None = None,
        on_change: Callable[[Upload], None] | None = None,
        timeout: float | None = None,
    ) -> Upload:
        """The whole way: announce, send, wait. Returns the upload at rest, whatever state that is."""
        created = self.create_upload(path, dataset, options)
        self.send_file(created, path, on_progress)
        return self.wait(created["id"], on_change, timeout)

    def get_upload(self, upload_id: str) -> Upload:
        return cast(Upload, self._get(path_of("uploads", upload_id)))

    def confirm(self, upload_id: str, dataset: Mapping[str, Any] | None = None) -> Upload:
        """Have what was only checked loaded. The upload, under way again.

        For an upload that infers its types, `dataset` may give a `schema` and a `mode` other than what was found.
        """
        return self._set_going(upload_id, "confirm", dataset)

    def cancel(self, upload_id: str) -> Upload:
        """Ask that nothing more of it is loaded; rows that are in stay. The upload, canceling or canceled."""
        return self._ask(upload_id, "cancel")

    def pause(self, upload_id: str) -> Upload:
        """Have no further chunk of it begun until it is resumed; those in hand may finish. The upload, paused."""
        return self._ask(upload_id, "pause")

    def resume(self, upload_id: str) -> Upload:
        """Have a paused upload go on. The upload, under way again."""
        return self._set_going(upload_id, "resume")

    def delete_upload(self, upload_id: str, *, rows: bool = False) -> None:
        """Delete an upload that is over: its file, status and rejects go, and its `rows` if that is asked."""
        self._delete(path_of("uploads", upload_id), {"rows": "true"} if rows else {})

    def redrive(self, upload_id: str) -> Upload:
        """Have what was given up tried again. The upload, under way again."""
        return self._set_going(upload_id, "redrive")

    def revert(self, upload_id: str, *, force: bool = False) -> Upload:
        """Have an upload that is over undone. `force`: with what was edited or written over since. The upload."""
        return self._ask(upload_id, "revert", {"force": force})

    def _set_going(self, upload_id: str, what: str, body: Mapping[str, Any] | None = None) -> Upload:
        """Ask; if that was done by a try whose answer was lost, it is refused now: it is on its way, or over."""
        try:
            return self._ask(upload_id, what, body)
        except ApiError as refused:
            if not (refused.asked_before and refused.code == "state_conflict"):
                raise
        return self.get_upload(upload_id)

    def _ask(self, upload_id: str, what: str, body: Mapping[str, Any] | None = None) -> Upload:
        answer = self._transport.call("POST", path_of("uploads", upload_id, what), body=dict(body or {}), again=True)
        return cast(Upload, document(answer))

    def wait(
        self,
        upload_id: str,
        on_change: Callable[[Upload], None] | None = None,
        timeout: float | None = None,
    ) -> Upload:
        """The upload at rest. Polls as often as the server asks; raises StillRunning after `timeout` s."""
        give_up = deadline(timeout)
        etag = ""
        while True:
            headers = {"If-None-Match": etag} if etag else {}
            answer = self._transport.call("GET", path_of("uploads", upload_id), headers=headers, again=True)
            if answer.status_code != httpx.codes.NOT_MODIFIED:
                etag = answer.headers.get("etag", "")
                upload = cast(Upload, document(answer))
                if on_change:
                    on_change(upload)
                if upload["state"] in AT_REST:
                    return upload
            linger(answer, give_up, f"upload {upload_id} was still running after {timeout} s")

    def iterate_uploads(
        self, state: str | None = None, dataset: str | None = None, limit: int | None = None
    ) -> Iterator[Upload]:
        """Uploads as the server lists them."""
        return cast(Iterator[Upload], self._items("uploads", {"state": state, "dataset": dataset}, limit))

    def iterate_chunks(self, upload_id: str, limit: int | None = None) -> Iterator[Chunk]:
        return cast(Iterator[Chunk], self._items(path_of("uploads", upload_id, "chunks"), {}, limit))

    def iterate_events(self, upload_id: str, limit: int | None = None) -> Iterator[Event]:
        """What has happened to an upload, in order."""
        return cast(Iterator[Event], self._items(path_of("uploads", upload_id, "events"), {}, limit))

    def iterate_conflicts(self, upload_id: str, limit: int | None = None) -> Iterator[Conflict]:
        """The rows that undoing the upload has left as they are, in file order."""
        return cast(Iterator[Conflict], self._items(path_of("uploads", upload_id, "conflicts"), {}, limit))
