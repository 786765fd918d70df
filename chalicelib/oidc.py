"""Tokens of an issuer elsewhere, in place of our own accounts: proved by the keys that it publishes (OIDC discovery).

A token is believed by its signature alone, so nobody has to be asked who somebody is, but for the keys: they are
fetched when the first token comes, again each hour, and at once for a key that is not among them, at most every ten
seconds. While the issuer is away the keys that are known stay good for a day.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import urllib3
from ulid import ULID

from chalicelib.errors import Unavailable
from chalicelib.settings import settings
from chalicelib.tokens import Invalid

# jwt and cryptography are imported where they are used: only an API with an issuer needs them.
if TYPE_CHECKING:
    from jwt import PyJWK

KEPT_SECONDS: Final = 3600.0
KEPT_AWAY_SECONDS: Final = 24 * 3600.0  # while the issuer does not answer
ASKED_SECONDS: Final = 10.0  # between two questions: made-up key ids must not make us ask the issuer for each
LEEWAY_SECONDS: Final = 30  # of the issuer's clock and ours
MAX_BYTES: Final = 256_000  # of either document
MAX_TOKEN: Final = 8_000
# A key is good for the one algorithm that it is made for. None that signs with a secret: a public key is no secret.
_ALGORITHMS: Final = {"RSA": "RS256", "EC": "ES256"}
_LEAST_BITS: Final = {"RS256": 2048, "ES256": 256}
_TYPES: Final = ("jwt", "at+jwt", "application/at+jwt")  # no logout token, nor whatever else an issuer signs
_REQUIRED: Final = ["iss", "aud", "sub", "exp"]
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_MOST_OF_A_SUBJECT: Final = 255  # OpenID Connect Core, section 2
_http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=2, read=3), retries=False)


@dataclass(frozen=True, slots=True)
class Person:
    """Whom an issuer's token speaks for. Both ids follow from issuer and subject: nothing need be kept to know them."""

    user_id: str
    tenant: str


def person(issuer: str, subject: str) -> Person:
    """The same one for the same subject, for ever and everywhere."""
    told = json.dumps([issuer, subject]).encode()
    name = ULID.from_bytes(hashlib.sha256(told).digest()[:16])
    return Person(f"usr_{name}", f"ten_{name}")


class Issuer:
    """Somebody who signs tokens for us. `clock` counts seconds."""

    def __init__(self, url: str, audience: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._audience, self._clock = url, audience, clock
        self._keys: Mapping[str, PyJWK] = {}
        self._fetched = self._asked = -KEPT_AWAY_SECONDS * 2
        self._is_away = False

    def read(self, token: str) -> Person:
        """Whom a token speaks for. Raises Invalid, and Unavailable if that cannot be known now."""
        import jwt

        if len(token) > MAX_TOKEN:
            raise Invalid
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError):
            raise Invalid from None
        if str(header.get("typ", "JWT")).lower() not in _TYPES:
            raise Invalid
        key = self._key(header.get("kid"))
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],  # the key's, whatever the token says of itself
                audience=self._audience,
                issuer=self._url,
                leeway=LEEWAY_SECONDS,
                options={"require": _REQUIRED},
            )
        except (jwt.PyJWTError, ValueError):
            raise Invalid from None
        subject = claims["sub"]
        if not isinstance(subject, str) or not 1 <= len(subject) <= _MOST_OF_A_SUBJECT:
            raise Invalid
        return person(self._url, subject)

    def _key(self, kid: object) -> PyJWK:
        if not isinstance(kid, str):
            raise Invalid
        age = self._clock() - self._fetched
        if (age > KEPT_SECONDS or kid not in self._keys) and self._clock() - self._asked >= ASKED_SECONDS:
            self._ask()
            age = self._clock() - self._fetched
        if kid in self._keys and age <= KEPT_AWAY_SECONDS:
            return self._keys[kid]
        if self._is_away:
            raise Unavailable("issuer_unavailable", "The issuer of tokens does not tell its keys; try again.")
        raise Invalid

    def _ask(self) -> None:
        """Fetch the keys anew; the ones that are known stay if that cannot be done."""
        self._asked = self._clock()
        try:
            found = _fetched(f"{self._url.rstrip('/')}/.well-known/openid-configuration")
            if found["issuer"] != self._url:
                raise ValueError("the document is another issuer's")
            self._keys = dict(_usable(_fetched(found["jwks_uri"])))
        except (urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError, AttributeError):
            self._is_away = True
        else:
            self._fetched, self._is_away = self._clock(), False


def _usable(document: Mapping[str, Any]) -> list[tuple[str, PyJWK]]:
    """The keys that sign tokens, by their ids; others, as issuers publish them for other ends, are passed over."""
    import jwt

    found = []
    for one in document["keys"]:
        algorithm = _ALGORITHMS.get(one.get("kty"))
        if not isinstance(one.get("kid"), str) or algorithm is None:
            continue
        if one.get("use", "sig") != "sig" or one.get("alg", algorithm) != algorithm:
            continue
        try:
            key = jwt.PyJWK(one, algorithm)
        except (jwt.PyJWTError, ValueError):
            continue
        if one.get("crv", "P-256") == "P-256" and key.key.key_size >= _LEAST_BITS[algorithm]:
            found.append((one["kid"], key))
    return found


def _fetched(url: str) -> Any:
    """A JSON document of the issuer's. Raises ValueError for what is none, and urllib3's errors."""
    place = urlsplit(url)
    if place.scheme != "https" and not (place.scheme == "http" and place.hostname in _LOOPBACK):
        raise ValueError("an issuer is asked by https")
    answer = _http.request("GET", url, redirect=False, preload_content=False, headers={"Accept": "application/json"})
    try:
        body = answer.read(MAX_BYTES + 1)
    finally:
        answer.release_conn()
    if answer.status != 200 or len(body) > MAX_BYTES:
        raise ValueError("not a document")
    return json.loads(body)


def issuer() -> Issuer | None:
    """The one that this deployment believes, if accounts are not its own. Raises Unavailable if one is set by half."""
    here = settings()
    if not here.oidc_issuer:
        return None
    if not here.oidc_audience:
        # Without one, any token of this issuer, for whichever service, would open ours.
        raise Unavailable("issuer_unavailable", "This deployment was given an issuer and no audience.")
    return _issuer(here.oidc_issuer, here.oidc_audience)


@cache
def _issuer(url: str, audience: str) -> Issuer:
    return Issuer(url, audience)
