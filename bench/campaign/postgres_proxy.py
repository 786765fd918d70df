"""A proxy before Postgres that knows the frontend protocol just well enough to strike where it hurts.

It sees statements, COPY data and COMMIT pass, and can cut the line before, within or after any of them. The
worst is the ambiguous commit: COMMIT is carried out, and its answer never arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from dataclasses import dataclass, field

from bench.campaign.board import Board, Fault
from bench.campaign.hands import Hands

_SSL, _GSS = 80877103, 80877104
_KEY_DATA, _READY = b"K", b"Z"
_QUERY, _PARSE, _BIND = b"Q", b"P", b"B"
_PLAIN_MOMENTS = {b"d": "copydata", b"c": "copied", b"S": "statement"}
_AFTER = ("cut after", "kill after")  # let the statement through, keep its answer


class _Cut(Exception):
    """The line is to be cut now, without a goodbye."""


@dataclass(slots=True)
class PostgresProxy:
    """One listening port a function, so that a connection's owner is known from where it arrives."""

    host: str
    port: int
    board: Board
    hands: Hands
    peak: int = 0
    lines: set[_Line] = field(default_factory=set)
    servers: list[asyncio.Server] = field(default_factory=list)

    async def listen(self, function: str) -> int:
        """Serve a function; the port to give it."""
        server = await asyncio.start_server(lambda r, w: self._serve(function, r, w), "127.0.0.1", 0)
        self.servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def cut_all(self) -> int:
        """Cut every connection there is; how many."""
        doomed = list(self.lines)
        for line in doomed:
            line.cut()
        return len(doomed)

    async def _serve(self, function: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self.board.due(f"{function}:connect")
        if fault is not None:
            self.board.hit(fault)
            writer.transport.abort()
            return
        try:
            backend = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.transport.abort()
            return
        line = _Line(self, function, reader, writer, *backend)
        self.lines.add(line)
        self.peak = max(self.peak, len(self.lines))
        try:
            await line.carry()
        finally:
            self.lines.discard(line)
            line.cut()


@dataclass(eq=False, slots=True)
class _Line:
    """One connection, carried both ways until either end or a fault ends it."""

    proxy: PostgresProxy
    function: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    backend_reader: asyncio.StreamReader
    backend_writer: asyncio.StreamWriter
    backend: int = 0
    swallowing: Fault | None = None
    doomed: Fault | None = None
    holds: str = "commit"  # what the COMMIT of this transaction will be
    statements: dict[bytes, bytes] = field(default_factory=dict)  # prepared ones, by name

    def cut(self) -> None:
        """Abort both ends: no buffered byte leaves after this."""
        self.writer.transport.abort()
        self.backend_writer.transport.abort()

    async def carry(self) -> None:
        with contextlib.suppress(_Cut, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._greet()
            ways = [asyncio.create_task(self._forth()), asyncio.create_task(self._back())]
            try:
                done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in done:
                    way.result()
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _greet(self) -> None:
        """Turn encryption down and pass the startup message on."""
        while True:
            size = await self.reader.readexactly(4)
            packet = await self.reader.readexactly(struct.unpack("!I", size)[0] - 4)
            if struct.unpack("!I", packet[:4])[0] not in (_SSL, _GSS):
                break
            self.writer.write(b"N")
        self.backend_writer.write(size + packet)

    async def _forth(self) -> None:
        while True:
            kind, message = await _message(self.reader)
            moment = self._moment(kind, message)
            fault = self.proxy.board.due(moment) if moment else None
            if fault is not None:
                await self._strike(fault, message)
            self.backend_writer.write(message)
            await self.backend_writer.drain()

    async def _back(self) -> None:
        while True:
            kind, message = await _message(self.backend_reader)
            if kind == _KEY_DATA:
                self.backend = struct.unpack("!I", message[5:9])[0]
            if self.swallowing is None:
                self.writer.write(message)
                if kind == _READY:
                    await self.writer.drain()
                    await self._cut_when_idle(message)
            elif kind == _READY:
                await self._end(self.swallowing)

    async def _cut_when_idle(self, ready: bytes) -> None:
        if self.doomed is not None and ready.endswith(b"I"):
            await asyncio.sleep(self.doomed.seconds)
            self.proxy.board.hit(self.doomed)
            raise _Cut

    def _moment(self, kind: bytes, message: bytes) -> str | None:
        """What a frontend message is, in the words of a plan.

        `land` is the COMMIT of a transaction with rows, `end` a statement that draws an upload's end, `ended` its
        COMMIT; `review` and `reviewed` the same where it is to wait; `take` the COMMIT of rejects that are to be read
        again. A statement is known by the text it was prepared with.
        """
        if kind in _PLAIN_MOMENTS:
            return f"{self.function}:{_PLAIN_MOMENTS[kind]}"
        if kind == _PARSE:
            name, text = message[5:].split(b"\0")[:2]
            self.statements[name] = text
            return None
        if kind == _BIND:
            return self._statement(self.statements.get(message[5:].split(b"\0")[1], b""), simple=False)
        return self._statement(message[5:], simple=True) if kind == _QUERY else None

    def _statement(self, text: bytes, *, simple: bool) -> str | None:
        verb = text.lstrip()[:6].upper()
        if verb.startswith(b"BEGIN"):
            self.holds = "commit"
        if verb == b"COMMIT":
            holds, self.holds = self.holds, "commit"
            return f"any:{holds}" if holds in ("ended", "reviewed") else f"{self.function}:{holds}"
        if verb.startswith(b"COPY"):
            self.holds = "land"
            return f"{self.function}:copy"
        if b"INTO rowmill.taken" in text:
            self.holds = "take"
        if b"INTO rowmill.outbox" in text and b"'needs_review'" in text:
            self.holds = "reviewed"
            return "any:review"
        if b"INTO rowmill.outbox" in text:
            self.holds = "ended"
            return "any:end"
        return f"{self.function}:statement" if simple else None

    async def _strike(self, fault: Fault, message: bytes) -> None:
        loop, hands = asyncio.get_running_loop(), self.proxy.hands
        if fault.action in _AFTER:
            self.swallowing = fault
        elif fault.action == "cut idle":
            self.doomed = fault
        elif fault.action == "delay":
            self.proxy.board.hit(fault)
            await asyncio.sleep(fault.seconds)
        elif fault.action == "terminate":
            if await loop.run_in_executor(None, hands.terminate, self.backend):
                self.proxy.board.hit(fault)
        elif fault.action in hands.deeds:
            loop.run_in_executor(None, self._do, fault)
        else:
            if fault.action == "cut within":
                self.backend_writer.write(message[: len(message) // 2])
                await self.backend_writer.drain()
            await self._end(fault)

    def _do(self, fault: Fault) -> None:
        if self.proxy.hands.deeds[fault.action]():
            self.proxy.board.hit(fault)

    async def _end(self, fault: Fault) -> None:
        if not fault.action.startswith("kill"):
            self.proxy.board.hit(fault)
        else:
            port = self.writer.get_extra_info("peername")[1]
            if await asyncio.get_running_loop().run_in_executor(None, self.proxy.hands.kill, port):
                self.proxy.board.hit(fault)
        raise _Cut


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The next message: its kind, and all of it."""
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)
