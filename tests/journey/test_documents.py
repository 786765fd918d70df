"""What the documents tell people to type is typed: blocks of `sh` as they stand, those of `console` with what they show.

Each page is one shell in a new account. What is not run here is named, with the reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from infra.local.database import _package
from tests import clouds
from tests.journey.conftest import Account

ROOT = Path(__file__).resolve().parents[2]
# What each page's blocks of `sh` come to, if they work: one whose commands all end well may still have done nothing.
PAGES = {
    # An undo of so few rows may be over before its request is answered.
    "api.md": ['"window_s": 86400', "304", '"row":2', '{"email":"ada@example.org"', '"revert', "[]"],
    "books.md": ['"title": "1984"', '"status": "success"', "rejected=5"],
    "coming-from.md": ["loaded=4", "\tloaded\t", '"success"', "range_exceeded", "s1\t2026-11-28", "skipped=4"],
    "metrics.md": ["uploads under way", '"rows_per_second"', "rowmill_request_seconds_sum"],
}
NOT_RUN = {"page.md"}  # builds the page, which `make test` does before
CONTACTS = {
    "fields": [
        {"name": "email", "type": "string", "constraints": {"required": True, "unique": True}},
        {"name": "name", "type": "string"},
        {"name": "since", "type": "date"},
    ]
}
BEGIN = (
    f"""
echo '{json.dumps(CONTACTS)}' > contacts.json
"""
    + r"""
printf 'email,name,since\nada@example.org,Ada,2024-02-29\n' > contacts.csv
put() {
  curl -s -f -o /dev/null -X PUT -H "Authorization: Bearer $ROWMILL_TOKEN" -H "Content-Type: application/json" \
    "$ROWMILL_API/v1/datasets/$1" -d "@${2:-contacts}.json"
}
put contacts
sent() { UPL=$(rowmill upload "$1" --dataset "$2" --json 2> /dev/null | jq -r .id) || true; }
session() {
  curl -s -f "$ROWMILL_API/v1/auth/signup" -H "Content-Type: application/json" \
    -d "{\"username\": \"$1\", \"password\": \"correct horse\"}" | jq -r .access
}
"""
)
UNDONE = """
FIRST=$UPL
put undone
sent contacts.csv undone
rowmill dataset set-row undone cy@example.org name=Cyd
rowmill revert $UPL --wait || test $? -eq 4
rowmill receipt $UPL -o receipt.json
UPL=$FIRST
"""
PACKED = """
gzip -k contacts.csv
put packed
sent contacts.csv.gz packed
rowmill receipt $UPL -o receipt.json
"""
REJECTED = """
python - <<'END'
days = {19, 90211, *range(100, 310)}
blank = {3, 88004, *range(400, 440)}
with open("contacts.csv", "w") as file:
    print("email,name,since", file=file)
    for line in range(2, 90301):
        email = "" if line in blank else f"user{line}@example.org"
        print(f"{email},Ada,{'2024-02-30' if line in days else '2024-02-29'}", file=file)
END
sent contacts.csv contacts
rowmill rejects $UPL --format csv --output bad.csv
sed -i -E 's/2024-02-30(\\r)$/2024-02-29\\1/; s/^([0-9]+)(.*),,Ada/\\1\\2,corrected\\1@example.org,Ada/' bad.csv
"""
CAUSES = """
python - <<'END'
fields = [{"name": "id", "type": "integer", "constraints": {"required": True}}]
fields += [{"name": name, "type": "date"} for name in ("sold", "paid")]
fields += [{"name": name, "type": "number"} for name in ("price", "tax")]
import json
with open("sales.json", "w") as file:
    json.dump({"fields": fields}, file)
with open("sales.csv", "w") as file:
    print("id;sold;paid;price;tax", file=file)
    for row in range(1, 19001):
        day, month, wrong = row % 28 + 1, row % 12 + 1, row % 10 if row > 9000 else None
        date = f"{day:02}/{month:02}/2023" if wrong in (1, 3, 4, 5, 7) else f"2023-{month:02}-{day:02}"
        price = f"1.{row % 1000:03},5" if wrong in (6, 8, 9) else "1000.5"
        print(f"{'' if wrong in (0, 2) else row};{date};{date};{price};{price}", file=file)
END
put sales sales
sent sales.csv sales
"""
# Of pages with blocks of `console`: what is done before each of them, in the page's order.
BEFORE = {
    "README.md": [""],
    "api.md": [""],
    "cli.md": ["mkdir -p ~/.config/fish/completions"],
    "erasure.md": [
        f"{BEGIN} sent contacts.csv contacts",
        "unset ROWMILL_TOKEN; echo 'correct horse' | rowmill signup eve@example.org --password-stdin",
        "ACCESS=$(session eve@example.org)",
    ],
    "receipts.md": [
        BEGIN,
        UNDONE,
        "",
        "rowmill receipt $UPL -o receipt.json; sed s/Ada,/Eda,/ contacts.csv > other.csv",
        PACKED,
    ],
    "rejects.md": [f"{BEGIN} {REJECTED}", CAUSES],
    "sharing.md": [f"{BEGIN} BOB=$(session bob@example.org); DST=$(rowmill dataset get contacts --json | jq -r .id)"],
    "undo.md": [f"{BEGIN} sent contacts.csv contacts"],
    "webhooks.md": [""],
}
# Not typed, by how they begin.
BY_HAND = {
    "make ": "the cloud of these tests stands for it; `make demo` is run before every release",
    "export AWS_": "an account of AWS",
    "export DATABASE_URL=": "as before",
    "ROWMILL_TEST_CLOUD=aws": "as before",
    "python -m infra plan --stage": "tests/journey/test_plan.py plans and deploys a cloud of its own",
    "python -m infra up --stage": "tests/journey/test_plan.py, too",
    "python -m infra doctor --stage $S --mend": "tests/journey/rare.py has it mend",
    "python -m infra down": "the cloud is the tests'",
    **dict.fromkeys(
        ("pg_dump ", "createdb ", "RESTORED=", "pg_restore ", 'psql "$RESTORED"'),
        "a restore of all that the tests have loaded takes long; tests/stages/test_recovery.py has what follows it",
    ),
    "aws sqs start-message-move-task": "the embedded cloud does not have it, as the page says",
    "rowmill upload contacts.csv --dataset contacts --option notify.email=": "tests/journey/test_webhooks.py sends mail",
}
RUNBOOK = {
    "psql": {"psql"},
    "python": {"python"},
    "aws": {"aws", "queue()", "echo"},
}
IDS = r"\b(upl|usr|dst|whk)_([0-9A-Z]{26}|[0-9a-f]{32}|…)"
MAKES = {"rowmill upload": "upl", "rowmill webhook add": "whk"}
SERVER = str(_package() / "pginstall" / "bin")

pytestmark = pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")


def typed(account: Account, folder: Path, script: str) -> str:
    """What a shell says on stdout and stderr, in a folder with the samples and docs; every command has to end well."""
    for name in ("samples", "docs"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    mine = {"ROWMILL_TOKEN": account.token, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / ".config")}
    mine |= {"PYTHONPATH": str(ROOT), "S": "local"}
    path = f"{Path(sys.executable).parent}:{SERVER}:{os.environ['PATH']}"
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


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def steps(block: str) -> list[tuple[str, str]]:
    """Each command of a session that is to be typed, and what it shows."""
    found = re.findall(r"^\$ (.*?)\n(.*?)(?=^\$ |\Z)", block, re.DOTALL | re.MULTILINE)
    return [(command, shown) for command, shown in found if not command.startswith(tuple(BY_HAND))]


def sessions(page: Path) -> list[list[tuple[str, str]]]:
    shown = [block for block in blocks(page, "console") if not block.startswith("$ make demo")]
    return [found for block in shown if (found := steps(block))]


def page_of(name: str) -> Path:
    return ROOT / name if (ROOT / name).exists() else ROOT / "docs" / name


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_a_page_works_as_it_stands(account: Account, tmp_path: Path, name: str) -> None:
    told = typed(account, tmp_path, "\n".join(blocks(page_of(name), "sh")))
    assert [fact for fact in PAGES[name] if fact not in told] == [], told


@pytest.mark.parametrize("name", BEFORE)
def test_every_session_comes_out_as_it_is_shown(account: Account, tmp_path: Path, name: str) -> None:
    found = sessions(page_of(name))
    lines = ["set +o pipefail"]
    for number, (before, session) in enumerate(zip(BEFORE[name], found, strict=True)):
        lines.append(before)
        lines += [as_typed(command, shown, f"said.{number}.{at}") for at, (command, shown) in enumerate(session)]
    typed(account, tmp_path, "\n".join(lines))
    for number, session in enumerate(found):
        for at, (command, shown) in enumerate(session):
            said = [(tmp_path / f"said.{number}.{at}.{end}").read_text() for end in ("out", "err")]
            assert differences(shown, *said) == [], command


@pytest.mark.parametrize("tool", ["psql", "python", "aws"])
def test_every_command_of_the_runbook_works(account: Account, tmp_path: Path, tool: str) -> None:
    """Those with a tool, by what each begins with; none may fail."""
    if tool == "aws" and not shutil.which(tool):
        pytest.skip("needs the AWS command line")
    found = [command for session in sessions(page_of("OPERATIONS.md")) for command, _ in session]
    assert {command.split()[0] for command in found} == set(chain.from_iterable(RUNBOOK.values()))
    aws = 'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }'
    told = typed(account, tmp_path, "\n".join([aws, *(one for one in found if one.split()[0] in RUNBOOK[tool])]))
    assert {"psql": "waits_for", "python": "uploads looked at", "aws": '"uploads_seen"'}[tool] in told


def test_a_receipt_is_what_its_page_shows(account: Account) -> None:
    """Member for member, but for ids and moments; and its digest is what the page's statement comes to."""
    page = page_of("receipts.md")
    (file,) = (shown for command, shown in sessions(page)[0] if command == "cat contacts.csv")
    account.dataset(CONTACTS, "contacts")
    upload = account.start(file.encode(), "contacts")
    account.ended(upload)
    found = account.rowmill.get_receipt(upload)["receipt"]
    (shown,) = blocks(page, "json")
    assert unlike(json.loads(shown), found) == []
    ((number, dataset),) = account.cloud.sql("SELECT number, dataset FROM rowmill.upload WHERE upload_id = %s", upload)
    (statement,) = blocks(page, "sql")
    (sums,) = account.cloud.sql(
        statement.replace("data.d_1", f"data.d_{dataset}").replace(">> 32 = 1", f">> 32 = {number}")
    )
    assert "".join(f"{int(part) % 2**64:016x}" for part in sums) == found["table"]["digest"]


def as_typed(command: str, shown: str, place: str) -> str:
    """For the shell: what is said goes into two files, and an id is that of what the session made last of its kind."""
    makes = next(
        (
            f"{kind.upper()}=$(grep -oE '{kind}_[0-9A-Z]{{26}}' {place}.err | tail -1)"
            for words, kind in MAKES.items()
            if command.startswith(words)
        ),
        "",
    )
    if re.fullmatch(r"cat \S+\.(csv|json)", command):
        command = f"{command.replace('cat', 'cat >')} <<'END'\n{shown}END\n{command}"
    given = re.sub(IDS, lambda found: f"${found[1].upper()}", command)
    return f"{{ {given}\n}} > {place}.out 2> {place}.err || case $? in 3|4) ;; *) cat {place}.*; exit 1;; esac\n{makes}"


def differences(shown: str, out: str, err: str) -> list[str]:
    """Lines that are shown and were not said, and those of stdout that are not shown; if any are, and none is a `…`."""
    wanted = [pattern(line) for line in shown.splitlines()]
    said = [" ".join(line.split()) for line in (out + err).splitlines()]
    missing = [one for one in wanted if not any(re.fullmatch(one, line) for line in said)]
    hidden = [line for line in said[: len(out.splitlines())] if not any(re.fullmatch(one, line) for one in wanted)]
    return [*missing, *(hidden if wanted else [])]


def pattern(line: str) -> str:
    """A shown line, with any ids and moments, and with anything for `…`."""
    masked = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "…", re.sub(IDS, r"\1_…", line))
    return ".*".join(re.escape(part) for part in " ".join(masked.split()).split("…"))


def unlike(shown: Any, found: Any, place: str = "receipt") -> list[str]:
    """Where they differ; ids, moments and the file's name may, and members stand for others where one is a `…`."""
    if isinstance(shown, dict):
        names = shown.keys() - {"…"} if "…" in shown else shown.keys() | found.keys()
        return list(chain.from_iterable(unlike(shown.get(name), found.get(name), f"{place}.{name}") for name in names))
    if isinstance(shown, str) and re.search(r"_at$|_id$|_until$|_from$|\.id$|\.name$", place):
        return [] if type(shown) is type(found) else [place]
    return [] if shown == found else [f"{place}: {shown} is {found}"]


def test_no_page_with_commands_is_left_out() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    assert {page.name for page in pages if blocks(page, "sh")} == PAGES.keys() | NOT_RUN
    assert {page.name for page in pages if sessions(page)} == BEFORE.keys() | {"OPERATIONS.md"}
