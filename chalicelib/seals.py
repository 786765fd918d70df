"""What receipts are sealed with: Ed25519, in a JWS (RFC 7515, RFC 8037) that everybody can check who has the key.

RECEIPT_SECRET makes the private key, and only the function that signs has it. RECEIPT_KEYS are public keys, the one
that signs now first and then all that ever did: a receipt is good for as long as anybody keeps it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from typing import Any, Final

from chalicelib.errors import Unavailable
from chalicelib.settings import settings

# cryptography and jwt are imported where they are used: only one function signs, and they cost some 30 ms.

TYPE: Final = "rowmill-receipt+json"  # nothing else that this key may ever sign passes for a receipt


def seal(payload: bytes) -> str:
    """A compact JWS of these bytes, which are never spelled anew: whoever checks it reads what was signed."""
    import jwt

    key, public = _pair(settings().receipt_secret)
    return jwt.PyJWS().encode(payload, key, algorithm="EdDSA", headers={"typ": TYPE, "kid": key_id(public)})


def opened(sealed: str) -> bytes:
    """The bytes that one of our own was made of; its signature is not looked at."""
    return _decoded(sealed.split(".")[1])


def is_ours(sealed: str) -> bool:
    """Whether the key that signs now, or one before it, has signed this."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    keys = {key_id(public): public for public in [_pair(settings().receipt_secret)[1], *_published()]}
    try:
        public = keys[jwt.get_unverified_header(sealed)["kid"]]
        jwt.PyJWS().decode(sealed, Ed25519PublicKey.from_public_bytes(_decoded(public)), algorithms=["EdDSA"])
    except (jwt.PyJWTError, KeyError):
        return False
    return True


def keys() -> dict[str, Any]:
    """The public keys as a JSON Web Key Set (RFC 7517), the one that signs now first."""
    return {
        "keys": [
            {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key_id(public), "x": public}
            for public in _published()
        ]
    }


def public_key(secret: str) -> str:
    """The public key of what a secret makes, in base64url, as RECEIPT_KEYS has it."""
    return _pair(secret)[1]


def key_id(public: str) -> str:
    """A key's name is its thumbprint (RFC 7638): there is nothing to keep beside it, and nothing to mistake."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": public}
    return _encoded(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())


def _published() -> list[str]:
    return [text for text in settings().receipt_keys.split(",") if text]


@cache
def _pair(secret: str) -> tuple[Any, str]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not secret:
        raise Unavailable("receipt_key_missing", "RECEIPT_SECRET is not set.", retry_after=60)
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"rowmill receipt " + secret.encode()).digest())
    return key, _encoded(key.public_key().public_bytes_raw())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
