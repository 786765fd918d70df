"""`python -m bench.campaign run|report|mutants`: the campaign from a command line."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

from bench.campaign import drive, report
from bench.campaign.plan import draw
from bench.campaign.rig import Rig, standing


def main() -> int:
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it warns of writes to lines that a fault has cut
    arguments = _parser().parse_args()
    if arguments.command == "report":
        print(report.markdown(report.all_versions()))
        return 0
    return _run(range(arguments.first, arguments.first + arguments.seeds), again=arguments.again)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.campaign", description=__doc__)
    parser.add_argument("command", choices=("run", "report"), nargs="?", default="run")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="run seeds that this version has results of, too")
    return parser


def _run(seeds: range, *, again: bool) -> int:
    kept = report.Kept.of_this_version()
    todo = [seed for seed in seeds if again or not kept.has(seed)]
    if todo:
        with standing(Path(".rowmill/campaign").resolve()) as rig, drive.tenant(rig) as bystander:
            _settle(rig, bystander)
            for seed in todo:
                result = drive.run(rig, draw(seed), lambda: drive.digest(rig, [bystander.name]))
                kept.keep(result)
                print(report.line(result), flush=True)
                for problem in report.problems(result):
                    print(problem, flush=True)
    results = [kept.read(seed) for seed in seeds]
    print(report.summary(results))
    return 0 if all(result.ok for result in results) else 1


def _settle(rig: Rig, bystander: drive.Tenant) -> None:
    """Give the bystander rows that look like everybody else's."""
    for upload in draw(0).uploads:
        sent = bystander.send(replace(upload, event="once"))
        bystander.rowmill.wait(sent.upload_id, timeout=60)


if __name__ == "__main__":
    sys.exit(main())
