"""Datasets and their rows, and the settings, as people use them on the page."""

from __future__ import annotations

import re
import struct
import zlib

from playwright.sync_api import Browser, Page, Route, expect

from tests.journey.conftest import PEOPLE, Cloud, people
from tests.page.conftest import (
    PASSWORD,
    PHONE,
    assert_accessible,
    assert_fits,
    call,
    go,
    signed_in,
    uploaded,
    visiting,
)

HOSTILE = "<script>alert(1)</script>"
# How much of the list is changed by scrolling down to here, in px.
SCROLLED = """async (top) => {
    const frame = () => new Promise(requestAnimationFrame);
    const grid = document.querySelector("[role=grid]");
    let changes = 0;
    const watcher = new MutationObserver((seen) => { changes += seen.length; });
    watcher.observe(grid, { subtree: true, childList: true, attributes: true, characterData: true });
    grid.scrollTop = top;
    for (let n = 0; n < 4; n++) await frame();
    watcher.disconnect();
    return changes;
}"""


def png() -> bytes:
    """A picture of one black pixel."""

    def part(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(b"\0\0")) + part(b"IEND", b"")


def hold(page: Page, asked: str, held: list[Route]) -> None:
    """Keep requests like this unanswered, in `held`."""

    def keep(route: Route) -> None:
        held.append(route)

    page.route(re.compile(asked), keep)


def test_a_book_is_made_given_a_picture_changed_and_deleted(page: Page) -> None:
    signed_in(page)
    go(page, "/datasets")
    page.get_by_role("button", name="Make the dataset books").click()
    page.get_by_role("button", name="Add a row").click()
    assert_accessible(page)
    page.get_by_label("title").fill("Dracula")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_label("author")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("author").fill(HOSTILE)
    page.get_by_role("button", name="Add it").click()
    page.get_by_role("row").filter(has_text="Dracula").click()
    page.get_by_label("Choose a picture").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": png()})
    picture = page.get_by_role("img", name="Of this row")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
    # A browser tells of no other choice where the same file is chosen again, such as after it was taken away.
    expect(page.get_by_label("Choose a picture")).to_have_value("")
    assert_accessible(page)
    page.get_by_label("author").fill("Bram Stoker")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("row").filter(has_text="Bram Stoker")).to_be_visible()
    page.get_by_role("row").filter(has_text="Dracula").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Yes, delete this row").click()
    expect(page.get_by_role("heading", name="No rows yet")).to_be_visible()


def test_an_email_that_is_none_or_there_already_is_told_at_its_field(page: Page) -> None:
    signed_in(page)
    go(page, "/datasets")
    page.get_by_role("button", name="Make the dataset contacts").click()
    for email, is_wrong in (("", True), ("no address", True), ("a@example.com", False), ("a@example.com", True)):
        page.get_by_role("button", name="Add a row").click()
        page.get_by_label("email").fill(email)
        page.get_by_role("button", name="Add it").click()
        if is_wrong:
            expect(page.get_by_label("email")).to_have_attribute("aria-invalid", "true")
            expect(page.get_by_role("dialog").get_by_role("alert")).to_have_count(1)
            page.get_by_role("button", name="Close").click()
        else:
            expect(page.get_by_role("row").filter(has_text=email)).to_be_visible()


def test_of_many_fields_the_one_that_is_refused_is_gone_to(page: Page) -> None:
    signed_in(page)
    fields = [{"name": "day", "type": "date"}, *({"name": f"field {number}"} for number in range(100))]
    call(page, "PUT", "v1/datasets/wide", {"fields": fields})
    go(page, "/datasets/wide")
    page.get_by_role("button", name="Add a row").click()
    page.get_by_label("day").fill("2024-02-30")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_label("day")).to_be_focused()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_in_viewport()


def test_rows_are_paged_sorted_and_filtered(page: Page) -> None:
    signed_in(page)
    uploaded(page, people(900))
    go(page, "/datasets/people")
    grid = page.get_by_role("grid")
    expect(grid.get_by_role("row").nth(1)).to_contain_text("name 1")
    assert page.evaluate(SCROLLED, 2 * 44) == 0  # rows come some at a time, and what stays is left alone
    assert page.evaluate(SCROLLED, 40 * 44) > 0
    grid.focus()
    for _ in range(5):  # each time to the end of what has come
        page.keyboard.press("End")
        page.wait_for_timeout(150)
    expect(grid.get_by_text("name 900", exact=True)).to_be_visible()
    assert grid.get_by_role("row").count() < 80
    page.get_by_role("button", name="id").click()
    page.get_by_role("button", name="id").click()
    expect(grid.get_by_role("row").nth(1)).to_contain_text("name 900")
    page.get_by_label("Condition").select_option("lte")
    page.get_by_label("Value").fill("2")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("2 rows")).to_be_visible()
    page.get_by_label("Value").fill("none")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert_accessible(page)


def test_the_next_rows_come_by_themselves_once_the_connection_is_back(page: Page) -> None:
    signed_in(page)
    uploaded(page, people(300))
    next_page = re.compile("cursor=")
    page.route(next_page, lambda route: route.abort("connectionfailed"))
    go(page, "/datasets/people")
    grid = page.get_by_role("grid")
    expect(grid.get_by_text("name 1", exact=True)).to_be_visible()
    grid.focus()
    with page.expect_event("requestfailed"):
        page.keyboard.press("End")
    expect(page.get_by_text("200 rows so far")).to_be_visible()
    page.unroute(next_page)
    expect(page.get_by_text("300 rows", exact=True)).to_be_visible()


def test_rows_that_are_asked_for_in_another_order_are_not_told_to_be_none_before_they_come(page: Page) -> None:
    held: list[Route] = []
    signed_in(page)
    uploaded(page, people(300))
    go(page, "/datasets/people")
    grid = page.get_by_role("grid")
    expect(grid.get_by_text("name 1", exact=True)).to_be_visible()
    hold(page, "cursor=|sort=", held)
    grid.focus()
    page.keyboard.press("End")
    page.get_by_role("button", name="id").click()
    page.wait_for_function("document.querySelectorAll('[role=grid] [role=row]').length < 2")
    page.wait_for_timeout(200)
    held[0].continue_()  # the next page of the order before
    page.wait_for_timeout(500)
    expect(page.get_by_text("No rows yet")).to_have_count(0)
    held[1].continue_()
    expect(grid.get_by_text("name 1", exact=True)).to_be_visible()


def test_whole_numbers_that_a_browser_would_round_are_shown_and_changed_as_they_are(page: Page) -> None:
    signed_in(page)
    fields = [{"name": "id", "type": "integer"}, {"name": "note"}, {"name": "more", "type": "object"}]
    call(page, "PUT", "v1/datasets/big", {"fields": fields, "primaryKey": "id"})
    for last in ("2", "3"):  # 2**53 and its neighbour, which is the same number to JavaScript
        row = {"id": f"900719925474099{last}", "note": f"note {last}", "more": f'{{"n": 900719925474099{last}}}'}
        call(page, "POST", "v1/datasets/big/rows", row)
    go(page, "/datasets/big")
    page.get_by_role("row").filter(has_text="note 3").click()
    expect(page.get_by_label("id", exact=True)).to_have_value("9007199254740993")
    expect(page.get_by_label("more")).to_have_value('{"n":9007199254740993}')
    page.get_by_label("note").fill("changed")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("row").filter(has_text="note 2").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Yes, delete this row").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    (row,) = call(page, "GET", "v1/datasets/big/rows")["items"]
    assert row == {"id": 9007199254740993, "note": "changed", "more": {"n": 9007199254740993}}


def test_what_nobody_touched_in_a_row_stays_as_it_is_when_it_is_saved(page: Page) -> None:
    signed_in(page)
    ruled = [
        ("count", "integer", [1, 2]),
        ("price", "number", ["1.5", 2]),
        ("day", "date", ["31.12.2024"]),  # spelled as files do: what is chosen from it would be refused
        ("word", "string", ["a", "b"]),
    ]
    fields = [{"name": name, "type": kind, "constraints": {"enum": some}} for name, kind, some in ruled]
    fields[2]["format"] = "%d.%m.%Y"
    texts = [{"name": "lines"}, {"name": "long", "constraints": {"maxLength": 2000}}, {"name": "touched"}]
    schema = {"fields": [*fields, *texts, {"name": "id", "type": "integer"}], "primaryKey": "id"}
    call(page, "PUT", "v1/datasets/kept", schema)
    row = {"count": 2, "price": "1.50", "day": "2024-12-31", "word": "b", "lines": "a\nb", "long": "a\r\nb", "id": 1}
    call(page, "POST", "v1/datasets/kept/rows", {**row, "touched": "before"})
    fields[3]["constraints"] = {"enum": ["a", "c"]}
    call(page, "PUT", "v1/datasets/kept", schema)  # rows that only rules changed since would refuse stay as they are
    go(page, "/datasets/kept")
    page.get_by_role("row").filter(has_text="before").click()
    page.get_by_label("touched").fill("after")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert call(page, "GET", "v1/datasets/kept/rows")["items"] == [{**row, "touched": "after"}]


def test_fields_may_be_called_like_what_a_form_or_an_object_has(page: Page) -> None:
    signed_in(page)
    names = ["l", "parentNode", "nextSibling", "constructor"]
    schema = {"fields": [{"name": "id", "type": "integer"}, *({"name": name} for name in names)], "primaryKey": "id"}
    call(page, "PUT", "v1/datasets/odd", schema)
    call(page, "POST", "v1/datasets/odd/rows", {"id": 1})
    go(page, "/datasets/odd")
    page.get_by_role("row").filter(has_text="1").click()
    for name in names:
        expect(page.get_by_label(name, exact=True)).not_to_have_attribute("aria-invalid", "true")
        page.get_by_label(name, exact=True).fill(f"of {name}")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert call(page, "GET", "v1/datasets/odd/rows/1") == {"id": 1, **{name: f"of {name}" for name in names}}


def test_a_row_is_added_once_though_the_answer_was_lost_and_it_is_sent_again(page: Page) -> None:
    signed_in(page)
    go(page, "/datasets")
    page.get_by_role("button", name="Make the dataset books").click()
    page.get_by_role("button", name="Add a row").click()
    page.get_by_label("title").fill("Dracula")
    page.get_by_label("author").fill("Bram Stoker")
    lost: list[int] = []

    def lose(route: Route) -> None:
        if route.request.method == "POST" and not lost:
            lost.append(route.fetch().status)
            route.abort()
        else:
            route.continue_()

    page.route("**/books/rows", lose)
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_role("dialog").get_by_text("No connection")).to_be_visible()
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Add a row").click()  # another one that says the same is another one
    page.get_by_label("title").fill("Dracula")
    page.get_by_label("author").fill("Bram Stoker")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert [row["id"] for row in call(page, "GET", "v1/datasets/books/rows")["items"]] == [1, 2]


def test_a_row_whose_answer_was_lost_and_that_was_deleted_since_is_added_again(page: Page) -> None:
    """Its first request must not answer for the second."""
    signed_in(page)
    call(page, "PUT", "v1/datasets/people", PEOPLE)
    go(page, "/datasets/people")

    def add() -> None:
        page.get_by_role("button", name="Add a row").click()
        page.get_by_label("id").fill("9")
        page.get_by_label("name").fill("Ada")
        page.get_by_role("button", name="Add it").click()

    def lose(route: Route) -> None:
        route.fetch()
        route.abort("connectionfailed")

    page.route(re.compile("/rows$"), lose, times=1)
    add()
    expect(page.get_by_role("dialog").get_by_text("No connection")).to_be_visible()
    page.keyboard.press("Escape")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as of somebody who comes back to the page
    page.get_by_role("row").filter(has_text="Ada").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Yes, delete this row").click()
    expect(page.get_by_role("heading", name="No rows yet")).to_be_visible()
    add()
    expect(page.get_by_role("row").filter(has_text="Ada")).to_be_visible()


def test_a_row_far_down_is_shown_as_it_was_changed_and_no_more_once_it_is_deleted(page: Page) -> None:
    signed_in(page)
    uploaded(page, people(250))
    go(page, "/datasets/people?sort=id")
    grid = page.get_by_role("grid")
    expect(page.get_by_text("200 rows so far")).to_be_visible()
    grid.focus()
    page.keyboard.press("End")
    expect(page.get_by_text("250 rows", exact=True)).to_be_visible()
    page.keyboard.press("End")
    grid.get_by_role("row").filter(has_text="name 240").click()
    page.get_by_label("name", exact=True).fill("changed")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    grid.get_by_role("row").filter(has_text="changed").click()  # it has not gone from under one's eyes
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Yes, delete this row").click()
    expect(page.get_by_text("249 rows", exact=True)).to_be_visible()


def test_a_template_is_offered_once_it_is_known_that_no_dataset_has_its_name(page: Page) -> None:
    """Made over a dataset that is there it would change its fields."""
    signed_in(page)
    call(page, "PUT", "v1/datasets/books", {"fields": [{"name": "isbn"}]})
    held: list[Route] = []
    hold(page, r"/v1/datasets\?limit=500$", held)
    with page.expect_request(re.compile(r"/v1/datasets\?limit=500$")):
        go(page, "/datasets")
    page.wait_for_timeout(1000)
    expect(page.get_by_role("button", name="Make the dataset")).to_have_count(0)
    held[0].continue_()
    expect(page.get_by_role("button", name="Make the dataset contacts")).to_be_visible()
    expect(page.get_by_role("button", name="Make the dataset books")).to_have_count(0)


def test_a_dataset_is_deleted_once_its_name_is_typed(page: Page) -> None:
    signed_in(page)
    call(page, "PUT", "v1/datasets/gone", {"fields": [{"name": HOSTILE}]})
    go(page, "/datasets/gone")
    expect(page.get_by_role("heading", name="No rows yet")).to_be_visible()
    page.get_by_role("button", name="Delete…").click()
    expect(page.get_by_role("button", name="Delete the dataset")).to_be_disabled()
    page.get_by_label("Type gone").fill("gone")
    page.get_by_role("button", name="Delete the dataset").click()
    expect(page.get_by_role("heading", name="No datasets yet")).to_be_visible()


def test_webhooks_and_keys_are_made_and_taken_away(page: Page, deployed: Cloud) -> None:
    signed_in(page)
    go(page, "/settings")
    page.get_by_role("button", name="Add a webhook").click()
    page.get_by_label("Address").fill("http://127.0.0.1:9999/hook")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
    with deployed.configured("api", ROWMILL_WEBHOOK_PRIVATE="1"):
        page.get_by_role("button", name="Add it").click()
        expect(page.locator("code.secret")).to_contain_text("whsec_")
    expect(page.locator("code.secret")).to_contain_text("whsec_")
    assert_accessible(page)
    page.get_by_role("button", name="I have kept it").click()
    page.get_by_role("button", name="Ping http").click()
    expect(page.get_by_text("webhook.ping")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    go(page, "/upload")
    page.get_by_label("Choose files").set_input_files({"name": "a.csv", "mimeType": "text/csv", "buffer": b"a\n1\n"})
    page.get_by_text("Options", exact=True).click()
    page.get_by_text("More options").click()
    page.get_by_label("Tell of the end by a webhook").select_option("http://127.0.0.1:9999/hook")
    go(page, "/settings")
    page.get_by_role("button", name="Delete http").click()
    expect(page.get_by_text("Nobody is told")).to_be_visible()
    page.get_by_role("button", name="Make a key").click()
    page.get_by_label("Name").fill(HOSTILE)
    page.get_by_label("Days until it ends").fill("0")
    page.get_by_role("button", name="Make it").click()  # not one that never ends
    expect(page.get_by_label("Days until it ends")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("Days until it ends").fill("")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator("code.secret")).to_be_visible()
    page.get_by_role("button", name="I have kept it").click()
    page.get_by_role("button", name=f"Delete {HOSTILE}").click()
    expect(page.get_by_text("No program has a key")).to_be_visible()


def test_keys_and_deliveries_of_a_second_page_are_shown_when_they_are_asked_for(page: Page, deployed: Cloud) -> None:
    signed_in(page)

    def shorten(route: Route) -> None:
        route.continue_(url=re.sub(r"limit=\d+", "limit=2", route.request.url))

    page.route(re.compile(r"/v1/(api-keys|webhooks/\w+/deliveries)\?"), shorten)
    for name in ("one", "two", "three"):
        call(page, "POST", "v1/api-keys", {"name": name})
    go(page, "/settings")
    keys = page.get_by_role("region", name="API keys")
    expect(keys.get_by_role("listitem")).to_have_count(2)
    assert_accessible(page)
    keys.get_by_role("button", name="Show more").click()
    expect(keys.get_by_role("listitem")).to_have_count(3)
    expect(keys.get_by_role("button", name="Show more")).to_have_count(0)
    page.get_by_role("button", name="Add a webhook").click()
    page.get_by_label("Address").fill("http://127.0.0.1:9999/hook")
    with deployed.configured("api", ROWMILL_WEBHOOK_PRIVATE="1"):
        page.get_by_role("button", name="Add it").click()
        page.get_by_role("button", name="I have kept it").click()
        (hook,) = call(page, "GET", "v1/webhooks")["items"]
        for _ in range(3):
            call(page, "POST", f"v1/webhooks/{hook['id']}/ping")
        page.get_by_role("button", name="Deliveries to http").click()
        deliveries = page.get_by_role("dialog")
        expect(deliveries.get_by_role("listitem")).to_have_count(2)
        assert_accessible(page)
        deliveries.get_by_role("button", name="Show more").click()
        expect(deliveries.get_by_role("listitem")).to_have_count(3)
        expect(deliveries.get_by_role("button", name="Show more")).to_have_count(0)


def test_another_password_signs_out_everywhere_else(browser: Browser, deployed: Cloud, page: Page) -> None:
    name = signed_in(page)
    with visiting(browser, deployed) as other:
        other.get_by_label("Username").fill(name)
        other.get_by_label("Password").fill(PASSWORD)
        other.get_by_role("button", name="Sign in").click()
        expect(other.get_by_role("heading", name="Uploads", exact=True)).to_be_visible()
        go(page, "/settings")
        page.get_by_role("button", name="Change it").click()
        dialog = page.get_by_role("dialog")
        for current, new, wrong in (
            ("wrong horse", "staple battery", "Current password"),
            (PASSWORD, "password1", "New password"),
        ):
            dialog.get_by_label("Current password").fill(current)
            dialog.get_by_label("New password").fill(new)
            dialog.get_by_role("button", name="Change it").click()
            expect(dialog.get_by_label(wrong)).to_have_attribute("aria-invalid", "true")
        assert_accessible(page)
        dialog.get_by_label("New password").fill("staple battery")
        dialog.get_by_role("button", name="Change it").click()
        expect(dialog).to_have_count(0)
        other.context.clear_cookies(name=re.compile("access"))  # it has run out
        other.reload()
        expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()


def test_data_and_settings_are_accessible_on_a_phone_in_the_dark(browser: Browser, deployed: Cloud) -> None:
    with visiting(browser, deployed, viewport=PHONE, color_scheme="dark") as page:
        signed_in(page)
        uploaded(page, people(30))
        for path, heading in (("/datasets", "Datasets"), ("/datasets/people", "people"), ("/settings", "Settings")):
            go(page, path)
            expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
            assert_accessible(page)
            assert_fits(page)


def test_names_of_one_long_word_fit_on_a_phone(browser: Browser, deployed: Cloud) -> None:
    name = "d" * 63
    fields = [{"name": "f" * 63, "description": "w" * 100}, {"name": "id", "type": "integer"}]
    with visiting(browser, deployed, viewport=PHONE) as page:
        signed_in(page)
        upload_id = uploaded(page, f"{'f' * 63},id\nAda,1\n".encode(), name, {"fields": fields})
        go(page, f"/uploads/{upload_id}")
        expect(page.get_by_role("heading", name="Undo")).to_be_visible()
        assert_fits(page)
        go(page, f"/datasets/{name}")
        for press in ("Add a row", "Delete…"):
            page.get_by_role("button", name=press).click()
            assert_fits(page)
            assert page.locator("dialog[open] .dialog").evaluate("one => one.scrollWidth <= one.clientWidth")
            page.keyboard.press("Escape")
