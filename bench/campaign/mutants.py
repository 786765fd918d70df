"""Shows that the campaign can fail: each mutant is a known mistake, planted by text replacement into a copy.

A mutant is killed when a seed of its own goes red. One that no longer fits the text is an error: the code has
moved on, and the mistake has to be planted anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bench.campaign.plan import Plan, draw
from bench.campaign.results import Kept, Result
from infra.local.cloud import CHECKOUT

COPIED = ("app.py", "chalicelib", "infra", "client", "bench", ".chalice", "requirements.lock", "pyproject.toml")
MOST_SEEDS = 6


@dataclass(frozen=True, slots=True)
class Change:
    """One replacement; `old` must be there exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake, and which seeds could show it."""

    name: str
    changes: tuple[Change, ...]
    shows: Callable[[Plan], bool]


def strikes(*words: str) -> Callable[[Plan], bool]:
    """Seeds with a fault whose kind holds one of these words."""
    return lambda plan: any(word in kind for kind in plan.kinds for word in words)


def _upserts(plan: Plan) -> bool:
    rivals = sum(upload.wave for upload in plan.uploads if upload.recipe.shape == "stock")
    return rivals == 1 and any(upload.mode == "upsert" and upload.wave for upload in plan.uploads)


def _undoes_an_upsert(plan: Plan) -> bool:
    """Over rows that were there before."""
    old = {upload.recipe.shape for upload in plan.uploads if not upload.wave}
    return any(
        upload.undone and upload.mode == "upsert" and not upload.fate and upload.recipe.shape in old
        for upload in plan.uploads
    )


def _reads_again(plan: Plan) -> bool:
    return any(upload.fixes for upload in plan.uploads)


def _holds(plan: Plan) -> bool:
    return any(upload.verdict for upload in plan.uploads)


def _publishes(plan: Plan) -> bool:
    """Whatever end is struck is a publication's."""
    return all(upload.whole == "budget" for upload in plan.uploads if upload.wave)


MUTANTS = (
    Mutant(
        "mark-done-after-commit",
        (
            Change(
                "chalicelib/load.py",
                "        manifest.record_loaded(db, work.key, counts, prepared.sha256)\n",
                "    manifest.record_loaded(db, work.key, counts, prepared.sha256)\n",
            ),
        ),
        strikes("kill load after COMMIT", "ambiguous COMMIT (load)"),
    ),
    Mutant(
        "blind-counter",
        (
            Change(
                "chalicelib/postgres/ledger.py",
                "NOT EXISTS (\n                       SELECT FROM rowmill.chunk c"
                " WHERE c.upload = u.number AND c.state = 'queued') AS is_all_in",
                "chunks_total <= (SELECT sum(attempts) FROM rowmill.chunk c WHERE c.upload = u.number) AS is_all_in",
            ),
        ),
        strikes("kill load", "cut before"),
    ),
    Mutant(
        "delete-before-status",
        (
            Change(
                "chalicelib/report.py",
                "    grown = projection.ranked(seen)\n",
                "    grown = projection.ranked(seen)\n"
                "    projection.mark_end_shown(connection(), number, seen['generation'])\n",
            ),
        ),
        strikes("kill before the end is shown", "DynamoDB down at the end"),
    ),
    Mutant(
        "quote-parity-splitter",
        (
            Change(
                "chalicelib/formats/grammar.py",
                "    return _proved(window, dialect, final) or _tokenized(window, dialect, final)\n",
                "    found = _Parity(window, len(window), 0, 0, dialect, 0).borders()\n"
                "    if final and found[-1:] != [len(window)]:\n"
                "        found.append(len(window))\n"
                "    size = found[-1] if found else 0\n"
                "    return _Parity(window, size, len(found), line_count(window[:size]), dialect, size)\n\n\n"
                "class _Parity(Region):\n"
                "    def borders(self) -> list[int]:\n"
                "        found, open_, at = [], False, 0\n"
                "        for line in self.data.splitlines(keepends=True):\n"
                "            at += len(line)\n"
                "            open_ ^= bool(line.count(b'\"') % 2)\n"
                "            if not open_:\n"
                "                found.append(at)\n"
                "        return found\n",
            ),
        ),
        lambda plan: True,
    ),
    Mutant(
        "only-the-last-worker-finishes",
        (
            Change(
                "chalicelib/load.py",
                "            manifest.bury_spent(db, key)\n",
                "            manifest.bury_spent(db, key)\n            return None\n",
            ),
            Change(
                "chalicelib/mend.py",
                "    due = projection.list_due(connection())\n",
                "    due: list[Number] = []\n",
            ),
            Change(
                "chalicelib/split.py", "        return upload.number if upload else None\n", "        return None\n"
            ),
        ),
        strikes("kill before the end is drawn"),
    ),
    Mutant(
        "last-delivery-wins",
        (
            Change(
                "chalicelib/postgres/replay.py",
                "            WHERE excluded._row > t._row OR NOT ({own})\n",
                "",
            ),
        ),
        _upserts,
    ),
    Mutant(
        "a-receipt-without-settle",
        (
            Change(
                "chalicelib/attest.py",
                "digests.settled(db, upload.number, upload.reading) or None",
                "None",
            ),
        ),
        lambda plan: True,
    ),
    Mutant(
        "plan-made-anew",
        (
            Change(
                "chalicelib/split.py",
                '    if upload.plan:\n        return upload, upload.plan, b""\n',
                "    forget = 'UPDATE rowmill.upload SET plan = NULL WHERE number = %s'\n"
                "    connection().execute(forget, (upload.number,))\n",
            ),
        ),
        strikes("redeploy split"),
    ),
    Mutant(
        "undo-forgets-updated-rows",
        (
            Change(
                "chalicelib/postgres/befores.py",
                "        restored = self._halving(self._restore, self._low, self._high)\n",
                "        restored = 0\n",
            ),
        ),
        _undoes_an_upsert,
    ),
    Mutant(
        "publish-in-two-transactions",
        (
            Change(
                "chalicelib/publishing.py",
                "            publish.publish(db, stage, upload.mode, lost)\n",
                "            publish.publish(db, stage, upload.mode, lost)\n"
                "            db.execute('COMMIT AND CHAIN')\n            db.execute('SELECT 1').fetchone()\n",
            ),
        ),
        lambda plan: _publishes(plan) and strikes("before the end is drawn")(plan),
    ),
    Mutant(
        "a-reject-taken-up-twice",
        (
            Change(
                "chalicelib/postgres/taken.py", "c.number = t.upload WHERE c.holds", "c.number = t.upload WHERE false"
            ),
        ),
        _reads_again,
    ),
    Mutant(
        "a-rerun-that-forgets-what-it-took-up",
        (
            Change(
                "chalicelib/load.py",
                'if prepared.origins and work.reading == "load":',
                'if prepared.origins and work.reading == "load" and "fix" not in upload.options:',
            ),
        ),
        _reads_again,
    ),
    Mutant(
        "taken-up-before-the-piece",
        (
            Change(
                "chalicelib/rerun.py",
                "        return ledger.keep_piece(db, upload.number, {**piece,",
                "    return ledger.keep_piece(db, upload.number, {**piece,",
            ),
        ),
        strikes("kill rerun after COMMIT", "ambiguous COMMIT (rerun)"),
    ),
    Mutant(
        "a-hold-that-loads",
        (
            Change(
                "chalicelib/settle.py", 'is_held = is_unlike and seen["options"]', 'is_held = False and seen["options"]'
            ),
        ),
        _holds,
    ),
    Mutant(
        "a-review-that-tells-nobody",
        (
            Change(
                "chalicelib/postgres/passes.py",
                "generation, 'needs_review'\n        FROM moved",
                "generation, 'needs_review'\n        FROM moved WHERE generation > 1",
            ),
        ),
        _holds,
    ),
    Mutant(
        "wait-for-what-is-in-hand",
        (Change("chalicelib/aws/sqs.py", 'for kind in ("", "Delayed")', 'for kind in ("", "NotVisible", "Delayed")'),),
        lambda plan: plan.hides and strikes("kill split after pin")(plan),
    ),
)


def run(names: list[str]) -> int:
    """Plant and hunt each mutant; how many survived."""
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    kept, survivors = Kept.of_this_version(), []
    for mutant in chosen:
        seeds = list(_seeds(mutant))
        red = _hunt(mutant, seeds)
        broke = ", ".join(name for name, sentences in red.problems.items() if sentences) if red else ""
        kept.keep_mutant(mutant.name, {"seed": red.seed if red else None, "broke": broke, "of": seeds})
        print(f"mutant {mutant.name}: {f'RED at seed {red.seed}: {broke}' if red else f'SURVIVED {seeds}'}", flush=True)
        survivors += [] if red else [mutant.name]
    named = f" {survivors}" if survivors else ""
    print(f"mutants: {len(chosen) - len(survivors)} red, {len(survivors)} survived{named}")
    return len(survivors)


def _seeds(mutant: Mutant) -> Iterator[int]:
    """The first seeds that could show it."""
    return islice((seed for seed in range(1, 1000) if mutant.shows(draw(seed))), MOST_SEEDS)


def _hunt(mutant: Mutant, seeds: list[int]) -> Result | None:
    """The first seed that goes red in a copy with the mutant in it."""
    copy = CHECKOUT / ".rowmill" / "mutants" / mutant.name
    shutil.rmtree(copy, ignore_errors=True)
    _copy(copy)
    for change in mutant.changes:
        _plant(copy / change.file, change)
    command = [sys.executable, "-m", "bench.campaign", "run", "--until-red", "--only", *map(str, seeds)]
    environment = {**os.environ, "PYTHONPATH": f"{copy}:{copy / 'client'}"}
    with (copy / "campaign.log").open("wb") as log:
        done = subprocess.run(command, cwd=copy, env=environment, stdout=log, stderr=log, check=False)
    reds = [result for result in Kept.of_version_in(copy).all() if not result.ok]
    if bool(reds) != bool(done.returncode):
        raise RuntimeError(f"the campaign on {mutant.name} broke down: see {copy / 'campaign.log'}")
    return reds[0] if reds else None


def _copy(target: Path) -> None:
    target.mkdir(parents=True)
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / name)


def _plant(path: Path, change: Change) -> None:
    text = path.read_text()
    if text.count(change.old) != 1:
        raise RuntimeError(f"{change.file} holds this {text.count(change.old)} times, not once:\n{change.old}")
    path.write_text(text.replace(change.old, change.new))
