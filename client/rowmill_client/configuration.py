"""Which API and which tokens: the environment first, then what the last login left on disk.

The only room that reads the environment. A stored token is never sent to an API that did not give it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .errors import Unusable
from .transport import Keeper, Patience, Tokens


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user of one API. `username` and `refresh` are empty when the environment gave the token."""

    api: str
    token: str
    username: str = ""
    refresh: str = ""


def credentials() -> Credentials:
    """Whom to be and where. Raises Unusable with what to do when that is not known."""
    api = api_url(None)
    token = os.environ.get("ROWMILL_TOKEN", "").strip()
    if token:
        return Credentials(api, _printable(token))
    kept = stored()
    if kept is None or kept.api != api:
        raise Unusable(f"not logged in to {api}: run `rowmill login`, or set ROWMILL_TOKEN")
    return kept


def api_url(asked: str | None) -> str:
    """The base URL: as asked for, from ROWMILL_API, or of the last login. Raises Unusable without one."""
    kept = stored() if not asked and not os.environ.get("ROWMILL_API") else None
    url = asked or os.environ.get("ROWMILL_API") or (kept.api if kept else "")
    if not url.strip():
        raise Unusable("no API configured: run `rowmill login --api URL`, or set ROWMILL_API")
    return url.strip().rstrip("/")


def patience() -> Patience:
    """How long to keep trying; ROWMILL_RETRY_SECONDS shortens or lengthens the half minute."""
    text = os.environ.get("ROWMILL_RETRY_SECONDS")
    if not text:
        return Patience()
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise Unusable(f"ROWMILL_RETRY_SECONDS must be a number of seconds, not {text!r}")
    return Patience(seconds)


def stored() -> Credentials | None:
    """What the last login stored, or None. Raises Unusable when the file is there but not readable."""
    path = credentials_path()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        told = (str(found["token"]), str(found.get("refresh", "")))
        token, refresh = map(_printable, told)
        return Credentials(str(found["api"]), token, str(found["username"]), refresh)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise Unusable(f"{path} is not readable: run `rowmill login` again, or delete it") from fault


def store(found: Credentials) -> Path:
    """Keep it for later commands, readable by this user alone. Returns where."""
    path = credentials_path()
    _write(path, asdict(found))
    return path


def _write(path: Path, found: Mapping[str, Any]) -> None:
    """Whole or not at all. Raises Unusable."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp creates with mode 0600, so a token is at no time readable by others.
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(found, file)
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as fault:
        raise Unusable(f"{path} cannot be written: {fault.strerror or fault}") from fault


def forget(api: str, username: str) -> None:
    """Delete what the last login stored, if it was of this user."""
    if _stored_of(api, username):
        credentials_path().unlink(missing_ok=True)


def _stored_of(api: str, username: str) -> Credentials | None:
    """What the last login stored, if it was of this user: who logs in while a command runs may be somebody else."""
    found = stored()
    return found if found and (found.api, found.username) == (api, username) else None


class OnDisk(Keeper):
    """The tokens of the last login, in its file: commands that run at once exchange them one after the other."""

    def __init__(self, found: Credentials) -> None:
        super().__init__(Tokens(found.token, found.refresh))
        self._found = found

    @contextlib.contextmanager
    def turn(self) -> Iterator[Tokens]:
        with super().turn(), _alone(credentials_path().parent):
            if now := _stored_of(self._found.api, self._found.username):
                self.tokens = Tokens(now.token, now.refresh)
            yield self.tokens

    def keep(self, tokens: Tokens) -> None:
        super().keep(tokens)
        if _stored_of(self._found.api, self._found.username):
            store(replace(self._found, token=tokens.access, refresh=tokens.refresh))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time. The folder itself is the lock; where there are no such locks, nobody waits."""
    if sys.platform == "win32":
        yield
        return
    import fcntl  # noqa: PLC0415 - not there on Windows

    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as fault:
        raise Unusable(f"{folder} cannot be used: {fault.strerror or fault}") from fault
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def credentials_path() -> Path:
    """`$XDG_CONFIG_HOME/rowmill/credentials.json`, by default under ~/.config."""
    base = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    # The XDG rules tell programs to ignore a relative path here.
    if not base.is_absolute():
        try:
            base = Path.home() / ".config"
        except RuntimeError as fault:
            raise Unusable("there is no home folder to keep a login in: set HOME or XDG_CONFIG_HOME") from fault
    return base / "rowmill" / "credentials.json"


def keep_keys(keys: Mapping[str, Any]) -> None:
    """Keep public keys of receipts beside those that are kept: for as long as there is a receipt of them."""
    path = keys_path()
    with _alone(path.parent):
        known = {one["kid"]: one for one in [*_keys(path), *keys["keys"]] if isinstance(one, dict) and "kid" in one}
        _write(path, {"keys": list(known.values())})


def kept_keys() -> dict[str, Any]:
    """The keys that `rowmill receipt` has kept. Raises Unusable if there are none."""
    found = _keys(keys_path())
    if not found:
        raise Unusable("no keys are kept here: run `rowmill receipt` once, or give --key")
    return {"keys": found}


def _keys(path: Path) -> list[Any]:
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["keys"])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise Unusable(f"{path} is not readable: delete it, and run `rowmill receipt` again") from fault


def keys_path() -> Path:
    """`receipt-keys.json`, beside the credentials."""
    return credentials_path().with_name("receipt-keys.json")


def _printable(token: str) -> str:
    if not (token.isascii() and token.isprintable()):
        raise Unusable("the token holds characters that no token has; was it copied in full?")
    return token
