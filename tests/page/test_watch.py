"""An upload that is under way, as the page shows it: it follows what workers do, and asks only what is legal."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from chalicelib.formats.threats import EICAR
from tests.journey.conftest import PEOPLE, Cloud, eventually, people
from tests.page.conftest import (
    PHONE,
    WIDE,
    assert_accessible,
    assert_fits,
    call,
    ended,
    go,
    signed_in,
    uploaded,
    visiting,
)

COMMITS = ("UPDATE", "OLD.state = 'queued' AND NEW.state = 'loaded'")  # where a loader is about to commit a chunk
MANY = people(6000, padding=2000)  # several chunks, so that the file is split before any of them is in
HOLD = {"on_drift": "hold"}
HOSTILE = '"><img src=x onerror=alert(1)>.csv'


def started(page: Page, body: bytes, **announced: Any) -> str:
    """A file that was sent and is under way; the page shows it."""
    call(page, "PUT", "v1/datasets/people", PEOPLE)
    wanted = {"dataset": "people", "filename": "a.csv", "size": len(body), "content_type": "text/csv", **announced}
    created = call(page, "POST", "v1/uploads", wanted)
    form = created["upload"]
    httpx.post(form["url"], data=form["fields"], files={"file": body}).raise_for_status()
    show(page, created["id"])
    return str(created["id"])


def show(page: Page, upload_id: str) -> None:
    page.evaluate("hash => { location.hash = hash }", f"#/uploads/{upload_id}")


def state(page: Page, words: str) -> None:
    expect(page.locator(".upload .title > .state")).to_have_text(words)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_an_upload_is_followed_to_its_end_without_a_reload(page: Page, deployed: Cloud) -> None:
    signed_in(page)
    page.evaluate("window.stays = true")
    with deployed.held(*COMMITS):
        upload_id = started(page, MANY)
        eventually(deployed.blocked)
        expect(page.get_by_role("progressbar")).to_be_visible()
        expect(page.get_by_text("Rows visible")).to_be_visible()
        expect(page.get_by_role("button", name="Cancel", exact=True)).to_be_visible()
        expect(page.get_by_role("button", name="Delete", exact=True)).to_have_count(0)
    state(page, "Completed")
    expect(page.get_by_label("6,000 rows: 6,000 in, 0 rejected, 0 unprocessed")).to_be_visible()
    expect(page.locator("[data-announcer]")).to_contain_text("Completed")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)
    assert page.evaluate("window.stays") and ended(page, upload_id)


def test_an_upload_is_paused_and_resumed(page: Page, deployed: Cloud) -> None:
    signed_in(page)
    with deployed.held(*COMMITS):
        started(page, MANY)
        eventually(deployed.blocked)
        press(page, "Pause")
        state(page, "Paused")
        assert_accessible(page)
    press(page, "Resume")
    state(page, "Completed")


def test_to_cancel_is_asked_twice(page: Page, deployed: Cloud) -> None:
    signed_in(page)
    with deployed.held(*COMMITS):
        started(page, MANY)
        eventually(deployed.blocked)
        press(page, "Cancel")
        press(page, "Let it go on")
        press(page, "Cancel")
        press(page, "Cancel the upload")
        expect(page.locator(".upload .title > .state")).to_have_text("Canceling")
    expect(page.locator(".upload .title > .state")).to_have_text("Canceled")


def test_a_lost_connection_is_told_and_what_was_known_stays(page: Page, deployed: Cloud) -> None:
    signed_in(page)
    with deployed.held(*COMMITS):
        started(page, MANY)
        eventually(deployed.blocked)
        expect(page.get_by_role("progressbar")).to_be_visible()
        page.context.set_offline(True)
        expect(page.get_by_text("No connection to the service")).to_be_visible()
        expect(page.get_by_text("when the connection was lost")).to_be_visible()
        expect(page.get_by_role("progressbar")).to_be_visible()
    page.context.set_offline(False)
    state(page, "Completed")
    expect(page.get_by_text("No connection to the service")).to_have_count(0)


def test_what_is_watched_goes_on_after_an_answer_that_broke_off(page: Page, deployed: Cloud) -> None:
    watched = re.compile(r"/v1/uploads/upl_\w+$")
    signed_in(page)
    with deployed.held(*COMMITS):
        started(page, MANY)
        eventually(deployed.blocked)
        expect(page.get_by_role("progressbar")).to_be_visible()
        with page.expect_response(lambda answer: bool(watched.search(answer.url)) and answer.text() == '{"id": "upl_'):
            cut = {"status": 200, "content_type": "application/json", "body": '{"id": "upl_'}
            page.route(watched, lambda route: route.fulfill(**cut), times=1)
        expect(page.get_by_role("progressbar")).to_be_visible()
    state(page, "Completed")


def test_chunks_whose_answer_was_lost_are_asked_for_again_though_nothing_moves_any_more(page: Page) -> None:
    signed_in(page)
    upload_id = uploaded(page, people(2))
    page.route(re.compile("/chunks"), lambda route: route.abort("connectionfailed"), times=1)
    with page.expect_event("requestfailed"):
        show(page, upload_id)
    expect(page.get_by_role("heading", name="1 chunk")).to_be_visible()


def test_a_review_that_is_opened_again_while_rows_load_does_not_say_that_none_has(page: Page, deployed: Cloud) -> None:
    """By a link of the history, or in another tab: who reads that would think that the file can still be kept out."""
    signed_in(page)
    upload_id = started(page, MANY, dataset="made", options={"infer": True})
    go(page, f"/upload?review={upload_id}")
    with deployed.held(COMMITS[0], f"{COMMITS[1]} AND NEW.pass = 'load' AND NEW.n > 1"):
        press(page, "Make the dataset and load")
        expect(page).to_have_url(re.compile(f"#/uploads/{upload_id}$"))
        eventually(deployed.blocked)
        go(page, f"/upload?review={upload_id}")
        expect(page.get_by_text(re.compile("^Reading|^There is nothing to look over")).first).to_be_visible()
        expect(page.get_by_text("Nothing is loaded yet")).to_have_count(0)
        deployed.sweep()  # which shows how far it is
        expect(page.get_by_text("There is nothing to look over any more.")).to_be_visible()
        assert call(page, "GET", f"v1/uploads/{upload_id}")["status"] == "processing"


def test_a_file_unlike_those_before_waits_shows_what_is_and_loads_when_confirmed(page: Page) -> None:
    signed_in(page)
    uploaded(page, people(200), options={"on_drift": "warn"})
    started(page, b"id,name\n" + b"".join(b"%d,x\n" % n for n in range(900_001, 900_201)) + b"x,y\n", options=HOLD)
    expect(page.get_by_text("Nothing is loaded yet")).to_be_visible()
    expect(page.get_by_role("heading", name="Unlike the 1 upload before")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Range of values")).to_contain_text("1 to 200")
    expect(page.get_by_role("heading", name="Why rows would be rejected")).to_be_visible()
    expect(page.get_by_role("button", name="Correct line 202")).to_have_count(0)
    expect(page.get_by_text("1 checked, with rejects")).to_be_visible()
    assert_accessible(page)
    press(page, "Confirm: load 200 rows")
    state(page, "Some rejected")
    expect(page.get_by_label("201 rows: 200 in, 1 rejected, 0 unprocessed")).to_be_visible()


def test_what_was_given_up_is_tried_again_and_chunks_are_gone_through_by_the_keyboard(
    page: Page, deployed: Cloud
) -> None:
    signed_in(page)
    with spent(deployed):
        started(page, people(300))
        state(page, "Failed")
    told = page.locator(".chunks .told")
    page.get_by_role("slider", name="Chunks").focus()
    page.keyboard.press("End")
    expect(told).to_contain_text("Chunk 1: given up, 300 records from line 2, 4 attempts: no answer; over ")
    expect(page.get_by_text("Records 1 to 300, from line 2 on: no answer, 4 attempts.")).to_be_visible()
    expect(page.get_by_label("300 rows: 0 in, 0 rejected, 300 unprocessed")).to_be_visible()
    assert_accessible(page)
    press(page, "Try 300 left out again")
    state(page, "Completed")
    page.get_by_role("slider", name="Chunks").focus()
    expect(told).to_contain_text("Chunk 1: loaded, 300 records from line 2, 1 attempt; begun ")
    expect(told).to_contain_text(re.compile(r", took [\d.]+ s$"))


@contextlib.contextmanager
def spent(deployed: Cloud) -> Iterator[None]:
    """Chunks that are cut meanwhile have no attempts left, as if four workers had died of each."""
    deployed.sql(
        "CREATE FUNCTION public.spent() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.attempts := 4; RETURN NEW; END'"
    )
    deployed.sql(
        "CREATE TRIGGER spent BEFORE INSERT ON rowmill.chunk FOR EACH ROW EXECUTE FUNCTION public.spent()",
    )
    try:
        yield
    finally:
        deployed.sql("DROP TRIGGER spent ON rowmill.chunk")
        deployed.sql("DROP FUNCTION public.spent()")


def test_an_upload_is_deleted_once_that_is_confirmed(page: Page) -> None:
    signed_in(page)
    started(page, people(3), filename="gone.csv")
    state(page, "Completed")
    press(page, "Delete")
    press(page, "Delete the upload")
    expect(page.get_by_role("heading", name="Uploads", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="gone.csv")).to_have_count(0)


def test_what_is_known_of_malware_is_told(page: Page) -> None:
    signed_in(page)
    started(page, people(3))
    state(page, "Completed")
    expect(page.get_by_text("not scanned for malware")).to_be_visible()
    started(page, people(3) + EICAR + b",,\n", filename="found.csv")
    state(page, "Quarantined")
    expect(page.get_by_role("alert").or_(page.locator(".notice"))).to_contain_text(
        re.compile("EICAR test file.*Nothing of the file was loaded", re.DOTALL)
    )
    expect(page.get_by_text("not scanned for malware")).to_have_count(0)
    expect(page.locator(".events .bad")).to_contain_text("Quarantined: EICAR test file")
    expect(page.get_by_role("button", name="Redrive", exact=True)).to_have_count(0)


def test_an_upload_that_is_not_ours_is_not_there(page: Page) -> None:
    signed_in(page)
    show(page, "upl_01M8HZBVS372KB6X712PE1X0AK")
    expect(page.get_by_text("There is no such upload")).to_be_visible()


@pytest.mark.parametrize(("viewport", "colours"), [(PHONE, "dark"), (WIDE, "light")], ids=["phone", "wide"])
def test_what_is_under_way_is_accessible_and_hostile_names_are_text(
    browser: Browser, deployed: Cloud, viewport: Any, colours: Any
) -> None:
    with visiting(browser, deployed, viewport=viewport, color_scheme=colours) as page:
        signed_in(page)
        with deployed.held(*COMMITS):
            started(page, MANY, filename=HOSTILE)
            eventually(deployed.blocked)
            expect(page.get_by_role("slider", name="Chunks")).to_be_visible()
            expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible()
            expect(page.locator("img[src=x]")).to_have_count(0)
            assert_accessible(page)
            assert_fits(page)
