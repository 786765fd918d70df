"""What kind of bytes a file is: refused if no text, else its encoding, told by its mark, by proof or by likeness."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from chalicelib.errors import Refused

# What such files begin with.
GZIP: Final = b"\x1f\x8b"
ZIP: Final = b"PK\x03\x04"
OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_NOT_TEXT = {
    GZIP: "a gzip archive",
    ZIP: "a zip archive or an Excel workbook",
    b"PK\x05\x06": "an empty zip archive",
    OLE: "an old or encrypted Office file",
    b"%PDF-": "a PDF",
    b"\x7fELF": "a program",
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"BZh91AY&SY": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"SQLite format 3\0": "a SQLite database",
    b"\xca\xfe\xba\xbe": "a program",
    b"\xcf\xfa\xed\xfe": "a program",
    b"\0asm": "a program",
}
_WORDS = {b"MZ": "a program", b"PAR1": "a Parquet file", b"Obj\x01": "an Avro file"}  # a text may begin so, too
# What a download saves that met a login, or a page's "export to Excel": no table begins so.
_MARKUP: Final = {
    "a web page": re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html[\s>])", re.IGNORECASE).match,
    "an XML document": re.compile(rb"(?:\xef\xbb\xbf)?<\?xml\s").match,
}
_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_UTF_32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
# But for some of rare scripts, as which ends of words in cp1252 could be read: Spaß…, CAFÉ», MENÜ…, « café… ».
_UTF_8 = re.compile(
    rb"(?:[\xc2-\xc8\xca-\xdb\xdd\xde]|\xc9(?![\x85\xbb]))[\x80-\xbf]"
    rb"|[\xe0-\xef](?![\x85\xa0][\x94\xa0\xbb])[\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_HIGH = re.compile(rb"[\x80-\xff]")
# Letters beside letters, and the signs that cp1252 texts do hold: euro, dashes, curly quotes, degrees, pounds.
_CP1252_LIKE = re.compile(
    rb"(?<=[A-Za-z\x80-\xff])[\x8a\x8c\x8e\x9a\x9c\x9e\x9f\xc0-\xff]|[\x8a\x8c\x8e\x9a\x9c\x9e\x9f\xc0-\xff](?=[A-Za-z])"
    rb"|[\x80\x82\x84\x85\x91-\x97\x99\xa0\xa3\xa7\xa9\xab\xae\xb0\xb2\xb5\xb7\xba\xbb\xbd]"
)
_UNDEFINED = re.compile(rb"[\x81\x8d\x8f\x90\x9d\0-\x08\x0e-\x1a]")


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoding's name in dialect.ENCODINGS, how sure that is (0 to 1), and how long the file's mark is."""

    name: str
    confidence: float
    mark: int = 0


def holds_utf_8(data: bytes) -> bool:
    """Whether there are letters beyond ASCII that are UTF-8."""
    return _UTF_8.search(data) is not None


def are_in(texts: Iterable[bytes], name: str) -> bool:
    """Whether those of the texts that hold no letter in UTF-8 look together as if they were in this encoding."""
    return encoding(b"\n".join(text for text in texts if not holds_utf_8(text))).name == name


def unmixed(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks of a text whose beginning looks like cp1252. Raises Refused at the first letter in UTF-8."""
    seen = b""
    for block in blocks:
        data = seen + block
        if holds_utf_8(data):
            detail = "The text begins as if it were in cp1252, and goes on in UTF-8; say which by dialect.encoding."
            raise Refused("encoding_unsupported", detail)
        seen = data[-3:]
        yield block


def refuse_binary(sample: bytes) -> None:
    """Raise Refused for what is no table, named so that its owner knows what to save instead."""
    magic = _NOT_TEXT | _WORDS if b"\0" in sample[:1024] else _NOT_TEXT
    kinds = [kind for begin, kind in magic.items() if sample.startswith(begin)]
    kinds += [kind for kind, begins in _MARKUP.items() if begins(sample)]
    if kinds:
        raise Refused("file_type_unsupported", f"The file is {kinds[0]}, not delimited text.")
    if sample.startswith(_UTF_32):
        raise Refused("encoding_unsupported", "The file is UTF-32; save it as UTF-8.")


def encoding(sample: bytes, declared: str | None = None) -> Encoding:
    """The encoding of the text that begins with sample. Latin-1 is never guessed: every file fits it."""
    mark, marked = next((each for each in _MARKS.items() if sample.startswith(each[0])), (b"", None))
    if declared is not None:
        return Encoding(declared, 1.0, len(mark) if declared.startswith(marked or "none") else 0)
    if marked is not None:
        return Encoding(marked, 1.0, len(mark))
    return _utf_16(sample) or _cp1252(sample) or Encoding("utf-8", _utf_8_confidence(sample))


def _utf_16(sample: bytes) -> Encoding | None:
    """Without a mark: ASCII letters in UTF-16 have NUL as every second byte, and nothing else does."""
    pairs = len(sample) // 2
    low, high = sample[1 : 2 * pairs : 2].count(0), sample[0 : 2 * pairs : 2].count(0)
    if not pairs or max(low, high) <= 2 * pairs // 3 or min(low, high) > max(low, high) // 10:
        return None
    return Encoding("utf-16-le" if low > high else "utf-16-be", max(low, high) / pairs)


def _cp1252(sample: bytes) -> Encoding | None:
    """A byte that is not UTF-8 may be one broken cell; from two on, if all look like letters or signs, it is cp1252."""
    text = sample[:-3] if len(sample) > 6 else sample
    if _is_utf_8(text):
        return None
    broken = len(_HIGH.findall(_UTF_8.sub(b"", text)))
    if broken < 2 or _UTF_8.search(sample) or _UNDEFINED.search(sample):
        return None
    likely = len(_CP1252_LIKE.findall(sample)) / len(_HIGH.findall(sample))
    return Encoding("cp1252", round(likely * broken / (broken + 1), 3)) if likely >= 0.9 else None


def _is_utf_8(text: bytes) -> bool:
    """Nearly every file is, and then nothing need be counted, which takes twenty times as long as this."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _utf_8_confidence(sample: bytes) -> float:
    if _is_utf_8(sample[:-3]):
        return 1.0
    valid, broken = len(_UTF_8.findall(sample)), len(_HIGH.findall(_UTF_8.sub(b"", sample[:-3])))
    return round((valid + 1) / (valid + broken + 1), 3)


def as_utf_8(sample: bytes, found: Encoding, truncated: bool) -> bytes:
    """A sample without its mark, as UTF-8; half a character at its end is left out."""
    body = sample[found.mark :]
    if found.name == "utf-8":
        return body
    if found.name.startswith("utf-16"):
        body = body[: len(body) // 2 * 2]
    name = found.name
    if name == "utf-16":
        name = "utf-16-be" if sample.startswith(b"\xfe\xff") else "utf-16-le"
    text = body.decode(name, errors="replace")
    return (text[:-1] if truncated else text).encode(errors="replace")
