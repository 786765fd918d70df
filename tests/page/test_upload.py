"""Files sent from the page: chosen, described, sent whole or in parts, cut off and gone on with."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, FilePayload, Page, Route, expect

from tests.journey.conftest import PEOPLE, Cloud, eventually, people
from tests.page.conftest import PHONE, assert_accessible, assert_fits, call, ended, signed_in, uploaded, visiting

PART = 40_000
LARGE = people(6000, padding=30)  # seven parts
CONTACTS = b"email,name,phone\nada@example.org,Ada Lovelace,+44 20 7946 0001\ngrace@example.org,Grace Hopper,\n"
PARTS = re.compile(r"partNumber=(\d+)")
FIRST = re.compile(r"partNumber=1\b")
# What a browser gives of a dropped file: a handle, here of a file in its own storage, kept where the page keeps it.
HANDED = """async (text) => {
    const root = await navigator.storage.getDirectory();
    const handle = await root.getFileHandle("people.csv", { create: true });
    const stream = await handle.createWritable();
    await stream.write(text);
    await stream.close();
    const done = (request) => new Promise((resolve) => { request.onsuccess = () => resolve(request.result); });
    const database = await done(indexedDB.open("rowmill", 1));
    const store = database.transaction("uploads", "readwrite").objectStore("uploads");
    const [kept] = await done(store.getAll());
    await done(store.put({ ...kept, handle }));
    database.close();
}"""


def payload(body: bytes, name: str = "people.csv") -> FilePayload:
    return {"name": name, "mimeType": "text/csv", "buffer": body}


def choose(page: Page, *files: FilePayload) -> None:
    """Go to where files are sent from, and choose these."""
    page.evaluate("location.hash = '#/upload'")
    page.get_by_label("Choose files").set_input_files(files)


def send(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Upload")).click()


def followed(page: Page) -> str:
    """The upload whose view the page has gone to."""
    expect(page).to_have_url(re.compile(r"#/uploads/upl_\w{26}$"))
    return page.url.rsplit("/", 1)[1]


@pytest.fixture(scope="module", autouse=True)
def parts_of_40_kb(deployed: Cloud) -> Iterator[None]:
    with deployed.in_parts_above(PART):
        yield


@pytest.fixture
def owner(page: Page) -> Page:
    """Somebody who is signed in and has a dataset `people`."""
    signed_in(page)
    call(page, "PUT", "v1/datasets/people", PEOPLE)
    return page


def test_a_new_account_has_its_contacts_loaded_in_three_clicks(page: Page) -> None:
    signed_in(page)
    page.get_by_role("link", name="Upload", exact=True).first.click()
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Choose files").click()
    chooser.value.set_files([payload(CONTACTS, "contacts.csv")])
    expect(page.get_by_label("Dataset")).to_have_value("template contacts")
    send(page)
    upload = call(page, "GET", f"v1/uploads/{ended(page, followed(page))}")
    assert (upload["state"], upload["loaded"], upload["dataset"]) == ("completed", 2, "contacts")
    assert len(call(page, "GET", "v1/datasets/contacts/rows")["items"]) == 2


def test_a_file_makes_a_dataset_that_is_looked_over_first(page: Page) -> None:
    signed_in(page)
    choose(page, payload(b"id;plz;since\n1;10115;2024-01-31\n2;20095;2024-02-29\n", "Orte 2024.csv"))
    expect(page.get_by_label("Its name")).to_have_value("orte_2024")
    send(page)
    expect(page.get_by_role("heading", name="orte_2024")).to_be_visible()
    expect(page.get_by_label("Between cells")).to_contain_text("found: semicolon")
    expect(page.get_by_label("Type of plz")).to_have_value("integer")
    expect(page.get_by_role("cell", name="2024-02-29")).to_be_visible()
    assert_accessible(page)
    page.get_by_label("Type of plz").select_option("text")
    page.get_by_label("since: Required").uncheck()
    page.get_by_label("id: Key").check()
    page.get_by_label("Rows of later files").select_option("upsert")
    page.get_by_role("button", name="Make the dataset and load").click()
    assert call(page, "GET", f"v1/uploads/{ended(page, followed(page))}")["loaded"] == 2
    made = call(page, "GET", "v1/datasets/orte_2024")
    fields = {field["name"]: field for field in made["schema"]["fields"]}
    assert (made["mode"], made["schema"]["primaryKey"], fields["plz"]["type"]) == ("upsert", ["id"], "string")
    assert "required" not in fields["since"].get("constraints", {})
    assert fields["plz"]["constraints"] == {"required": True}


def test_a_file_that_is_paused_while_it_is_read_is_looked_over_once_it_goes_on(page: Page, deployed: Cloud) -> None:
    """By whoever has paused it in its own view, and comes back."""
    signed_in(page)
    with deployed.held("UPDATE", "OLD.state = 'queued' AND NEW.state = 'loaded'"):
        choose(page, payload(b"id;plz\n1;10115\n2;20095\n", "orte.csv"))
        send(page)
        expect(page).to_have_url(re.compile(r"review=upl_\w{26}$"))
        upload_id = page.url.rsplit("=", 1)[1]
        eventually(deployed.blocked)
        assert call(page, "POST", f"v1/uploads/{upload_id}/pause")["state"] == "paused"
        page.reload()
        expect(page.get_by_role("heading", name="Reading orte.csv")).to_be_visible()
    call(page, "POST", f"v1/uploads/{upload_id}/resume")
    expect(page.get_by_label("Type of plz")).to_have_value("integer")


def test_a_file_that_was_read_wrong_is_sent_and_read_again(page: Page) -> None:
    signed_in(page)
    choose(page, payload("name;stadt;preis\nJürgen;Köln;1,50\n".encode("latin-1"), "orte.csv"))
    send(page)
    expect(page.get_by_role("heading", name="orte", exact=True)).to_be_visible()
    page.get_by_label("Encoding").select_option("latin-1")
    page.get_by_label("Decimals after").select_option("a comma: 1,5")
    expect(page.get_by_role("button", name="Make the dataset and load")).to_be_disabled()
    page.get_by_role("button", name="Send and read it again").click()
    expect(page.get_by_label("Encoding")).to_contain_text("found: latin-1")
    expect(page.get_by_label("Type of preis")).to_have_value("number")
    expect(page.get_by_role("cell", name="Köln")).to_be_visible()


def test_columns_with_other_names_are_matched_by_hand_and_offered_what_they_are_like(owner: Page) -> None:
    choose(owner, payload(b"ID,full name,note\n1,Ada,x\n", "other.csv"))
    owner.get_by_label("Dataset").select_option("dataset people")
    send(owner)
    expect(owner.get_by_text("Choose its field, or leave the column out.")).to_have_count(2)
    expect(owner.get_by_text("full name is like name")).to_be_visible()
    assert_accessible(owner)
    owner.get_by_role("button", name="Match it").click()
    owner.get_by_label("note").select_option("Leave this column out")
    send(owner)
    upload = call(owner, "GET", f"v1/uploads/{ended(owner, followed(owner))}")
    assert (upload["state"], upload["loaded"]) == ("completed", 1)
    assert [one["field"] for one in upload["mapping"]] == ["id", "name", None]


def test_options_are_sent_as_they_are_chosen(owner: Page) -> None:
    choose(owner, payload(people(3)))
    owner.get_by_text("Options", exact=True).click()
    owner.get_by_label("Rows that are there already").select_option("upsert")
    owner.get_by_label("Only check").check()
    owner.get_by_label("All or nothing").check()
    owner.get_by_label("Most rejected rows", exact=True).fill("5")
    owner.get_by_label("Refuse a file that was sent before").uncheck()
    owner.get_by_label("Between cells").select_option("comma ,")
    owner.get_by_label("Units beside numbers").fill(" EUR  € ")
    owner.get_by_text("More options").click()
    owner.get_by_label("in percent").fill("120")
    owner.get_by_label("Tell of the end by e-mail").fill("nobody")
    send(owner)
    for told in ("A number from 0 to 100.", "An e-mail address, in ASCII."):
        expect(owner.get_by_text(told).first).to_be_visible()
    assert_accessible(owner)
    owner.get_by_label("in percent").fill("2,5")
    owner.get_by_label("Tell of the end by e-mail").fill("")
    owner.get_by_label("unlike those of earlier files").select_option("wait until I have seen them")
    owner.get_by_label("File and rejected rows are kept").select_option("1 day")
    send(owner)
    upload = call(owner, "GET", f"v1/uploads/{followed(owner)}")
    assert upload["mode"] == "upsert"
    wanted = {
        "validate_only": True,
        "on_error": "abort",
        "max_errors": 5,
        "dialect": {"delimiter": ",", "units": ["EUR", "€"]},
    }
    wanted |= {"max_error_percent": 2.5, "on_drift": "hold", "retention": "short"}
    assert upload["options"].items() >= wanted.items()
    assert "on_duplicate_file" not in upload["options"]


def test_the_same_file_is_told_and_sent_again_if_somebody_insists(owner: Page) -> None:
    choose(owner, payload(people(2)))
    send(owner)
    first = ended(owner, followed(owner))
    choose(owner, payload(people(2)))
    send(owner)
    expect(owner.get_by_role("link", name="To the earlier upload")).to_have_attribute("href", f"#/uploads/{first}")
    owner.get_by_role("button", name="Send anyway").click()
    assert followed(owner) != first


def test_several_files_that_are_dropped_on_the_list_are_sent_in_turn_each_with_its_progress(owner: Page) -> None:
    dropped = owner.evaluate_handle(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, text] of Object.entries(files)) transfer.items.add(new File([text], name));
            return transfer;
        }""",
        {"one.csv": "id,name\n1,Ada\n2,Bob\n", "two.csv": "id,name\n7,Eve\n", "3.csv": "id,name\n8,Joe\n"},
    )
    # Once more, in the very moment the first are listed: nothing that is dropped may fall between two views.
    owner.evaluate(
        """dropped => new MutationObserver((_, observer) => {
            const listed = document.querySelector('[aria-label="Leave out 3.csv"]');
            if (!listed) return;
            observer.disconnect();
            listed.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: dropped }));
        }).observe(document, { childList: true, subtree: true })""",
        dropped,
    )
    table = owner.get_by_role("heading", name="No uploads yet")
    table.dispatch_event("dragover", {"dataTransfer": dropped})
    expect(owner.get_by_text("Let go to upload")).to_be_visible()
    table.dispatch_event("drop", {"dataTransfer": dropped})
    expect(owner).to_have_url(re.compile("#/upload$"))
    for name in ("3", "3", "one", "two"):
        owner.get_by_role("button", name=f"Leave out {name}.csv").last.click()
    send(owner)
    expect(owner.get_by_role("progressbar", name="two.csv")).to_have_attribute("aria-valuenow", "14")
    links = owner.get_by_role("link", name=re.compile("^Follow"))
    expect(links).to_have_count(2)
    for place in range(2):
        address = links.nth(place).get_attribute("href") or ""
        assert call(owner, "GET", f"v1/uploads/{ended(owner, address.rsplit('/', 1)[1])}")["state"] == "completed"


def test_fifty_files_that_each_make_a_dataset_are_sent_each_under_a_name_of_its_own(owner: Page) -> None:
    """All names were made anew for every name: with each further file the page stood still for twice as long."""
    choose(owner, *(payload(b"n,who\n%d,Ada\n" % n, f"file{n % 25}.csv") for n in range(50)))
    asked: list[str] = []
    announced = re.compile(r"/v1/uploads$")

    def hold(route: Route) -> None:
        if route.request.method == "POST":
            asked.append(route.request.post_data_json["dataset"])
            route.fulfill(status=422, content_type="application/json", body='{"detail": "not now"}')
        else:
            route.continue_()

    owner.route(announced, hold)
    send(owner)
    expect(owner.locator(".queue .wrong").get_by_text("not now")).to_have_count(50)
    assert sorted(asked) == sorted(f"file{n}{again}" for n in range(25) for again in ("", "_2"))


def test_a_file_in_parts_is_paused_and_after_a_reload_gone_on_with_from_where_it_was(owner: Page) -> None:
    put: list[int] = []

    def some(route: Route) -> None:
        put.append(number(route))
        if number(route) <= 3:
            route.continue_()
        else:
            route.abort("connectionfailed")

    owner.route(PARTS, some)
    choose(owner, payload(LARGE))
    send(owner)
    expect(owner.get_by_role("progressbar", name="people.csv")).to_have_attribute(
        "aria-valuenow", re.compile(r"^1[2-9]\d{4}")
    )
    owner.get_by_role("button", name="Pause people.csv").click()
    expect(owner.get_by_role("button", name="Resume people.csv")).to_be_visible()
    owner.unroute(PARTS)

    owner.reload()
    expect(owner.get_by_role("heading", name="Not sent to the end")).to_be_visible()
    owner.get_by_role("button", name="Go on with people.csv").click()
    owner.get_by_label("Choose people.csv").set_input_files([payload(LARGE[:-1] + b"x")])
    expect(owner.get_by_text("This is not the file that was being sent")).to_be_visible()
    put.clear()
    owner.on(
        "request", lambda request: put.extend(int(n) for n in PARTS.findall(request.url) if request.method == "PUT")
    )
    owner.get_by_label("Choose people.csv").set_input_files([payload(LARGE, "renamed.csv")])
    upload = call(owner, "GET", f"v1/uploads/{ended(owner, followed(owner))}")
    assert (upload["state"], upload["loaded"]) == ("completed", 6000)
    assert sorted(put) == [4, 5, 6, 7]


def test_a_file_that_the_browser_can_open_by_itself_is_not_chosen_again(owner: Page) -> None:
    owner.route(PARTS, lambda route: route.abort("connectionfailed"))
    choose(owner, payload(LARGE))
    send(owner)
    expect(owner.locator(".waits")).to_be_visible()
    owner.reload()
    owner.unroute(PARTS)
    owner.evaluate(HANDED, LARGE.decode())
    owner.get_by_role("button", name="Go on with people.csv").click()
    assert call(owner, "GET", f"v1/uploads/{ended(owner, followed(owner))}")["loaded"] == 6000


def test_whoever_signs_in_next_sees_no_file_of_the_one_before(owner: Page) -> None:
    owner.route(PARTS, lambda route: route.abort("connectionfailed"))
    choose(owner, payload(LARGE))
    send(owner)
    expect(owner.locator(".waits")).to_be_visible()
    owner.get_by_role("button", name="Sign out").click()
    signed_in(owner)
    owner.evaluate("location.hash = '#/upload'")
    expect(owner.get_by_text("Choose files")).to_be_visible()
    expect(owner.get_by_text("people.csv")).to_have_count(0)


def test_a_pause_is_over_when_somebody_says_so(owner: Page) -> None:
    owner.route(PARTS, lambda route: None)
    choose(owner, payload(LARGE))
    with owner.expect_request(PARTS):
        send(owner)
    owner.get_by_role("button", name="Pause people.csv").click()
    owner.unroute(PARTS)
    owner.get_by_role("button", name="Resume people.csv").click()
    assert call(owner, "GET", f"v1/uploads/{ended(owner, followed(owner))}")["loaded"] == 6000


def test_a_network_that_breaks_in_the_middle_of_a_part_is_waited_for(owner: Page) -> None:
    def cut(route: Route) -> None:
        if number(route) == 5:
            owner.context.set_offline(True)
            route.abort("connectionfailed")
        else:
            route.continue_()

    owner.route(PARTS, cut)
    choose(owner, payload(LARGE))
    send(owner)
    expect(owner.locator(".waits")).to_have_text("The connection is lost. Sending goes on by itself.")
    owner.unroute(PARTS)
    owner.context.set_offline(False)
    assert call(owner, "GET", f"v1/uploads/{ended(owner, followed(owner))}")["loaded"] == 6000


@pytest.mark.parametrize("cut", ["an answer that breaks off", "an answer that is not the service's"])
def test_an_answer_that_does_not_come_whole_is_asked_for_again(owner: Page, cut: str) -> None:
    """A connection may go, or something on the way speak up, after the first bytes of an answer were read."""
    spoilt: list[str] = []

    def spoil(route: Route) -> None:
        if spoilt:
            route.continue_()
            return
        spoilt.append(route.request.url)
        if cut == "an answer that breaks off":
            route.fulfill(status=200, content_type="application/json", body='{"method": "PUT", "par')
        else:
            route.fulfill(status=200, content_type="text/html", body="<title>Sign in to this network</title>")

    owner.route(re.compile(r"/v1/uploads/\w+/parts$"), spoil)
    choose(owner, payload(LARGE))
    send(owner)
    assert call(owner, "GET", f"v1/uploads/{ended(owner, followed(owner))}")["loaded"] == 6000
    assert spoilt


@pytest.mark.parametrize("asks", ["for leave to send", "the storage"])
def test_a_file_that_another_tab_has_sent_to_the_end_is_sent(owner: Page, asks: str) -> None:
    held: list[Route] = []
    last = re.compile(r"partNumber=7\b")

    def hold(route: Route) -> None:
        if not held and (last.search(route.request.url) or '"number":7,' in (route.request.post_data or "")):
            held.append(route)
        else:
            route.continue_()

    owner.route(re.compile(r"/v1/uploads/\w+/parts$") if asks == "for leave to send" else last, hold)
    choose(owner, payload(LARGE))
    send(owner)
    expect(owner.get_by_role("progressbar", name="people.csv")).to_have_attribute(
        "aria-valuenow", re.compile("^2[4-9]")
    )
    [waiting] = call(owner, "GET", "v1/uploads")["items"]
    sent_elsewhere(owner, waiting["id"])
    held[0].continue_()
    upload = call(owner, "GET", f"v1/uploads/{ended(owner, followed(owner))}")
    assert (upload["id"], upload["state"], upload["loaded"]) == (waiting["id"], "completed", 6000)


def sent_elsewhere(page: Page, upload_id: str) -> None:
    """Send every part of the file, and have it made of them, as another tab does that has taken the upload up."""
    pieces = [LARGE[start : start + PART] for start in range(0, len(LARGE), PART)]
    wanted = [
        {"number": number, "sha256": base64.b64encode(hashlib.sha256(piece).digest()).decode()}
        for number, piece in enumerate(pieces, 1)
    ]
    ticket = call(page, "POST", f"v1/uploads/{upload_id}/parts", {"parts": wanted})
    answers = [
        httpx.put(part["url"], headers=part["headers"], content=piece).raise_for_status()
        for part, piece in zip(ticket["parts"], pieces, strict=True)
    ]
    parts = [{**one, "etag": answer.headers["etag"]} for one, answer in zip(wanted, answers, strict=True)]
    call(page, "POST", f"v1/uploads/{upload_id}/complete", {"parts": parts})


def test_a_part_whose_address_has_run_out_at_the_storage_is_given_a_fresh_one(owner: Page, deployed: Cloud) -> None:
    answers: list[int] = []
    owner.on("response", lambda answer: answers.append(answer.status) if FIRST.search(answer.url) else None)

    def brief(route: Route) -> None:
        """Have the first part's address be good for three seconds: no longer than the upload, which is then put back."""
        if answers or '"number":1,' not in (route.request.post_data or ""):
            route.continue_()
            return
        upload_id = route.request.url.split("/")[-2]
        closes(deployed, upload_id, 3)
        answer = route.fetch()
        closes(deployed, upload_id, 3600)
        route.fulfill(response=answer)

    def late(route: Route) -> None:
        if not answers:
            [signed] = parse_qs(urlsplit(route.request.url).query)["X-Amz-Date"]
            [lasts] = parse_qs(urlsplit(route.request.url).query)["X-Amz-Expires"]
            over = datetime.strptime(signed, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() + int(lasts) + 1
            time.sleep(max(0, over - time.time()))
        route.continue_()

    owner.route(re.compile(r"/v1/uploads/\w+/parts$"), brief)
    owner.route(FIRST, late)
    choose(owner, payload(LARGE))
    send(owner)
    assert call(owner, "GET", f"v1/uploads/{ended(owner, followed(owner))}")["loaded"] == 6000
    assert answers == [403, 200]


def test_an_upload_that_has_itself_expired_says_so_and_is_sent_anew(owner: Page, deployed: Cloud) -> None:
    owner.route(PARTS, lambda route: None)
    choose(owner, payload(LARGE))
    with owner.expect_request(PARTS):
        send(owner)
    owner.get_by_role("button", name="Pause people.csv").click()
    owner.unroute(PARTS)
    closes(deployed, call(owner, "GET", "v1/uploads")["items"][0]["id"], -10)
    owner.get_by_role("button", name="Resume people.csv").click()
    expect(owner.locator(".wrong")).to_contain_text("The upload has expired")
    owner.get_by_role("button", name="Try again people.csv").click()
    assert call(owner, "GET", f"v1/uploads/{ended(owner, followed(owner))}")["loaded"] == 6000


def test_corrections_that_expired_before_they_were_gone_on_with_are_corrections_when_sent_anew(
    owner: Page, deployed: Cloud
) -> None:
    first = uploaded(owner, b"id,name\n1,Ada\nx,Grace\n", schema=None)
    mended = b"id,name\n2,Grace\n"
    cut = call(owner, "POST", f"v1/uploads/{first}/retries", {"filename": "mended.csv", "size": len(mended)})
    closes(deployed, cut["id"], -10)
    owner.evaluate("location.hash = '#/upload'")
    owner.get_by_role("button", name="Go on with mended.csv").click()
    owner.get_by_label("Choose mended.csv").set_input_files([payload(mended, "mended.csv")])
    owner.get_by_role("button", name="Try again mended.csv").click()
    upload = call(owner, "GET", f"v1/uploads/{ended(owner, followed(owner))}")
    assert (upload["loaded"], upload["parent_id"]) == (1, first)


def closes(deployed: Cloud, upload_id: str, seconds: int) -> None:
    """Have the time be over in so many seconds in which this upload takes its file."""
    tables = deployed.client("dynamodb")
    [table] = [name for name in tables.list_tables()["TableNames"] if "upload" in name]
    pages = tables.get_paginator("scan").paginate(
        TableName=table, FilterExpression="upload_id = :id", ExpressionAttributeValues={":id": {"S": upload_id}}
    )
    [item] = [item for page in pages for item in page["Items"]]
    tables.update_item(
        TableName=table,
        Key={name: item[name] for name in ("tenant", "upload_id")},
        UpdateExpression="SET closes_at = :then",
        ExpressionAttributeValues={":then": {"N": str(int(time.time()) + seconds)}},
    )


def test_what_is_given_up_is_canceled_and_goes_from_the_list(owner: Page) -> None:
    created = call(owner, "POST", "v1/uploads", {"dataset": "people", "filename": "cut.csv", "size": len(LARGE)})
    owner.evaluate("location.hash = '#/upload'")
    owner.get_by_role("button", name="Give up cut.csv").click()
    expect(owner.get_by_text("cut.csv")).to_have_count(0)
    assert call(owner, "GET", f"v1/uploads/{created['id']}")["state"] == "canceled"


def test_what_is_taken_off_the_list_while_it_is_announced_is_canceled(owner: Page) -> None:
    held: list[Route] = []
    owner.route(
        re.compile(r"/v1/uploads$"),
        lambda route: held.append(route) if route.request.method == "POST" else route.continue_(),
    )
    choose(owner, payload(LARGE))
    with owner.expect_request(lambda request: request.method == "POST"):
        send(owner)
    owner.get_by_role("button", name="Cancel people.csv").click()
    expect(owner.get_by_text("people.csv")).to_have_count(0)
    with owner.expect_response(re.compile(r"/cancel$")):
        held[0].continue_()
    assert [one["state"] for one in call(owner, "GET", "v1/uploads")["items"]] == ["canceled"]


def test_hostile_names_are_text_and_a_phone_and_a_keyboard_are_enough(browser: Browser, deployed: Cloud) -> None:
    evil = "<img src=x onerror=alert(1)>"
    with visiting(browser, deployed, viewport=PHONE, color_scheme="dark") as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        signed_in(page)
        choose(page, payload(f"{evil},b\n{evil},2\n".encode(), f"{evil}.csv"))
        expect(page.get_by_text(f"{evil}.csv")).to_be_visible()
        assert_accessible(page)
        assert_fits(page)
        page.get_by_role("button", name="Upload", exact=True).focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("cell", name=evil)).to_be_visible()
        assert_accessible(page)
        assert_fits(page)
        assert page.locator("img[onerror]").count() == 0


def number(route: Route) -> int:
    """Of the part that is put."""
    return int(PARTS.findall(route.request.url)[0])
