"""The page for people, as `make web` built it from web/: its index, its assets by name, and what they may do.

The built files are in chalicelib/web, which no commit holds. They are read once, at the first request: a name that is
asked for is looked up among them and never becomes a path. Without them the page says how they are made.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from chalicelib.errors import Refused

BUILT: Final = Path(__file__).parent / "web"
MEDIA: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_NEVER: Final = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_STYLE: Final = (
    "body{font:1rem/1.6 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1.5rem}"
    ":root{color-scheme:light dark}"
)
_UNBUILT: Final = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1">'
    f"<title>Rowmill</title><style>{_STYLE}</style></head><body><main><h1>Rowmill</h1>"
    "<p>The API runs. The page is not in this deployment: it is built from <code>web/</code>, and that needs Node 20.19"
    " or newer. Run <code>make web</code>, then <code>make up</code> again, or deploy again.</p>"
    '<p><a href="docs">What the API takes and answers</a></p></main></body></html>'
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that the index names, and its media type."""

    text: str
    media: str


@cache
def index(built: Path = BUILT) -> str:
    """The page, or without a build how to get it."""
    file = built / "index.html"
    return file.read_text() if file.exists() else _UNBUILT


def asset(name: str, built: Path = BUILT) -> Asset:
    """Raises Refused `asset_not_found` (404)."""
    found = assets(built).get(name)
    if found is None:
        raise Refused("asset_not_found", "The page has no such file.", status=404)
    return found


@cache
def assets(built: Path = BUILT) -> Mapping[str, Asset]:
    """What the build made. The names hold a digest of the content: what one means never changes."""
    found = sorted((built / "assets").glob("*"))
    return {one.name: Asset(one.read_text(), MEDIA[one.suffix]) for one in found if one.suffix in MEDIA}


def policy(storage: Iterable[str], built: Path = BUILT) -> str:
    """The Content-Security-Policy: nothing but the page's own files, the API, and the storage that files go to."""
    if index(built) is _UNBUILT:
        digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
        return f"default-src 'none'; style-src 'sha256-{digest}'; {_NEVER}"
    where = " ".join(["'self'", *sorted(storage)])
    return f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {where}; connect-src {where}; {_NEVER}"
