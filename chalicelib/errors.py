"""The one error tree. Refused: asking again changes nothing. Unavailable: asking later may succeed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class RowmillError(Exception):
    """What Rowmill raises on purpose. `code` is stable and documented; `detail` is for people."""

    status = 500

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.status = status or type(self).status
        self.errors = list(errors)
        self.headers = dict(headers or {})

    @property
    def told(self) -> dict[str, Any]:
        """As the status of an upload that ended by it has it."""
        return {"code": self.code, "detail": self.detail, "errors": self.errors}


class Refused(RowmillError):
    """The request, file or row is at fault; a retry meets the same answer."""

    status = 422


def field_refused(code: str, place: str, detail: str) -> Refused:
    """Of one field of a request, by its place (`options.mode`): 422, and `errors` names it as `field_invalid`."""
    error = {"code": "field_invalid", "column": place, "detail": detail}
    return Refused(code, f"{place} {detail}.", errors=[error])


class Infected(Refused):
    """The file holds malware, of this name: nothing of it may load, and nobody may try again."""

    def __init__(self, threat: str) -> None:
        super().__init__("quarantined", f"The file holds malware: {threat}.")
        self.threat = threat


class Unavailable(RowmillError):
    """A service behind us is at fault; a retry may succeed."""

    status = 503

    def __init__(self, code: str, detail: str, *, retry_after: int = 2) -> None:
        super().__init__(code, detail, headers={"Retry-After": str(retry_after)})
        self.retry_after = retry_after


class NotYet(Unavailable):
    """Nothing is at fault: it is not the message's turn for `retry_after` seconds, however often that is said."""
