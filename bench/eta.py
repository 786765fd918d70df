"""`python -m bench.eta`: how true the status' `eta` is. Uploads of mixed sizes on an embedded cloud, and a score.

While they run, every answer is kept that the API would give, four times a second; then it is asked which share of
them was right: of a perfect forecast half of the uploads are over by p50 and nine in ten by p90. Each upload counts
once, as the mean over its answers, and once more by its first answer alone.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import fmean, median
from typing import Any, Final

from bench import embedded
from bench.publish import keep
from chalicelib import report
from chalicelib.journey import TERMINAL

CHUNKS: Final = "0:1048576:100000"  # so that files of a few megabytes have several
SIZES: Final = ((24, 300, 5_000), (10, 15_000, 60_000), (6, 120_000, 240_000))  # how many of from, to rows
SECONDS: Final = 10  # that the uploads arrive in


@dataclass(frozen=True, slots=True)
class Said:
    """One answer: whose, when, and the two moments it named; seconds since 1970."""

    upload: str
    at: float
    p50: float
    p90: float
    is_own: bool = True  # by the upload's own chunks, not by others'


@dataclass(frozen=True, slots=True)
class Score:
    """Which share of uploads was over by the moments named, and by which factor the median was off."""

    uploads: int
    answers: int
    by_p50: float
    by_p90: float
    off: float  # median over answers of max(said, true) / min(said, true), of the time left


def score(answers: Iterable[Said], ended: Mapping[str, float]) -> Score | None:
    """Score answers by when their uploads ended; None if there are none. Those given after the end are not counted."""
    of_upload: dict[str, list[Said]] = defaultdict(list)
    for said in answers:
        if said.at < ended.get(said.upload, 0.0):
            of_upload[said.upload].append(said)
    if not of_upload:
        return None
    by_p50, by_p90 = (
        fmean(fmean(ended[upload] <= getattr(said, name) for said in own) for upload, own in of_upload.items())
        for name in ("p50", "p90")
    )
    every = [said for own in of_upload.values() for said in own]
    off = median(_factor(said.p50 - said.at, ended[said.upload] - said.at) for said in every)
    return Score(len(of_upload), len(every), round(by_p50, 3), round(by_p90, 3), round(off, 2))


def _factor(said: float, true: float) -> float:
    said, true = max(said, 0.05), max(true, 0.05)
    return max(said, true) / min(said, true)


def firsts(answers: Iterable[Said]) -> list[Said]:
    """Each upload's first answer."""
    found: dict[str, Said] = {}
    for said in sorted(answers, key=lambda one: one.at):
        found.setdefault(said.upload, said)
    return list(found.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.eta", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with embedded.running(CHUNKS) as here:
        here.wait([here.send(embedded.contacts(2_000, 0))])  # functions start, and a pace is known
        answers, ended = _watch(here, _files(arguments.seed))
    _print(answers, ended)
    keep("eta", {"answers": [asdict(one) for one in answers], "ended": ended})
    return 0


def _files(seed: int) -> list[bytes]:
    chance = random.Random(seed)
    rows = [chance.randint(least, most) for count, least, most in SIZES for _ in range(count)]
    chance.shuffle(rows)
    return [embedded.contacts(count, 1 + seed * 1000 + n) for n, count in enumerate(rows)]


def _watch(here: embedded.Embedded, files: Sequence[bytes]) -> tuple[list[Said], dict[str, float]]:
    """Send the files over SECONDS and note every answer until all are over."""
    sent: list[str] = []
    sender = threading.Thread(target=_send, args=(here, files, sent), daemon=True)
    sender.start()
    answers: list[Said] = []
    ended: dict[str, float] = {}
    deadline = time.monotonic() + 160
    while (sender.is_alive() or set(sent) - ended.keys()) and time.monotonic() < deadline:
        for item in here.items():
            _note(report.resource(item), answers, ended)
        time.sleep(0.25)
    return [one for one in answers if one.upload in sent], ended


def _send(here: embedded.Embedded, files: Sequence[bytes], sent: list[str]) -> None:
    begun = time.monotonic()
    for n, file in enumerate(files):
        time.sleep(max(0.0, begun + n * SECONDS / len(files) - time.monotonic()))
        sent.append(here.send(file))


def _note(upload: Mapping[str, Any], answers: list[Said], ended: dict[str, float]) -> None:
    if upload["state"] in TERMINAL and upload["id"] not in ended:
        times = upload["timings"]
        ended[upload["id"]] = datetime.fromisoformat(times["stored_at"]).timestamp() + times["stored_to_completed_s"]
    elif eta := upload["eta"]:
        p50, p90 = (datetime.fromisoformat(eta[name]).timestamp() for name in ("p50_at", "p90_at"))
        answers.append(Said(upload["id"], datetime.now(UTC).timestamp(), p50, p90, upload["rate"] is not None))


def _print(answers: Sequence[Said], ended: Mapping[str, float]) -> None:
    print("| answers | uploads | answers | over by p50 (50 %) | over by p90 (90 %) | median off by |")
    print("|---|---|---|---|---|---|")
    own = [one for one in answers if one.is_own]
    kinds = {
        "all": answers,
        "the first of each upload": firsts(answers),
        "by others' chunks": [one for one in answers if not one.is_own],
        "by its own chunks": own,
        "the first by its own chunks": firsts(own),
    }
    for name, kind in kinds.items():
        if found := score(kind, ended):
            shares = f"{found.by_p50:.0%} | {found.by_p90:.0%}"
            print(f"| {name} | {found.uploads} | {found.answers} | {shares} | x{found.off} |")


if __name__ == "__main__":
    raise SystemExit(main())
