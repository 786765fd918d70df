"""What is around every view: the way in and out, the list of uploads, what the page is made of."""

from __future__ import annotations

import gzip
import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from chalicelib import webpage
from tests.journey.conftest import PEOPLE, Cloud, people
from tests.page.conftest import (
    PASSWORD,
    PHONE,
    WIDE,
    assert_accessible,
    assert_fits,
    call,
    go,
    signed_in,
    skip_unbuilt,
    uploaded,
    visiting,
)

HOSTILE = '"><img src=x onerror=alert(1)>.csv'


def test_signing_up_leads_home_and_out_and_in_again_and_a_view_that_was_not_there_comes(page: Page) -> None:
    name = signed_in(page)
    expect(page.get_by_text("No uploads yet")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.reload()
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Uploads", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_text(name)).to_be_visible()
    page.context.set_offline(True)
    page.get_by_role("link", name="Settings").click()
    expect(page.get_by_text("This part of the page could not be loaded.")).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()


def test_a_session_goes_on_after_the_clock_was_set_back(page: Page) -> None:
    name = signed_in(page)
    page.evaluate("localStorage.setItem('rowmill.renewed', String(Date.now() + 3_600_000))")  # as it stood ahead
    page.context.clear_cookies(name=re.compile("access"))  # it has run out
    page.reload()
    expect(page.get_by_text("No uploads yet")).to_be_visible()
    expect(page.get_by_text(name)).to_be_visible()


def test_a_wrong_password_is_told_at_the_form(page: Page) -> None:
    page.get_by_label("Username").fill("nobody-here")
    page.get_by_label("Password").fill("not this one")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert_accessible(page)


def test_a_name_that_is_taken_and_a_short_password_are_told_at_their_fields(page: Page) -> None:
    name = signed_in(page)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Create an account").click()
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create the account").click()
    expect(page.get_by_label("Username")).to_have_attribute("aria-invalid", "true")


def test_two_people_do_not_see_each_others_uploads_and_hostile_names_are_text(
    page: Page, browser: Browser, deployed: Cloud
) -> None:
    signed_in(page)
    uploaded(page, people(3), filename=HOSTILE)
    page.reload()
    expect(page.get_by_role("link", name=HOSTILE)).to_be_visible()
    expect(page.locator("img[src=x]")).to_have_count(0)
    with visiting(browser, deployed) as other:
        signed_in(other)
        expect(other.get_by_text("No uploads yet")).to_be_visible()
        expect(other.get_by_role("link", name=HOSTILE)).to_have_count(0)


def test_uploads_are_filtered_by_state_and_dataset(page: Page) -> None:
    signed_in(page)
    uploaded(page, people(3), filename="whole.csv")
    uploaded(page, people(3) + b"x,y\n", "others", filename="partly.csv")
    page.get_by_label("State").select_option("completed")
    expect(page.get_by_role("link", name="whole.csv")).to_be_visible()
    expect(page.get_by_role("link", name="partly.csv")).to_have_count(0)
    page.get_by_label("State").select_option("")
    page.get_by_label("Dataset").select_option("others")
    expect(page.get_by_role("link", name="partly.csv")).to_be_visible()
    expect(page.get_by_role("link", name="whole.csv")).to_have_count(0)
    page.reload()
    expect(page.get_by_label("Dataset")).to_have_value("others")


def test_a_lost_connection_is_told_no_longer_than_it_is_lost_where_a_view_asks_for_nothing(page: Page) -> None:
    signed_in(page)
    call(page, "PUT", "v1/datasets/people", PEOPLE)
    go(page, "/datasets/people")
    page.get_by_role("button", name="Add a row").click()
    everything = re.compile("/v1/")
    page.route(everything, lambda route: route.abort("connectionfailed"))
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_text("No connection to the service")).to_be_visible()
    page.unroute(everything)
    expect(page.get_by_text("No connection to the service")).to_have_count(0)


def test_a_file_that_falls_on_a_view_that_takes_none_does_not_take_the_page_away(page: Page) -> None:
    signed_in(page)
    go(page, "/settings")
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
    dropped = "const dropped = new DataTransfer(); dropped.items.add(new File(['a'], 'a.csv'));"
    for kind in ("dragover", "drop"):
        event = f"new DragEvent('{kind}', {{ bubbles: true, cancelable: true, dataTransfer: dropped }})"
        assert page.evaluate(f"() => {{ {dropped} return document.body.dispatchEvent({event}); }}") is False


def test_how_long_ago_an_upload_was_stays_true_while_nothing_else_changes(page: Page) -> None:
    signed_in(page)
    uploaded(page, people(1))
    page.clock.install()
    page.reload()
    begun = page.get_by_role("row").get_by_role("time")
    expect(begun).to_have_text(re.compile("second|now"))
    page.clock.fast_forward("03:00:00")  # as of a computer that has slept
    expect(begun).to_have_text("3 hours ago")


def test_an_upload_without_a_name_can_be_opened_from_the_list(page: Page) -> None:
    signed_in(page)
    upload_id = uploaded(page, people(1), filename="")
    page.reload()
    expect(page.get_by_role("link", name=upload_id)).to_be_visible()
    assert_accessible(page)


def test_an_upload_leaves_a_list_by_state_with_the_state_and_any_list_once_it_is_deleted(page: Page) -> None:
    signed_in(page)
    uploaded(page, people(3), filename="whole.csv")
    wanted = {"dataset": "people", "filename": "late.csv", "size": 9, "content_type": "text/csv"}
    late = call(page, "POST", "v1/uploads", wanted)["id"]
    go(page, "/?state=awaiting_upload")
    expect(page.get_by_role("link", name="late.csv")).to_be_visible()
    call(page, "POST", f"v1/uploads/{late}/cancel")
    expect(page.get_by_role("heading", name="No such upload")).to_be_visible()
    go(page, "/")
    expect(page.get_by_role("link", name="late.csv")).to_be_visible()
    call(page, "DELETE", f"v1/uploads/{late}")
    expect(page.get_by_role("link", name="late.csv")).to_have_count(0)
    expect(page.get_by_role("link", name="whole.csv")).to_be_visible()


def test_an_upload_beyond_the_first_page_of_the_list_is_followed_too(page: Page) -> None:
    signed_in(page)
    wanted = {"dataset": "people", "size": 9, "content_type": "text/csv"}
    call(page, "PUT", "v1/datasets/people", PEOPLE)
    [oldest, *others] = [
        call(page, "POST", "v1/uploads", {**wanted, "filename": f"{number}.csv"})["id"] for number in range(6)
    ]
    for other in others:
        call(page, "POST", f"v1/uploads/{other}/cancel")
    short = re.compile(r"(/v1/uploads\?limit=)200")
    page.route(short, lambda route: route.continue_(url=short.sub(r"\g<1>2", route.request.url)))
    page.reload()
    row = page.get_by_role("row").filter(has_text="0.csv")
    expect(row).to_contain_text("Waiting for the file")
    call(page, "POST", f"v1/uploads/{oldest}/cancel")
    expect(row).to_contain_text("Canceled")
    expect(page.get_by_role("row")).to_have_count(7)


def test_a_list_of_which_the_first_pages_are_empty_goes_on_to_what_there_is(page: Page) -> None:
    """As one by state does, where thousands that are newer are in another."""
    signed_in(page)
    for number in range(2):
        uploaded(page, people(3), filename=f"{number}.csv")
    empty = {"items": [], "next_cursor": call(page, "GET", "v1/uploads?limit=1")["next_cursor"]}
    first = re.compile(r"/v1/uploads\?(?!.*cursor)")
    page.route(first, lambda route: route.fulfill(json=empty))
    go(page, "/?state=completed")
    expect(page.get_by_role("link", name="0.csv")).to_be_visible()
    expect(page.get_by_role("link", name="1.csv")).to_have_count(0)


def test_a_name_is_shown_as_it_is_written_whatever_turns_its_letters_around(page: Page) -> None:
    signed_in(page)
    upload_id = uploaded(page, people(3), filename="\u202evsc.exe.csv")
    shown = page.get_by_role("link", name="\ufffdvsc.exe.csv")
    page.reload()
    expect(shown).to_have_attribute("title", "\ufffdvsc.exe.csv")
    go(page, f"/uploads/{upload_id}")
    expect(page.get_by_role("heading", level=1)).to_have_text("\ufffdvsc.exe.csv")
    expect(page.get_by_role("definition").filter(has_text="vsc.exe.csv")).to_contain_text("\ufffdvsc.exe.csv")
    assert page.get_by_text("\u202e").count() == 0


@pytest.mark.parametrize("viewport", [PHONE, WIDE], ids=["phone", "wide"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_signing_in_and_the_list_are_accessible(browser: Browser, deployed: Cloud, viewport: Any, colours: Any) -> None:
    with visiting(browser, deployed, viewport=viewport, color_scheme=colours) as page:
        assert_accessible(page)
        assert_fits(page)
        signed_in(page)
        assert_accessible(page)
        uploaded(
            page, people(3) + b"x,y\n", filename="a file with quite a long name, of which a phone shows a part.csv"
        )
        page.reload()
        expect(page.get_by_role("link", name="a file")).to_be_visible()
        assert_accessible(page)
        assert_fits(page)


def test_the_list_is_gone_through_by_the_keyboard(page: Page) -> None:
    signed_in(page)
    uploaded(page, people(3), filename="first.csv")
    uploaded(page, people(4), filename="second.csv")
    page.reload()
    expect(page.get_by_role("link", name="second.csv")).to_be_visible()
    page.get_by_role("grid").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("[aria-selected=true]")).to_contain_text("first.csv")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#/uploads/upl_"))


def test_the_first_load_is_small(page: Page, deployed: Cloud) -> None:
    """Of all that is fetched until the list of uploads is there, compressed."""
    fetched: list[str] = []
    page.on("response", lambda answer: fetched.append(answer.url))
    page.reload()
    signed_in(page)
    ours = {url for url in fetched if "/v1/" not in url.removeprefix(deployed.instance.api_url)}
    assert len(ours) >= 4
    assert sum(len(gzip.compress(httpx.get(url).content)) for url in ours) <= 200_000


def test_no_script_but_the_pages_own_runs(deployed: Cloud) -> None:
    skip_unbuilt()
    answer = httpx.get(f"{deployed.instance.api_url}/")
    policy = dict(one.split(" ", 1) for one in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert deployed.instance.endpoint in policy["connect-src"] or "127.0.0.1" in policy["connect-src"]
    assert "<style" not in webpage.index()
