"""What fuzzing begins with: small files of every kind, the conformance cases where they are, and words to insert."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
from collections.abc import Iterator
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED

from bench.fuzz.knobs import with_knobs
from bench.fuzz.packed import WHERE
from infra.local.cloud import CHECKOUT

TEXTS: Final = (
    b'id,name,note\n1,"Ada, Countess",x\n2,"two\nlines","said ""so"""\r\n3,5" pipe,\r4,,\n',
    b"# made by hand\n\nid;name;note\n1;'x;y';2024-02-29\n# below\n2;z;1.234,5\n",
    b'a\tb\n\\"1\t"q\\"r"\n\\#2\t\\\n3\n',
    b'\xef\xbb\xbfa, b\n"1", "x, y"\n2, 8"long, wide"\n"3" ,"open\n',
    b"\n\r\n\ra\n\n\nb\r\r\n\n",
    "é|ü\n1||\n\u2028|\x85\n".encode() + b"\xff|\0\n",
)
SHEETS: Final = {
    "cells": b'<row r="2"><c r="A2" t="inlineStr"><is><t>a,"b</t><rPh><t>no</t></rPh></is></c>'
    b'<c r="C2"><f>1+1</f></c></row><row><c t="b"><v>1</v></c><c t="e"><v>#N/A</v></c><c s="1"><v>60.5</v></c>'
    b'<c t="str"><v>_x000D_\n</v></c></row>',
    "shared": b"<si><r><t>a</t></r><r><t>_x0041_&#13;&quot;</t></r><rPh><t>b</t></rPh></si><si/>",
    "styles": b'<numFmts><numFmt numFmtId="164" formatCode="[h]:mm&quot;x&quot;;@"/></numFmts>'
    b'<cellXfs><xf/><xf numFmtId="164"/></cellXfs>',
    "book": b'<workbookPr date1904="1"/><sheets><sheet name="One" state="hidden" r:id="rId1"/>'
    b'<sheet name="" r:id="rId1"/></sheets>',
    "rels": b'<Relationship Id="rId1" Type="x/worksheet" Target="../xl/./worksheet"/>'
    b'<Relationship Id="x" TargetMode="External" Type="x/styles" Target="http://127.0.0.1/"/>',
    "sheet": b'<x:worksheet xmlns:x="y"><x:sheetData><x:row><x:c><x:v>1</x:v></x:c></x:row></x:sheetData>'
    b"</x:worksheet>",
    "ours": b"=1+1|a\nb|c\rd|_x0041_|\xc3\xa9",
}
_MARKS: Final = b"""" "" , ; | # ' \\ "," a b id name 1.5 2024-02-29 \0 \x1c \xff \x81"""
_BLANKS: Final = b'\t/\n/\r/\r\n/ "/" /\n"/, '
_LETTERS: Final = "é \ufeff \u2028 \x85".encode()
_TAGS: Final = (
    b'<row <c </c> </row> <v> </v> <f> <t> </t> <si> <is> <rPh> <xf r=" t="s" s=" numFmtId=" xmlns:x= _xD800_'
)
_XML: Final = b"<!DOCTYPE <![CDATA[ ]]> <!-- --> &#13; &#10; &lt; <?xml"
_MAGIC: Final = b"\x1f\x8b\x08 PK\x03\x04 PK\x01\x02 PK\x05\x06 \xff\xfe \xfe\xff \xd8\x3d"


def words() -> str:
    """A dictionary as libFuzzer reads one."""
    every = [*b" ".join((_MARKS, _LETTERS, _TAGS, _XML, _MAGIC)).split(b" "), *_BLANKS.split(b"/")]
    return "".join(f'"{"".join(f"{chr(92)}x{byte:02x}" for byte in word)}"\n' for word in every)


def of(target: str) -> list[bytes]:
    """The inputs that this target begins with."""
    match target:
        case "gzip":
            return list(_gzipped())
        case "xlsx":
            return list(_workbooks())
        case "encodings":
            texts = ["id,Größe\n1,naïve café\n2,“x” – €\n", "a\n😀\n"]
            coded = [text.encode(name, "replace") for text in texts for name in ("utf-16", "utf-16-be", "cp1252")]
            return [with_knobs(each, declared) for each in coded for declared in range(7)]
        case _:
            return [with_knobs(text, chosen) for text in (*TEXTS, *_cases()) for chosen in range(2)]


def _cases() -> Iterator[bytes]:
    """Other libraries' cases, where the folder that ROWMILL_CORPORA names holds them; the long ones are left out."""
    folder = os.environ.get("ROWMILL_CORPORA") or CHECKOUT.parent / "shared" / "corpora"
    file = Path(folder) / "csv-conformance.jsonl"
    for line in file.read_text().splitlines() if file.exists() else []:
        data = base64.b64decode(json.loads(line)["input_b64"])
        if len(data) < 2000:
            yield data


def _gzipped() -> Iterator[bytes]:
    packed = gzip.compress(TEXTS[0], mtime=0)
    yield from (with_knobs(each) for each in (packed, packed + bytes(3) + packed, packed + b"x", packed[:-3]))
    yield from (with_knobs(text, how, 1, 0, 200) for text in TEXTS for how in range(1, 4))


def _workbooks() -> Iterator[bytes]:
    book = import_module("openpyxl").Workbook()
    book.active.append(["id", "day", 1.5, True])
    book.active.append([7, date(2024, 2, 29), 'a "b",\nc', None])
    held = io.BytesIO()
    book.save(held)
    yield with_knobs(held.getvalue())
    yield from (with_knobs(part, WHERE.index(where)) for where, part in SHEETS.items())
    yield with_knobs(SHEETS["cells"], WHERE.index("cells"), 1, 2, 1, ZIP_DEFLATED)
