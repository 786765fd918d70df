"""Undo: the table is what it would be if the upload had never been, but for what others did since."""

from __future__ import annotations

from typing import Any

from tests.stages.conftest import Pipeline

HEAD = b"email,name,age\n"


def file(*rows: tuple[str, str, int]) -> bytes:
    return HEAD + b"".join(b"%b,%b,%d\n" % (key.encode(), name.encode(), age) for key, name, age in rows)


def contents(pipeline: Pipeline) -> dict[str, tuple[Any, Any]]:
    return {row["email"]: (row["name"], row["age"]) for row in pipeline.rows()}


def test_what_an_upload_inserted_goes_and_what_it_wrote_over_is_what_it_was(pipeline: Pipeline) -> None:
    pipeline.dataset(mode="upsert")
    pipeline.run(file(("a", "Ada", 1), ("b", "Bob", 2)))
    before = pipeline.sql(_table(pipeline))
    second = pipeline.run(file(("b", "Bert", 3), ("c", "Cy", 4)))
    assert contents(pipeline) == {"a": ("Ada", 1), "b": ("Bert", 3), "c": ("Cy", 4)}
    undone = pipeline.revert(second["id"])
    assert (undone["state"], undone["status"]) == ("reverted", "canceled")
    assert (undone["reverted_rows"], undone["restored_rows"], undone["conflicts"]) == (1, 1, 0)
    assert pipeline.sql(_table(pipeline)) == before


def _table(pipeline: Pipeline, name: str = "contacts") -> str:
    (found,) = pipeline.sql(
        "SELECT number FROM rowmill.dataset WHERE name = %s AND tenant = %s AND deleted_at IS NULL",
        name,
        pipeline.tenant,
    )
    return f"SELECT * FROM data.d_{found['number']} ORDER BY _row"
