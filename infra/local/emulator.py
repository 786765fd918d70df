"""The emulator as the embedded cloud serves it: ministack, and what is different from how it comes.

What is changed within it is changed under names of its own that a test holds to be there.
"""

import asyncio
import hashlib
import importlib
import json
import os
import queue
import select
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

API_PROCESSES = 4
LOOK_SECONDS = 0.002
"""From a look at the queues that found nothing to the next; the emulator's 50 ms pass whatever arrives meanwhile."""
WAIT_SECONDS = 29.0
"""API Gateway answers by itself after so long."""
AGAIN_SECONDS = 10
MEAN_OF = 100  # requests
THROTTLED = {
    "type": "urn:rowmill:problem:requests_exceeded",
    "title": "requests exceeded",
    "status": 429,
    "code": "requests_exceeded",
    "detail": "The service is asked too often; try again.",
}
CALLS_LOG = "ROWMILL_CALLS_LOG"
"""Names the file that calls of roles are written to."""
PIPE_BYTES = 1 << 16
LARGE = 1 << 20
"""Bytes of a body that are more than a moment's work for the emulator's one event loop."""
LATELY_SECONDS = 0.1
"""Somebody is taken to be at work who has asked within these."""
PAUSE_SECONDS = 0.001
"""Between two pieces of 64 KiB of large bodies meanwhile: some 50 MB/s of all of them."""
FORM_HEAD = 1 << 16
"""Bytes in which the fields of a form are, before its file."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


def application() -> Application:
    """The emulator, to be served by any ASGI server. `ROWMILL_API_PROCESSES` and `ROWMILL_CALLS_LOG` are read."""
    emulator: Application = importlib.import_module("ministack.app").app
    vars(importlib.import_module("ministack.services.lambda_svc"))["_ESM_IDLE_WAKE_GAP_SECONDS"] = LOOK_SECONDS
    tell_lines_at_once(importlib.import_module("ministack.core.lambda_runtime"))
    s3 = importlib.import_module("ministack.services.s3")
    put_parts_together_aside(s3)
    look_at_large_bodies_aside(s3)
    if log := os.environ.get(CALLS_LOG):
        _note_calls(Path(log))
    return ApiGate(in_pieces(in_one(emulator)), int(os.environ.get("ROWMILL_API_PROCESSES", API_PROCESSES)))


class ApiGate:
    """ASGI wrapper that lets `limit` requests to deployed APIs run at once; the others wait in order.

    The emulator starts one more Lambda process for each request that finds none idle, so a burst of a
    hundred would start a hundred interpreters. Who would have to wait for longer than API Gateway lets anybody
    is told to come again, as a stage does that is asked too often. All other requests pass untouched.
    """

    def __init__(self, app: Application, limit: int) -> None:
        self._app, self._limit = app, limit
        self._slots = asyncio.Semaphore(limit)
        self._waiting, self._seconds = 0, 0.0  # how many, and how long one has a slot on average

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if not _runs_api(scope):
            await self._app(scope, receive, send)
        elif self._seconds * self._waiting / self._limit > WAIT_SECONDS:
            await _turn_away(receive, send)
        else:
            await self._in_turn(scope, receive, send)

    async def _in_turn(self, scope: Message, receive: Receive, send: Send) -> None:
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        begun = time.monotonic()
        try:
            # As API Gateway has it: functions are given the path as it was sent. The emulator would decode it: `%2541`
            # would be decoded twice, and `a%2Fb` be two segments.
            await self._app({**scope, "path": scope["raw_path"].decode("latin-1")}, receive, send)
        finally:
            self._slots.release()
            self._seconds += (time.monotonic() - begun - self._seconds) / MEAN_OF


async def _turn_away(receive: Receive, send: Send) -> None:
    """429, in the words of the stage's own (GatewayResponses in infra/resources.yaml)."""
    while (await receive()).get("more_body"):
        pass
    headers = {
        "Content-Type": "application/problem+json",
        "Retry-After": str(AGAIN_SECONDS),
        "Access-Control-Allow-Origin": "*",
    }
    lines = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    body = json.dumps(THROTTLED | {"instance": f"urn:request:{uuid.uuid4()}"}).encode()
    await send({"type": "http.response.start", "status": THROTTLED["status"], "headers": lines})
    await send({"type": "http.response.body", "body": body})


def _runs_api(scope: Message) -> bool:
    """Calls of a deployed API, not those that manage one: a function may make them while it holds a slot."""
    if scope["type"] != "http":
        return False
    path = str(scope["path"])
    return path.startswith("/restapis/") and "/_user_request_" in path


class Lines:
    """What a function writes to its log, from its pipe into a queue."""

    def __init__(self, pipe: IO[str], lines: "queue.Queue[str]") -> None:
        os.set_blocking(pipe.fileno(), False)
        self._pipe: Any = pipe.buffer.raw  # type: ignore[attr-defined]
        self._lines, self._begun, self._turn = lines, b"", threading.Lock()

    def follow(self) -> None:
        """Until the pipe ends: a full one would stop the function."""
        ready = select.poll()
        ready.register(self._pipe, select.POLLIN)
        while ready.poll() and self.take():
            pass

    def take(self) -> bool:
        """All that is in the pipe by now; false at its end."""
        with self._turn:
            while read := self._pipe.read(PIPE_BYTES):
                *whole, self._begun = (self._begun + read).split(b"\n")
                self._put(whole)
            is_over = read == b""
            if is_over and self._begun:
                self._put([self._begun])
                self._begun = b""
        return not is_over

    def _put(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            self._lines.put(line.decode(errors="replace"))


def tell_lines_at_once(runtime: Any) -> None:
    """Have the lines of an invocation told with its result: it is written after them, so they are in the pipe by then.

    The emulator would wait until none has come for 5 ms, or 50 where there are none, in which the function takes no
    other request; and what it misses all the same, being busy, would be told of the invocation after.
    """

    class Worker(runtime.Worker):  # type: ignore[misc]
        def _read_stderr(self) -> None:
            self.lines = Lines(self._proc.stderr, self._stderr_queue)
            self.lines.follow()

        def _drain_stderr_bounded(self) -> str:
            self.lines.take()
            return str(self._drain_stderr())

    runtime.Worker = Worker


class Lent(bytes):
    """In place of a part while its file is put together: as long, and nothing to sum or to copy."""

    md5: bytes
    _size: int

    def __new__(cls, part: dict[str, Any]) -> "Lent":
        lent = super().__new__(cls)
        lent.md5, lent._size = bytes.fromhex(part["etag"].strip('"')), len(part["body"])
        return lent

    def __len__(self) -> int:
        return self._size


def put_parts_together_aside(s3: Any) -> None:
    """Have a thread join the parts of a file, and its ETag made of the MD5 that each was stored with.

    The emulator would sum and copy them in its event loop and answer nobody meanwhile, three seconds for a gigabyte.
    """
    handle, complete, record = s3.handle_request, s3._complete_multipart_upload, s3._record_object_version
    joined, bodies = dict[tuple[int, ...], bytes](), dict[int, bytes]()  # by which bytes, held as long; by part number

    async def handling(
        method: str, path: str, headers: Any, body: bytes, query: dict[str, Any], *rest: Any, **more: Any
    ) -> Any:
        upload = s3._multipart_uploads.get(s3._qp(query, "uploadId")) if method == "POST" else None
        parts = [part["body"] for _, part in sorted(upload["parts"].items())] if upload else []
        which = tuple(map(id, parts))
        joined[which] = await asyncio.to_thread(b"".join, parts) if parts else b""
        try:
            return await handle(method, path, headers, body, query, *rest, **more)
        finally:
            joined.pop(which, None)

    def completing(bucket: str, key: str, body: bytes, query: dict[str, Any], *rest: Any) -> Any:
        name = s3._qp(query, "uploadId")
        if not (upload := s3._multipart_uploads.get(name)):
            return complete(bucket, key, body, query, *rest)
        bodies.update((number, part["body"]) for number, part in upload["parts"].items())
        lent = {number: part | {"body": Lent(part)} for number, part in upload["parts"].items()}
        s3._multipart_uploads[name] = upload | {"parts": lent}
        try:
            return complete(bucket, key, body, query, *rest)
        finally:
            bodies.clear()
            if name in s3._multipart_uploads:  # it was refused, and may be asked for again
                s3._multipart_uploads[name] = upload

    def recording(bucket: str, key: str, prior: Any, made: dict[str, Any], data: bytes) -> Any:
        if bodies:
            parts = [bodies[one["PartNumber"]] for one in made["parts"]]
            data = joined.get(tuple(map(id, parts))) or b"".join(parts)  # it may be made of some of them
            made |= {"body": data, "size": len(data)}
        return record(bucket, key, prior, made, data)

    def md5(data: bytes = b"", **_: Any) -> Any:
        if isinstance(data, Lent):
            return SimpleNamespace(digest=lambda: data.md5)
        return hashlib.md5(data, usedforsecurity=False)

    s3.hashlib = SimpleNamespace(**vars(hashlib) | {"md5": md5})
    s3.handle_request, s3._complete_multipart_upload, s3._record_object_version = handling, completing, recording


def look_at_large_bodies_aside(s3: Any) -> None:
    """Have the form and the sums of a large body found by a thread.

    The emulator would find them in its event loop and answer nobody meanwhile, 0.6 s for a form with 100 MB.
    """
    handle, parse, md5, checksum = s3.handle_request, s3._parse_multipart_form, s3.md5_hash, s3._compute_s3_checksum
    known = dict[tuple[str, int], Any]()  # by what it is, and of which bytes: they are held as long as it is

    def look(headers: dict[str, str], body: bytes) -> dict[tuple[str, int], Any]:
        found, file, named = dict[tuple[str, int], Any](), body, set(headers)
        if headers.get("content-type", "").startswith("multipart/form-data"):
            found["form", id(body)] = parts = form(parse, headers["content-type"], body)
            file, named = max((part[-1] for part in parts), key=len, default=b""), {part[0].lower() for part in parts}
        found["MD5", id(file)] = md5(file)
        if "x-amz-checksum-sha256" in named:
            found["SHA256", id(file)] = checksum("SHA256", file)
        return found

    async def handling(method: str, path: str, headers: dict[str, str], body: bytes, *rest: Any, **more: Any) -> Any:
        found = await asyncio.to_thread(look, headers, body) if len(body) >= LARGE else {}
        known.update(found)
        try:
            return await handle(method, path, headers, body, *rest, **more)
        finally:
            for one in found:
                known.pop(one, None)

    s3.handle_request = handling
    s3._parse_multipart_form = lambda kind, body: known.get(("form", id(body))) or parse(kind, body)
    s3.md5_hash = lambda data: known.get(("MD5", id(data))) or md5(data)
    s3._compute_s3_checksum = lambda name, body: known.get((name.upper(), id(body))) or checksum(name, body)


def form(parse: Callable[[str, bytes], list[Any]], kind: str, body: bytes) -> list[Any]:
    """As the emulator's `parse`, which copies a file four times: here once, if it is the last part and begins early."""
    end = body.rfind(b"\r\n--")
    border = body[end:].strip().removesuffix(b"--")
    head = body.rfind(border, 0, FORM_HEAD)
    start = body.find(b"\r\n\r\n", head, FORM_HEAD) + 4
    if end < start or head < 0 or start < 4 or not border or _holds(body, border, start, end):
        return parse(kind, body)
    *fields, (name, filename, headers, _) = parse(kind, body[:start] + body[end:])
    return [*fields, (name, filename, headers, body[start:end])]


def _holds(body: bytes, text: bytes, start: int, end: int) -> bool:
    """Whether the text is there: looked for a bit at a time, as other threads of Python wait while it is."""
    longest = LARGE + len(text) - 1
    return any(body.find(text, at, min(end, at + longest)) >= 0 for at in range(start, end, LARGE))


def in_one(app: Application) -> Application:
    """ASGI wrapper that has a thread join a body, which arrives in pieces of 64 KiB, if it is large.

    The emulator joins what it is given, which costs nothing where that is one piece. While others ask, large bodies are
    taken in a piece at a time: who sends a gigabyte would have half of the loop's time, and of the processors'.
    """
    turn, asked = asyncio.Lock(), 0.0

    async def serving(scope: Message, receive: Receive, send: Send) -> None:
        async def receiving() -> Message:
            nonlocal asked
            message = await receive()
            pieces, size = [message.get("body", b"")], len(message.get("body", b""))
            while message.get("more_body"):
                if size >= LARGE and time.monotonic() - asked < LATELY_SECONDS:
                    async with turn:
                        await asyncio.sleep(PAUSE_SECONDS)
                message = await receive()
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
            if message["type"] != "http.request":
                return message
            if size < LARGE:
                asked = time.monotonic()
                return {**message, "body": b"".join(pieces)}
            return {**message, "body": await asyncio.to_thread(b"".join, pieces)}

        await app(scope, receiving if scope["type"] == "http" else receive, send)

    return serving


def in_pieces(app: Application) -> Application:
    """ASGI wrapper that sends a large answer a bit at a time: others are answered in between."""

    async def serving(scope: Message, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            body, goes_on = message.get("body", b""), message.get("more_body", False)
            if len(body) <= LARGE:
                await send(message)
                return
            for end in range(LARGE, len(body) + LARGE, LARGE):
                await send({**message, "body": body[end - LARGE : end], "more_body": goes_on or end < len(body)})

        await app(scope, receive, sending)

    return serving


def _note_calls(log: Path) -> None:
    """Write down which role asked for what, each once: role, action, resource, allowed or denied. With AUTH=true."""
    evaluator: Any = importlib.import_module("ministack.core.iam_evaluator")
    evaluate, enforce, noted, here = evaluator.evaluate, evaluator.enforce, set[str](), threading.local()

    def evaluating(context: Any, *policies: Any) -> Any:
        here.asked = getattr(here, "asked", None) or context  # a resource's own policy is asked after the role's
        return evaluate(context, *policies)

    def enforcing(*arguments: Any, **options: Any) -> Any:
        here.asked = None
        refusal = enforce(*arguments, **options)
        if asked := here.asked:
            # A role's session is arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION.
            role = asked.principal_arn.partition("/")[2].partition("/")[0]
            line = f"{role} {asked.action} {asked.resource_arn} {'denied' if refusal else 'allowed'}\n"
            if line not in noted:
                noted.add(line)
                with log.open("a") as file:
                    file.write(line)
        return refusal

    evaluator.evaluate, evaluator.enforce = evaluating, enforcing
