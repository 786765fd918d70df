"""`python -m bench.campaign run|report|mutants`: the campaign from a command line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.campaign import drive, mutants, report
from bench.campaign.plan import draw
from bench.campaign.results import Kept
from bench.campaign.rig import Rig, standing
from bench.campaign.tenant import Tenant, digest, tenant


def main() -> int:
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it warns of writes to lines that a fault has cut
    arguments = _parser().parse_args()
    if arguments.command == "report":
        print(report.markdown(Kept.of_this_version()))
        return 0
    if arguments.command == "mutants":
        return mutants.run(arguments.names)
    seeds = arguments.only or range(arguments.first, arguments.first + arguments.seeds)
    return _run(seeds, again=arguments.again, until_red=arguments.until_red)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.campaign", description=__doc__)
    parser.add_argument("command", choices=("run", "report", "mutants"), nargs="?", default="run")
    parser.add_argument("names", nargs="*", help="mutants: which; all if none is named")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="run seeds that this version has results of, too")
    parser.add_argument("--only", type=int, nargs="+", metavar="SEED", help="these seeds instead")
    parser.add_argument("--until-red", action="store_true", help="stop at the first seed that breaks an invariant")
    return parser


def _run(seeds: Sequence[int], *, again: bool, until_red: bool) -> int:
    kept = Kept.of_this_version()
    todo = [seed for seed in seeds if again or not kept.has(seed)]
    while todo:
        done = _some(todo, kept)
        todo = [] if until_red and not kept.read(done[-1]).ok else todo[len(done) :]
    results = [kept.read(seed) for seed in seeds if kept.has(seed)]
    print(report.summary(results))
    return 0 if results and all(result.ok for result in results) else 1


def _some(todo: Sequence[int], kept: Kept) -> list[int]:
    """Run seeds on one cloud, up to the first red one: what that left half-done would be held against the next."""
    after: dict[int, tuple[str, str]] = {}
    with standing(Path(".rowmill/campaign").resolve()) as rig, tenant(rig) as bystander:
        bystander.settle_in()
        for seed in todo:
            if not _one(rig, bystander, kept, seed, after):
                break
        _look_again(rig, kept, after)
    return list(after)


def _one(rig: Rig, bystander: Tenant, kept: Kept, seed: int, after: dict[int, tuple[str, str]]) -> bool:
    """Run a seed and say what came of it; whether no invariant was broken. `after` keeps its tenant and rows."""
    logs = [(log, log.stat().st_size) for log in (rig.here.place.cloud_log, rig.here.place.postgres_log)]
    result, scene = drive.run(rig, draw(seed), lambda: digest(rig, [bystander.name]))
    kept.keep(result)
    after[seed] = (result.tenant, digest(rig, [result.tenant]))
    print(report.line(result), flush=True)
    for problem in report.problems(result):
        print(problem, flush=True)
    if not result.ok:
        print(f"  seed {seed}: evidence in {kept.keep_evidence(seed, scene, logs)}", flush=True)
    return result.ok


def _look_again(rig: Rig, kept: Kept, after: dict[int, tuple[str, str]]) -> None:
    """Nothing may have happened to a seed's rows since it was audited, whatever messages came late."""
    for seed, (name, rows) in after.items():
        if digest(rig, [name]) != rows:
            result = kept.read(seed)
            result.problems["I1"].append("its rows have changed since the audit")
            kept.keep(result)
            print("\n".join(report.problems(result)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
