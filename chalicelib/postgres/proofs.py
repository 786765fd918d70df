"""Receipts of uploads, and the readings of file and table that they and later comparisons are made by.

One worker at a time reads an upload (locks.proof). What it has found is kept with each batch, so that another goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from chalicelib.journey import Number
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.ledger import SHOWN_STATE

Kind = Literal["receipt", "verify"]

# The upload has ended, and its newest receipt is of another end.
_IS_DUE: Final = "u.finished_at IS NOT NULL AND u.receipted_at IS DISTINCT FROM u.finished_at"  # as the index has it


@dataclass(frozen=True, slots=True)
class Proof:
    """A reading of an upload's file and table, as far as it has come."""

    upload: Number
    kind: Kind
    ended_at: datetime
    asked_at: datetime
    chunks_done: int
    found: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt that was issued: the n-th of its upload, and the JWS of it."""

    n: int
    generation: int
    state: str
    issued_at: datetime
    sha256: bytes
    jws: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an upload's receipts are. `is_made`: the newest is of the end that the upload has.

    `is_shut`: it went into a dataset of somebody else's that its tenant has no role in any more.
    """

    number: Number
    state: str
    is_over: bool
    is_made: bool
    newest: int  # 0 if there is none
    is_shut: bool


def standing(connection: Connection, tenant: str, upload_id: str) -> Standing | None:
    """How far the receipts of a tenant's upload are, once the splitter has met it."""
    with connection.cursor(row_factory=class_row(Standing)) as cursor:
        return cursor.execute(
            f"""
            SELECT number, finished_at IS NOT NULL AS is_over, {SHOWN_STATE} AS state,
                   finished_at IS NOT NULL AND receipted_at IS NOT DISTINCT FROM finished_at AS is_made,
                   coalesce((SELECT max(n) FROM rowmill.receipt r WHERE r.upload = u.number), 0) AS newest,
                   EXISTS (SELECT FROM rowmill.dataset d WHERE d.number = u.dataset AND d.tenant <> u.tenant
                       AND d.deleted_at IS NULL AND NOT EXISTS (
                           SELECT FROM rowmill.dataset_grant g WHERE g.dataset = d.number AND g.tenant = u.tenant)
                   ) AS is_shut
            FROM rowmill.upload u WHERE tenant = %s AND upload_id = %s
            """,
            (tenant, upload_id),
        ).fetchone()


def find(connection: Connection, number: Number, n: int | None = None) -> Receipt | None:
    """The n-th receipt of an upload, or its newest."""
    with connection.cursor(row_factory=class_row(Receipt)) as cursor:
        return cursor.execute(
            """
            SELECT n, generation, state, issued_at, sha256, jws FROM rowmill.receipt
            WHERE upload = %s AND n = coalesce(%s, n) ORDER BY n DESC LIMIT 1
            """,
            (number, n),
        ).fetchone()


def chain(connection: Connection, number: Number, after: int, limit: int) -> list[dict[str, Any]]:
    """An upload's receipts without what they say, the first first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT n, generation, state, issued_at, encode(sha256, 'hex') AS sha256 FROM rowmill.receipt
            WHERE upload = %s AND n > %s ORDER BY n LIMIT %s
            """,
            (number, after, limit),
        ).fetchall()


def take(connection: Connection, number: Number) -> Proof | None:
    """What is to be read of an upload now: for its receipt first, then to compare; None if nothing is."""
    connection.execute(
        f"""
        INSERT INTO rowmill.proof AS p (upload, kind, ended_at)
        SELECT number, 'receipt', finished_at FROM rowmill.upload u WHERE number = %s AND {_IS_DUE}
        ON CONFLICT (upload, kind) DO UPDATE
        SET ended_at = excluded.ended_at, asked_at = clock_timestamp(), begun_at = NULL, chunks_done = 0, found = '{{}}'
        WHERE p.ended_at <> excluded.ended_at
        """,
        (number,),
    )
    with connection.cursor(row_factory=class_row(Proof)) as cursor:
        return cursor.execute(
            """
            UPDATE rowmill.proof p SET begun_at = coalesce(begun_at, clock_timestamp()) FROM (
                SELECT kind FROM rowmill.proof JOIN rowmill.upload u ON u.number = upload
                WHERE upload = %(number)s AND proof.finished_at IS NULL AND u.finished_at = ended_at
                ORDER BY kind LIMIT 1) next
            WHERE p.upload = %(number)s AND p.kind = next.kind
            RETURNING upload, p.kind, ended_at, asked_at, chunks_done, found
            """,
            {"number": number},
        ).fetchone()


def note(connection: Connection, proof: Proof, chunks_done: int) -> None:
    """What has been found by now, in `proof.found`, and up to which chunk."""
    connection.execute(
        "UPDATE rowmill.proof SET chunks_done = %s, found = %s WHERE upload = %s AND kind = %s AND asked_at = %s",
        (chunks_done, Jsonb(proof.found), proof.upload, proof.kind, proof.asked_at),
    )


def close(connection: Connection, proof: Proof) -> None:
    """The comparison is over; what it found is kept until the next one."""
    connection.execute(
        "UPDATE rowmill.proof SET finished_at = clock_timestamp(), found = %s"
        " WHERE upload = %s AND kind = %s AND asked_at = %s",
        (Jsonb(proof.found), proof.upload, proof.kind, proof.asked_at),
    )


def drop(connection: Connection, number: Number, kind: Kind) -> None:
    """There is nothing to read any more, or what was read is in a receipt."""
    connection.execute("DELETE FROM rowmill.proof WHERE upload = %s AND kind = %s", (number, kind))


def forget(connection: Connection, number: Number) -> None:
    """Nothing is shown of the upload any more, its receipts included."""
    # The upload before what is of it, as whoever issues a receipt does: the other way round they wait for each other.
    connection.execute("UPDATE rowmill.upload SET receipted_at = finished_at WHERE number = %s", (number,))
    connection.execute("DELETE FROM rowmill.receipt WHERE upload = %s", (number,))
    connection.execute("DELETE FROM rowmill.proof WHERE upload = %s", (number,))


def is_wanted(connection: Connection, proof: Proof) -> bool:
    """Whether the upload still has the end that this reading is of, and nobody has deleted it meanwhile."""
    row = connection.execute(
        """
        SELECT EXISTS (SELECT FROM rowmill.proof p JOIN rowmill.upload u ON u.number = p.upload
                       WHERE p.upload = %s AND p.kind = %s AND p.ended_at = %s AND u.finished_at = p.ended_at)
        """,
        (proof.upload, proof.kind, proof.ended_at),
    ).fetchone()
    return bool(row and row[0])


def issue(connection: Connection, proof: Proof, receipt: Receipt) -> None:
    """Keep a receipt, which supersedes the one before it; the upload is without one no longer."""
    connection.execute(
        "INSERT INTO rowmill.receipt (upload, n, generation, state, issued_at, sha256, jws)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (proof.upload, receipt.n, receipt.generation, receipt.state, receipt.issued_at, receipt.sha256, receipt.jws),
    )
    connection.execute("UPDATE rowmill.upload SET receipted_at = %s WHERE number = %s", (proof.ended_at, proof.upload))
    drop(connection, proof.upload, "receipt")


def ask(connection: Connection, number: Number) -> bool:
    """Have file and table of an upload that is over compared with its receipt, unless that is under way: whether it is
    the first to ask."""
    asked = connection.execute(
        """
        INSERT INTO rowmill.proof AS p (upload, kind, ended_at)
        SELECT number, 'verify', finished_at FROM rowmill.upload WHERE number = %s AND finished_at IS NOT NULL
        ON CONFLICT (upload, kind) DO UPDATE
        SET ended_at = excluded.ended_at, asked_at = clock_timestamp(), begun_at = NULL, finished_at = NULL,
            sent_at = NULL, chunks_done = 0, found = '{}'
        WHERE p.finished_at IS NOT NULL OR p.ended_at <> excluded.ended_at
        """,
        (number,),
    )
    return asked.rowcount == 1


def comparison(connection: Connection, number: Number) -> dict[str, Any] | None:
    """The newest comparison of an upload's file and table with its receipt, done or not; None if nobody has asked."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            SELECT p.asked_at, p.begun_at, p.finished_at, p.chunks_done, p.found, p.ended_at = u.finished_at AS holds,
                   coalesce(u.chunks_total, 0) AS chunks_total
            FROM rowmill.proof p JOIN rowmill.upload u ON u.number = p.upload WHERE p.upload = %s AND p.kind = 'verify'
            """,
            (number,),
        ).fetchone()


# Asked for again at growing distances: a reading may take many minutes, and whoever is at it keeps others out.
_IS_STUCK: Final = """
    coalesce({sent}, {since}) < clock_timestamp() - greatest(make_interval(secs => %(lost)s), ({sent} - {since}) / 4)
"""


def take_due(connection: Connection, lost: float, most: int) -> list[tuple[str, Number]]:
    """Uploads that nobody has read for so many seconds, by tenant: their message went down with somebody."""
    stuck = _IS_STUCK.format(since="u.finished_at", sent="u.receipt_asked_at")
    asked = _IS_STUCK.format(since="p.asked_at", sent="p.sent_at")
    return connection.execute(
        f"""
        WITH unreceipted AS (
            UPDATE rowmill.upload SET receipt_asked_at = clock_timestamp() WHERE number IN (
                SELECT number FROM rowmill.upload u WHERE {_IS_DUE} AND {stuck}
                ORDER BY finished_at LIMIT %(most)s FOR UPDATE SKIP LOCKED)
            RETURNING tenant, number
        ), uncompared AS (
            UPDATE rowmill.proof p SET sent_at = clock_timestamp() FROM rowmill.upload u
            WHERE u.number = p.upload AND p.finished_at IS NULL AND p.kind = 'verify' AND u.finished_at = p.ended_at
               AND {asked}
            RETURNING u.tenant, u.number
        )
        SELECT * FROM unreceipted UNION SELECT * FROM uncompared
        """,
        {"lost": lost, "most": most},
    ).fetchall()


def origin(connection: Connection, number: Number) -> dict[str, Any]:
    """Where an upload came from and went: the file's name and version, the dataset's id and name."""
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(
            """
            SELECT a.item ->> 'filename' AS filename, u.version_id, d.dataset_id,
                   coalesce(d.name, u.options ->> 'dataset', a.item ->> 'dataset') AS dataset
            FROM rowmill.upload u LEFT JOIN rowmill.dataset d ON d.number = u.dataset
            LEFT JOIN rowmill.announcement a ON a.upload_id = u.upload_id WHERE u.number = %s
            """,
            (number,),
        ).fetchone()
    assert found is not None
    return found
