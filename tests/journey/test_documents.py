"""What the documents tell people to type is typed: blocks of `sh` as they stand, and the README's session with its output.

Each page is one shell in a new account. What only shows (`console`) is not run, but for the README.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import clouds
from tests.journey.conftest import Account

ROOT = Path(__file__).resolve().parents[2]
# What each page comes to, if it works: a block whose commands all end well may still have done nothing.
PAGES = {
    # An undo of so few rows may be over before its request is answered.
    "api.md": ['"window_s": 86400', "304", '"row":2', '{"email":"ada@example.org"', '"revert', "[]"],
    "books.md": ['"title": "1984"', '"status": "success"', "rejected=5"],
    "coming-from.md": ["loaded=4", "\tloaded\t", '"success"', "range_exceeded", "s1\t2026-11-28", "skipped=4"],
    "metrics.md": ["uploads under way", '"rows_per_second"', "rowmill_request_seconds_sum"],
}
NOT_RUN = {"page.md"}  # builds the page, which `make test` does before
UPLOAD = r"upl_[0-9A-Z]{26}"

pytestmark = pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")


def typed(account: Account, folder: Path, script: str) -> str:
    """What a shell says on stdout and stderr, in a folder with the samples and docs; every command has to end well."""
    for name in ("samples", "docs"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    mine = {"ROWMILL_TOKEN": account.token, "XDG_CONFIG_HOME": str(folder)}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **account.cloud.environment, **mine, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=clouds.seconds(120),
    )
    assert done.returncode == 0, script + done.stdout
    return done.stdout


def scripts(page: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_a_page_works_as_it_stands(account: Account, tmp_path: Path, name: str) -> None:
    blocks = scripts((ROOT / "docs" / name).read_text())
    assert blocks
    told = typed(account, tmp_path, "\n".join(blocks))
    assert [fact for fact in PAGES[name] if fact not in told] == [], told


def test_no_page_with_commands_is_left_out() -> None:
    with_commands = {page.name for page in (ROOT / "docs").glob("*.md") if scripts(page.read_text())}
    assert with_commands == PAGES.keys() | NOT_RUN


def test_the_session_of_the_readme_comes_out_as_it_is_shown(account: Account, tmp_path: Path) -> None:
    """Its first block is what `make demo` prints, which is run before every release and takes longer."""
    (shown,) = re.findall(
        r"^```console\n(\$ make up.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    steps = re.findall(r"^\$ (.*?)\n(.*?)(?=^\$ |\Z)", shown, re.DOTALL | re.MULTILINE)
    assert [command.split()[0] for command, _ in steps] == ["make", "cat", "cat", *["rowmill"] * 3, "make"]
    upload = ""
    for command, output in steps[1:-1]:
        if command.startswith("cat "):
            (tmp_path / command.removeprefix("cat ")).write_text(output)
            continue
        given = re.sub(UPLOAD, upload, command)
        told = typed(account, tmp_path, f"{given} 2> notes || test $? -eq 3")
        if output:
            assert told.split() == output.split()
        upload = (re.findall(UPLOAD, (tmp_path / "notes").read_text()) or [upload])[0]
