"""The API as methods: one per call, and three that make a journey of them (upload, send_file, wait)."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import quote

import httpx

from . import multipart, storage
from .errors import ApiError, StillRunning, Unusable
from .resources import (
    AT_REST,
    ApiKey,
    Causes,
    Chunk,
    Conflict,
    Dataset,
    Delivery,
    Descriptor,
    Event,
    Grant,
    Mode,
    NewApiKey,
    NewWebhook,
    PartsTicket,
    PartTicket,
    Picture,
    Quota,
    ReceiptLink,
    Record,
    Reject,
    Role,
    Row,
    SealedReceipt,
    Session,
    StoredText,
    Summary,
    Template,
    Ticket,
    Upload,
    Verification,
    Webhook,
)
from .storage import Progress
from .transport import TIMEOUT, Keeper, Patience, Tokens, Transport, document, retry_after

PAGE: Final = 5000  # the most the API gives at once; it ends a page earlier when its items are long
POLL_SECONDS: Final = 1.0  # where the server does not say
SHORTEST_POLL_SECONDS: Final = 0.05


class Rowmill:
    """A client of one API. `token` may be empty until `signup` or `login` has given one.

    A session that those gave, or that `keeper` holds, goes on by itself when its access token runs out.
    """

    def __init__(
        self,
        api: str,
        token: str = "",
        patience: Patience | None = None,
        keeper: Keeper | None = None,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> None:
        self._patience = patience or Patience()
        self._transport = Transport(api, keeper or Keeper(Tokens(token)), self._patience, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    # Accounts

    def signup(self, username: str, password: str) -> Session:
        """Create an account and its tenant; later calls are made in its session."""
        return self._keep(self._make("auth/signup", {"username": username, "password": password}))

    def login(self, username: str, password: str) -> Session:
        """Later calls are made in the session this gives."""
        body = {"username": username, "password": password}
        return self._keep(self._transport.call("POST", "auth/login", body=body))

    def refresh(self) -> Session:
        """Exchange both tokens for the next ones, as every call does by itself when its token has run out."""
        with self._transport.keeper.turn() as tokens:
            return self._keep(self._transport.exchange(_refresh_token(tokens)))

    def logout(self) -> None:
        """End the session, wherever else its tokens may be."""
        with self._transport.keeper.turn() as tokens:
            self._transport.call("POST", "auth/logout", body={"refresh": _refresh_token(tokens)}, again=True)
            self._transport.keeper.keep(Tokens())

    def delete_account(self, username: str) -> None:
        """Delete the account of this name, which is one's own, with all that is its: its tokens are forgotten here."""
        self._transport.call("DELETE", "account", query={"confirm": username}, again=True)
        self._transport.keeper.keep(Tokens())

    def _keep(self, answer: httpx.Response) -> Session:
        session = cast(Session, document(answer))
        self._transport.keeper.keep(Tokens(session["access"], session["refresh"]))
        return session

    def create_api_key(self, name: str, days: int | None = None, role: Role | None = None) -> NewApiKey:
        """A key for a machine, which may do all that its owner may unless a role says less. Its secret is told once."""
        given = {"name": name, "expires_in_days": days, "role": role}
        body = {name: value for name, value in given.items() if value is not None}
        return cast(NewApiKey, document(self._make("api-keys", body)))

    def iterate_api_keys(self, limit: int | None = None) -> Iterator[ApiKey]:
        return cast(Iterator[ApiKey], self._items("api-keys", {}, limit))

    def delete_api_key(self, key_id: str) -> None:
        """It opens nothing from now on."""
        self._transport.call("DELETE", _path("api-keys", key_id), again=True)

    # Webhooks

    def create_webhook(
        self,
        url: str,
        events: Sequence[str] | None = None,
        description: str = "",
        idempotency_key: str | None = None,
    ) -> NewWebhook:
        """Have events posted to a URL: all of them, or these. The secret is in this answer, and in a rotation's."""
        body = {"url": url, "description": description} | ({} if events is None else {"events": list(events)})
        return cast(NewWebhook, document(self._make("webhooks", body, idempotency_key)))

    def iterate_webhooks(self, limit: int | None = None) -> Iterator[Webhook]:
        return cast(Iterator[Webhook], self._items("webhooks", {}, limit))

    def get_webhook(self, webhook_id: str) -> Webhook:
        return cast(Webhook, self._get(_path("webhooks", webhook_id)))

    def change_webhook(self, webhook_id: str, values: Mapping[str, Any]) -> Webhook:
        """Change its `url`, `events` or `description`; `enabled` lets it hear again, or nothing."""
        answer = self._transport.call("PATCH", _path("webhooks", webhook_id), body=values, again=True)
        return cast(Webhook, document(answer))

    def rotate_webhook(self, webhook_id: str) -> NewWebhook:
        """Another secret; for a day events are signed with the former one, too."""
        return cast(NewWebhook, document(self._transport.call("POST", _path("webhooks", webhook_id, "rotate"))))

    def ping_webhook(self, webhook_id: str) -> Delivery:
        """Send an event that tells of nothing; how that went is among the deliveries."""
        return cast(Delivery, document(self._transport.call("POST", _path("webhooks", webhook_id, "ping"))))

    def iterate_deliveries(self, webhook_id: str, limit: int | None = None) -> Iterator[Delivery]:
        """What a webhook was told and what not, the newest first."""
        return cast(Iterator[Delivery], self._items(_path("webhooks", webhook_id, "deliveries"), {}, limit))

    def delete_webhook(self, webhook_id: str) -> None:
        """Nothing more is posted there."""
        self._transport.call("DELETE", _path("webhooks", webhook_id), again=True)

    # Datasets

    def put_dataset(self, name: str, descriptor: Descriptor, mode: Mode | None = None) -> Dataset:
        """Create the dataset, or change it to this Table Schema."""
        body = descriptor if mode is None else {**descriptor, "mode": mode}
        answer = self._transport.call("PUT", _path("datasets", name), body=body, again=True)
        return cast(Dataset, document(answer))

    def get_dataset(self, name: str) -> Dataset:
        return cast(Dataset, self._get(_path("datasets", name)))

    def delete_dataset(self, name: str) -> None:
        """Delete the dataset with its rows."""
        self._transport.call("DELETE", _path("datasets", name))

    def iterate_datasets(self, limit: int | None = None, *, shared: bool = False) -> Iterator[Dataset]:
        """One's own by name; or others' that are shared, by id, which is what they are called here."""
        return cast(Iterator[Dataset], self._items("datasets", {"shared": "true"} if shared else {}, limit))

    def put_grant(self, dataset: str, username: str, role: Role) -> Grant:
        """Let an account read the dataset, or also write to it."""
        answer = self._transport.call("PUT", _grant_path(dataset, username), body={"role": role}, again=True)
        return cast(Grant, document(answer))

    def iterate_grants(self, dataset: str, limit: int | None = None) -> Iterator[Grant]:
        return cast(Iterator[Grant], self._items(_path("datasets", dataset, "grants"), {}, limit))

    def delete_grant(self, dataset: str, username: str) -> None:
        """The account has no role in the dataset any more; what it is loading is canceled."""
        self._transport.call("DELETE", _grant_path(dataset, username))

    def iterate_templates(self) -> Iterator[Template]:
        """The datasets that come with the service."""
        return iter(cast(list[Template], self._get("templates")["items"]))

    def get_template(self, name: str) -> Descriptor:
        """One of them, for `put_dataset`."""
        return self._get(_path("templates", name))

    def send_picture(self, dataset: str, key: str, path: Path) -> Picture:
        """Send a picture and have the row show it, instead of the one it had."""
        place = _picture_path(dataset, key)
        file = storage.measure(path)
        asked = {"content_type": storage.picture_type(path), "size": file.size}
        awaited = document(self._transport.call("POST", place, body=asked, again=True))
        storage.send(awaited["upload"], path, None, self._patience)
        return cast(Picture, document(self._transport.call("PUT", place, body={"id": awaited["id"]}, again=True)))

    def get_picture(self, dataset: str, key: str) -> Picture:
        return cast(Picture, self._get(_picture_path(dataset, key)))

    def delete_picture(self, dataset: str, key: str) -> None:
        self._transport.call("DELETE", _picture_path(dataset, key), again=True)

    def iterate_rows(
        self,
        dataset: str,
        upload: str | None = None,
        limit: int | None = None,
        where: Mapping[str, str] | None = None,
        sort: str | None = None,
    ) -> Iterator[Row]:
        """The rows in file order, a page in memory at a time.

        `where` compares indexed fields: {"age.gte": "30"}; `sort` is one, after a minus for the other way round.
        """
        path = _path("datasets", dataset, "rows")
        return cast(Iterator[Row], self._items(path, {**(where or {}), "upload": upload, "sort": sort}, limit))

    def get_row(self, dataset: str, *key: str) -> tuple[Row, str]:
        """The row of this key, a value for each of its fields, and the tag by which a change can be guarded."""
        answer = self._transport.call("GET", _row_path(dataset, key), again=True)
        return cast(Row, document(answer)), answer.headers.get("etag", "")

    def create_row(self, dataset: str, row: Mapping[str, Any], idempotency_key: str | None = None) -> Row:
        """Add a row; a field that is not named has no value. Made once under the same `idempotency_key`."""
        answer = self._make(_path("datasets", dataset, "rows"), row, idempotency_key)
        return cast(Row, document(answer))

    def change_row(self, dataset: str, *key: str, values: Mapping[str, Any], if_match: str | None = None) -> Row:
        """Change the fields that are named; with `if_match` only if the row is still the one of this tag."""
        headers = {"If-Match": if_match} if if_match else {}
        answer = self._transport.call("PATCH", _row_path(dataset, key), body=values, headers=headers)
        return cast(Row, document(answer))

    def delete_row(self, dataset: str, *key: str, if_match: str | None = None) -> None:
        headers = {"If-Match": if_match} if if_match else {}
        self._transport.call("DELETE", _row_path(dataset, key), headers=headers)

    # Uploads

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
        return self._announce(_path("uploads", upload_id, "retries"), path, {}, options, idempotency_key)

    def retry_causes(self, upload_id: str, fixes: Sequence[str], idempotency_key: str | None = None) -> Upload:
        """Read again, from the stored file, the rejects that the fixes of these causes mend. The new upload."""
        return cast(
            Upload,
            document(self._make(_path("uploads", upload_id, "retry"), {"fix": list(fixes)}, idempotency_key)),
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
        """Send what the storage lacks of a file that was cut off; nothing if it has arrived meanwhile.

        Raises Unusable if this is not the file that was announced.
        """
        try:
            ticket = cast(Ticket, document(self._ask_for_parts(upload["id"], [])))
        except ApiError as fault:
            if fault.code != "state_conflict":
                raise
            return
        file = storage.measure(path)
        if file.size != upload["bytes_total"] or ticket.get("checksum") not in (None, file.checksum):
            raise Unusable(f"{path} is not the file that was announced, or it has changed since")
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
        self._transport.call("POST", _path("uploads", upload_id, "complete"), body={"parts": sent}, again=True)

    def _ask_for_parts(self, upload_id: str, parts: Sequence[multipart.Part]) -> httpx.Response:
        body = {"parts": [{"number": part.number, "sha256": part.sha256} for part in parts]}
        return self._transport.call("POST", _path("uploads", upload_id, "parts"), body=body, again=True)

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
        return cast(Upload, self._get(_path("uploads", upload_id)))

    def confirm(self, upload_id: str, dataset: Mapping[str, Any] | None = None) -> Upload:
        """Have what was only checked loaded. The upload, under way again.

        For an upload that infers its types, `dataset` may give a `schema` and a `mode` other than what was found.
        """
        return self._ask(upload_id, "confirm", dataset)

    def cancel(self, upload_id: str) -> Upload:
        """Ask that nothing more of it is loaded; rows that are in stay. The upload, canceling or canceled."""
        return self._ask(upload_id, "cancel")

    def pause(self, upload_id: str) -> Upload:
        """Have no further chunk of it begun until it is resumed; those in hand may finish. The upload, paused."""
        return self._ask(upload_id, "pause")

    def resume(self, upload_id: str) -> Upload:
        """Have a paused upload go on. The upload, under way again."""
        return self._ask(upload_id, "resume")

    def delete_upload(self, upload_id: str, *, rows: bool = False) -> None:
        """Delete an upload that is over: its file, status and rejects go, and its `rows` if that is asked."""
        asked = {"rows": "true"} if rows else {}
        self._transport.call("DELETE", _path("uploads", upload_id), query=asked, again=True)

    def redrive(self, upload_id: str) -> Upload:
        """Have what was given up tried again. The upload, under way again."""
        return self._ask(upload_id, "redrive")

    def revert(self, upload_id: str, *, force: bool = False) -> Upload:
        """Have an upload that is over undone. `force`: with what was edited or written over since. The upload."""
        return self._ask(upload_id, "revert", {"force": force})

    def _ask(self, upload_id: str, what: str, body: Mapping[str, Any] | None = None) -> Upload:
        answer = self._transport.call("POST", _path("uploads", upload_id, what), body=dict(body or {}), again=True)
        return cast(Upload, document(answer))

    def wait(
        self,
        upload_id: str,
        on_change: Callable[[Upload], None] | None = None,
        timeout: float | None = None,
    ) -> Upload:
        """The upload at rest. Polls as often as the server asks; raises StillRunning after `timeout` s."""
        give_up = _deadline(timeout)
        etag = ""
        while True:
            headers = {"If-None-Match": etag} if etag else {}
            answer = self._transport.call("GET", _path("uploads", upload_id), headers=headers, again=True)
            if answer.status_code != httpx.codes.NOT_MODIFIED:
                etag = answer.headers.get("etag", "")
                upload = cast(Upload, document(answer))
                if on_change:
                    on_change(upload)
                if upload["state"] in AT_REST:
                    return upload
            _pause(answer, give_up, f"upload {upload_id} was still running after {timeout} s")

    def iterate_uploads(
        self, state: str | None = None, dataset: str | None = None, limit: int | None = None
    ) -> Iterator[Upload]:
        """Uploads as the server lists them."""
        return cast(Iterator[Upload], self._items("uploads", {"state": state, "dataset": dataset}, limit))

    def iterate_chunks(self, upload_id: str, limit: int | None = None) -> Iterator[Chunk]:
        return cast(Iterator[Chunk], self._items(_path("uploads", upload_id, "chunks"), {}, limit))

    def iterate_events(self, upload_id: str, limit: int | None = None) -> Iterator[Event]:
        """What has happened to an upload, in order."""
        return cast(Iterator[Event], self._items(_path("uploads", upload_id, "events"), {}, limit))

    def iterate_conflicts(self, upload_id: str, limit: int | None = None) -> Iterator[Conflict]:
        """The rows that undoing the upload has left as they are, in file order."""
        return cast(Iterator[Conflict], self._items(_path("uploads", upload_id, "conflicts"), {}, limit))

    def iterate_rejects(self, upload_id: str, limit: int | None = None) -> Iterator[Reject]:
        """The rows that were not loaded, in file order."""
        return cast(Iterator[Reject], self._items(_path("uploads", upload_id, "rejects"), {}, limit))

    def rejects_summary(self, upload_id: str) -> Summary:
        """What is wrong with the rows that were not loaded, the most frequent causes first."""
        return cast(Summary, self._get(_path("uploads", upload_id, "rejects", "summary")))

    def causes(self, upload_id: str) -> Causes:
        """The few causes behind all rejects, across columns, and for each the options that are proved to mend it."""
        return cast(Causes, self._get(_path("uploads", upload_id, "causes")))

    def download_rejects(
        self, upload_id: str, form: str, sink: Callable[[bytes], object], timeout: float | None = None
    ) -> None:
        """The rejects as a file (csv or xlsx) into `sink`, block by block, waiting while it is being made.

        Raises StillRunning after `timeout` s.
        """
        give_up = _deadline(timeout)
        path = _path("uploads", upload_id, "rejects")
        while True:
            answer = self._transport.call("GET", path, query={"format": form}, again=True)
            if answer.status_code != httpx.codes.ACCEPTED:
                storage.fetch(document(answer)["url"], sink, self._patience)
                return
            _pause(answer, give_up, f"the rejects of {upload_id} were not a file yet after {timeout} s")

    def get_record(self, upload_id: str, row: int) -> Record:
        """What became of one record of the file, counted from 1."""
        return cast(Record, self._get(_path("uploads", upload_id, "rows", str(row))))

    # Receipts

    def get_receipt(self, upload_id: str, n: int | None = None, timeout: float | None = None) -> SealedReceipt:
        """An upload's newest receipt, or its n-th, waiting while it is being made.

        Raises StillRunning after `timeout` s.
        """
        give_up = _deadline(timeout)
        while True:
            answer = self._transport.call("GET", _path("uploads", upload_id, "receipt"), query={"n": n}, again=True)
            if answer.status_code != httpx.codes.ACCEPTED:
                return cast(SealedReceipt, document(answer))
            _pause(answer, give_up, f"the receipt of {upload_id} was not made yet after {timeout} s")

    def get_text(self, upload_id: str) -> StoredText:
        """Where the text is that was made of an upload's file, or of the rejects that it read again."""
        return cast(StoredText, self._get(_path("uploads", upload_id, "text")))

    def download_text(self, upload_id: str, sink: Callable[[bytes], object]) -> None:
        """That text into `sink`, block by block."""
        storage.fetch(self.get_text(upload_id)["url"], sink, self._patience)

    def iterate_receipts(self, upload_id: str, limit: int | None = None) -> Iterator[ReceiptLink]:
        """The chain of an upload's receipts, the first first."""
        return cast(Iterator[ReceiptLink], self._items(_path("uploads", upload_id, "receipts"), {}, limit))

    def receipt_keys(self) -> dict[str, Any]:
        """The public keys of receipts, as a JSON Web Key Set."""
        return document(self._transport.call("GET", "../.well-known/rowmill-receipt-keys.json", again=True))

    def start_verification(self, upload_id: str) -> Verification:
        """Have file and table compared with the newest receipt; if that is under way, it goes on."""
        answer = self._transport.call("POST", _path("uploads", upload_id, "verify"), body={}, again=True)
        return cast(Verification, document(answer))

    def get_verification(self, upload_id: str) -> Verification:
        """The newest comparison, as far as it is."""
        return cast(Verification, self._get(_path("uploads", upload_id, "verification")))

    def verify(self, upload_id: str, timeout: float | None = None) -> Verification:
        """What comparing file and table with the newest receipt finds. Raises StillRunning after `timeout` s."""
        give_up = _deadline(timeout)
        self.start_verification(upload_id)
        while True:
            answer = self._transport.call("GET", _path("uploads", upload_id, "verification"), again=True)
            found = cast(Verification, document(answer))
            if found["state"] == "completed":
                return found
            _pause(answer, give_up, f"{upload_id} was not verified yet after {timeout} s")

    def quota(self) -> Quota:
        """What the tenant may still ask for, in this minute and today."""
        return cast(Quota, self._get("quota"))

    def _make(self, path: str, body: Mapping[str, Any], idempotency_key: str | None = None) -> httpx.Response:
        """Have something made, once, however often it has to be asked for."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._transport.call("POST", path, body=body, headers=headers, again=True)

    # Reading

    def _get(self, path: str, query: Mapping[str, str | int | None] | None = None) -> dict[str, Any]:
        return document(self._transport.call("GET", path, query=query, again=True))

    def _items(self, path: str, query: Mapping[str, str | None], limit: int | None) -> Iterator[dict[str, Any]]:
        size = PAGE if limit is None else min(limit, PAGE)
        return islice(self._every_item(path, {**query, "limit": size}), limit)

    def _every_item(self, path: str, query: Mapping[str, str | int | None]) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = self._get(path, {**query, "cursor": cursor})
            yield from page["items"]
            before, cursor = cursor, page.get("next_cursor")
            if not cursor:
                return
            if cursor == before:
                raise ApiError(200, "cursor_stuck", f"the API answered the same page of {path} twice")


def _deadline(timeout: float | None) -> float:
    """By the monotonic clock, so many seconds from now; never without any."""
    return math.inf if timeout is None else time.monotonic() + timeout


def _pause(answer: httpx.Response, give_up: float, late: str) -> None:
    """Until it is worth asking again. Raises StillRunning with this if that is too late."""
    asked = retry_after(answer)
    pause = POLL_SECONDS if asked is None else max(asked, SHORTEST_POLL_SECONDS)
    if time.monotonic() + pause > give_up:
        raise StillRunning(late)
    time.sleep(pause)


def _refresh_token(tokens: Tokens) -> str:
    if not tokens.refresh:
        raise Unusable("there is no session here, only a token: log in first")
    return tokens.refresh


def _path(*parts: str) -> str:
    # These would not name a resource but another path: the listing, or the parent.
    if not {"", ".", ".."}.isdisjoint(parts):
        raise Unusable("a dataset or upload needs a name")
    return "/".join(quote(part, safe="") for part in parts)


def _grant_path(dataset: str, username: str) -> str:
    if not username:
        raise Unusable("an account has a name")
    return _path("datasets", dataset, "grants") + "/" + quote(_escaped(username), safe="@")


def _picture_path(dataset: str, key: str) -> str:
    return _path("datasets", dataset, "rows", key, "picture")


def _row_path(dataset: str, key: Sequence[str]) -> str:
    """The values of a key stand between commas; what could be taken for something else is escaped by a tilde."""
    if not any(key):
        raise Unusable("a row needs a key")
    return _path("datasets", dataset, "rows") + "/" + ",".join(quote(_escaped(value), safe="@") for value in key)


def _escaped(value: str) -> str:
    plain = value.replace("~", "~0").replace("/", "~1").replace(",", "~2").replace("%", "~3")
    return plain.replace(".", "~4") if value in (".", "..") else plain
