"""What a listing of rows asks for: conditions and an order, each on a column that an index serves.

Nobody is let in to read a whole table for a few rows, so what has no index is refused by its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from chalicelib.cells import Field, Value, quoted, read_shown, reading
from chalicelib.datasets.schema import Schema
from chalicelib.errors import Refused
from chalicelib.strict_json import is_text

SORT: Final = "sort"
OPERATORS: Final[Mapping[str, str]] = {"eq": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


@dataclass(frozen=True, slots=True)
class Condition:
    """A field compared with a value as Postgres reads it; None is only ever asked for by `=`."""

    field: Field
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class Query:
    """Rows that keep all conditions, by one field and then in file order; without an order in file order alone."""

    conditions: tuple[Condition, ...] = ()
    order: Field | None = None
    descending: bool = False

    @property
    def takes_empty(self) -> bool:
        """Whether rows without a value in the order's field are among those wanted."""
        asked = any(one.field == self.order for one in self.conditions)
        return self.order is not None and not self.order.required and not asked


def read_query(asked: Mapping[str, str], schema: Schema) -> Query:
    """The query in a request's parameters: `field`, `field.gte` … and `sort`.

    Raises Refused `query_invalid` or `column_not_indexed` (400), with the column.
    """
    conditions = tuple(_condition(name, text, schema) for name, text in asked.items() if name != SORT)
    equal = {one.field.name for one in conditions if one.operator == "="}
    between = {one.field.name: one.field for one in conditions if one.operator != "="}
    order, descending = _order(asked[SORT], schema) if SORT in asked else (None, False)
    if len(between) > 1 or (between and order and order.name not in between):
        first, *_ = [name for name in between if order is None or name != order.name]
        raise _invalid(first, "rows are ordered by the one field that is compared by gt, gte, lt or lte")
    for name in {one.field.name for one in conditions} | ({order.name} if order else set()):
        _refuse_encrypted(name, schema)
    order = order or next(iter(between.values()), None)
    for field in [*(one.field for one in conditions), *([order] if order else [])]:
        _refuse_unindexed(field.name, equal, schema)
    # Rows that are all equal in the order's field are in file order.
    return Query(conditions, None if order and order.name in equal else order, descending)


def _condition(name: str, text: str, schema: Schema) -> Condition:
    field, operator = _named(name, schema)
    try:
        value = read_value(field, text, schema)
    except ValueError as fault:
        raise _invalid(field.name, str(fault), "type_invalid") from None
    if value is None and operator != "=":
        raise _invalid(field.name, "nothing is above or below a missing value")
    return Condition(field, operator, value)


def _named(name: str, schema: Schema) -> tuple[Field, str]:
    """The field and the operator of a parameter. A field whose own name ends like one takes `.eq` behind it."""
    fields = {field.name: field for field in schema.fields}
    stem, dot, last = name.rpartition(".")
    if dot and last in OPERATORS and stem in fields:
        return fields[stem], OPERATORS[last]
    if name not in fields:
        raise Refused("query_invalid", f"Unknown query parameter {name}.", status=400)
    return fields[name], "="


def read_value(field: Field, text: str, schema: Schema) -> Value:
    """A value as rows show it, for the database; None for what the dataset counts as missing. Raises ValueError."""
    missing = schema.missing_values if field.missing_values is None else field.missing_values
    if text in missing:
        return None
    # Text is compared with any text: rows from "m" on, though "m" is no address.
    is_any = field.postgres_type == "text"
    value = text if is_any else read_shown(field, text)
    if value is None or not is_text(text):
        raise ValueError(f"{quoted(text)} is not {'text' if is_any else reading(field.plain).expected}")
    return value


def _order(text: str, schema: Schema) -> tuple[Field, bool]:
    fields = {field.name: field for field in schema.fields}
    if text in fields:
        return fields[text], False
    if text.startswith("-") and text[1:] in fields:
        return fields[text[1:]], True
    raise Refused("query_invalid", f"{SORT} is the name of a field, after a minus for the other way round.", status=400)


def _refuse_encrypted(column: str, schema: Schema) -> None:
    """Its values have no order, and no place in an address: these are logged by everybody on the way."""
    if schema.fields[schema.positions((column,))[0]].encrypted:
        detail = f"{quoted(column)} is encrypted: rows are not found or sorted by it"
        errors = [{"column": column, "code": "column_encrypted", "detail": detail}]
        raise Refused("column_encrypted", f"{detail}.", status=400, errors=errors)


def _refuse_unindexed(column: str, equal: set[str], schema: Schema) -> None:
    """A column is indexed if it is first in an index or a key, or behind columns that are all asked for by `=`."""
    if not any(set(before) <= equal for before in _before(column, schema)):
        detail = f"{quoted(column)} is first in no index and no key"
        errors = [{"column": column, "code": "column_not_indexed", "detail": detail}]
        raise Refused("column_not_indexed", f"{detail}: declare one in indexes.", status=400, errors=errors)


def _before(column: str, schema: Schema) -> Iterator[tuple[str, ...]]:
    """What stands before a column in each index and key that has it."""
    for index in (*schema.keys, *schema.indexes):
        if column in index:
            yield index[: index.index(column)]


def _invalid(column: str, detail: str, code: str = "query_invalid") -> Refused:
    errors = [{"column": column, "code": code, "detail": detail}]
    return Refused("query_invalid", f"{column}: {detail}.", status=400, errors=errors)
