"""How long the publication of staged rows takes: `python -m bench.all_at_once [ROWS…]`, on a Postgres of its own.

The rows are contacts as elsewhere (a unique e-mail in random order) and the same without a key, into an empty table and
into one that holds as many already. Beside it, what it takes to look for clashes. JSON in .rowmill/reports.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from bench.publish import keep
from chalicelib import publishing
from chalicelib.datasets import read_schema
from chalicelib.journey import lineage
from chalicelib.postgres import ledger, publish, stages, tables
from chalicelib.postgres.connection import connection
from infra.local import instance
from infra.migrate import migrate

ROWS = (100_000, 1_000_000, 3_000_000)
FIELDS = [{"name": "email", "type": "string"}, {"name": "name", "type": "string"}, {"name": "age", "type": "integer"}]
NOTE = {"name": "note", "type": "string"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.all_at_once", description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, default=ROWS, help="of each upload (%(default)s)")
    sizes = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder, instance.running(Path(folder), deployed=False) as here:
        migrate(here.database_url)
        os.environ["DATABASE_URL"] = here.database_url
        connection().execute("INSERT INTO rowmill.tenant (tenant) VALUES ('ten_bench')")
        found = [_measured(rows, has_key=has_key) for has_key in (False, True) for rows in sizes]
    keep("all_at_once", found)


def _measured(rows: int, *, has_key: bool) -> dict[str, Any]:
    db = connection()
    email = {**FIELDS[0], "constraints": {"required": True, "unique": has_key}}
    descriptor = {"fields": [email, *FIELDS[1:], NOTE]}
    name = f"d{rows}{has_key}"
    row = db.execute(
        "INSERT INTO rowmill.dataset (tenant, name, mode, descriptor) VALUES ('ten_bench', %s, 'insert', %s)"
        " RETURNING number",
        (name, Jsonb(descriptor)),
    ).fetchone()
    assert row is not None
    db.execute("SET ROLE rowmill_define")  # whose the tables of datasets are, and the function that makes stages
    tables.create(db, "ten_bench", name, tables.Table(row[0], 1, read_schema(descriptor)))
    db.execute("RESET ROLE")
    took: dict[str, Any] = {"rows": rows, "has_key": has_key}
    for onto in ("empty", "as many"):
        upload = _staged(row[0], rows, onto)
        stage = publishing.stage_of(upload)
        began = time.monotonic()
        with publish.unattended(db):
            publish.find_clashes(db, stage)
        looked = time.monotonic()
        publishing.conclude(db, upload, looks_first=False)
        took[onto] = round(time.monotonic() - looked, 2)
        took[f"{onto}, look"] = round(looked - began, 2)
        held = db.execute(sql.SQL("SELECT count(*) FROM {}").format(stage.name)).fetchone()
        assert held is not None and held[0] == rows * (1 + (onto != "empty"))
    print(json.dumps(took), flush=True)
    return took


def _staged(dataset: int, rows: int, salt: str) -> ledger.Upload:
    """An upload of one chunk, which is in."""
    db = connection()
    row = db.execute(
        """
        WITH announced AS (INSERT INTO rowmill.announcement (upload_id, tenant, item, closes_at)
                           VALUES ('upl_' || gen_random_uuid(), 'ten_bench', '{}', now()) RETURNING upload_id)
        INSERT INTO rowmill.upload (upload_id, tenant, dataset, state, mode, dialect, correlation_id, object_key, etag,
                                    bytes_total, stored_at, plan, chunks_total, rows_total, options)
        SELECT upload_id, 'ten_bench', %s, 'processing', 'insert', '{}', '', '', '', 1, now(), '{}',
               1, %s, '{"on_error": "abort"}' FROM announced RETURNING number
        """,
        (dataset, rows),
    ).fetchone()
    assert row is not None
    upload = ledger.find(db, row[0])
    assert upload is not None
    stage = publishing.stage_of(upload)
    stages.make(db, stage)
    text = "SELECT md5(%s || i)  || '@example.org', 'name ' || i, i %% 90, 'some words of a note, row ' || i, %s + i"
    values = sql.SQL("INSERT INTO {} ({}) ").format(stage.staging, stage.columns).as_string(db)
    db.execute(
        values.replace("%", "%%") + text + " FROM generate_series(1, %s) i", (salt, lineage(upload.number, 0), rows)
    )
    db.execute(
        """
        INSERT INTO rowmill.chunk (upload, n, byte_start, byte_end, first_record, first_line, records, state, contested)
        VALUES (%s, 1, 0, 1, 1, 2, %s, 'loaded', %s)
        """,
        (upload.number, rows, rows),
    )
    db.execute("CHECKPOINT")
    return upload


if __name__ == "__main__":
    main()
