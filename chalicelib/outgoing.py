"""Requests to addresses that strangers choose: what may be called at all, and one POST that goes nowhere else.

A name is resolved once. Every address that it has must be a public one, and the connection is made to those very
addresses, whatever the name means a moment later; certificate and Host are still the name's. Redirects are not
followed, of an answer the status alone is looked at, and all of it is over within SECONDS.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from chalicelib.errors import Refused
from chalicelib.settings import settings

SECONDS: Final = 10  # for everything after the name is resolved
CONNECT_SECONDS: Final = 4
MOST_ADDRESSES: Final = 2  # of a name that are tried
MOST_URL: Final = 2000
_URL: Final = re.compile(r"[!-\[\]-~]+", re.ASCII).fullmatch  # visible ASCII but the backslash
_LABEL: Final = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST: Final = re.compile(rf"(?!.{{254}})({_LABEL}\.)*{_LABEL}|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]{{1,44}}").fullmatch
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # all else is private, mapped, translated or not yet anybody's
_ODD_4: Final = tuple(map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24")))  # Python 3.11 takes them for global
_ODD: Final = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))

Address = IPv4Address | IPv6Address
Lookup = Callable[..., Sequence[tuple[Any, ...]]]


class Undelivered(Exception):
    """Nobody answered as they should; `reason` is a word of ours, never of theirs."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes."""

    is_tls: bool
    host: str
    port: int
    path: str

    @property
    def named(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"


def read(url: str) -> Target:
    """A URL that may be called, as far as its text shows. Raises Refused `webhook_url_invalid`."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _invalid("it is no URL") from None
    if not _URL(url) or len(url) > MOST_URL:
        raise _invalid(f"it has other characters than visible ASCII, or more than {MOST_URL}")
    if parts.scheme != "https" and not (parts.scheme == "http" and settings().webhook_private):
        raise _invalid("it does not begin with https://")
    if "@" in parts.netloc or "#" in url or not _HOST(host):
        raise _invalid("it has a user, a fragment, or no host")
    port = port if port is not None else 443 if parts.scheme == "https" else 80
    if not (port == 443 or port > 1023 or settings().webhook_private):
        raise _invalid("its port is neither 443 nor above 1023")
    return Target(parts.scheme == "https", host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def _invalid(why: str) -> Refused:
    error = {"code": "webhook_url_invalid", "column": "url", "detail": why}
    return Refused("webhook_url_invalid", f"The URL cannot be called: {why}.", errors=[error])


def look(url: str, lookup: Lookup = socket.getaddrinfo) -> None:
    """Whether a URL may be called today. Raises Refused; a name that nobody knows yet may still come to be."""
    with contextlib.suppress(Undelivered):
        addresses(read(url), lookup)


def addresses(target: Target, lookup: Lookup) -> list[str]:
    """All addresses that a target has now, IPv4 first: functions have no other way out unless somebody gave them one.

    Raises Refused `webhook_url_forbidden` if one of them is not public, Undelivered if there is none.
    """
    try:
        found = lookup(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Undelivered("name_unknown") from None
    unique = dict.fromkeys(ip_address(str(one[4][0]).partition("%")[0]) for one in found)
    if not settings().webhook_private and not all(map(is_public, unique)):
        raise Refused("webhook_url_forbidden", "The URL leads to an address that is not public.")
    return [str(one) for one in sorted(unique, key=lambda one: one.version)][:MOST_ADDRESSES]


def is_public(address: Address) -> bool:
    """Whether an address is one of the Internet: of no private net, link or group, and no way into such by another."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not any(address in net for net in _ODD_4)
    return address.is_global and address in _GLOBAL_UNICAST and not any(address in net for net in _ODD)


def post(url: str, headers: Mapping[str, str], body: bytes, lookup: Lookup = socket.getaddrinfo) -> int:
    """The status that a POST is answered with. Raises Refused for a URL that may not be called, Undelivered."""
    target = read(url)
    reason = "name_unknown"
    for address in addresses(target, lookup):
        try:
            return _asked(target, address, headers, body)
        except _Unconnected as failure:
            reason = failure.reason
    raise Undelivered(reason)


class _Unconnected(Undelivered):
    """Not a byte of the request has left: another address may be tried."""


def _asked(target: Target, address: str, headers: Mapping[str, str], body: bytes) -> int:
    with _connected(target, address) as line:
        asked = http.client.HTTPConnection(target.host, target.port)
        asked.sock = line
        try:
            asked.request("POST", target.path, body, {"Host": target.named, "User-Agent": "Rowmill", **headers})
            return asked.getresponse().status
        except TimeoutError:
            raise Undelivered("timed_out") from None
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            # ValueError and AttributeError: the line was cut from under ssl or http.client when the time was up.
            raise Undelivered("connection_lost") from None


@contextlib.contextmanager
def _connected(target: Target, address: str) -> Iterator[socket.socket]:
    """A line to this address, encrypted if it is to be; it is cut when its time is up, if the server dawdles, too."""
    try:
        plain = socket.create_connection((address, target.port), CONNECT_SECONDS)
    except OSError:
        raise _Unconnected("not_connected") from None
    plug = socket.socket(fileno=socket.dup(plain.fileno()))
    cut = threading.Timer(SECONDS, _cut, [plug])
    cut.daemon = True
    cut.start()
    line = plain
    try:
        plain.settimeout(SECONDS)
        line = _tls().wrap_socket(plain, server_hostname=target.host) if target.is_tls else plain
        yield line
    except ssl.SSLCertVerificationError:
        raise Undelivered("certificate_invalid") from None
    except (OSError, ValueError):
        raise Undelivered("tls_failed") from None
    finally:
        cut.cancel()
        line.close()
        plug.close()


def _cut(plug: socket.socket) -> None:
    with contextlib.suppress(OSError):
        plug.shutdown(socket.SHUT_RDWR)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
