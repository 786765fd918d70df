"""A proxy before AWS: it turns calls down, loses answers, loses and doubles messages, cuts bodies.

Plain HTTP/1.1 with a Content-Length each way, which is all that boto3 and the emulator speak here. The Host
header is passed on as it came: it is part of the signature.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import uuid
from dataclasses import dataclass, field

from bench.campaign.board import Board, Fault
from bench.campaign.hands import Hands

_JSON = b"Content-Type: application/x-amz-json-1.0\r\n"
_XML = b"Content-Type: application/xml\r\n"
THROTTLES = {
    "UpdateItem": "ProvisionedThroughputExceededException",
    "GetItem": "ProvisionedThroughputExceededException",
    "Query": "ThrottlingException",
    "TransactWriteItems": "TransactionConflictException",
}
_SHOWS_END = re.compile(rb'":state": ?{"S": ?"(completed|failed|canceled)').search  # whoever draws the end, shows it
HELD_BACK = 3  # entries of a batch that are turned down or lost


@dataclass(frozen=True, slots=True)
class Call:
    """One request: its operation (an S3 read is GetObject or HeadObject), the head as it came, the body."""

    operation: str
    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.head + self.body

    def with_body(self, body: bytes) -> Call:
        """The same call of another body. Its signature no longer fits, which only an AUTH=true cloud minds."""
        lines = [line for line in self.head.split(b"\r\n")[:-2] if not line.lower().startswith(b"content-length:")]
        return Call(self.operation, b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", b""]), body)


@dataclass(frozen=True, slots=True)
class Answer:
    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.head + self.body


@dataclass(slots=True)
class AwsProxy:
    """One listening port a function, as with Postgres."""

    host: str
    port: int
    board: Board
    hands: Hands
    servers: list[asyncio.Server] = field(default_factory=list)

    async def listen(self, function: str) -> int:
        """Serve a function; the port to give it."""
        server = await asyncio.start_server(
            lambda r, w: self._serve(function, r, w), "127.0.0.1", 0, limit=1 << 20, backlog=256
        )
        self.servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _serve(self, function: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            upstream = await asyncio.open_connection(self.host, self.port, limit=1 << 20)
            line = _Line(self, function, reader, writer, *upstream)
            while await line.carry():
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one of the ends is gone, or the campaign is over
        finally:
            for each in (writer, upstream[1] if upstream else None):
                if each is not None:
                    each.transport.abort()


@dataclass(slots=True)
class _Line:
    """One connection; calls come one after the other."""

    proxy: AwsProxy
    function: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    cloud_reader: asyncio.StreamReader
    cloud_writer: asyncio.StreamWriter

    async def carry(self) -> bool:
        """One call and its answer; False when the connection is over."""
        call = await self._call()
        shows_end = call.operation == "UpdateItem" and _SHOWS_END(call.body)
        fault = self.proxy.board.due("any:ShowEnd" if shows_end else f"{self.function}:{call.operation}")
        if call.operation == "GetObject" and self.function == "load":
            fault = self.proxy.board.poisoned(call.head) or fault
        if fault is None:
            answer: Answer | None = await self._ask(call)
        else:
            answer = await self._struck(fault, call)
        if answer is None:
            return False
        self.writer.write(answer.raw)
        await self.writer.drain()
        return True

    async def _call(self) -> Call:
        head = await self.reader.readuntil(b"\r\n\r\n")
        names = _headers(head)
        if b"expect" in names:
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))
        body = await self.reader.readexactly(int(names.get(b"content-length", b"0")))
        return Call(_operation(head, names), head, body)

    async def _ask(self, call: Call) -> Answer:
        self.cloud_writer.write(call.raw)
        await self.cloud_writer.drain()
        head = await self.cloud_reader.readuntil(b"\r\n\r\n")
        names = _headers(head)
        if call.head.startswith(b"HEAD ") or head[9:12] in (b"204", b"304"):
            return Answer(head, b"")
        if names.get(b"transfer-encoding") == b"chunked":
            return Answer(head, await self._chunked())
        return Answer(head, await self.cloud_reader.readexactly(int(names.get(b"content-length", b"0"))))

    async def _chunked(self) -> bytes:
        """A chunked body, framing included, as it is passed on."""
        parts = []
        while True:
            line = await self.cloud_reader.readuntil(b"\r\n")
            parts.append(line + await self.cloud_reader.readexactly(int(line.split(b";")[0], 16) + 2))
            if line.startswith(b"0"):
                return b"".join(parts)

    async def _struck(self, fault: Fault, call: Call) -> Answer | None:
        """Carry out a fault; None if the connection is to be cut."""
        match fault.action:
            case "throttle":
                answer: Answer | None = _refusal(call)
            case "lose answer":
                await self._ask(call)
                answer = None
            case "kill" | "kill after":
                await self._kill(fault, call)
                return None
            case "turn down":
                return await self._part(fault, call, say_so=True)
            case "lose message":
                return await self._part(fault, call, say_so=False)
            case "twice":
                await self._ask(call)
                answer = await self._ask(call)
            case "cut within":
                whole = await self._ask(call)
                self.writer.write(whole.head + whole.body[: len(whole.body) // 2])
                await self.writer.drain()
                await asyncio.sleep(0.05)
                answer = None
            case "garble":
                whole = await self._ask(call)
                answer = Answer(whole.head, whole.body.replace(b"\n", b" "))
            case "delay":
                await asyncio.sleep(fault.seconds)
                answer = await self._ask(call)
            case _:
                # First the deed, then the call: it may end the caller, whose call is then on its way all the same.
                await asyncio.get_running_loop().run_in_executor(None, self._do, fault)
                return await self._ask(call)
        self.proxy.board.hit(fault)
        return answer

    def _do(self, fault: Fault) -> None:
        if self.proxy.hands.deeds[fault.action]():
            self.proxy.board.hit(fault)

    async def _kill(self, fault: Fault, call: Call) -> None:
        if fault.action == "kill after":
            await self._ask(call)
        port = self.writer.get_extra_info("peername")[1]
        if await asyncio.get_running_loop().run_in_executor(None, self.proxy.hands.kill, port):
            self.proxy.board.hit(fault)

    async def _part(self, fault: Fault, call: Call, *, say_so: bool) -> Answer | None:
        """Keep back some of a batch's entries, or a lone message: refused if `say_so`, else lost and praised."""
        if call.operation == "SendMessage":
            self.proxy.board.hit(fault)
            return _refusal(call) if say_so else _answer(_sent(json.loads(call.body)["MessageBody"]))
        asked = json.loads(call.body)
        kept, back = asked["Entries"][HELD_BACK:], asked["Entries"][:HELD_BACK]
        answered: dict[str, list[object]] = {"Successful": [], "Failed": []}
        if kept:
            passed = await self._ask(call.with_body(json.dumps({**asked, "Entries": kept}).encode()))
            answered = {"Failed": [], **json.loads(passed.body)}
        for entry in back:
            if say_so:
                failed = {"Id": entry["Id"], "SenderFault": False, "Code": "InternalError", "Message": "held back"}
                answered["Failed"].append(failed)
            else:
                answered["Successful"].append({"Id": entry["Id"], **_sent(entry["MessageBody"])})
        self.proxy.board.hit(fault)
        return _answer({name: entries for name, entries in answered.items() if entries})


def _sent(body: str) -> dict[str, str]:
    """What SQS says of a message it took."""
    digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    return {"MessageId": str(uuid.uuid4()), "MD5OfMessageBody": digest}


def _headers(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _operation(head: bytes, names: dict[bytes, bytes]) -> str:
    target = names.get(b"x-amz-target")
    if target is not None:
        return target.rsplit(b".", 1)[1].decode()
    method, path = head.split(b" ", 2)[:2]
    if b"/2015-03-31/functions/" in path:
        return "Invoke"
    return {b"GET": "GetObject", b"HEAD": "HeadObject", b"PUT": "PutObject"}.get(method, method.decode())


def _answer(payload: object, status: bytes = b"200 OK", headers: bytes = _JSON) -> Answer:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Answer(b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n" % (status, headers, len(body)), body)


def _refusal(call: Call) -> Answer:
    """That the service is too busy, in its own words."""
    if call.operation == "HeadObject":
        return Answer(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n", b"")
    if call.operation == "GetObject":
        fault = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
        return _answer(fault, b"503 Slow Down", _XML)
    code = THROTTLES.get(call.operation, "ThrottlingException")
    return _answer({"__type": f"com.amazonaws#{code}", "message": "Rate exceeded."}, b"400 Bad Request")
