"""Requests to the API: problem documents become ApiError, and what is safe to repeat is repeated for a while.

Only calls marked `again=True` are retried, so a login is never sent twice. An access token that has run out is
exchanged on the way, once a call.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Final, TypeVar

import httpx

from .errors import AnswerIncomplete, ApiError, Fault, RowmillError, Unreachable, Unusable

T = TypeVar("T")
TIMEOUT: Final = httpx.Timeout(35.0, connect=10.0)  # API Gateway gives up after 29 s
_LONGEST: Final = 86_400.0  # that a server may ask to wait: no clock takes 1e300 seconds


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to keep trying once something has failed, and how far apart the tries are."""

    seconds: float = 30.0
    first_pause: float = 0.25
    longest_pause: float = 5.0

    def pause(self, tries: int, retry_after: float | None) -> float:
        """Seconds until the next try: what the server asked for, or a doubling pause with jitter."""
        if retry_after:  # at once would be a thousand times a second
            return retry_after
        most = min(self.longest_pause, self.first_pause * 2.0 ** min(tries, 20))
        return most * random.uniform(0.5, 1.0)

    def keep_trying(self, attempt: Callable[[], T]) -> T:
        """The result of `attempt`, repeated on transient errors. Raises the last one when time is up."""
        give_up = math.inf
        tries, is_unheard = 0, False
        while True:
            try:
                return attempt()
            except RowmillError as fault:
                fault.asked_before = is_unheard
                is_unheard |= not isinstance(fault, ApiError) or fault.status >= 500
                give_up = min(give_up, time.monotonic() + self.seconds)
                pause = self.pause(tries, fault.retry_after)
                if not fault.transient or time.monotonic() + pause > give_up:
                    raise
            time.sleep(pause)
            tries += 1


@dataclass(frozen=True, slots=True)
class Tokens:
    """What opens the doors, and what gets the next of both; the latter is empty where there is none."""

    access: str = ""
    refresh: str = ""


class Keeper:
    """Where a client's tokens are: here in memory.

    Whoever exchanges them holds the `turn`: a refresh token that two send ends the session.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def turn(self) -> Iterator[Tokens]:
        """The tokens as they are once nobody else is changing them."""
        with self._turn:
            yield self.tokens

    def keep(self, tokens: Tokens) -> None:
        """These from now on."""
        self.tokens = tokens


class Transport:
    """One connection pool to one API, with the tokens of one keeper."""

    def __init__(self, api: str, keeper: Keeper, patience: Patience, timeout: httpx.Timeout = TIMEOUT) -> None:
        self.keeper = keeper
        self._api = _base(api)
        self._patience = patience
        self._timeout = timeout
        self._http, self._process = connections(timeout), os.getpid()

    def close(self) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str | int | None] | None = None,
        headers: Mapping[str, str] | None = None,
        again: bool = False,
    ) -> httpx.Response:
        """A 2xx or 304 answer. Raises ApiError or Unreachable."""

        def send(token: str) -> httpx.Response:
            authorization = {"Authorization": f"Bearer {token}"} if token else {}
            request = self._request(method, path, body, {**authorization, **(headers or {})}, query)
            return self._patience.keep_trying(lambda: self._send(request)) if again else self._send(request)

        token = self.keeper.tokens.access
        try:
            return send(token)
        except ApiError as refused:
            if refused.code != "token_invalid" or not self.keeper.tokens.refresh:
                raise
            is_unheard = refused.asked_before
        fresh = self._exchanged(token)
        try:
            return send(fresh)
        except RowmillError as fault:
            fault.asked_before |= is_unheard  # by the token that has run out since
            raise

    def _exchanged(self, refused: str) -> str:
        """An access token in place of the one that was refused; the one that somebody else has got meanwhile, if so."""
        with self.keeper.turn() as tokens:
            if tokens.access != refused:
                return tokens.access
            self.keeper.keep(tokens)  # on a full disk this fails, and the refresh token is not spent for nothing
            session = document(self.exchange(tokens.refresh))
            self.keeper.keep(Tokens(session["access"], session["refresh"]))
            return str(session["access"])

    def exchange(self, refresh: str) -> httpx.Response:
        """Spend a refresh token. The key lets the API answer once more if its answer is lost on the way."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        request = self._request("POST", "auth/refresh", {"refresh": refresh}, headers)
        return self._patience.keep_trying(lambda: self._send(request))

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        query: Mapping[str, str | int | None] | None = None,
    ) -> httpx.Request:
        """Raises Unusable for what does not fit into one."""
        try:
            return self._http.build_request(
                method,
                f"{self._api}/v1/{path}",
                json=body,
                params={name: value for name, value in (query or {}).items() if value is not None},
                headers=headers,
            )
        except httpx.InvalidURL as fault:
            raise Unusable(f"what is asked for does not fit into an address: {fault}") from fault
        except UnicodeEncodeError as fault:  # of a header, or of a body with half a sign
            raise Unusable(f"{fault.object[fault.start : fault.end]!r} is not valid text") from None

    def _connections(self) -> httpx.Client:
        """Those of this process: a fork has its parent's, and one would take the answers of the other."""
        if self._http.is_closed:
            raise Unusable("the client is closed")
        if self._process != os.getpid():
            self._http, self._process = connections(self._timeout), os.getpid()
        return self._http

    def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            response = self._connections().send(request)
        except httpx.LocalProtocolError:  # which quotes the header, a token most often
            raise Unusable("a token or a key holds characters that no header takes, such as a line's end") from None
        except httpx.HTTPError as fault:
            raise Unreachable(f"{self._api} cannot be reached: {reason(fault)}") from fault
        except UnicodeError as fault:  # of a host that no resolver takes, such as a..b
            raise Unusable(f"the API URL {self._api!r} is not valid: {fault}") from fault
        if not (response.is_success or response.status_code == httpx.codes.NOT_MODIFIED):
            raise _problem(response)
        is_page = response.headers.get("content-type", "").startswith("text/html")
        if is_page:  # of somebody else, who has deleted nothing
            raise _no_answer_of_ours(response)
        return response


def connections(timeout: httpx.Timeout) -> httpx.Client:
    """A connection pool of its own, with the certificates that all of them share."""
    try:
        return httpx.Client(timeout=timeout, verify=_certificates(), headers={"User-Agent": "rowmill-client"})
    except (ValueError, ImportError, httpx.InvalidURL) as fault:  # ALL_PROXY and the like; SOCKS needs a package
        raise Unusable(f"the proxy that the environment names cannot be used: {fault}") from fault
    except OSError as fault:  # SSL_CERT_FILE
        raise Unusable(f"the certificates that the environment names cannot be read: {fault}") from fault


@cache
def _certificates() -> ssl.SSLContext:
    # Reading the bundle takes 38 ms, which httpx would spend for every client.
    return httpx.create_ssl_context()


class _Answer(dict[str, Any]):
    """A JSON object of an answer. A field that is asked for and not there is told as a fault of who answered."""

    def __missing__(self, name: str) -> Any:
        raise AnswerIncomplete(200, "answer_invalid", f"an answer has no {name!r}; is it a Rowmill API?")


def document(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer. Raises ApiError `answer_invalid`: most often the base URL is wrong."""
    found = _json_object(response)
    if found is None:
        raise _no_answer_of_ours(response)
    return found


def _no_answer_of_ours(response: httpx.Response) -> ApiError:
    detail = f"{response.url} did not answer with a JSON object; is it a Rowmill API?"
    return ApiError(response.status_code, "answer_invalid", detail)


def retry_after(response: httpx.Response) -> float | None:
    """Seconds of a Retry-After header: a number, fractions too, or an HTTP date. None if unreadable."""
    text = response.headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        seconds = _seconds_until(text)
    return max(0.0, min(seconds, _LONGEST)) if math.isfinite(seconds) else None


def reason(fault: httpx.HTTPError) -> str:
    """A fault of the network in words; httpx leaves some of them without a message."""
    return str(fault) or type(fault).__name__


def _seconds_until(text: str) -> float:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return math.nan
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _base(api: str) -> str:
    try:
        url = httpx.URL(api)
    except httpx.InvalidURL as fault:
        raise Unusable(f"the API URL {api!r} is not valid: {fault}") from fault
    if url.scheme not in ("http", "https") or not url.host:
        raise Unusable(f"the API URL {api!r} must start with http:// or https:// and name a host")
    return api.rstrip("/")


def _problem(response: httpx.Response) -> ApiError:
    found = _json_object(response) or {}
    # The gateway in front of the API answers for itself with `message` alone.
    detail = found.get("detail") or found.get("message") or found.get("Message") or found.get("title")
    code = found.get("code") or found.get("Code") or "unknown"
    said = response.reason_phrase or "no reason given"
    faults = found.get("errors")
    return ApiError(
        response.status_code,
        str(code),
        str(detail or said),
        tuple(map(_fault, faults)) if isinstance(faults, list) else (),
        retry_after(response),
    )


def _fault(entry: object) -> Fault:
    if not isinstance(entry, dict):
        return Fault("", str(entry))
    return Fault(str(entry.get("code", "")), str(entry.get("detail", "")), entry.get("row"), entry.get("column"))


def _json_object(response: httpx.Response) -> dict[str, Any] | None:
    try:
        found = response.json(object_hook=_Answer)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
