"""What an upload came to, as the page shows it: the sums, why rows are out, and the ways to bring them in or all out."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.journey.conftest import Cloud, people
from tests.page.conftest import (
    FLAGS,
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
from tests.page.test_watch import press, show, state

SALES = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"required": True}},
        {"name": "sold", "type": "date"},
        {"name": "note", "type": "string"},
    ],
    "primaryKey": "id",
}
ISO = {"dialect": {"date_order": None}}  # else a sample would tell
HOSTILE = "<img src=x onerror=alert(1)>"


def days() -> bytes:
    """ISO dates, then some that are day-first."""
    iso = "".join(f"{n},2024-01-{n % 28 + 1:02},a\n" for n in range(1, 61))
    german = "".join(f"{n},{n % 15 + 13}/01/2024,b\n" for n in range(61, 81))
    return f"id,sold,note\n{iso}{german}".encode()


def rows(page: Page, dataset: str = "people") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call(page, "GET", f"v1/datasets/{dataset}/rows?limit=1000")["items"]
    return found


def child(page: Page, upload_id: str) -> str:
    """The one correction of an upload, at its end, which the page shows."""
    expect(page).not_to_have_url(f"#/uploads/{upload_id}")
    (found,) = call(page, "GET", f"v1/uploads/{upload_id}")["children"]
    return ended(page, found)


def test_the_three_sets_add_up_to_the_rows_and_those_that_are_out_are_downloaded(page: Page) -> None:
    signed_in(page)
    show(page, uploaded(page, people(10) + b"x,y\n,z\n"))
    expect(page.get_by_label("12 rows: 10 in, 2 rejected, 0 unprocessed")).to_be_visible()
    state(page, "Some rejected")
    for kind in ("CSV", "XLSX"):
        with page.expect_download() as download:
            press(page, f"Download the rejected rows as {kind}")
        assert download.value.suggested_filename.endswith(kind.lower())


def test_rejects_are_grouped_by_cause_and_the_proved_fix_brings_them_in(page: Page) -> None:
    signed_in(page)
    upload_id = uploaded(page, days(), "sales", SALES, options=ISO)
    show(page, upload_id)
    cause = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="dates are day-first"))
    expect(cause.get_by_text("20 rows", exact=True)).to_be_visible()
    expect(cause.get_by_text('dialect.date_order = "dmy"')).to_be_visible()
    expect(cause.get_by_label("Samples").get_by_role("listitem").first).to_contain_text("/01/2024")
    page.get_by_text("By column and reason").click()
    by_column = page.get_by_role("region", name="Rejects by column and reason").get_by_role("row")
    expect(by_column.filter(has_text="is not a date")).to_contain_text("62 to 81")
    assert_accessible(page)
    cause.get_by_role("button", name="Apply the fix").click()
    expect(page.get_by_role("link", name="an earlier upload")).to_be_visible()
    state(page, "Completed")
    assert len(rows(page, "sales")) == 80
    page.get_by_role("link", name="an earlier upload").click()
    expect(page.get_by_text("20 have come in since, 0 are open")).to_be_visible()


def test_cells_are_corrected_in_place_and_sent_again(page: Page) -> None:
    signed_in(page)
    odd = '\'=1, "two"'  # an apostrophe that must stay, a comma, marks
    upload_id = uploaded(page, b"id,name\n1,one\nx,two\ny,three\nz,four\n")
    show(page, upload_id)
    page.get_by_role("button", name="Correct line 3").click()
    expect(page.get_by_label("id", exact=True)).to_have_attribute("aria-invalid", "true")
    page.get_by_label("id", exact=True).fill("2")
    page.get_by_label("name", exact=True).fill(odd)
    assert_accessible(page)
    press(page, "Keep, and the next")
    expect(page.get_by_role("dialog")).to_contain_text("Line 4")
    page.get_by_label("id", exact=True).fill("3")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()
    expect(page.get_by_text("2 rows corrected, not sent yet")).to_be_visible()
    press(page, "Send 2 rows again")
    state(page, "Completed")
    assert [(row["id"], row["name"]) for row in rows(page)] == [(1, "one"), (2, odd), (3, "three")]
    page.get_by_role("link", name="an earlier upload").click()
    expect(page.get_by_text("2 have come in since, 1 are open")).to_be_visible()


def test_corrections_whose_arrival_nobody_hears_of_are_sent_once_without_another_press(page: Page) -> None:
    signed_in(page)
    keyless = {"fields": [{"name": "id", "type": "integer"}, {"name": "name"}]}
    upload_id = uploaded(page, b"id,name\n1,one\nx,two\n", "keyless", keyless)
    show(page, upload_id)
    page.get_by_role("button", name="Correct line 3").click()
    page.get_by_label("id", exact=True).fill("2")
    press(page, "Keep")
    stored = []

    def lose(route: Route) -> None:
        if stored:
            route.continue_()
            return
        stored.append(route.fetch().status)
        route.abort("connectionfailed")

    page.route(re.compile("-uploads/?$"), lose)
    press(page, "Send 1 row again")
    state(page, "Completed")
    child(page, upload_id)
    assert stored == [204]
    assert [(row["id"], row["name"]) for row in rows(page, "keyless")] == [(1, "one"), (2, "two")]


def test_corrections_are_there_after_one_went_away_and_a_reload_asks_before_they_go(page: Page) -> None:
    signed_in(page)
    upload_id = uploaded(page, b"id,name\nx,one\ny,two\n")
    show(page, upload_id)
    page.get_by_role("button", name="Correct line 2").click()
    page.get_by_label("id", exact=True).fill("1")
    press(page, "Keep, and the next")
    page.get_by_label("id", exact=True).fill("2")
    page.evaluate("location.hash = '#/settings'")  # as Back does: the window above the page keeps no one from it
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    page.go_back()
    expect(page.get_by_text("1 row corrected, not sent yet")).to_be_visible()
    page.get_by_role("button", name="Correct line 3").click()
    expect(page.get_by_label("id", exact=True)).to_have_value("2")
    press(page, "Keep")
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    with page.expect_download():
        press(page, "Download the rejected rows as CSV")
    assert not asked  # the page stays
    page.evaluate("setTimeout(() => location.reload())")
    expect(page.get_by_text("2 rows corrected, not sent yet")).to_be_visible()
    page.wait_for_timeout(300)
    assert asked == ["beforeunload"]
    press(page, "Send 2 rows again")
    state(page, "Completed")
    page.evaluate("setTimeout(() => location.reload())")
    page.wait_for_timeout(500)
    assert asked == ["beforeunload"]


def test_corrections_of_a_file_with_a_long_name_are_sent_whatever_letters_it_has(page: Page) -> None:
    signed_in(page)
    upload_id = uploaded(page, b"id,name\nx,two\n", filename="\N{BEER MUG}" * 1010 + ".csv")
    show(page, upload_id)
    page.get_by_role("button", name="Correct line 2").click()
    page.get_by_label("id", exact=True).fill("2")
    press(page, "Keep")
    press(page, "Send 1 row again")
    state(page, "Completed")
    assert call(page, "GET", f"v1/uploads/{child(page, upload_id)}")["loaded"] == 1


def test_a_press_on_the_scrollbar_of_a_long_row_does_not_close_it(browser: Browser, deployed: Cloud) -> None:
    names = [f"f{n}" for n in range(60)]
    schema = {"fields": [{"name": name, "type": "integer"} for name in names]}
    scrolls = browser.browser_type.launch(
        executable_path=shutil.which("chromium"), args=FLAGS, ignore_default_args=["--hide-scrollbars"]
    )
    try:
        with visiting(scrolls, deployed, viewport={"width": 1000, "height": 500}) as page:
            signed_in(page)
            show(page, uploaded(page, f"{','.join(names)}\nx{',' * 59}\n".encode(), "wide", schema))
            page.get_by_role("button", name="Correct line 2").click()
            page.get_by_label("f0", exact=True).fill("5")
            box = page.get_by_role("dialog").bounding_box()
            assert box
            page.mouse.move(box["x"] + box["width"] - 6, box["y"] + 60)
            page.mouse.down()
            page.mouse.move(box["x"] + box["width"] - 6, box["y"] + 160)
            page.mouse.up()
            expect(page.get_by_label("f0", exact=True)).to_have_value("5")
            assert page.locator(".dialog").evaluate("one => one.scrollTop") > 0
            page.mouse.click(5, 5)  # beside it
            expect(page.get_by_role("dialog")).to_have_count(0)
    finally:
        scrolls.close()


def test_line_breaks_of_a_cell_are_kept_where_another_letter_of_it_is_changed(page: Page) -> None:
    signed_in(page)
    show(page, uploaded(page, b'id,name\n1,one\nx,"two\nlines"\n'))
    page.get_by_role("button", name="Correct line 3").click()
    page.get_by_label("id", exact=True).fill("2")
    page.get_by_label("name", exact=True).press("Control+End")
    page.get_by_label("name", exact=True).press("!")
    press(page, "Keep")
    press(page, "Send 1 row again")
    state(page, "Completed")
    assert [row["name"] for row in rows(page)] == ["one", "two\nlines!"]


def test_encrypted_fields_are_open_to_their_owner_who_corrects_them_in_place(page: Page) -> None:
    email = {"name": "email", "format": "email", "encrypted": True, "constraints": {"required": True, "unique": True}}
    number = {"name": "id", "type": "integer", "constraints": {"required": True, "unique": True}}
    signed_in(page)
    show(page, uploaded(page, b"id,email\n1,ada@x.org\n2,bob@\n", "birds", {"fields": [number, email]}))
    expect(page.get_by_role("grid", name="Rejected rows").locator("mark").first).to_have_text("bob@")
    page.get_by_role("button", name="Correct line 3").click()
    page.get_by_label("email", exact=True).fill("bob@x.org")
    press(page, "Keep")
    press(page, "Send 1 row again")
    state(page, "Completed")
    go(page, "/datasets/birds")
    for one in ("ada@x.org", "bob@x.org"):
        expect(page.get_by_role("row").filter(has_text=one)).to_be_visible()
    expect(page.get_by_role("button", name="email")).to_have_count(0)  # what is sealed has no order to sort by
    assert_accessible(page)


def test_the_bad_cell_is_marked_in_the_row_and_bytes_that_are_no_text_are_not_sent_as_such(page: Page) -> None:
    signed_in(page)
    show(page, uploaded(page, b'id,name\n1,one\n"x,1","two, too"\n9,J\xfcrgen\n'))
    expect(page.get_by_role("grid", name="Rejected rows").locator("mark").first).to_have_text("x,1")
    expect(page.get_by_role("grid", name="Rejected rows")).to_contain_text("is not an integer")
    page.get_by_role("button", name="Correct line 4").click()
    expect(page.get_by_text("stand for a byte that is no text")).to_be_visible()
    press(page, "Keep")
    expect(page.get_by_text("There is still such a byte in it.")).to_be_visible()
    page.get_by_label("name", exact=True).fill("J\u00fcrgen")
    press(page, "Keep")
    expect(page.get_by_text("1 row corrected, not sent yet")).to_be_visible()


def test_rows_of_a_file_too_wide_for_its_columns_to_be_told_are_looked_at_and_not_corrected_in_part(page: Page) -> None:
    signed_in(page)
    names = [f"c{place}" for place in range(101)]
    fields = [{"name": name, "type": "integer"} for name in names]
    header, good, bad = ["C0", *names[1:]], ["1"] * 101, ["x", *["1"] * 100]
    body = "".join(f"{','.join(line)}\n" for line in (header, good, bad)).encode()
    show(page, uploaded(page, body, "wide", {"fields": fields}))
    page.get_by_role("button", name="Look at line 3").click()
    expect(page.get_by_text("too many columns to correct a row of it here")).to_be_visible()
    expect(page.get_by_role("button", name="Keep")).to_have_count(0)
    expect(page.get_by_role("dialog")).to_contain_text('"x" is not an integer')


def test_what_is_corrected_while_others_are_sent_is_not_sent_with_them_and_stays(page: Page) -> None:
    signed_in(page)
    upload_id = uploaded(page, b"id,name\n1,one\nx,two\ny,three\n")
    show(page, upload_id)
    held: list[Route] = []
    page.route(re.compile("/retries$"), lambda route: held.insert(0, route))
    page.get_by_role("button", name="Correct line 3").click()
    page.get_by_label("id", exact=True).fill("2")
    press(page, "Keep, and the next")
    press(page, "Close")
    with page.expect_request(re.compile("/retries$")):
        press(page, "Send 1 row again")
    page.get_by_role("button", name="Correct line 4").click()
    page.get_by_label("id", exact=True).fill("3")
    press(page, "Keep")
    held[0].continue_()
    expect(page.get_by_text("corrects an earlier upload")).to_be_visible()
    child(page, upload_id)
    show(page, upload_id)
    expect(page.get_by_text("1 row corrected, not sent yet")).to_be_visible()
    page.get_by_role("button", name="Correct line 4").click()
    expect(page.get_by_label("id", exact=True)).to_have_value("3")


def test_a_line_far_down_in_the_file_is_told_in_full(page: Page) -> None:
    signed_in(page)
    breaks = b"\n" * 123_456
    show(page, uploaded(page, b'id,name\n1,"' + breaks + b'"\nx,y\n'))
    line = page.get_by_role("gridcell", name="123,459", exact=True)
    expect(line).to_be_visible()
    assert line.evaluate("cell => cell.scrollWidth <= cell.clientWidth")


def test_hostile_names_headers_and_cells_are_shown_as_text(page: Page) -> None:
    signed_in(page)
    schema = {"fields": [{"name": "id", "type": "integer"}, {"name": "note", "type": "string"}]}
    body = f'id,"{HOSTILE}"\n1,a\n"{HOSTILE}",b\n'.encode()
    mapping = {HOSTILE: "note"}
    show(page, uploaded(page, body, "notes", schema, filename=HOSTILE, options={"mapping": mapping}))
    expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible()
    expect(page.get_by_label("Samples")).to_contain_text(HOSTILE)
    page.get_by_role("button", name="Correct line 3").click()
    expect(page.get_by_label(HOSTILE, exact=True)).to_have_value("b")
    expect(page.locator("img[src=x]")).to_have_count(0)
    assert_accessible(page)


def test_the_receipt_is_shown_saved_and_compared(page: Page) -> None:
    signed_in(page)
    show(page, uploaded(page, people(5)))
    with page.expect_download() as download:
        press(page, "Download the receipt")
    assert json.loads(Path(download.value.path()).read_text())["receipt"]["counts"]["loaded"] == 5
    expect(page.get_by_role("button", name="Download the text")).to_have_count(0)
    press(page, "Compare with file and table")
    expect(page.get_by_text("File and table are as the receipt says")).to_be_visible()
    call(page, "PATCH", "v1/datasets/people/rows/3", {"name": "another"})
    press(page, "Compare with file and table")
    expect(page.get_by_text("Something is no longer as the receipt says")).to_be_visible()
    expect(page.get_by_role("table", name="Chunks that differ").get_by_role("row")).to_have_count(2)
    assert_accessible(page)


def test_the_text_of_a_packed_file_is_saved_as_its_chunks_are_ranges_of_it(page: Page) -> None:
    signed_in(page)
    packed = {"filename": "a.csv.gz", "content_type": "application/gzip"}
    show(page, uploaded(page, gzip.compress(people(3)), **packed))
    with page.expect_download() as download:
        press(page, "Download the text that was read")
    assert Path(download.value.path()).read_bytes() == people(3)


def test_an_upload_is_undone_and_what_was_changed_since_is_told_or_goes_as_well(page: Page) -> None:
    signed_in(page)
    show(page, uploaded(page, people(5)))
    call(page, "PATCH", "v1/datasets/people/rows/3", {"name": "another"})
    press(page, "Undo this upload")
    assert_accessible(page)
    press(page, "Undo the upload")
    state(page, "Undone")
    expect(page.get_by_text("4 rows removed, 0 restored, 1 left as they are.")).to_be_visible()
    expect(page.get_by_label("5 rows: 5 were in, 0 rejected, 0 unprocessed")).to_be_visible()
    expect(page.get_by_role("grid", name="Rows that were left")).to_contain_text("changed or deleted one by one")
    assert [row["name"] for row in rows(page)] == ["another"]
    show(page, uploaded(page, people(5), "others"))
    call(page, "PATCH", "v1/datasets/others/rows/3", {"name": "another"})
    press(page, "Undo this upload")
    page.get_by_label("Also rows that were changed since").check()
    press(page, "Undo the upload")
    state(page, "Undone")
    expect(page.get_by_text("5 rows removed, 0 restored, 0 left as they are.")).to_be_visible()
    assert rows(page, "others") == []


@pytest.mark.parametrize(("viewport", "colours"), [(PHONE, "light"), (WIDE, "dark")], ids=["phone", "wide"])
def test_the_result_is_accessible_and_fits(browser: Browser, deployed: Cloud, viewport: Any, colours: Any) -> None:
    with visiting(browser, deployed, viewport=viewport, color_scheme=colours) as page:
        signed_in(page)
        show(page, uploaded(page, days() + b"x,y\n,,\n", "sales", SALES, filename=f"{'long' * 40}.csv", options=ISO))
        expect(page.get_by_role("heading", name="Why rows were rejected")).to_be_visible()
        expect(page.get_by_role("button", name="Download the receipt")).to_be_visible()
        assert_accessible(page)
        assert_fits(page)
