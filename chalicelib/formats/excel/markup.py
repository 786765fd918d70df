"""XML as it streams past, without what could make it grow: entities, endless names and tags, depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Any, Final
from xml.parsers import expat

from chalicelib.formats import threats
from chalicelib.formats.excel.archive import corrupt

BLOCK_BYTES: Final = 1 << 18
MAX_TOKEN_BYTES: Final = 1 << 20  # a tag with its attributes
MAX_NAMES: Final = 10_000
MAX_DEPTH: Final = 200

Start = Callable[[str, dict[str, str]], None]
End = Callable[[str], None]
Text = Callable[[str], None]


class LocalNames(dict[str, str]):
    """Names of elements without their prefix: some writers put x: before every one."""

    def __missing__(self, name: str) -> str:
        local = self[name] = name.rpartition(":")[2]
        return local


def parse(
    stream: IO[bytes], start: Start, end: End | None = None, text: Text | None = None, block_bytes: int = BLOCK_BYTES
) -> Iterator[None]:
    """Parse stream block by block and give way after each, so that what was read can be passed on.

    Malware is looked for in all of it, for little of it becomes a cell: not a formula, nor a text of another sheet's.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    fed = 0
    for block in threats.watched(iter(lambda: stream.read(block_bytes), b"")):
        parser.Parse(block, False)
        fed += len(block)
        if fed - parser.CurrentByteIndex > MAX_TOKEN_BYTES or len(parser.intern) > MAX_NAMES:
            raise corrupt("a tag of it is too large")
        yield
    parser.Parse(b"", True)
    yield


def _refuse_doctype(*_: Any) -> None:
    raise corrupt("it declares a document type")


def elements(stream: IO[bytes]) -> Iterator[tuple[str, dict[str, str]]]:
    """(local name, attributes) of every element, in the order they begin. Attributes keep their prefix."""
    met: list[tuple[str, dict[str, str]]] = []
    names = LocalNames()
    for _ in parse(stream, lambda name, attributes: met.append((names[name], attributes))):
        yield from met
        met.clear()
