"""What a tenant may ask for: requests a minute, files and bytes a day. Counted in the status table, never in Postgres.

Files and bytes are counted one by one, at admission. Requests are counted here and told the table a share at a time, so
that most requests write nothing. All but one of P processes may keep share - 1 requests to themselves: a tenant gets
`limit` requests a minute for sure, and at most `limit + (P - 1) * (share - 1)`. Windows are those of the clock, in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from chalicelib import aws
from chalicelib.aws import dynamodb
from chalicelib.errors import Refused
from chalicelib.journey import rfc3339
from chalicelib.logs import logger
from chalicelib.settings import settings

MINUTE: Final = 60
DAY: Final = 86_400
SHARES: Final = 200  # of a minute's requests: one process lets in as many before it tells the others


@dataclass(slots=True)
class _Seen:
    """A tenant's requests in a minute: of all processes when the table was last told, and here since then."""

    window: int
    told: int = 0
    untold: int = 0


_seen: dict[str, _Seen] = {}


def forget() -> None:
    """Know of no request, as a process that has just begun."""
    _seen.clear()


def request(tenant: str, now: float) -> dict[str, str]:
    """Count a request; the headers of its answer. Raises Refused `requests_exceeded` (429)."""
    limit, seen = settings().quota_requests, _of_minute(tenant, int(now // MINUTE))
    if seen.told + seen.untold < limit:
        seen.untold += 1
        if seen.untold >= max(1, limit // SHARES):
            _tell(tenant, seen)
        if seen.told <= limit:
            return _headers(seen, now)
    detail = f"The limit of {limit} requests a minute is reached."
    raise _exceeded("requests_exceeded", detail, MINUTE, now, _headers(seen, now))


def _of_minute(tenant: str, window: int) -> _Seen:
    known = next(iter(_seen.values()), None)
    if known is not None and known.window != window:
        _seen.clear()  # a minute has passed: nobody's count of it is needed any more
    return _seen.setdefault(tenant, _Seen(window))


def _tell(tenant: str, seen: _Seen) -> None:
    name, forget_at = _minute(seen.window), (seen.window + 2) * MINUTE
    try:
        counted = dynamodb.count(tenant, name, {"requests": seen.untold}, {}, forget_at) or {}
    except Exception as error:
        if not aws.is_transient(error):
            raise
        # What needs no DynamoDB goes on without it, and asks it once a share and not with each request.
        logger.warning("quota not told", error=type(error).__name__)
        counted = {"requests": seen.told + seen.untold}
    seen.told, seen.untold = counted.get("requests", 0), 0


def _headers(seen: _Seen, now: float) -> dict[str, str]:
    """Of draft-ietf-httpapi-ratelimit-headers-10."""
    limit = settings().quota_requests
    left = max(0, limit - seen.told - seen.untold)
    return {
        "RateLimit-Policy": f'"minute";q={limit};w={MINUTE}',
        "RateLimit": f'"minute";r={left};t={_rest(MINUTE, now)}',
    }


def admit(tenant: str, size: int, now: float) -> bool:
    """Count a file of this size among the day's, unless it is one too many."""
    here = settings()
    most = {"files": here.quota_files, "bytes": here.quota_bytes}
    window = int(now // DAY)
    return dynamodb.count(tenant, _day(window), {"files": 1, "bytes": size}, most, (window + 2) * DAY) is not None


def release(tenant: str, size: int, now: float) -> None:
    """The file that was counted then is none: it was admitted before."""
    window = int(now // DAY)
    dynamodb.count(tenant, _day(window), {"files": -1, "bytes": -size}, {}, (window + 2) * DAY)


def exceeded(tenant: str, now: float) -> Refused:
    """Why no file more is taken today: `files_exceeded` or `bytes_exceeded` (429)."""
    here = settings()
    used = dynamodb.find(tenant, _day(int(now // DAY))) or {}
    if used.get("files", 0) >= here.quota_files:
        return _exceeded("files_exceeded", f"The limit of {here.quota_files} files a day is reached.", DAY, now)
    return _exceeded("bytes_exceeded", f"With this file the day has more than {here.quota_bytes} bytes.", DAY, now)


def shown(tenant: str, now: float) -> dict[str, Any]:
    """What the tenant has used of its quotas, as far as the table has been told."""
    here = settings()
    seen = _of_minute(tenant, int(now // MINUTE))
    counted = dynamodb.find(tenant, _minute(seen.window)) or {}
    today = dynamodb.find(tenant, _day(int(now // DAY))) or {}
    return {
        "requests": _shown(here.quota_requests, counted.get("requests", 0) + seen.untold, MINUTE, now),
        "files": _shown(here.quota_files, today.get("files", 0), DAY, now),
        "bytes": _shown(here.quota_bytes, today.get("bytes", 0), DAY, now),
    }


def _shown(limit: int, used: int, seconds: int, now: float) -> dict[str, Any]:
    ends = datetime.fromtimestamp((now // seconds + 1) * seconds, UTC)
    return {
        "limit": limit,
        "window_s": seconds,
        "used": used,
        "remaining": max(0, limit - used),
        "resets_at": rfc3339(ends),
    }


def _exceeded(code: str, detail: str, seconds: int, now: float, headers: Mapping[str, str] | None = None) -> Refused:
    said = {**(headers or {}), "Retry-After": str(_rest(seconds, now))}
    return Refused(code, detail, status=429, headers=said)


def _rest(seconds: int, now: float) -> int:
    """Seconds until the window ends, rounded up."""
    return seconds - int(now) % seconds


def _minute(window: int) -> str:
    return f"quota#minute#{window}"


def _day(window: int) -> str:
    return f"quota#day#{window}"
