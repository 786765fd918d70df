"""Undo beside a model of a few lines: for each row the versions it has had, the latest on top, and whose each is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from chalicelib import table_rows
from chalicelib.datasets.addresses import Addressed
from chalicelib.errors import Refused
from tests.stages.conftest import CONTACTS, Pipeline, cut_into

KEYS = ("a", "b", "c", "d")
HAND = -1
ROWS = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 9)), min_size=1, max_size=5)
UPLOAD = st.tuples(st.sampled_from(["insert", "skip", "upsert", "upsert"]), ROWS)
EDIT = st.tuples(st.sampled_from(["change", "change", "delete", "add"]), st.sampled_from(KEYS))
UNDO = st.tuples(st.sampled_from(["revert", "revert", "revert", "force"]), st.integers(0, 5))
_NAMES = count()


@dataclass
class Layer:
    by: int  # the upload's place, or HAND
    value: int | None  # None: deleted, which only hands do; nothing comes on top of that


@dataclass
class Model:
    """The rows by key. Each list is what a row has been; a key that was deleted and comes again is a new row."""

    rows: dict[str, list[list[Layer]]] = field(default_factory=dict)

    def shown(self) -> dict[str, int]:
        tops = {key: self.top(key) for key in self.rows}
        return {key: top.value for key, top in tops.items() if top is not None and top.value is not None}

    def top(self, key: str) -> Layer | None:
        """What is there now."""
        there = [row[-1] for row in self.rows.get(key, []) if row[-1].value is not None]
        assert len(there) <= 1
        return there[0] if there else None

    def write(self, key: str, by: int, value: int | None) -> None:
        for row in self.rows.setdefault(key, []):
            if row[-1].value is not None:
                if by == row[-1].by == HAND:
                    row.pop()
                row.append(Layer(by, value))
                return
        self.rows[key].append([Layer(by, value)])

    def load(self, by: int, mode: str, rows: list[tuple[str, int]]) -> None:
        """Insert and skip keep the lowest line of a key, upsert the highest."""
        last = dict(rows if mode == "upsert" else reversed(rows))
        for key, value in last.items():
            if mode == "upsert" or self.top(key) is None:
                self.write(key, by, value)

    def revert(self, by: int, *, forced: bool) -> int:
        """Take the upload's layers out, or all from them upwards; how many could not be undone."""
        return sum(self._revert(key, by, forced) for key in self.rows)

    def _revert(self, key: str, by: int, forced: bool) -> int:
        for row in self.rows[key]:
            for place, layer in enumerate(row):
                if layer.by == by:
                    is_top, is_gone = place == len(row) - 1, row[-1].value is None
                    # What was deleted comes back unless its key has another row by now.
                    undone = is_top or (forced and not (is_gone and place and self.top(key)))
                    del row[place : None if forced and undone else place + 1]
                    self.rows[key] = [one for one in self.rows[key] if one]
                    return int(not undone)
        return 0


@pytest.fixture
def small(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    cut_into(monkeypatch, 2)
    yield pipeline


@given(st.lists(st.one_of(UPLOAD, UPLOAD, EDIT, UNDO), min_size=2, max_size=9))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_loaded_edited_and_undone_in_whatever_order_the_table_is_the_models(
    small: Pipeline, steps: list[Any]
) -> None:
    Story(small).run(steps)


@given(st.lists(UPLOAD, min_size=2, max_size=5), st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_when_all_uploads_are_undone_in_any_order_the_table_is_empty(
    small: Pipeline, uploads: list[Any], data: st.DataObject
) -> None:
    story = Story(small)
    story.run(uploads)
    story.run([("revert", place) for place in data.draw(st.permutations(range(len(uploads))))])
    assert small.rows(story.name) == []
    assert small.sql(f"SELECT * FROM data.d_{story.number}_before") == []


class Story:
    """A dataset of its own, and what the model makes of all that is done to it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.model = pipeline, Model()
        self.name = pipeline.dataset(CONTACTS, f"d{next(_NAMES)}")
        (found,) = pipeline.sql("SELECT max(number) AS number FROM rowmill.dataset")
        self.number = found["number"]
        self.uploads: list[str] = []
        self.undone: set[int] = set()

    def run(self, steps: list[Any]) -> None:
        for step in steps:
            match step:
                case ("insert" | "skip" | "upsert" as mode, rows):
                    self.load(mode, rows)
                case ("revert" | "force" as how, place):
                    if place < len(self.uploads) and place not in self.undone:
                        self.revert(place, forced=how == "force")
                case (edit, key):
                    self.edit(edit, key)
            assert {row["email"]: row["age"] for row in self.pipeline.rows(self.name)} == self.model.shown(), step

    def load(self, mode: str, rows: list[tuple[str, int]]) -> None:
        body = b"email,name,age\n" + b"".join(b"%s,x,%d\n" % (key.encode(), age) for key, age in rows)
        self.model.load(len(self.uploads), mode, rows)
        self.uploads.append(self.pipeline.run(body, self.name, mode=mode)["id"])

    def revert(self, place: int, *, forced: bool) -> None:
        self.undone.add(place)
        left = self.model.revert(place, forced=forced)
        event(f"conflicts: {left > 0}, forced: {forced}")
        undone = self.pipeline.revert(self.uploads[place], force=forced)
        assert (undone["state"], undone["conflicts"]) == ("reverted", left)
        assert len(self.pipeline.conflicts(self.uploads[place])) == left

    def edit(self, edit: str, key: str) -> None:
        at = Addressed(self.pipeline.tenant, self.name, key)
        there = self.model.top(key)
        try:
            if edit == "change":
                table_rows.change(at, {"age": 77}, None)
            elif edit == "delete":
                table_rows.remove(at, None)
            else:
                table_rows.create(at.tenant, at.name, {"email": key, "age": 88})
        except Refused:
            assert (there is None) == (edit != "add")
            return
        self.model.write(key, HAND, {"change": 77, "delete": None, "add": 88}[edit])
