"""A file with one thing about it undone: what a class of differences.py reads instead. Quoted texts stay as they are."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.pure.judge import judged
from tests.pure.peers import Case

BOM = b"\xef\xbb\xbf"
_START = rb"(?:\A(?!%b)|(?<=\A%b)|(?<=[\r\n])|(?<=%b))"  # of a cell: behind a byte order mark, a line end, a delimiter


def _pieces(case: Case, bare: bytes | None = None, before: bytes = b"") -> re.Pattern[bytes]:
    """A cell's worth of bytes at a cell's start: quoted (group 1) with blanks behind it (group 2), or bare (group 3)."""
    d, q, e = (
        re.escape((mark or "").encode()) for mark in (case.dialect.delimiter, case.dialect.quote, case.dialect.escape)
    )
    before = b"" if case.dialect.delimiter == " " else before
    escaped = rb"%b(?:\r\n|.)|" % e if e else b""
    quoted = (
        rb"(%b%b(?:%b%b%b|[^%b%b])*%b)((?:(?!%b)[ \t])*)" % (before, q, escaped, q, q, q, e, q, d)
        if q
        else rb"((?!))((?!))"
    )
    bare = bare or rb"((?:%b(?!%b)[^\r\n])+)" % (escaped, d)
    return re.compile(rb"(?s)" + _START % (BOM, BOM, d) + rb"(?:%b(?=%b|[\r\n]|\Z)|%b)" % (quoted, d, bare))


def without_blanks_behind_quotes(case: Case, before: bytes = b"") -> bytes:
    return _pieces(case, before=before).sub(lambda piece: piece[1] or piece[3], case.data)


def without_blank_before_quotes(case: Case) -> bytes:
    if not (quote := case.dialect.quote) or case.dialect.delimiter == " ":
        return case.data
    opening = re.compile(rb"\A (?=%b)" % re.escape(quote.encode()))
    return _pieces(case, before=rb" ?").sub(lambda piece: opening.sub(b"", piece[0]), case.data)


def with_reopened_quotes_joined(case: Case) -> bytes:
    """The file with quoted texts, and blanks between them, as the one text that DuckDB makes of them.

    It takes what stands between the first quote and the last, and of each quote in that the character behind it.
    """
    if not (quote := case.dialect.quote) or case.dialect.delimiter == " ":
        return case.data
    q = re.escape(quote.encode())
    inside = rb"(?:%b%b|[^%b])*" % (q, q, q)
    start = _START % (BOM, BOM, re.escape(case.dialect.delimiter.encode()))
    reopened = re.compile(rb"(?s)%b( ?)%b(%b(?:%b +%b%b)+)%b" % (start, q, inside, q, q, inside, q))

    def joined(found: re.Match[bytes]) -> bytes:
        text = re.sub(rb"(?s)%b(.?)" % q, rb"\1", found[2])
        return found[1] + quote.encode() + text.replace(quote.encode(), 2 * quote.encode()) + quote.encode()

    return reopened.sub(joined, case.data)


def escaping_ordinary(case: Case) -> bytes:
    """The file with an escape that escapes nothing doubled, so that csv keeps it."""
    if not (escape := case.dialect.escape):
        return case.data
    e = re.escape(escape.encode())
    marks = "".join(
        filter(None, (case.dialect.delimiter, case.dialect.quote, case.dialect.escape, case.dialect.comment))
    )
    special = b"[" + re.escape(marks.encode()) + rb"\r\n]"
    return re.sub(rb"(?s)%b(%b)|%b" % (e, special, e), lambda found: found[0] if found[1] else found[0] * 2, case.data)


def with_bare_escapes_doubled(case: Case) -> bytes:
    """The file with each escape in a bare cell doubled, so that we take it for plain."""
    if not (escape := case.dialect.escape):
        return case.data
    e = escape.encode()
    return _pieces(case).sub(lambda piece: piece[3].replace(e, e + e) if piece[3] else piece[0], case.data)


def escaping_quotes(case: Case) -> bytes:
    """The file with quotes inside quotes escaped, not doubled."""
    if not (case.dialect.escape and case.dialect.quote):
        return case.data
    e, q = case.dialect.escape.encode(), case.dialect.quote.encode()
    inner = re.compile(rb"(?s)%b.|(%b%b)" % (re.escape(e), re.escape(q), re.escape(q)))

    def escaped(piece: re.Match[bytes]) -> bytes:
        if not piece[1]:
            return piece[0]
        lead, _, text = piece[1].partition(q)
        return lead + q + inner.sub(lambda found: e + q if found[1] else found[0], text[: -len(q)]) + q + piece[2]

    return _pieces(case, before=rb" ?").sub(escaped, case.data)


def escaping_ordinary_inside(case: Case) -> bytes:
    if not case.dialect.escape:
        return case.data

    def escaped(piece: re.Match[bytes]) -> bytes:
        return escaping_ordinary(replace(case, data=piece[0])) if piece[1] else piece[0]

    return _pieces(case).sub(escaped, case.data)


def escaping_each_of_crlf(case: Case) -> bytes:
    if not (escape := case.dialect.escape):
        return case.data
    e = re.escape(escape.encode())
    apart = b"%b\r%b\n" % (escape.encode(), escape.encode())
    return re.sub(rb"(?s)%b(?:(\r\n)|.)" % e, lambda found: apart if found[1] else found[0], case.data)


def without_comments_anywhere(case: Case) -> bytes:
    """The file without comments as DuckDB has them: from a mark anywhere but in quotes to the line's end."""
    return _comments(rb"(?:(?<![^\r\n]) *|(?<=\A%b) *)?" % BOM, rb"[^\r\n]*", b"", case)


def without_blanks_before_comments(case: Case) -> bytes:
    """The file without blanks between a delimiter and a comment mark."""
    mark = (case.dialect.comment or "").encode()
    return _comments(rb"(?<=%b) +" % re.escape(case.dialect.delimiter.encode()), b"", mark, case)


def _comments(before: bytes, behind: bytes, instead: bytes, case: Case) -> bytes:
    if not (comment := case.dialect.comment):
        return case.data
    quoted, mark = _pieces(case, bare=rb"(?!)").pattern, re.escape(comment.encode())
    pattern = re.compile(rb"(?s)%b|%b%b%b" % (quoted, before, mark, behind))
    return pattern.sub(lambda found: found[0] if found[1] else instead, case.data)


def without_blank_lines(case: Case) -> bytes:
    if case.width > 1:
        return case.data
    body = case.data.removeprefix(BOM)
    left = b"".join(body[record.start : record.after] for record in judged(body, case.dialect))
    return BOM * (left.startswith(BOM) or body != case.data) + left
