"""Everything that can go wrong, as one tree: each error knows its exit code and whether to try again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of a problem document's `errors`."""

    code: str
    detail: str
    row: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        place = [f"row {self.row}"] if self.row is not None else []
        place += [f"column {self.column}"] if self.column is not None else []
        return ": ".join(part for part in (", ".join(place), self.code, self.detail) if part)


class RowmillError(Exception):
    """Whatever this package raises on purpose."""

    exit_code = 1
    transient = False
    retry_after: float | None = None
    asked_before = False  # and nobody heard the answer: what is refused now may have been done then


class Unusable(RowmillError):
    """What was asked for cannot be tried: a file that is not there, an option that does not parse."""

    exit_code = 2


class ApiError(RowmillError):
    """The API said no, in the words of its problem document."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        faults: tuple[Fault, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        # Not the message: who unpickles it, as a process pool does, makes it anew of these.
        super().__init__(status, code, detail, faults, retry_after)
        self.status = status
        self.code = code
        self.detail = detail
        self.faults = faults
        self.retry_after = retry_after
        # A 409 that says when to come back is a first try still running, or a dataset busy for a moment.
        self.transient = status in (429, 502, 503, 504) or (status == 409 and retry_after is not None)

    def __str__(self) -> str:
        return f"{self.detail} ({self.code}, HTTP {self.status})"


class AnswerIncomplete(ApiError, KeyError):
    """An answer has not the field that was asked for: it is not of a Rowmill API, or not of this one's release."""


class StorageRefused(RowmillError):
    """The storage did not take the file; `code` is its own, such as EntityTooLarge."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(status, code, detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.transient = status >= 500 or code == "RequestTimeout"

    def __str__(self) -> str:
        return f"the storage refused the file: {self.detail} ({self.code}, HTTP {self.status})"


class Unreachable(RowmillError):
    """No answer came: the name does not resolve, nobody listens, the line broke."""

    transient = True


class StillRunning(RowmillError):
    """The time given to wait ran out before the upload came to rest. The upload itself goes on."""
