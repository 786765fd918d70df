"""HTTP on its way in: who asks, and whether it is asked as the route's contract has it; what views ask of a request."""

from __future__ import annotations

import functools
import posixpath
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote

from chalice.app import Chalice, Request, Response

from chalicelib import accounts, callers, cookies, forms, metrics, quota, roles, strict_json
from chalicelib.edge.faults import problem
from chalicelib.errors import Refused, field_refused
from chalicelib.logs import about, logger
from chalicelib.paging import DEFAULT_LIMIT, Asked
from chalicelib.postgres.repeats import Repeat
from chalicelib.postgres.timeline import Asker

if TYPE_CHECKING:
    from chalicelib.contract.words import Body

View = Callable[..., Response]
JSON: Final = "application/json"
MAX_BODY_BYTES: Final = 4_000_000
MAX_HEADER_BYTES: Final = 10_240  # of all names and values; API Gateway refuses as many itself, with the request line
MAX_HEADERS: Final = 100
MAX_QUERY_BYTES: Final = 8192  # of all names and values, decoded


class App(Chalice):
    """Chalice, with every route behind authentication, one log line and problem+json for errors.

    In the routes and not in a middleware: Chalice makes a plain 500 of an exception before middleware sees it.
    """

    def __init__(self, name: str) -> None:
        # Chalice would set the level of the logger of this name, which is ours too, to ERROR.
        super().__init__(app_name=name, configure_logs=False)
        # Or the gateway would make text of these, and of a file's other bytes something else.
        self.api.binary_types += [forms.MULTIPART, "text/csv"]

    def route(self, path: str, **options: Any) -> Callable[[View], View]:
        """Declare a route. Any content type gets in: `body` refuses the wrong ones as problem+json."""
        register = super().route(path, content_types=["*/*"], **options)

        def declare(view: View) -> View:
            @functools.wraps(view)
            def guarded(**parameters: Any) -> Response:
                return _answered(self, path, lambda: view(**parameters))

            return cast(View, register(guarded))

        return declare


def _answered(app: Chalice, path: str, answer: Callable[[], Response]) -> Response:
    begun = time.perf_counter()
    logger.clear_state()
    about(request_id(app))
    try:
        _admit(app, path)
        response = answer()
    except Exception as error:
        response = problem(_fitted(app, path, error), request_id(app))
    response.headers.update(current(app).context.get("rowmill_limits", {}))
    if isinstance(place := response.headers.get("Location"), str):
        response.headers["Location"] = _seen_from(app, path, place)
    logger.info("answered", method=current(app).method, route=path, status=response.status_code)
    metrics.count("Errors", int(response.status_code >= 500))
    metrics.measure("RequestSeconds", time.perf_counter() - begun)
    metrics.flush()
    return response


def _seen_from(app: Chalice, path: str, place: str) -> str:
    """A path of the API as a client finds it that has asked for this one, by the rules of RFC 3986: nobody tells a
    function of all that may stand before its paths (a stage, a proxy's own)."""
    folder = path if current(app).context["path"].endswith("/") else posixpath.dirname(path)
    return posixpath.relpath(place, folder) + "/" * place.endswith("/")


def _admit(app: Chalice, path: str) -> None:
    """Who asks, and whether it is asked as the route's contract has it; what was asked is kept for `query` and `body`.

    In the app itself: LocalStack creates API Gateway authorizers but never runs them.
    """
    # Where it is used: the functions behind queues need no contract at their start.
    from chalicelib.contract import OPERATIONS, checks

    request = current(app)
    operation = OPERATIONS[request.method, path]
    _refuse_tidied(request)
    _refuse_bulk(request)
    if not operation.is_open:
        caller = request.context["rowmill_caller"] = callers.authenticate(
            _authorization(app), writes=operation.needs != "reader"
        )
        request.context["rowmill_limits"] = quota.request(caller.tenant, time.time())
        roles.hold_to(caller.role, operation.needs)
        if operation.lasts:
            callers.refuse_over(caller)
    checks.headers(operation, request.headers)
    request.context["rowmill_query"] = checks.query(operation, _given(request))
    if operation.body:
        asked = _parsed(app, operation.body)
        request.context["rowmill_body"] = checks.body(operation, asked, len(request.raw_body))


def _refuse_tidied(request: Request) -> None:
    """Most clients resolve dots before they send: `…/rows/..`, of a row whose key somebody else chose, comes as the
    address of its dataset with a slash behind. Nobody meant to delete that."""
    if request.method == "DELETE" and request.context["path"].endswith("/"):
        detail = "The path ends with a slash; a key that is but dots has ~4 for each of them."
        raise Refused("path_invalid", detail, status=400)


def _refuse_bulk(request: Request) -> None:
    if len(request.raw_body) > MAX_BODY_BYTES:
        raise Refused("body_too_large", f"A request may have {MAX_BODY_BYTES} bytes.", status=413)
    if sum(len(name) + len(str(value)) for name, value in request.headers.items()) > MAX_HEADER_BYTES:
        raise Refused("headers_too_large", f"The headers may have {MAX_HEADER_BYTES} bytes.", status=431)
    if len(request.headers) > MAX_HEADERS:
        raise Refused("headers_too_many", f"A request may have {MAX_HEADERS} headers.", status=431)
    given = "".join(name + value for name, values in _given(request).items() for value in values)
    if len(given.encode("utf-8", "replace")) > MAX_QUERY_BYTES:
        raise Refused("query_too_large", f"The query may have {MAX_QUERY_BYTES} bytes.", status=414)


def _given(request: Request) -> dict[str, list[str]]:
    found = request.query_params
    return {name: list(found.getlist(name)) for name in found} if found else {}


def _parsed(app: Chalice, declared: Body) -> dict[str, Any]:
    """The request's JSON object, or its form as one; an empty one where there is none and none is required."""
    if not declared.required and not current(app).raw_body:
        return {}
    media = (header(app, "content-type") or "").partition(";")[0].strip().lower()
    if media not in declared.media:
        raise Refused("content_type_invalid", f"Send {' or '.join(declared.media)}.", status=415)
    members = _form(app) if media != JSON else _json(app)
    for name in declared.files:
        # A page sends a file without a name and without a byte where nobody has chosen one.
        if isinstance(one := members.get(name), forms.File) and not (one.filename or one.data):
            del members[name]
    sent = {name: one for name, one in members.items() if isinstance(one, forms.File)}
    for name in members:
        if (name in sent) != (name in declared.files):
            what = "must be a file of a form" if name in declared.files else "must be no file"
            raise field_refused("body_invalid", name, what)
    current(app).context["rowmill_files"] = sent
    return {name: one.filename if isinstance(one, forms.File) else one for name, one in members.items()}


def _form(app: Chalice) -> dict[str, Any]:
    try:
        return dict(forms.read(header(app, "content-type") or "", cast(bytes, current(app).raw_body)))
    except ValueError:
        raise Refused("body_invalid", "The body is not a form that can be used.", status=400) from None


def _json(app: Chalice) -> dict[str, Any]:
    try:
        parsed = strict_json.parse(cast(bytes, current(app).raw_body))
    except ValueError as error:
        raise Refused("body_invalid", f"The body is not JSON that can be used: {error}.", status=400) from None
    if not isinstance(parsed, dict):
        raise Refused("body_invalid", "The body must be a JSON object.", status=400)
    return parsed


def _fitted(app: Chalice, path: str, error: Exception) -> Exception:
    """The error with the status that the route gives to what is understood and refused."""
    from chalicelib.contract import OPERATIONS

    if isinstance(error, Refused) and error.status == 422:
        error.status = OPERATIONS[current(app).method, path].unfit
    return error


def _authorization(app: Chalice) -> str | None:
    """The header, or else the page's cookie: that one, to change anything, from a page of ours only."""
    given = header(app, "authorization")
    if given is None and (token := cookies.find(current(app).headers, "access")):
        if current(app).method not in cookies.SAFE:
            cookies.refuse_foreign(current(app).headers)
        return f"Bearer {token}"
    return given


def request_id(app: Chalice) -> str:
    """The id that ties a request to everything it starts."""
    context = app.current_request.context if app.current_request else {}
    return str(context.get("requestId", ""))


def current(app: Chalice) -> Request:
    """The request that is being answered."""
    assert app.current_request is not None
    return app.current_request


def header(app: Chalice, name: str) -> str | None:
    """A request header."""
    value = current(app).headers.get(name)
    return str(value) if value is not None else None


def tenant(app: Chalice) -> str:
    """Whose request this is."""
    return _caller(app).tenant


def owner(app: Chalice) -> str:
    """Whose request this is, of one that a key with a lesser role may not make. Raises Refused."""
    roles.hold_to(_caller(app).role, "owner")
    return _caller(app).tenant


def person(app: Chalice) -> str:
    """The user who sends this request, not by an API key: one that got away must not make others. Raises Refused."""
    caller = _caller(app)
    if caller.is_machine:
        raise Refused("session_needed", "An API key cannot do this: log in.", status=403)
    return caller.user_id


def by_cookie(app: Chalice) -> bool:
    """Whether the page's cookie says who sends this request."""
    return header(app, "authorization") is None


def _caller(app: Chalice) -> callers.Caller:
    return cast(callers.Caller, current(app).context["rowmill_caller"])


def asker(app: Chalice) -> Asker:
    """Who sends this request, as the timeline of an upload names it."""
    return Asker(_caller(app).who, request_id(app))


def repeat(app: Chalice) -> Repeat | None:
    """What a request says that must make one thing however often it is sent, if it has an Idempotency-Key."""
    said, request, caller = header(app, "idempotency-key"), current(app), _caller(app)
    if said is None:
        return None
    scope = [caller.user_id, request.path, *map(unquote, (request.uri_params or {}).values())]
    exact = {name: one.text if isinstance(one, strict_json.Float) else one for name, one in body(app).items()}
    return Repeat(caller.tenant, scope, said, exact)


def key(app: Chalice) -> str | None:
    """What stands for the Idempotency-Key of a request, if it has one: of this user, route and path alone."""
    found = repeat(app)
    return found.key.hex() if found else None


def source(app: Chalice) -> str:
    """The address that the gateway was asked from. Not X-Forwarded-For: that is whatever the client says."""
    return str(current(app).context.get("identity", {}).get("sourceIp", ""))


def name(value: str) -> str:
    """A path parameter as the client meant it: API Gateway passes on what was sent, percent signs and all."""
    return unquote(value)


def body(app: Chalice) -> dict[str, Any]:
    """The request's JSON object, as its contract has it."""
    asked: dict[str, Any] = current(app).context["rowmill_body"]
    return asked


def causes(app: Chalice) -> list[str]:
    """The causes that a request names: one, or a list of them."""
    named = body(app)["fix"]
    return [named] if isinstance(named, str) else sorted(set(named))


def sent_file(app: Chalice, name: str) -> forms.File | None:
    """A file of the request's form."""
    found: forms.File | None = current(app).context["rowmill_files"].get(name)
    return found


def query(app: Chalice) -> Asked:
    """The query parameters, as their contract has them."""
    asked = current(app).context["rowmill_query"]
    filters = {key: value for key, value in asked.items() if key not in ("cursor", "limit")}
    return Asked(filters, asked.get("cursor"), asked.get("limit", DEFAULT_LIMIT))


def refresh_token(app: Chalice) -> tuple[str, bool]:
    """The refresh token of a request, and whether it is the page's cookie: the body comes first."""
    given = body(app)
    if not given and (token := cookies.find(current(app).headers, "refresh")):
        cookies.refuse_foreign(current(app).headers)
        return token, True
    return accounts.refresh_token(given), False
