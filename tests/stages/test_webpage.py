"""The page's doors and what they give out: with a build of it and without, kept by browsers as long as it holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chalice.test import Client
from chalice.test import HTTPResponse as Answer

from app import app
from chalicelib import webpage
from chalicelib.aws import s3
from chalicelib.errors import Refused
from tests import held
from tests.stages.conftest import Pipeline

INDEX = '<!doctype html><title>Rowmill</title><script type="module" src="./assets/a-1.js"></script>'
STORAGE = {"https://bucket.s3.example"}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A build of the page that is small enough to be read here."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text(INDEX)
    for name, text in (("a-1.js", "let word = 'ä';"), ("a-2.css", "p {}"), ("a-3.svg", "<svg/>"), ("a-4.map", "{}")):
        (tmp_path / "assets" / name).write_text(text)
    return tmp_path


def get(path: str, tag: str = "") -> Answer:
    answer = Client(app).http.get(path, headers={"If-None-Match": tag} if tag else {})
    held.answer("GET", path, answer.status_code, answer.headers, answer.body)
    return answer


def test_a_build_is_given_out_by_the_names_that_it_has_and_no_path(built: Path) -> None:
    assert webpage.index(built) == INDEX
    assert webpage.asset("a-1.js", built) == webpage.Asset("let word = 'ä';", "text/javascript")
    for name in ("../index.html", "a-4.map", "index.html", "", "..%2findex.html", "a-1.js/"):
        with pytest.raises(Refused, match="no such file") as refused:
            webpage.asset(name, built)
        assert refused.value.status == 404


def test_scripts_and_styles_are_the_pages_own_and_files_go_to_the_storage_alone(built: Path) -> None:
    policy = dict(one.split(" ", 1) for one in webpage.policy(STORAGE, built).split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' https://bucket.s3.example",
        "connect-src": "'self' https://bucket.s3.example",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_without_a_build_the_page_says_how_to_get_one_and_may_do_nothing(tmp_path: Path) -> None:
    text, policy = webpage.index(tmp_path), webpage.policy(STORAGE, tmp_path)
    assert "make web" in text and "<script" not in text
    assert "script-src" not in policy and "connect-src" not in policy and "style-src 'sha256-" in policy
    with pytest.raises(Refused, match="no such file"):
        webpage.asset("a-1.js", tmp_path)


def test_the_page_is_asked_for_each_time_and_sent_when_it_is_another(pipeline: Pipeline) -> None:
    answer = get("/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Content-Security-Policy"] == webpage.policy(s3.origins())
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.body.decode() == webpage.index()
    known = get("/", answer.headers["ETag"])
    assert (known.status_code, known.body) == (304, b"")
    assert known.headers["Content-Security-Policy"] == answer.headers["Content-Security-Policy"]


def test_what_the_page_is_made_of_is_kept_for_good(pipeline: Pipeline) -> None:
    if not webpage.assets():
        pytest.skip("the page is not built: make web")
    name = re.findall(r"assets/([^\"]+\.js)", webpage.index())[0]
    answer = get(f"/assets/{name}")
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.body.decode() == webpage.asset(name).text
    assert get(f"/assets/{name}", answer.headers["ETag"]).status_code == 304


def test_a_file_that_the_page_does_not_have_is_a_problem(pipeline: Pipeline) -> None:
    answer = get("/assets/none.js")
    assert (answer.status_code, answer.json_body["code"]) == (404, "asset_not_found")
