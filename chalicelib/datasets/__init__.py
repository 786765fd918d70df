"""What a dataset's rows must be: a Frictionless Table Schema, read strictly.

What the loader cannot honour is refused by name, never ignored: a constraint that is silently dropped would let
bad rows in. Properties that only describe are let through.
"""

from chalicelib.cells.fields import POSTGRES_TYPES, Field, FieldType
from chalicelib.datasets.descriptor import MAX_FIELDS, MAX_IDENTIFIER_BYTES, is_dataset_id, is_dataset_name, read_schema
from chalicelib.datasets.schema import Dataset, ForeignKey, Schema, narrowings, read_mode

__all__ = [
    "MAX_FIELDS",
    "MAX_IDENTIFIER_BYTES",
    "POSTGRES_TYPES",
    "Dataset",
    "Field",
    "FieldType",
    "ForeignKey",
    "Schema",
    "is_dataset_id",
    "is_dataset_name",
    "narrowings",
    "read_mode",
    "read_schema",
]
