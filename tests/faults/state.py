"""All that outlives a process, taken and put back: tables, queues, the status table.

Two crashes that leave the same state behind have the same future, so a test need recover from it only once.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

from moto.backends import get_backend
from psycopg.types.json import Jsonb

from chalicelib import pages_kept
from chalicelib.settings import settings
from tests.faults.deliveries import Deliveries, box
from tests.stages.conftest import QUEUES

# The last only counts what has happened so far, by the process it happened to.
_NEVER_CHANGE = ("tenant", "account", "dataset", "dataset_change")
_SEALED = ("jws", "sha256")  # hold the moment of the sealing
_HISTORY = ("rowmill.event",)  # what is told of the past decides nothing: it tells no states apart


@dataclass(frozen=True, slots=True)
class State:
    """One moment. `print` tells states apart by what is in them; of points in time, only their order in a row."""

    tables: dict[str, bytes]
    stages: dict[str, tuple[str, bool]]  # tables of uploads, the datasets' that they are like, and if they have indexes
    sequences: list[dict[str, Any]]
    queues: dict[str, list[Any]]
    items: Any
    print: str


def take(deliveries: Deliveries) -> State:
    tables, shown = {}, []
    for table, rows in _rows(deliveries).items():
        tables[table] = b""
        if rows:
            with deliveries.db.cursor() as cursor, cursor.copy(f"COPY {table} TO STDOUT") as out:
                tables[table] = b"".join(out)
        shown += sorted(_timeless(row) for row in rows if table not in _HISTORY)
    items = status_table().items
    shown += sorted(_untimed(item) for by_range in items.values() for item in by_range.values())
    stages = _stages(deliveries)
    shown += sorted(f"{name} has {'its' if dressed else 'no'} indexes" for name, (_, dressed) in stages.items())
    shown += sorted(f"{one.queue} {json.dumps({**one.body, 'tries': 0})}" for one in deliveries.waiting())
    sequences = deliveries.sql(
        "SELECT format('rowmill.%%I', sequencename) AS name, coalesce(last_value, 1) AS value,"
        " last_value IS NOT NULL AS called FROM pg_sequences WHERE schemaname = %s",
        "rowmill",
    )
    queues = {queue: list(box(queue)._messages) for queue in QUEUES}
    return State(tables, stages, sequences, queues, copy.deepcopy(items), "\n".join(shown))


def put_back(deliveries: Deliveries, state: State) -> None:
    pages_kept.rows.forget()  # of rows that are changed here behind everybody's back
    with deliveries.db.transaction(), deliveries.db.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # parents and children in any order
        cursor.execute("SET LOCAL synchronous_commit = off")
        _restore_stages(deliveries, state)
        cursor.execute(";".join(f"DELETE FROM {table}" for table in state.tables))
        for table, rows in state.tables.items():
            if rows:
                with cursor.copy(f"COPY {table} FROM STDIN") as into:
                    into.write(rows)
        cursor.execute(
            "SELECT setval(name, value, called) FROM jsonb_to_recordset(%s) AS s (name text, value bigint, called bool)",
            [Jsonb(state.sequences)],
        )
    for queue, messages in state.queues.items():
        box(queue)._messages = list(messages)
    status_table().items = copy.deepcopy(state.items)


def _stages(deliveries: Deliveries) -> dict[str, tuple[str, bool]]:
    found = deliveries.sql(
        "SELECT upload, dataset, EXISTS (SELECT FROM pg_index WHERE indrelid = format('stage.u_%%s', upload)::regclass)"
        " AS dressed FROM rowmill.staged s JOIN rowmill.upload u ON u.number = s.upload"
    )
    return {f"stage.u_{row['upload']}": (f"data.d_{row['dataset']}", row["dressed"]) for row in found}


def _restore_stages(deliveries: Deliveries, state: State) -> None:
    there = {name for name in _tables(deliveries) if name.startswith("stage.")}
    kept = {name for name, stage in _stages(deliveries).items() if state.stages.get(name) == stage}
    for name in there - kept:
        deliveries.sql(f"DROP TABLE {name}")
    for name in state.stages.keys() - kept:
        like, dressed = state.stages[name]
        more = " INCLUDING INDEXES" if dressed else ""
        deliveries.sql(f"CREATE TABLE {name} (LIKE {like} INCLUDING CONSTRAINTS INCLUDING IDENTITY{more})")
        deliveries.sql(f"ALTER TABLE {name} OWNER TO rowmill_define")  # as make_stage leaves it


def _tables(deliveries: Deliveries) -> list[str]:
    found = deliveries.sql(
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables"
        " WHERE schemaname IN ('rowmill', 'data', 'stage') AND NOT tablename = ANY(%s) ORDER BY 1",
        list(_NEVER_CHANGE),
    )
    return [row["name"] for row in found]


def _rows(deliveries: Deliveries) -> dict[str, list[dict[str, Any]]]:
    """The rows of each table, by one statement: most tables have none."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in _tables(deliveries)}
    each = " UNION ALL ".join(f"SELECT '{name}' AS name, to_jsonb(t) AS row FROM {name} t" for name in found)
    for one in deliveries.sql(each):
        found[one["name"]].append(one["row"])
    return found


def _timeless(row: dict[str, Any]) -> str:
    """The row with its moments numbered in their order, its piece by what is in it, not by its key, and no seal."""
    if "jws" in row:
        row = {name: value for name, value in row.items() if name not in _SEALED}
    if isinstance((row.get("found") or {}).get("table"), dict):
        moments = ("read_from", "read_until")
        table = {name: value for name, value in row["found"]["table"].items() if name not in moments}
        row["found"] = row["found"] | {"table": table}
    if row.get("piece"):
        row = row | {"piece": row["piece"] | {"key": ""}}
    moments = sorted({str(value) for name, value in row.items() if name.endswith("_at") and value})
    places = {moment: place for place, moment in enumerate(moments)}
    return json.dumps({name: places.get(str(value), value) for name, value in row.items()}, sort_keys=True)


def _untimed(item: Any) -> str:
    attributes = {name: value.value for name, value in item.attrs.items()}
    progress = json.loads(attributes.pop("progress", "{}"))
    for measured in ("timings", "rate", "queued_before", "forecast", "cost"):
        progress.pop(measured, None)
    return json.dumps([attributes, progress], sort_keys=True, default=str)


def status_table() -> Any:
    return get_backend("dynamodb")["123456789012"]["us-east-1"].tables[settings().uploads_table]
