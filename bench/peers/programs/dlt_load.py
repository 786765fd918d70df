"""dlt into a dataset of its own: rows as dictionaries, or as Arrow tables, which go by Parquet and ADBC's COPY.

`dlt_load.py FILE rows|arrow FOLDER`; FOLDER is where dlt keeps its packages meanwhile.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from pyarrow import csv as arrow_csv

from bench.peers.programs import when_told

COLUMNS = {
    "email": {"data_type": "text", "nullable": False, "unique": True},
    "signup_date": {"data_type": "date"},
    "amount": {"data_type": "decimal", "precision": 12, "scale": 2},
}


def dictionaries(path: str) -> Iterator[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def tables(path: str) -> Iterator[Any]:
    types = {"email": pa.string(), "name": pa.string(), "signup_date": pa.date32(), "amount": pa.decimal128(12, 2)}
    convert = arrow_csv.ConvertOptions(column_types=types | {"country": pa.string(), "note": pa.string()})
    parse = arrow_csv.ParseOptions(newlines_in_values=True)
    read = arrow_csv.ReadOptions(block_size=16 << 20)
    for batch in arrow_csv.open_csv(path, read_options=read, parse_options=parse, convert_options=convert):
        yield pa.Table.from_batches([batch])


def main(path: str, way: str, folder: str) -> None:
    address = "postgresql://{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/{PGDATABASE}".format_map(os.environ)
    destination = dlt.destinations.postgres(address, create_indexes=True)
    pipeline = dlt.pipeline(
        "peers", pipelines_dir=folder, destination=destination, dataset_name="dlt_peers", progress=None
    )
    source = tables if way == "arrow" else dictionaries
    resource = dlt.resource(source(path), name="contacts", write_disposition="append", columns=COLUMNS)
    when_told(lambda: pipeline.run(resource).raise_on_failed_jobs())


if __name__ == "__main__":
    main(*sys.argv[1:4])
