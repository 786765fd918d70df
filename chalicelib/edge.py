"""Where HTTP and SQS end: requests in, JSON and problem+json out; messages in, partial batch answers out.

Nothing below this module knows Chalice. Every error becomes a named answer here, and nowhere else.
"""

from __future__ import annotations

import functools
import json
import random
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urlencode

from botocore.exceptions import BotoCoreError, ClientError
from chalice.app import (
    Chalice,
    ChaliceViewError,
    CloudWatchEvent,
    Request,
    Response,
    SQSEvent,
    SQSRecord,
)

from chalicelib import accounts, aws, callers, conditional, cookies, forms, metrics, quota, roles, strict_json, tokens
from chalicelib import webpage as web
from chalicelib.aws import sqs
from chalicelib.errors import NotYet, Refused, RowmillError, Unavailable, field_refused
from chalicelib.journey import TERMINAL
from chalicelib.logs import about, logger
from chalicelib.paging import DEFAULT_LIMIT, Asked, Page
from chalicelib.postgres import connection
from chalicelib.postgres.repeats import Repeat
from chalicelib.postgres.timeline import Asker

if TYPE_CHECKING:
    from chalicelib.contract.words import Body

View = Callable[..., Response]
Headers = dict[str, str | list[str]]

JSON: Final = "application/json"
MAX_BODY_BYTES: Final = 4_000_000
MAX_HEADER_BYTES: Final = 10_240  # of all names and values; API Gateway refuses as many itself, with the request line
MAX_HEADERS: Final = 100
MAX_QUERY_BYTES: Final = 8192  # of all names and values, decoded
MAX_TRIES: Final = 2000  # delayed copies of a message, eight hours of them, before the queue's own retries
MAX_WAIT_SECONDS: Final = 20  # so that an outage is over for everybody half a minute after it ends
NEWER_WAITS_SECONDS: Final = 300  # by which time a deploy in hand is over
SWEEP_SECONDS: Final = 30  # the clock strikes once a minute at most: a sweep is two rounds
SPLIT_RESERVE_SECONDS: Final = 20  # for the batch at hand, and for what a slow service may take
_PUBLISHED: Final[Headers] = {"Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff"}

# HTTP


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
    response.headers.update(_request(app).context.get("rowmill_limits", {}))
    logger.info("answered", method=_request(app).method, route=path, status=response.status_code)
    metrics.count("Errors", int(response.status_code >= 500))
    metrics.measure("RequestSeconds", time.perf_counter() - begun)
    metrics.flush()
    return response


def _admit(app: Chalice, path: str) -> None:
    """Who asks, and whether it is asked as the route's contract has it; what was asked is kept for `query` and `body`.

    In the app itself: LocalStack creates API Gateway authorizers but never runs them.
    """
    # Where it is used: the functions behind queues need no contract at their start.
    from chalicelib.contract import OPERATIONS, checks

    request = _request(app)
    operation = OPERATIONS[request.method, path]
    _refuse_bulk(request)
    if not operation.is_open:
        caller = request.context["rowmill_caller"] = callers.authenticate(_authorization(app))
        request.context["rowmill_limits"] = quota.request(caller.tenant, time.time())
        roles.hold_to(caller.role, operation.needs)
    checks.headers(operation, request.headers)
    request.context["rowmill_query"] = checks.query(operation, _given(request))
    if operation.body:
        asked = _parsed(app, operation.body)
        request.context["rowmill_body"] = checks.body(operation, asked, len(request.raw_body or b""))


def _refuse_bulk(request: Request) -> None:
    if len(request.raw_body or b"") > MAX_BODY_BYTES:
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
    if not declared.required and not _request(app).raw_body:
        return {}
    media = (header(app, "content-type") or "").partition(";")[0].strip().lower()
    if media not in declared.media:
        raise Refused("content_type_invalid", f"Send {' or '.join(declared.media)}.", status=415)
    members = _form(app) if media != JSON else _json(app)
    sent = {name: one for name, one in members.items() if isinstance(one, forms.File)}
    for name in declared.files:
        # A page sends a file without a name and without a byte where nobody has chosen one.
        if name in sent and not (sent[name].filename or sent[name].data):
            del members[name]
    for name in members:
        if (name in sent) != (name in declared.files) and (name in sent or name in declared.files):
            what = "must be a file of a form" if name in declared.files else "must be no file"
            raise field_refused("body_invalid", name, what)
    _request(app).context["rowmill_files"] = sent
    return {name: one.filename if isinstance(one, forms.File) else one for name, one in members.items()}


def _raw(app: Chalice) -> bytes:
    found = _request(app).raw_body or b""
    return found.encode() if isinstance(found, str) else found


def _form(app: Chalice) -> dict[str, Any]:
    try:
        return dict(forms.read(header(app, "content-type") or "", _raw(app)))
    except ValueError:
        raise Refused("body_invalid", "The body is not a form that can be used.", status=400) from None


def _json(app: Chalice) -> dict[str, Any]:
    try:
        parsed = strict_json.parse(_raw(app))
    except ValueError as error:
        raise Refused("body_invalid", f"The body is not JSON that can be used: {error}.", status=400) from None
    if not isinstance(parsed, dict):
        raise Refused("body_invalid", "The body must be a JSON object.", status=400)
    return parsed


def _fitted(app: Chalice, path: str, error: Exception) -> Exception:
    """The error with the status that the route gives to what is understood and refused."""
    from chalicelib.contract import OPERATIONS

    if isinstance(error, Refused) and error.status == 422:
        error.status = OPERATIONS[_request(app).method, path].unfit
    return error


def _authorization(app: Chalice) -> str | None:
    """The header, or else the page's cookie: that one, to change anything, from a page of ours only."""
    given = header(app, "authorization")
    if given is None and (token := cookies.find(_request(app).headers, "access")):
        if _request(app).method not in cookies.SAFE:
            cookies.refuse_foreign(_request(app).headers)
        return f"Bearer {token}"
    return given


def problem(error: Exception, instance: str) -> Response:
    """RFC 9457. An error that is not ours answers 500 with the request's id and nothing else."""
    ours = _known(error)
    if ours is None:
        logger.error("unexpected", error=_named(error))
        ours = RowmillError("internal", "Something went wrong on our side.")
    elif isinstance(ours, Unavailable):
        # The client is told no more than to come again; which service it was, and how it failed, is said here alone.
        logger.warning("unavailable", error=_named(error.__cause__ or error))
        _note_throttled(error)
    shown: dict[str, Any] = {
        "type": f"urn:rowmill:problem:{ours.code}",
        "title": ours.code.replace("_", " "),
        "status": ours.status,
        "code": ours.code,
        "detail": ours.detail,
    }
    if ours.errors:
        shown["errors"] = ours.errors
    if instance:
        shown["instance"] = f"urn:request:{instance}"
    return Response(
        json.dumps(shown),
        headers={"Content-Type": "application/problem+json", **ours.headers},
        status_code=ours.status,
    )


def _known(error: Exception) -> RowmillError | None:
    if isinstance(error, RowmillError):
        return error
    if isinstance(error, ChaliceViewError):
        return Refused("request_invalid", str(error), status=error.STATUS_CODE)
    if connection.is_transient(error) or aws.is_transient(error):
        return Unavailable("unavailable", "A service behind this one is not answering; try again.")
    return None


def request_id(app: Chalice) -> str:
    """The id that ties a request to everything it starts."""
    context = app.current_request.context if app.current_request else {}
    return str(context.get("requestId", ""))


def _request(app: Chalice) -> Request:
    assert app.current_request is not None
    return app.current_request


def header(app: Chalice, name: str) -> str | None:
    """A request header."""
    value = _request(app).headers.get(name)
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


def _caller(app: Chalice) -> callers.Caller:
    return cast(callers.Caller, _request(app).context["rowmill_caller"])


def asker(app: Chalice) -> Asker:
    """Who sends this request, as the timeline of an upload names it."""
    return Asker(_caller(app).who, request_id(app))


def repeat(app: Chalice) -> Repeat | None:
    """What a request says that must make one thing however often it is sent, if it has an Idempotency-Key."""
    said, request, caller = header(app, "idempotency-key"), _request(app), _caller(app)
    if said is None:
        return None
    scope = [caller.user_id, request.path, *map(unquote, (request.uri_params or {}).values())]
    return Repeat(caller.tenant, scope, said, body(app))


def source(app: Chalice) -> str:
    """The address that the gateway was asked from. Not X-Forwarded-For: that is whatever the client says."""
    return str(_request(app).context.get("identity", {}).get("sourceIp", ""))


def name(value: str) -> str:
    """A path parameter as the client meant it: API Gateway passes on what was sent, percent signs and all."""
    return unquote(value)


def body(app: Chalice) -> dict[str, Any]:
    """The request's JSON object, as its contract has it."""
    asked: dict[str, Any] = _request(app).context["rowmill_body"]
    return asked


def causes(app: Chalice) -> list[str]:
    """The causes that a request names: one, or a list of them."""
    named = body(app)["fix"]
    return [named] if isinstance(named, str) else sorted(set(named))


def sent_file(app: Chalice, name: str) -> forms.File | None:
    """A file of the request's form."""
    found: forms.File | None = _request(app).context["rowmill_files"].get(name)
    return found if name in body(app) else None


def query(app: Chalice) -> Asked:
    """The query parameters, as their contract has them."""
    asked = _request(app).context["rowmill_query"]
    filters = {key: value for key, value in asked.items() if key not in ("cursor", "limit")}
    return Asked(filters, asked.get("cursor"), asked.get("limit", DEFAULT_LIMIT))


def answer(status: int, payload: Mapping[str, Any], headers: Headers | None = None) -> Response:
    """A JSON answer."""
    return Response(
        json.dumps(payload),
        headers={"Content-Type": JSON, **(headers or {})},
        status_code=status,
    )


def session(app: Chalice, status: int, begun: Mapping[str, Any], *, by_cookie: bool = False) -> Response:
    """A session's tokens, as cookies, too; only so if a cookie asked: no script is to read what cookies hide."""
    lives: dict[cookies.Kind, timedelta] = {"access": tokens.ACCESS_LIFE, "refresh": accounts.SESSION_LIFE}
    made = [cookies.issue(_request(app).headers, kind, begun[kind], life) for kind, life in lives.items()]
    shown = {name: value for name, value in begun.items() if not (by_cookie and name in lives)}
    return answer(status, shown, {"Set-Cookie": made, "Cache-Control": "no-store"})


def refresh_token(app: Chalice) -> tuple[str, bool]:
    """The refresh token of a request, and whether it is the page's cookie: the body comes first."""
    given = body(app)
    if not given and (token := cookies.find(_request(app).headers, "refresh")):
        cookies.refuse_foreign(_request(app).headers)
        return token, True
    return accounts.refresh_token(given), False


def logged_out(app: Chalice, *, by_cookie: bool) -> Response:
    """204; the browser is to forget its cookies."""
    gone: list[str] = [cookies.forget(_request(app).headers, kind) for kind in ("access", "refresh")]
    return Response("", headers={"Set-Cookie": gone} if by_cookie else {}, status_code=204)


def bare(app: Chalice, listed: Page, whole: Mapping[str, Any] | None = None) -> Response:
    """The items of a page as a list by itself, or the answer that holds them, with the next page as a Link."""
    payload = listed.items if whole is None else whole
    return Response(json.dumps(payload), headers={"Content-Type": JSON, **_link(app, listed)}, status_code=200)


def _link(app: Chalice, listed: Page) -> Headers:
    if not listed.next_cursor:
        return {}
    given = dict(_request(app).query_params or {}) | {"cursor": listed.next_cursor}
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


# Queues, the clock and direct calls


def each(event: SQSEvent, handle: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Handle the batch's messages one by one; those that failed go back to their queue alone."""
    failed = [record.to_dict()["messageId"] for record in event if not _handled(record, handle)]
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}


def _handled(record: SQSRecord, handle: Callable[[dict[str, Any]], object]) -> bool:
    message = _message(record.body)
    logger.clear_state()
    about(record.to_dict()["messageId"])
    if (version := _version(record)) > sqs.VERSION:
        return _left(record, version)
    try:
        result = handle(message)
    except Exception as error:
        return _retried(record, message, error)
    else:
        logger.info("handled", upload=result)
        return True
    finally:
        metrics.flush()


def _message(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {}


def _version(record: SQSRecord) -> int:
    """Of a message's body; 1 if it does not say."""
    said = str(record.to_dict().get("messageAttributes", {}).get("version", {}).get("stringValue", "1"))
    return int(said) if said.isdecimal() else sqs.VERSION + 1


def _left(record: SQSRecord, version: int) -> bool:
    """A message of a release that is not here yet, or not any more, waits for it: as it is, and however long."""
    try:
        sqs.send_text(_queue(record), record.body, version, NEWER_WAITS_SECONDS)
    except (ClientError, BotoCoreError) as unsent:
        logger.error("failed", error=_named(unsent))
        return False
    logger.warning("put off", error="message_newer", version=version, known=sqs.VERSION, delay=NEWER_WAITS_SECONDS)
    return True


def _queue(record: SQSRecord) -> str:
    return str(record.to_dict()["eventSourceARN"]).rsplit(":", 1)[1]


def _retried(record: SQSRecord, message: dict[str, Any], error: Exception) -> bool:
    """A passing fault becomes a delayed copy and spends no delivery; any other goes back to the queue."""
    known = _known(error)
    before = message.get("tries")
    tries = before + 1 if type(before) is int and before >= 0 else 1
    if isinstance(known, NotYet):
        tries -= 1
    if isinstance(known, Unavailable) and tries <= MAX_TRIES:
        delay = round(random.uniform(0.5, 1) * min(2 ** min(tries, 10), MAX_WAIT_SECONDS))
        if isinstance(known, NotYet):
            delay = known.retry_after
        try:
            sqs.send(_queue(record), {**message, "tries": tries}, delay=delay)
        except (ClientError, BotoCoreError) as unsent:
            error = unsent
        else:
            logger.warning("put off", error=_named(error.__cause__ or error), tries=tries, delay=delay)
            _note_throttled(error)
            return True
    logger.error("failed", error=_named(error))
    metrics.count("Errors")
    return False


def _note_throttled(error: Exception) -> None:
    metrics.count("ThrottledByPostgres", int(connection.is_transient(error.__cause__ or error)))


def _named(error: BaseException) -> str:
    """An error's kind and place. Its own text may hold row data (Postgres repeats values), so it is not logged."""
    detail = getattr(error, "sqlstate", None) or getattr(error, "code", None)
    if isinstance(error, ClientError):
        detail = f"{error.operation_name} {aws.code(error)}"
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = "".join(f" at {Path(one.filename).name}:{one.lineno}" for one in frame)
    return f"{type(error).__name__} {detail or ''}".rstrip() + place


def deadline(event: SQSEvent) -> float:
    """When (of time.monotonic) a scan should leave the rest to the next invocation."""
    left: int = cast(Any, event.context).get_remaining_time_in_millis()
    return time.monotonic() + left / 1000 - SPLIT_RESERVE_SECONDS


def swept(event: CloudWatchEvent, sweep: Callable[[], dict[str, int]]) -> dict[str, int]:
    """Sweep, and when the clock asked, half a minute later again; log what was done."""
    rounds = 1 if event.detail.get("once") else 2
    for left in reversed(range(rounds)):
        begun = time.monotonic()
        try:
            done = sweep()
        except Exception as error:
            logger.error("failed", error=_named(error))
            metrics.count("Errors")
            if not left:
                raise
        else:
            logger.info("swept", extra=done)
        finally:
            metrics.flush()
        if left:
            time.sleep(max(0.0, SWEEP_SECONDS - (time.monotonic() - begun)))
    return done


def called(event: Mapping[str, Any], handle: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Answer a direct call; a refusal travels as data and is raised again by the caller."""
    logger.clear_state()
    about(str(event.get("correlation_id", "")))
    try:
        result = handle(event)
    except RowmillError as error:
        result = {
            "refused": {
                "code": error.code,
                "detail": error.detail,
                "status": error.status,
                "errors": error.errors,
            }
        }
    except Exception:
        metrics.count("Errors")
        raise
    finally:
        metrics.flush()
    logger.info("called", refused=result.get("refused", {}).get("code"))
    return result
