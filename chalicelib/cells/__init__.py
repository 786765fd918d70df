"""What one cell may say: a grammar for each type of Table Schema, and the rules its value must keep.

A `Reading` turns a cell into the text that Postgres reads, or into None if the grammar does not know it. The
grammars are narrower than Postgres where Postgres guesses (`now`, `0x1F`, `1_000`, ` 7 `, `24:00:00`, Unicode
digits): what passes here, Postgres stores unchanged.
"""

from chalicelib.cells.fields import (
    BLANKS,
    PLAIN,
    Conventions,
    DateOrder,
    Field,
    FieldType,
    Reading,
    Rule,
    RuleName,
    TypedFields,
    Value,
    parted,
    quoted,
    told,
)
from chalicelib.cells.reading import read_shown, reading

__all__ = [
    "BLANKS",
    "PLAIN",
    "Conventions",
    "DateOrder",
    "Field",
    "FieldType",
    "Reading",
    "Rule",
    "RuleName",
    "TypedFields",
    "Value",
    "parted",
    "quoted",
    "read_shown",
    "reading",
    "told",
]
