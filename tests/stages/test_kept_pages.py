"""Pages that are remembered: given again without reading the table, and never when somebody has written meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chalicelib import pages_kept, table_rows
from chalicelib.paging import Asked, Page
from tests.stages.conftest import CONTACTS, Pipeline, cut_into
from tests.stages.test_api import Api

ROWS = "/v1/datasets/contacts/rows"
FILE = b"email,name,age\na@x.org,Ada,36\nb@x.org,Bob,37\na@x.org,Ann,1\n"


@pytest.fixture
def api(pipeline: Pipeline) -> Api:
    api = Api(pipeline)
    assert api.put(body=CONTACTS | {"indexes": ["age"]}).status_code == 201
    pages_kept.rows.hits = pages_kept.rows.misses = 0
    return api


def hits() -> int:
    return pages_kept.rows.hits


def test_a_page_is_read_once_and_then_remembered_by_all_that_it_depends_on(api: Api) -> None:
    api.pipeline.run(FILE)
    for query in ("", "?limit=1", "?age.gte=37", "?age.gte=38", "?sort=age", "?sort=-age"):
        before = hits()
        first, again = api.get(ROWS + query), api.get(ROWS + query)
        assert (first.json_body, hits()) == (again.json_body, before + 1), query
        assert api.get(ROWS + query, If_None_Match=first.headers["ETag"]).status_code == 304
    api.pipeline.sql("DELETE FROM data.d_" + str(number(api)))  # that no page was read is seen by what nobody counted
    assert len(api.get(ROWS).json_body["items"]) == 2


def number(api: Api) -> int:
    (row,) = api.pipeline.sql("SELECT number FROM rowmill.dataset")
    return int(row["number"])


WRITES: dict[str, Callable[[Api], object]] = {
    "a new row": lambda api: api("POST", ROWS, {"email": "c@x.org"}),
    "a changed row": lambda api: api("PATCH", f"{ROWS}/a@x.org", {"age": 99}),
    "a deleted row": lambda api: api("DELETE", f"{ROWS}/a@x.org"),
    "a file": lambda api: api.pipeline.run(b"email,name,age\nd@x.org,Dan,5\n"),
    "a file that updates": lambda api: api.pipeline.run(b"email,name,age\nb@x.org,Bea,5\n", mode="upsert"),
    "another schema": lambda api: api.put(
        body=CONTACTS | {"fields": [*CONTACTS["fields"], {"name": "city"}], "indexes": ["age"]}
    ),
    "another dataset of the name": lambda api: (api("DELETE", "/v1/datasets/contacts"), api.put()),
}


@pytest.mark.parametrize("kind", WRITES)
def test_who_reads_after_a_write_sees_it(api: Api, kind: str) -> None:
    api.pipeline.run(FILE)
    before = [api.get(ROWS).json_body, api.get(ROWS).json_body]
    assert hits() == 1
    WRITES[kind](api)
    after = api.get(ROWS).json_body
    pages_kept.rows.forget()
    assert after == api.get(ROWS).json_body != before[0]


def test_a_file_is_seen_chunk_by_chunk_and_settled(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into(monkeypatch, 2)
    api = Api(pipeline)
    assert api.put().status_code == 201
    upload_id = pipeline.create(FILE)
    pipeline.split(upload_id)
    first, second = pipeline.messages()
    seen = []
    for step in (lambda: None, lambda: pipeline.load([second]), lambda: pipeline.load([first]), pipeline.settle):
        step()
        seen.append([row["name"] for row in api.get(ROWS).json_body["items"]])
    assert seen == [[], ["Ann"], ["Bob", "Ann"], ["Ada", "Bob"]]


def test_who_has_no_role_any_more_is_shown_nothing_remembered(api: Api) -> None:
    api.pipeline.run(FILE)
    assert api.get(ROWS).status_code == 200
    assert api.get(ROWS, Authorization=f"Bearer {api.stranger}").status_code == 404


def test_what_is_kept_has_a_bound_and_the_oldest_goes_first() -> None:
    kept = pages_kept.Kept()
    for place in range(pages_kept.MOST_ITEMS):
        kept.page(place, lambda: Page([{}] * 99, None))
    assert kept.items <= pages_kept.MOST_ITEMS
    assert len(kept.pages) == pages_kept.MOST_ITEMS // 100
    assert next(iter(kept.pages)) == pages_kept.MOST_ITEMS - len(kept.pages)
    kept.page("long", lambda: Page([{}] * (pages_kept.MOST_OF_A_PAGE + 1), None))
    assert "long" not in kept.pages


def test_what_is_kept_has_a_bound_in_bytes_however_few_rows_they_are(pipeline: Pipeline) -> None:
    """A page of one row may be megabytes, as may be what pages without a row were asked for by."""
    pipeline.dataset(CONTACTS)
    pipeline.run(b"email,name,age\n" + b"".join(b"%d@x.org,%s,1\n" % (n, b"n" * 400_000) for n in range(3)))
    kept = pages_kept.rows
    page = table_rows.listing(pipeline.tenant, "contacts", Asked({}, None, 1))
    assert kept.items > page.size // pages_kept.ITEM_BYTES > 700
    for limit in (2, 3):  # 800,000 bytes are no page that is kept
        assert len(table_rows.listing(pipeline.tenant, "contacts", Asked({}, None, limit)).items) == limit
    assert len(kept.pages) == 1
    for number in range(pages_kept.MOST_ITEMS):
        kept.page((number, "name" * 1000), lambda: Page([], None))
    assert sum(len(repr(key)) for key in kept.pages) <= pages_kept.MOST_ITEMS * pages_kept.ITEM_BYTES
    for key in [*kept.pages]:
        kept._drop(key)
    assert kept.items == 0


def test_a_page_is_kept_for_a_minute_at_most() -> None:
    kept = pages_kept.Kept()
    kept.page(1, lambda: Page([], "first"))
    read_at, page = kept.pages[1]
    kept.pages[1] = (read_at - pages_kept.KEPT_SECONDS, page)
    assert kept.page(1, lambda: Page([], "second")).next_cursor == "second"
