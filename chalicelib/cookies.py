"""The page's way in: a session's tokens in cookies, which no script can read and no other site's page can use.

A browser sends cookies whoever makes it ask. So what was asked for by cookie, and changes something, must come from a
page of ours: SameSite keeps most others' pages from it, and the browser's own word on where the request comes from all.
It takes cookies from whoever answers, too: another's page that sends its own login here must not log its visitor in.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Literal

from chalicelib.errors import Refused

Kind = Literal["access", "refresh"]
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL: Final = ("localhost", "127.0.0.1", "[::1]")


def issue(headers: Mapping[str, str], kind: Kind, token: str, life: timedelta) -> str:
    """A Set-Cookie of a token for the browser that sent these headers."""
    kept = f"Path=/; Max-Age={int(life.total_seconds())}; HttpOnly; SameSite=Strict"
    return f"{_name(headers, kind)}={token}; {kept}" + ("; Secure" if _is_secure(headers) else "")


def forget(headers: Mapping[str, str], kind: Kind) -> str:
    """A Set-Cookie that takes it back."""
    return issue(headers, kind, "", timedelta(0))


def find(headers: Mapping[str, str], kind: Kind) -> str | None:
    """The token that the browser kept, if it did."""
    wanted = _name(headers, kind)
    # By hand: the standard library gives up the rest where another program's cookie is odd.
    parts = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return next((value for name, _, value in parts if name == wanted and value), None)


def refuse_foreign(headers: Mapping[str, str]) -> None:
    """Raise Refused `origin_foreign` (403) unless the browser says that a page of this very host is asking.

    Every browser of today says so in Sec-Fetch-Site, which no script can set; one that does not, in Origin.
    """
    if not _is_ours(headers):
        raise Refused("origin_foreign", "A cookie opens this door to pages of the same host only.", status=403)


def may_be_left(headers: Mapping[str, str]) -> bool:
    """Whether cookies are for whoever sent these headers: a page of this very host, or what is no browser."""
    return _is_ours(headers) or not ("sec-fetch-site" in headers or "origin" in headers)


def _is_ours(headers: Mapping[str, str]) -> bool:
    site = headers.get("sec-fetch-site")
    scheme = "https" if _is_secure(headers) else "http"
    ours = f"{scheme}://{headers.get('host', '')}".lower()
    return site == "same-origin" if site is not None else headers.get("origin", "").lower() == ours


def _name(headers: Mapping[str, str], kind: Kind) -> str:
    # Of this name browsers take a cookie from no other host of the domain, nor over plain HTTP.
    return f"__Host-rowmill-{kind}" if _is_secure(headers) else f"rowmill-{kind}"


def _is_secure(headers: Mapping[str, str]) -> bool:
    """All but plain HTTP to this machine itself, the embedded cloud. API Gateway says what it was asked by."""
    host = headers.get("host", "").lower()
    is_local = any(host == name or host.startswith(f"{name}:") for name in _LOCAL)
    return not is_local or headers.get("x-forwarded-proto", "http") == "https"
