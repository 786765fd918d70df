"""A file as one job: pandas reads all of it, checks its columns, and a thousand rows at a time are inserted.

`whole_file.py FILE TABLE`. psycopg's executemany sends a thousand rows in one go, which is kinder than an ORM.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pandas
import psycopg
from psycopg import sql

from bench.peers.programs import when_told

BATCH = 1000
DATE, AMOUNT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"-?[0-9]{1,10}(?:\.[0-9]{1,2})?"


def checked(frame: Any) -> tuple[Any, list[tuple[int, str]]]:
    """The good rows, and of each other its number and the column that is wrong."""
    days = pandas.to_datetime(frame["signup_date"], format="%Y-%m-%d", errors="coerce")
    wrong = {
        "email": (frame["email"] == "") | frame["email"].duplicated(),
        "signup_date": (frame["signup_date"] != "") & (~frame["signup_date"].str.fullmatch(DATE) | days.isna()),
        "amount": (frame["amount"] != "") & ~frame["amount"].str.fullmatch(AMOUNT),
    }
    bad = [(int(row), name) for name, flags in wrong.items() for row in frame.index[flags]]
    return frame[~(wrong["email"] | wrong["signup_date"] | wrong["amount"])], bad


def batches(frame: Any) -> Iterator[list[tuple[str | None, ...]]]:
    for start in range(0, len(frame), BATCH):
        rows = frame.iloc[start : start + BATCH].itertuples(index=False, name=None)
        yield [tuple(cell or None for cell in row) for row in rows]


def load(path: str, table: str) -> None:
    good, _ = checked(pandas.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8"))
    columns = sql.SQL(", ").join(map(sql.Identifier, good.columns))
    marks = sql.SQL(", ").join([sql.Placeholder()] * len(good.columns))
    insert = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), columns, marks)
    with psycopg.connect("") as connection, connection.cursor() as cursor:
        for batch in batches(good):
            cursor.executemany(insert, batch)
            connection.commit()


if __name__ == "__main__":
    when_told(lambda: load(*sys.argv[1:3]))
