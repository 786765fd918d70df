"""`python -m bench.campaign run|report|mutants`: the campaign from a command line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.campaign import drive, mutants, report
from bench.campaign.plan import draw
from bench.campaign.rig import standing


def main() -> int:
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it warns of writes to lines that a fault has cut
    arguments = _parser().parse_args()
    if arguments.command == "report":
        print(report.markdown(report.all_versions()))
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
    kept = report.Kept.of_this_version()
    todo = [seed for seed in seeds if again or not kept.has(seed)]
    if todo:
        with standing(Path(".rowmill/campaign").resolve()) as rig, drive.tenant(rig) as bystander:
            bystander.settle_in()
            for seed in todo:
                result = drive.run(rig, draw(seed), lambda: drive.digest(rig, [bystander.name]))
                kept.keep(result)
                print(report.line(result), flush=True)
                for problem in report.problems(result):
                    print(problem, flush=True)
                if until_red and not result.ok:
                    break
    results = [kept.read(seed) for seed in seeds if kept.has(seed)]
    print(report.summary(results))
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
