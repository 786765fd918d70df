"""The page in a browser, against the deployed embedded cloud: what people see and do, and nothing behind it.

Chromium is the system's; without it, or without a build of the page, these tests are skipped. Whatever a test does,
the page may log no error: a breach of its Content-Security-Policy is one.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from chalicelib import webpage
from tests.journey.conftest import PEOPLE, Cloud

AXE = Path("web/node_modules/axe-core/axe.min.js")
PASSWORD = "correct horse"
PHONE = {"width": 390, "height": 844}
WIDE = {"width": 1440, "height": 900}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=15_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A module's: Playwright keeps an event loop, beside which other modules' asyncio could not run."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("no Chromium: apt-get install chromium")
    skip_unbuilt()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


def skip_unbuilt() -> None:
    """Without Node there is no page to look at."""
    if not (webpage.BUILT / "index.html").exists():
        pytest.skip("the page is not built: make web")


@pytest.fixture
def page(browser: Browser, deployed: Cloud) -> Iterator[Page]:
    """A browser of its own that shows the page, and nobody is signed in."""
    with visiting(browser, deployed) as one:
        yield one


@contextlib.contextmanager
def visiting(browser: Browser, deployed: Cloud, **options: Any) -> Iterator[Page]:
    """Another browser: `viewport`, `color_scheme` and whatever else a context takes. Fails if the page logs an error."""
    context = browser.new_context(**{"viewport": WIDE, **options})
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if _is_error(message) else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{deployed.instance.api_url}/")
    try:
        yield page
    finally:
        context.close()
    assert not wrong, wrong


def _is_error(message: ConsoleMessage) -> bool:
    # The browser itself notes every answer above 399 and every lost connection, which the page may well handle.
    return message.type == "error" and not message.text.startswith("Failed to load resource")


def signed_in(page: Page) -> str:
    """A new account, signed up for on the page; its name."""
    name = f"user-{uuid.uuid4().hex[:12]}"
    page.get_by_role("button", name="Create an account").click()
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create the account").click()
    expect(page.get_by_role("heading", name="Uploads", exact=True)).to_be_visible()
    return name


def go(page: Page, path: str) -> None:
    """Go to a view, such as `/settings`, as its link does."""
    page.evaluate("path => { location.hash = path; }", path)


def call(page: Page, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """Ask the API as the page does, by its cookies; `path` is such as `v1/uploads`. Fails where that is refused."""
    status, text = page.evaluate(
        """async ([method, path, body]) => {
            const headers = body === null ? {} : { "Content-Type": "application/json" };
            const answer = await fetch(path, { method, headers, body });
            return [answer.status, await answer.text()];
        }""",
        [method, path, None if body is None else json.dumps(body)],
    )
    assert status < 400, text
    return json.loads(text) if text else None


def uploaded(
    page: Page, body: bytes, dataset: str = "people", schema: Mapping[str, Any] | None = PEOPLE, **announced: Any
) -> str:
    """A file that the account on this page has sent by the API, to its end; the upload's id."""
    if schema:
        call(page, "PUT", f"v1/datasets/{dataset}", schema)
    wanted = {"dataset": dataset, "filename": "a.csv", "size": len(body), "content_type": "text/csv", **announced}
    created = call(page, "POST", "v1/uploads", wanted)
    form = created["upload"]
    httpx.post(form["url"], data=form["fields"], files={"file": body}).raise_for_status()
    return ended(page, created["id"])


def ended(page: Page, upload_id: str, seconds: float = 30) -> str:
    """Wait until it is over; its id."""
    deadline = time.monotonic() + seconds
    while call(page, "GET", f"v1/uploads/{upload_id}")["status"] in ("pending", "processing"):
        assert time.monotonic() < deadline, "it did not end"
        page.wait_for_timeout(100)
    return upload_id


def assert_accessible(page: Page) -> None:
    """axe-core finds nothing, in the state that the page is in."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE.read_text())  # by the debugger: the policy lets no script in
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    told = [f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes'][:3]]}" for one in found]
    assert not told, "\n".join(told)


def assert_fits(page: Page) -> None:
    """Nothing sticks out to the side."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
