"""What an upload has come to: rejects and their causes, single records, receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import httpx

from . import storage
from .calls import Calls, deadline, linger, path_of
from .resources import Causes, ReceiptLink, Record, Reject, SealedReceipt, StoredText, Summary, Verification
from .transport import document


class Results(Calls):
    """What is told of uploads once they are over."""

    def iterate_rejects(self, upload_id: str, limit: int | None = None) -> Iterator[Reject]:
        """The rows that were not loaded, in file order."""
        return cast(Iterator[Reject], self._items(path_of("uploads", upload_id, "rejects"), {}, limit))

    def rejects_summary(self, upload_id: str) -> Summary:
        """What is wrong with the rows that were not loaded, the most frequent causes first."""
        return cast(Summary, self._get(path_of("uploads", upload_id, "rejects", "summary")))

    def causes(self, upload_id: str) -> Causes:
        """The few causes behind all rejects, across columns, and for each the options that are proved to mend it."""
        return cast(Causes, self._get(path_of("uploads", upload_id, "causes")))

    def download_rejects(
        self, upload_id: str, form: str, sink: Callable[[bytes], object], timeout: float | None = None
    ) -> None:
        """The rejects as a file (csv or xlsx) into `sink`, block by block, waiting while it is being made.

        Raises StillRunning after `timeout` s.
        """
        give_up = deadline(timeout)
        path = path_of("uploads", upload_id, "rejects")
        while True:
            answer = self._transport.call("GET", path, query={"format": form}, again=True)
            if answer.status_code != httpx.codes.ACCEPTED:
                storage.fetch(document(answer)["url"], sink, self._patience)
                return
            linger(answer, give_up, f"the rejects of {upload_id} were not a file yet after {timeout} s")

    def get_record(self, upload_id: str, row: int) -> Record:
        """What became of one record of the file, counted from 1."""
        return cast(Record, self._get(path_of("uploads", upload_id, "rows", str(row))))

    def get_receipt(self, upload_id: str, n: int | None = None, timeout: float | None = None) -> SealedReceipt:
        """An upload's newest receipt, or its n-th, waiting while it is being made.

        Raises StillRunning after `timeout` s.
        """
        give_up = deadline(timeout)
        while True:
            answer = self._transport.call("GET", path_of("uploads", upload_id, "receipt"), query={"n": n}, again=True)
            if answer.status_code != httpx.codes.ACCEPTED:
                return cast(SealedReceipt, document(answer))
            linger(answer, give_up, f"the receipt of {upload_id} was not made yet after {timeout} s")

    def get_text(self, upload_id: str) -> StoredText:
        """Where the text is that was made of an upload's file, or of the rejects that it read again."""
        return cast(StoredText, self._get(path_of("uploads", upload_id, "text")))

    def download_text(self, upload_id: str, sink: Callable[[bytes], object]) -> None:
        """That text into `sink`, block by block."""
        storage.fetch(self.get_text(upload_id)["url"], sink, self._patience)

    def iterate_receipts(self, upload_id: str, limit: int | None = None) -> Iterator[ReceiptLink]:
        """The chain of an upload's receipts, the first first."""
        return cast(Iterator[ReceiptLink], self._items(path_of("uploads", upload_id, "receipts"), {}, limit))

    def receipt_keys(self) -> dict[str, Any]:
        """The public keys of receipts, as a JSON Web Key Set."""
        return document(self._transport.call("GET", "../.well-known/rowmill-receipt-keys.json", again=True))

    def start_verification(self, upload_id: str) -> Verification:
        """Have file and table compared with the newest receipt; if that is under way, it goes on."""
        answer = self._transport.call("POST", path_of("uploads", upload_id, "verify"), body={}, again=True)
        return cast(Verification, document(answer))

    def get_verification(self, upload_id: str) -> Verification:
        """The newest comparison, as far as it is."""
        return cast(Verification, self._get(path_of("uploads", upload_id, "verification")))

    def verify(self, upload_id: str, timeout: float | None = None) -> Verification:
        """What comparing file and table with the newest receipt finds. Raises StillRunning after `timeout` s."""
        give_up = deadline(timeout)
        self.start_verification(upload_id)
        while True:
            answer = self._transport.call("GET", path_of("uploads", upload_id, "verification"), again=True)
            found = cast(Verification, document(answer))
            if found["state"] == "completed":
                return found
            linger(answer, give_up, f"{upload_id} was not verified yet after {timeout} s")
