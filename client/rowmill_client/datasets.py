"""Datasets, who may use them, and their rows one by one or page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from . import storage
from .calls import Calls, path_of
from .errors import Unusable
from .resources import Dataset, Descriptor, Grant, Mode, Picture, Role, Row, Template
from .transport import document


class Datasets(Calls):
    """The tenant's datasets, and those that are shared with it."""

    def put_dataset(self, name: str, descriptor: Descriptor, mode: Mode | None = None) -> Dataset:
        """Create the dataset, or change it to this Table Schema."""
        body = descriptor if mode is None else {**descriptor, "mode": mode}
        answer = self._transport.call("PUT", path_of("datasets", name), body=body, again=True)
        return cast(Dataset, document(answer))

    def get_dataset(self, name: str) -> Dataset:
        return cast(Dataset, self._get(path_of("datasets", name)))

    def delete_dataset(self, name: str) -> None:
        """Delete the dataset with its rows."""
        self._transport.call("DELETE", path_of("datasets", name))

    def iterate_datasets(self, limit: int | None = None, *, shared: bool = False) -> Iterator[Dataset]:
        """One's own by name; or others' that are shared, by id, which is what they are called here."""
        return cast(Iterator[Dataset], self._items("datasets", {"shared": "true"} if shared else {}, limit))

    def put_grant(self, dataset: str, username: str, role: Role) -> Grant:
        """Let an account read the dataset, or also write to it."""
        answer = self._transport.call("PUT", _grant_path(dataset, username), body={"role": role}, again=True)
        return cast(Grant, document(answer))

    def iterate_grants(self, dataset: str, limit: int | None = None) -> Iterator[Grant]:
        return cast(Iterator[Grant], self._items(path_of("datasets", dataset, "grants"), {}, limit))

    def delete_grant(self, dataset: str, username: str) -> None:
        """The account has no role in the dataset any more; what it is loading is canceled."""
        self._transport.call("DELETE", _grant_path(dataset, username))

    def iterate_templates(self) -> Iterator[Template]:
        """The datasets that come with the service."""
        return iter(cast(list[Template], self._get("templates")["items"]))

    def get_template(self, name: str) -> Descriptor:
        """One of them, for `put_dataset`."""
        return self._get(path_of("templates", name))

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
        self._delete(_picture_path(dataset, key))

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
        path = path_of("datasets", dataset, "rows")
        return cast(Iterator[Row], self._items(path, {**(where or {}), "upload": upload, "sort": sort}, limit))

    def get_row(self, dataset: str, *key: str) -> tuple[Row, str]:
        """The row of this key, a value for each of its fields, and the tag by which a change can be guarded."""
        answer = self._transport.call("GET", _row_path(dataset, key), again=True)
        return cast(Row, document(answer)), answer.headers.get("etag", "")

    def create_row(self, dataset: str, row: Mapping[str, Any], idempotency_key: str | None = None) -> Row:
        """Add a row; a field that is not named has no value. Made once under the same `idempotency_key`."""
        answer = self._make(path_of("datasets", dataset, "rows"), row, idempotency_key)
        return cast(Row, document(answer))

    def change_row(self, dataset: str, *key: str, values: Mapping[str, Any], if_match: str | None = None) -> Row:
        """Change the fields that are named; with `if_match` only if the row is still the one of this tag."""
        headers = {"If-Match": if_match} if if_match else {}
        answer = self._transport.call("PATCH", _row_path(dataset, key), body=values, headers=headers)
        return cast(Row, document(answer))

    def delete_row(self, dataset: str, *key: str, if_match: str | None = None) -> None:
        headers = {"If-Match": if_match} if if_match else {}
        self._transport.call("DELETE", _row_path(dataset, key), headers=headers)


def _grant_path(dataset: str, username: str) -> str:
    if not username:
        raise Unusable("an account has a name")
    return path_of("datasets", dataset, "grants") + "/" + quote(_escaped(username), safe="@")


def _picture_path(dataset: str, key: str) -> str:
    return path_of("datasets", dataset, "rows", key, "picture")


def _row_path(dataset: str, key: Sequence[str]) -> str:
    """The values of a key stand between commas; what could be taken for something else is escaped by a tilde."""
    if not any(key):
        raise Unusable("a row needs a key")
    return path_of("datasets", dataset, "rows") + "/" + ",".join(quote(_escaped(value), safe="@") for value in key)


def _escaped(value: str) -> str:
    plain = value.replace("~", "~0").replace("/", "~1").replace(",", "~2").replace("%", "~3")
    return plain.replace(".", "~4") if value in (".", "..") else plain
