"""Rows that did not simply load: rejected for good, with an account of the causes, or contested until settling."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from chalicelib.cells import Value, parted
from chalicelib.journey import CellError, Pass, Rejection
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.manifest import NOW_IN

MOST_ERRORS: Final = 100  # of a record: a wide one may have a thousand, each longer than its cell
SAMPLES: Final = 5  # of a cause, its lowest rows
MAX_CAUSE: Final = 200  # characters
MAX_CAUSES: Final = 100  # that a summary tells
_VARIES: Final = re.compile(r'"[^"]*"|[0-9]+')


Tags = tuple[str, ...]
# Code, column, reason and value of an error -> how the value could be read after all, and what to count it under.
Remedies = Callable[[str, str | None, str, str | None], tuple[Tags, Collection[str]]]


def add_rejections(
    connection: Connection,
    number: int,
    reading: Pass,
    rejections: Iterable[Rejection],
    remedies: Remedies,
) -> None:
    """Keep rejected records with their reasons, as they come; nothing may be asked of the connection meanwhile.

    Of a record's errors the first MOST_ERRORS are kept and counted; of the others it is told how many there are.
    `remedies` is one of checking.remedies.
    """
    causes: Causes = {}
    counts: Counts = {}
    columns = "(upload, pass, record, line, errors, raw)"
    with connection.cursor() as cursor, cursor.copy(f"COPY rowmill.reject {columns} FROM STDIN") as copy:
        for one in rejections:
            errors = [{"column": e.column, "code": e.code, "detail": e.detail} for e in _told(one.errors)]
            copy.write_row((number, reading, one.record, one.line, Jsonb(errors), one.raw))
            _tally(causes, counts, one, remedies)
    columns = "(upload, pass, code, field, cause, tags, rejects, first_line, last_line, samples)"
    with connection.cursor() as cursor, cursor.copy(f"COPY rowmill.cause {columns} FROM STDIN") as copy:
        for (code, column, cause, tags), seen in causes.items():
            told = (seen.rejects, seen.first_line, seen.last_line, Jsonb(seen.samples))
            copy.write_row((number, reading, code, column, cause, list(tags), *told))
    with connection.cursor() as cursor, cursor.copy("COPY rowmill.remedy FROM STDIN") as copy:
        for tag, (rejects, alone) in counts.items():
            copy.write_row((number, reading, tag, rejects, alone))


def _told(errors: Sequence[CellError]) -> Sequence[CellError]:
    more = len(errors) - MOST_ERRORS
    if more <= 0:
        return errors
    return [*errors[:MOST_ERRORS], CellError(None, errors[MOST_ERRORS].code, f"{more} more cells are at fault")]


@dataclass(slots=True)
class Tally:
    """How many rows a cause has rejected, and where."""

    first_line: int
    last_line: int = 0
    rejects: int = 0
    samples: list[dict[str, Any]] = field(default_factory=list)


Causes = dict[tuple[str, str | None, str, Tags], Tally]  # by code, column, what errors have in common, and remedies
Counts = dict[str, list[int]]  # by tag: records with such an error, and those without any other


def _tally(causes: Causes, counts: Counts, one: Rejection, remedies: Remedies) -> None:
    """Count a rejection, the next in file order: once for each of its causes, and of its remedies."""
    every: list[Collection[str]] = []
    for (code, column, cause), value in {_cause(error): _value(error) for error in one.errors[:MOST_ERRORS]}.items():
        tags, counted = remedies(code, column, cause, value[1:-1] if value else None)
        seen = causes.get((code, column, cause, tags))
        if seen is None:
            seen = causes[code, column, cause, tags] = Tally(one.line)
        seen.rejects += 1
        seen.last_line = one.line
        if len(seen.samples) < SAMPLES:
            seen.samples.append({"row": one.record, "line": one.line, "value": value})
        every.append(counted)
    alone = every[0] if len(every) == 1 else set(every[0]).intersection(*every[1:])
    for tag in every[0] if len(every) == 1 else set().union(*every):
        count = counts.get(tag)
        if count is None:
            count = counts[tag] = [0, 0]
        count[0] += 1
        count[1] += tag in alone


def _cause(error: CellError) -> tuple[str, str | None, str]:
    """What an error has in common with others of its kind: its detail without the value that it begins with.

    A reason of Postgres' own repeats values anywhere, so all it quotes and counts is left out.
    """
    if error.code == "db_rejected":
        return error.code, error.column, _VARIES.sub("…", error.detail)[:MAX_CAUSE]
    return error.code, error.column, parted(error.detail)[1][:MAX_CAUSE]


def _value(error: CellError) -> str | None:
    return parted(error.detail)[0] if error.code != "db_rejected" else None


def list_causes(connection: Connection, number: int) -> list[dict[str, Any]]:
    """Why rows were rejected, the most frequent cause first, each with its lowest rows; `of` counts all causes.

    The lowest rows of a cause are among those of the chunks that begin with the lowest.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"""
            SELECT c.*, (
                SELECT jsonb_agg(s) FROM (
                    SELECT s FROM (
                        SELECT samples FROM rowmill.cause p
                        WHERE p.upload = %(upload)s AND p.pass = {NOW_IN} AND p.code = c.code
                           AND p.field IS NOT DISTINCT FROM c.field AND p.cause = c.cause
                        ORDER BY first_line LIMIT %(samples)s) lowest, jsonb_array_elements(samples) s
                    ORDER BY (s ->> 'row')::bigint LIMIT %(samples)s) s) AS samples
            FROM (
                SELECT code, field, cause, sum(rejects)::bigint AS rejects,
                       min(first_line) AS first_line, max(last_line) AS last_line, count(*) OVER () AS of
                FROM rowmill.cause WHERE upload = %(upload)s AND pass = {NOW_IN} GROUP BY code, field, cause
                ORDER BY rejects DESC, first_line, code, field, cause LIMIT %(causes)s) c
            ORDER BY rejects DESC, first_line, code, field, cause
            """,
            {"upload": number, "samples": SAMPLES, "causes": MAX_CAUSES},
        ).fetchall()


@dataclass(frozen=True, slots=True)
class Contested:
    """A good row whose key met another row of its upload."""

    record: int
    line: int
    cells: list[str | None]
    raw: bytes


def add_contested(connection: Connection, number: int, rows: Iterable[Contested]) -> None:
    """Keep contested rows for settling."""
    columns = "(upload, record, line, cells, raw)"
    with connection.cursor() as cursor, cursor.copy(f"COPY rowmill.contested {columns} FROM STDIN") as copy:
        for row in rows:
            copy.write_row((number, row.record, row.line, row.cells, row.raw))


def list_contested(
    connection: Connection, number: int, places: Sequence[int], after: int, limit: int
) -> dict[int, list[Value]]:
    """Contested rows in file order, those after a record: by their records, the values in these columns (from 0)."""
    rows = connection.execute(
        """
        SELECT record, ARRAY(SELECT cells[place + 1] FROM unnest(%s::int[]) WITH ORDINALITY o(place, n) ORDER BY n)
        FROM rowmill.contested WHERE upload = %s AND record > %s ORDER BY record LIMIT %s
        """,
        (list(places), number, after, limit),
    )
    return dict(rows.fetchall())


def drop_contested(connection: Connection, number: int, records: Sequence[int]) -> None:
    """Have these records wait for settling no more: what becomes of them is known."""
    connection.execute("DELETE FROM rowmill.contested WHERE upload = %s AND record = ANY(%s)", (number, list(records)))


def clear_contested(connection: Connection, number: int) -> int:
    """Empty the upload's contested rows; how many there were."""
    return connection.execute("DELETE FROM rowmill.contested WHERE upload = %s", (number,)).rowcount


def forget_check(connection: Connection, number: int) -> None:
    """Empty what a check keeps of its chunks: the upload ends without it."""
    connection.execute("DELETE FROM rowmill.fingerprint WHERE upload = %s", (number,))
    connection.execute("DELETE FROM rowmill.guess WHERE upload = %s", (number,))


def add_guess(connection: Connection, number: int, n: int, bits: Sequence[int]) -> None:
    """What the values of a chunk leave possible, a column at a time."""
    connection.execute("INSERT INTO rowmill.guess (upload, n, bits) VALUES (%s, %s, %s)", (number, n, list(bits)))


def merged_guesses(connection: Connection, number: int) -> list[int]:
    """What all chunks of an upload leave possible, a column at a time; none if it has no chunk."""
    rows = connection.execute(
        """
        SELECT bit_and(one.bits) FROM rowmill.guess g, unnest(g.bits) WITH ORDINALITY AS one (bits, place)
        WHERE upload = %s GROUP BY place ORDER BY place
        """,
        (number,),
    )
    return [row[0] for row in rows]


def list_rejects(
    connection: Connection, number: int, after: int, limit: int | None, most_raw: int
) -> Generator[dict[str, Any], None, None]:
    """Rejected records in file order, those after `after`, read as they are used.

    Of a record, at most `most_raw` + 1 bytes: a batch of the longest that may be would not fit a worker.
    """
    with connection.transaction(), connection.cursor("rejects", row_factory=dict_row) as cursor:
        cursor.itersize = 500
        cursor.execute(
            f"""
            SELECT record, line, errors, substring(raw FROM 1 FOR %(most)s) AS raw FROM rowmill.reject
            WHERE upload = %(upload)s AND pass = {NOW_IN} AND record > %(after)s
            ORDER BY record LIMIT %(limit)s
            """,
            {"most": most_raw + 1, "upload": number, "after": after, "limit": limit},
            binary=True,
        )
        yield from cursor
