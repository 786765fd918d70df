"""HTTP on its way out: JSON, pages, what is kept and under which tag, the documents and the page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from chalice.app import Chalice, Response

from chalicelib import accounts, conditional, cookies, tokens
from chalicelib import webpage as web
from chalicelib.edge.requests import JSON, current, header
from chalicelib.journey import TERMINAL
from chalicelib.paging import Page

Headers = dict[str, str | list[str]]
_PUBLISHED: Final[Headers] = {"Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff"}


def answer(status: int, payload: Mapping[str, Any], headers: Headers | None = None) -> Response:
    """A JSON answer."""
    return Response(
        json.dumps(payload),
        headers={"Content-Type": JSON, **(headers or {})},
        status_code=status,
    )


def session(app: Chalice, status: int, begun: Mapping[str, Any], *, by_cookie: bool = False) -> Response:
    """A session's tokens, to a page of ours as cookies, too; only so if a cookie asked: no script is to read what
    cookies hide.
    """
    lives: dict[cookies.Kind, timedelta] = {"access": tokens.ACCESS_LIFE, "refresh": accounts.SESSION_LIFE}
    made = [cookies.issue(current(app).headers, kind, begun[kind], life) for kind, life in lives.items()]
    shown = {name: value for name, value in begun.items() if not (by_cookie and name in lives)}
    kept: Headers = {"Set-Cookie": made} if cookies.may_be_left(current(app).headers) else {}
    return answer(status, shown, {"Cache-Control": "no-store", **kept})


def logged_out(app: Chalice, *, by_cookie: bool) -> Response:
    """204; the browser is to forget its cookies."""
    gone: list[str] = [cookies.forget(current(app).headers, kind) for kind in ("access", "refresh")]
    return Response("", headers={"Set-Cookie": gone} if by_cookie else {}, status_code=204)


def bare(app: Chalice, listed: Page, whole: Mapping[str, Any] | None = None) -> Response:
    """The items of a page as a list by itself, or the answer that holds them, with the next page as a Link."""
    payload = listed.items if whole is None else whole
    return Response(json.dumps(payload), headers={"Content-Type": JSON, **_link(app, listed)}, status_code=200)


def _link(app: Chalice, listed: Page) -> Headers:
    if not listed.next_cursor:
        return {}
    given = dict(current(app).query_params or {}) | {"cursor": listed.next_cursor}
    return {"Link": f'<?{urlencode(given)}>; rel="next"'}


def page(app: Chalice, listed: Page) -> Response:
    """A page of a listing, with the next one as a Link, and its ETag; 304 if the client has it already."""
    headers = _link(app, listed)
    whole = answer(200, {"items": listed.items, "next_cursor": listed.next_cursor}, headers)
    return _unless_known(app, whole, conditional.tag_of(whole.body))


def created(resource: Mapping[str, Any]) -> Response:
    """201 and where the new upload is."""
    return answer(201, resource, {"Location": f"/v1/uploads/{resource['id']}"})


def told_once(secret: Mapping[str, Any]) -> Response:
    """201 with what nobody on the way may keep."""
    return answer(201, secret, {"Cache-Control": "no-store"})


def page_or_file(app: Chalice, found: Page | Mapping[str, Any] | None) -> Response:
    """A page; a file's URL, without a redirect, which clients would send their token to; 202 while it is made."""
    if isinstance(found, Page):
        return page(app, found)
    return answer(202, {"status": "processing"}, {"Retry-After": "2"}) if found is None else answer(200, found)


def made_or_not(app: Chalice, found: Mapping[str, Any] | None) -> Response:
    """What was asked for with its ETag; 202 while it is made."""
    return answer(202, {"status": "processing"}, {"Retry-After": "1"}) if found is None else tagged(app, found)


def polled(job: Mapping[str, Any]) -> Response:
    """A job as it is; Retry-After while it is under way."""
    return answer(200, job, {} if job["finished_at"] else {"Retry-After": "1"})


def kept(app: Chalice, shown: Mapping[str, Any]) -> Response:
    """What is for everybody, and may be kept for some minutes."""
    return _published(app, json.dumps(shown), {"Content-Type": JSON})


def cached(app: Chalice, resource: Mapping[str, Any]) -> Response:
    """An upload with its ETag; 304 if the client has it already; Retry-After while it is under way."""
    return tagged(app, resource, {} if resource["state"] in TERMINAL else {"Retry-After": "1"})


def tagged(app: Chalice, resource: Mapping[str, Any], headers: Headers | None = None) -> Response:
    """What was asked for with its ETag; 304 if the client has it already."""
    return _unless_known(app, answer(200, resource, headers), conditional.etag(resource))


def _unless_known(app: Chalice, whole: Response, tag: str) -> Response:
    headers: Headers = {**whole.headers, "ETag": tag}
    if not conditional.is_known(tag, header(app, "if-none-match")):
        return Response(whole.body, headers=headers, status_code=200)
    return Response("", headers={k: v for k, v in headers.items() if k != "Content-Type"}, status_code=304)


def written(resource: Mapping[str, Any], location: str | None = None, *, status: int = 200) -> Response:
    """What a request has made or changed, with its ETag, and where it is."""
    headers: Headers = {"Location": location} if location else {}
    return answer(status, resource, {"ETag": conditional.etag(resource), **headers})


def gone() -> Response:
    """What was to go has gone."""
    return Response("", headers={}, status_code=204)


def document(app: Chalice) -> Response:
    """The contract as OpenAPI."""
    from chalicelib.contract import document

    return _published(app, document.text(), {"Content-Type": JSON})


def manual(app: Chalice) -> Response:
    """The contract as a page that can run nothing."""
    from chalicelib.contract import manual

    guarded: Headers = {"Content-Security-Policy": manual.POLICY, "Referrer-Policy": "no-referrer"}
    return _published(app, manual.page(), {"Content-Type": "text/html; charset=utf-8", **guarded})


def webpage(app: Chalice, storage: Iterable[str]) -> Response:
    """The page for people, which may send to no place but this API and where files are stored; asked for each time."""
    guarded: Headers = {"Content-Security-Policy": web.policy(storage), "Referrer-Policy": "no-referrer"}
    kept: Headers = {"Cache-Control": "no-cache", "Content-Type": "text/html; charset=utf-8"}
    return _published(app, web.index(), {**kept, **guarded})


def asset(app: Chalice, found: web.Asset) -> Response:
    """A file of the page: what its name means never changes."""
    kept: Headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return _published(app, found.text, {**kept, "Content-Type": f"{found.media}; charset=utf-8"})


def _published(app: Chalice, text: str, headers: Headers) -> Response:
    whole = Response(text, headers={**_PUBLISHED, **headers}, status_code=200)
    return _unless_known(app, whole, conditional.tag_of(text))
