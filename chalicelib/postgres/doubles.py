"""The same file again: which earlier upload has brought it into the dataset, or is at it.

By what the storage vouches for without reading the file once more: the ETag and size of the object that was pinned,
which every way to send a file has, and before it is sent the SHA-256 that a form was held to. Of a file in parts the
declared SHA-256 is not looked at: the storage holds parts to theirs, and the whole file to none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chalicelib.errors import Refused
from chalicelib.journey import Number
from chalicelib.postgres.connection import Connection

# It has come to a good end, or is on its way to one: it is not canceled, deleted, a retry, nor waits to be confirmed.
_COUNTS: Final = """
    (e.state IN ('completed', 'completed_with_errors')
     OR e.finished_at IS NULL AND NOT (e.pass = 'check' AND e.options ? 'validate_only')
        AND NOT EXISTS (SELECT FROM rowmill.cancel x WHERE x.upload_id = e.upload_id))
    AND a.deleted_at IS NULL AND NOT a.item ? 'parent_id'
"""


def refusal(earlier: str, *, status: int | None = None) -> Refused:
    """Why the file is not taken, by the upload that has brought it."""
    named = {"code": "duplicate_file", "column": "checksum", "detail": earlier}
    return Refused("duplicate_file", f"The same file was sent before: {earlier}.", status=status, errors=[named])


def find_stored(connection: Connection, number: Number) -> str | None:
    """The first upload before this one that brought the same bytes, to be read in the same way, into its dataset."""
    row = connection.execute(
        f"""
        SELECT e.upload_id
        FROM rowmill.upload u JOIN rowmill.upload e ON e.dataset = u.dataset AND e.etag = u.etag
             AND (e.bytes_total, e.mode, e.dialect) = (u.bytes_total, u.mode, u.dialect)
             AND e.options -> 'mapping' IS NOT DISTINCT FROM u.options -> 'mapping'
             AND e.options -> 'sheet' IS NOT DISTINCT FROM u.options -> 'sheet'
        JOIN rowmill.announcement a ON a.upload_id = e.upload_id
        WHERE u.number = %s AND e.number < u.number AND {_COUNTS} ORDER BY e.number LIMIT 1
        """,
        (number,),
    ).fetchone()
    return row[0] if row else None


def find_declared(connection: Connection, tenant: str, wanted: Mapping[str, Any]) -> str | None:
    """The same for a file that is still to be sent, as its item announces it, if its SHA-256 is declared."""
    row = connection.execute(
        f"""
        SELECT e.upload_id
        FROM rowmill.announcement a CROSS JOIN LATERAL (
            -- Looked up for each: the planner would go by all uploads into the dataset.
            SELECT * FROM rowmill.upload WHERE upload_id = a.upload_id LIMIT 1) e
        JOIN rowmill.dataset d ON d.number = e.dataset
        WHERE a.item ->> 'checksum' = %(checksum)s AND a.item ? 'checksum' AND NOT a.item ? 'multipart_id'
          AND d.tenant = %(tenant)s AND d.name = %(dataset)s AND d.deleted_at IS NULL
          AND (e.bytes_total, e.mode, e.dialect) = (%(size)s, %(mode)s, %(dialect)s::jsonb)
          AND e.options -> 'mapping' IS NOT DISTINCT FROM %(options)s::jsonb -> 'mapping'
          AND e.options -> 'sheet' IS NOT DISTINCT FROM %(options)s::jsonb -> 'sheet'
          AND {_COUNTS} ORDER BY e.number LIMIT 1
        """,
        {**wanted, "tenant": tenant},
    ).fetchone()
    return row[0] if row else None
