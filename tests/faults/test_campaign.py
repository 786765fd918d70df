"""The fault campaign in small: five seeds on a cloud of their own, and proof that its parts can tell right from wrong."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from bench.campaign import drive, files, mutants, oracle
from bench.campaign.audit import audit
from bench.campaign.plan import draw
from bench.campaign.results import Kept
from bench.campaign.rig import Rig, standing
from bench.campaign.scene import Scene, Seen, Sent
from bench.campaign.tenant import Tenant, digest, tenant
from infra.local.cloud import CHECKOUT

SEEDS = (1, 2, 3, 4, 5)
SOME_PLANS = [draw(seed) for seed in range(1, 40)]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with standing(tmp_path_factory.mktemp("campaign")) as rig:
        yield rig


@pytest.fixture(scope="module")
def bystander(rig: Rig) -> Iterator[Tenant]:
    with tenant(rig) as account:
        account.settle_in()
        yield account


@pytest.mark.parametrize("seed", SEEDS)
def test_no_invariant_is_broken_by_a_seed_of_faults(rig: Rig, bystander: Tenant, seed: int) -> None:
    result, _ = drive.run(rig, draw(seed), lambda: digest(rig, [bystander.name]))
    assert result.ok, result.problems
    assert result.hits, "no fault has hit"


@pytest.fixture(scope="module")
def scene(rig: Rig) -> Scene:
    """What a seed without a fault leaves."""
    drawn = [*draw(6).uploads, *draw(7).uploads[-2:]]  # with rejects that are read again, and one that is refused
    uploads = tuple(replace(each, event="once", fate="", whole="", undone=False) for each in drawn)
    with tenant(rig) as account:
        return drive.Seed(rig, replace(draw(6), uploads=uploads, faults=(), skew=(), hides=False), account).run()


def test_a_red_seed_leaves_what_its_invariants_were_judged_by(tmp_path: Path) -> None:
    """Which rejects a retry took up, and whose they were, are in no other file."""
    sent = Sent(draw(1).uploads[0], "upl_2", b"a\n1\n", parent="upl_1")
    seen = Seen(sent, {"number": 2}, [], {}, [], {}, [{"jws": "a.b.c"}], taken=[3, 5])
    folder = Kept(tmp_path).keep_evidence(1, Scene([seen], {}), [])
    (told,) = json.loads((folder / "uploads.json").read_text())
    assert (told["upload_id"], told["parent"], told["taken"], told["receipts"]) == (
        "upl_2",
        "upl_1",
        [3, 5],
        [{"jws": "a.b.c"}],
    )


def _lose_a_row(scene: Scene) -> None:
    table = next(iter(scene.tables.values()))
    table.pop(next(iter(table)))


def _double_a_row(scene: Scene) -> None:
    shape, table = next(iter(scene.tables.items()))
    (number, record), cells = next(iter(table.items()))
    table[number, record + 10**6] = cells
    scene.copies[shape] = 1


def _count_one_more(scene: Scene) -> None:
    scene.uploads[0].chunks[0]["loaded"] += 1


def _leave_a_chunk_queued(scene: Scene) -> None:
    scene.uploads[0].chunks[0]["state"] = "queued"


def _show_an_older_state(scene: Scene) -> None:
    scene.uploads[0].item["state"] = "processing"


def _announce_twice(scene: Scene) -> None:
    scene.uploads[0].events.append((f"evt_{scene.uploads[0].sent.upload_id[4:]}_2", "completed"))


def _show_a_part(scene: Scene) -> None:
    seen = scene.uploads[0]
    seen.sent = replace(seen.sent, upload=replace(seen.sent.upload, whole="budget"))
    seen.ledger["state"] = "failed"


def _lose_a_chunk(scene: Scene) -> None:
    scene.uploads[0].chunks.pop(0)


def _lose_a_receipt(scene: Scene) -> None:
    scene.uploads[0].receipts.clear()


def _forge_a_receipt(scene: Scene) -> None:
    """The same, signed by somebody else."""
    receipt = scene.uploads[0].receipts[0]
    receipt["jws"] = receipt["jws"][:-86] + "A" * 86


def _take_up_twice(scene: Scene) -> None:
    """A reject that one retry has taken up is in by the other, too.

    The one whose fixes mend everything may have been first, and the other found nothing to take up.
    """
    least, most = sorted((seen for seen in scene.uploads if seen.sent.parent), key=lambda seen: len(seen.taken))
    least.taken.append(most.taken[-1])
    scene.tables["sales"][least.number, len(least.taken)] = ()


def _lose_a_correction(scene: Scene) -> None:
    retry = next(seen for seen in scene.uploads if seen.sent.parent and seen.taken)
    scene.tables["sales"].pop((retry.number, 1))


def _count_a_correction_twice(scene: Scene) -> None:
    parent = next(seen for seen in scene.uploads if seen.sent.upload.fixes)
    parent.item["retries"] = parent.item["retries"].replace('"resolved": ', '"resolved": 1')


def _load_what_was_refused(scene: Scene) -> None:
    refused = next(seen for seen in scene.uploads if seen.sent.upload.verdict)
    scene.tables["sales"][refused.number, 1] = ()


def _hold_nothing(scene: Scene) -> None:
    held = next(seen for seen in scene.uploads if seen.sent.upload.verdict)
    held.events = [event for event in held.events if event[1] != "needs_review"]


@pytest.mark.parametrize(
    ("harm", "broken"),
    [
        (_lose_a_row, "I1"),
        (_double_a_row, "I1"),
        (_count_one_more, "I2"),
        (_leave_a_chunk_queued, "I3"),
        (_show_an_older_state, "I4"),
        (_announce_twice, "I5"),
        (_lose_a_chunk, "I6"),
        (_lose_a_receipt, "I9"),
        (_forge_a_receipt, "I9"),
        (_show_a_part, "I10"),
        (_take_up_twice, "I11"),
        (_lose_a_correction, "I11"),
        (_count_a_correction_twice, "I11"),
        (_load_what_was_refused, "I12"),
        (_hold_nothing, "I12"),
    ],
)
def test_the_audit_names_the_invariant_that_is_broken(scene: Scene, harm: Callable[[Scene], None], broken: str) -> None:
    assert not any(audit(scene).values())
    harmed = deepcopy(scene)
    harm(harmed)
    assert audit(harmed)[broken]


def test_a_seed_draws_the_same_plan_and_the_same_files_every_time() -> None:
    assert draw(7) == draw(7) != draw(8)
    assert [files.write(each.recipe) for each in draw(7).uploads] == [
        files.write(each.recipe) for each in draw(7).uploads
    ]


@pytest.mark.parametrize("plan", SOME_PLANS[:12], ids=lambda plan: f"seed {plan.seed}")
def test_the_oracle_reads_files_as_the_csv_module_does(plan: object) -> None:
    for upload in plan.uploads:  # type: ignore[attr-defined]
        data = files.write(upload.recipe)
        rows = [row for row in csv.reader(io.StringIO(data.decode(), newline="")) if row][1:]
        assert [list(record.cells) for record in oracle.read(data)] == rows


def test_of_the_seeds_every_kind_of_harm_is_drawn() -> None:
    kinds = {kind for plan in SOME_PLANS for kind in plan.kinds}
    assert {
        "cancel",
        "redrive",
        "revert",
        "kill undo after COMMIT",
        "clock skew",
        "S3 event lost",
        "ambiguous COMMIT (load)",
        "fix",
        "kill rerun before COMMIT",
        "held, then confirm",
        "held, then cancel",
        "ambiguous COMMIT (review)",
    } <= kinds


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_fits_the_code(mutant: mutants.Mutant) -> None:
    for change in mutant.changes:
        assert (CHECKOUT / change.file).read_text().count(change.old) == 1
