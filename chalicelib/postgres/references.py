"""Foreign keys: their targets when a dataset is put, and in a chunk's transaction the rows that lack theirs.

No constraint is put on the table: one bad row would undo a whole COPY, and rows of the target could no longer give
way while it is settled. A chunk asks once for each distinct value, before its rows go in; whoever takes a single row
away asks whether others refer to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from chalicelib.cells import Field, Value, quoted
from chalicelib.datasets import Dataset, ForeignKey, Schema
from chalicelib.errors import Refused
from chalicelib.journey import CellError
from chalicelib.postgres import locks, people, tables
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.tables import Table

MISSING = "foreign_key_missing"


def check_targets(connection: Connection, tenant: str, schema: Schema) -> None:
    """Raise Refused `schema_invalid` if a foreign key's target is no key of a dataset, or of other types.

    Keeps the targets from being changed until the transaction ends.
    """
    problems = []
    for key in schema.foreign_keys:
        people.hold_dataset(connection, tenant, key.dataset)
        found = people.find_dataset(connection, tenant, key.dataset)
        fault = _fault(key, schema, found.dataset.schema) if found else f"there is no dataset {quoted(key.dataset)}"
        if fault:
            problems.append({"code": "schema_invalid", "column": key.fields[0], "detail": fault})
    if problems:
        raise Refused("schema_invalid", "The Table Schema cannot be used.", errors=problems)


def check_referrers(connection: Connection, tenant: str, name: str, schema: Schema) -> None:
    """Raise Refused `dataset_incompatible` (409) if a dataset refers to this one in a way that `schema` breaks."""
    people.hold_dataset(connection, tenant, name)
    for other in people.list_datasets(connection, tenant, "", None):
        for key in other.dataset.schema.foreign_keys:
            if key.dataset == name and (fault := _fault(key, other.dataset.schema, schema)):
                detail = f"The dataset {quoted(other.dataset.name)} refers to this one: {fault}."
                raise Refused("dataset_incompatible", detail, status=409)


def _fault(key: ForeignKey, schema: Schema, target: Schema) -> str | None:
    if not any(set(key.targets) == set(each) for each in target.keys):
        return f"{quoted(', '.join(key.targets))} is no key of dataset {quoted(key.dataset)}"
    ours, theirs = _fields(schema, key.fields), _fields(target, key.targets)
    for here, there in zip(ours, theirs, strict=True):
        if there.encrypted:
            return f"{quoted(there.name)} of dataset {quoted(key.dataset)} is encrypted"
        if here.postgres_type != there.postgres_type:
            return f"{here.type} {quoted(here.name)} cannot refer to {there.type} {quoted(there.name)}"
    return None


def _fields(schema: Schema, names: tuple[str, ...]) -> list[Field]:
    return [schema.fields[place] for place in schema.positions(names)]


def find_orphans(
    connection: Connection, tenant: str, schema: Schema, columns: Sequence[Sequence[Value]]
) -> dict[int, list[CellError]]:
    """Rows that refer to nothing, by their index in the columns. A row with a null in the key refers to nobody."""
    orphans: dict[int, list[CellError]] = {}
    for key in schema.foreign_keys:
        rows = list(zip(*(columns[place] for place in schema.positions(key.fields)), strict=True))
        wanted = sorted({row for row in rows if None not in row})
        missing = set(_missing(connection, tenant, schema, key, wanted)) if wanted else set()
        for index, row in enumerate(rows) if missing else ():
            if row in missing:
                orphans.setdefault(index, []).append(refers_to_nothing(key, ", ".join(map(str, row))))
    return orphans


def refers_to_nothing(key: ForeignKey, value: str) -> CellError:
    """What is said of a row that refers to nothing."""
    detail = f"{quoted(value)} is not in dataset {quoted(key.dataset)} ({', '.join(key.targets)})"
    return CellError(", ".join(key.fields), MISSING, detail)


def target_of(connection: Connection, tenant: str, key: ForeignKey) -> Table:
    """What a key refers to. What is found in it from now on is there until the caller's transaction ends.

    Raises Refused if it is gone.
    """
    found = people.find_dataset(connection, tenant, key.dataset)
    if found is None:
        raise Refused("reference_missing", "A dataset that this one refers to is gone.")
    target = tables.of_dataset(found.dataset)
    locks.hold_target(connection, target.number, shared=True)
    return target


def _missing(
    connection: Connection, tenant: str, schema: Schema, key: ForeignKey, wanted: Sequence[tuple[Value, ...]]
) -> Iterator[tuple[Value, ...]]:
    """Those of the wanted keys that no row of the target has. Raises Refused if the target is gone."""
    target = target_of(connection, tenant, key)
    aliases = [sql.Identifier(f"v{place}") for place in range(len(key.fields))]
    # As literals: beside parameters, a % in a column's name would be taken for a placeholder.
    arrays = [
        sql.SQL("{}::text[]::{}[]").format(sql.Literal(list(column)), sql.Identifier("pg_catalog", field.postgres_type))
        for column, field in zip(zip(*wanted, strict=True), _fields(schema, key.fields), strict=True)
    ]
    same = [
        sql.SQL("t.{} = w.{}").format(sql.Identifier(name), alias)
        for name, alias in zip(key.targets, aliases, strict=True)
    ]
    rows = connection.execute(
        sql.SQL(
            "SELECT w.place FROM unnest({arrays}) WITH ORDINALITY AS w ({aliases}, place)"
            " WHERE NOT EXISTS (SELECT FROM {target} t WHERE {same})"
        ).format(
            arrays=sql.SQL(", ").join(arrays),
            aliases=sql.SQL(", ").join(aliases),
            target=target.name,
            same=sql.SQL(" AND ").join(same),
        )
    )
    for (place,) in rows:
        yield wanted[place - 1]


@dataclass(frozen=True, slots=True)
class Referrer:
    """A foreign key of another dataset to the one whose rows are to go."""

    dataset: Dataset
    key: ForeignKey


def find_referrers(connection: Connection, tenant: str, dataset: Dataset) -> list[Referrer]:
    """Who may refer to rows of a dataset. No chunk that refers to them commits until the transaction ends."""
    locks.hold_target(connection, dataset.number, shared=False)
    others = people.list_referring(connection, tenant, dataset.name)
    return [
        Referrer(other, key) for other in others for key in other.schema.foreign_keys if key.dataset == dataset.name
    ]


def refers(referrer: Referrer, alias: LiteralString) -> sql.Composed:
    """The condition that a row refers to the one that `alias` stands for."""
    same = [
        sql.SQL("f.{} = {}").format(sql.Identifier(name), sql.Identifier(alias, target))
        for name, target in zip(referrer.key.fields, referrer.key.targets, strict=True)
    ]
    return sql.SQL("EXISTS (SELECT FROM {} f WHERE {})").format(
        tables.of_dataset(referrer.dataset).name, sql.SQL(" AND ").join(same)
    )


def refuse_if_referred(connection: Connection, referrer: Referrer, values: Mapping[str, Value]) -> None:
    """Raise Refused `row_referenced` (409) if a row refers to the one that had these values in the key's targets."""
    wanted = [values[target] for target in referrer.key.targets]
    if None in wanted:
        return
    table = tables.of_dataset(referrer.dataset)
    same = [
        sql.SQL("{} = {}::{}").format(
            sql.Identifier(field.name), sql.Literal(value), sql.Identifier("pg_catalog", field.postgres_type)
        )
        for field, value in zip(_fields(referrer.dataset.schema, referrer.key.fields), wanted, strict=True)
    ]
    found = connection.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {})").format(table.name, sql.SQL(" AND ").join(same))
    ).fetchone()
    if found and found[0]:
        detail = f"Rows of dataset {quoted(referrer.dataset.name)} refer to it ({', '.join(referrer.key.fields)})."
        raise Refused("row_referenced", detail, status=409)
