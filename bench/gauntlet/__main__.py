"""`python -m bench.gauntlet`: files that mean harm, while somebody else goes on loading small files.

In turns that user alone, and beside somebody who has such files under way all the time. Each must end, in a state
and with a code that are known beforehand; no process of a function may have more than 1 GiB of memory (RLIMIT_DATA, so
that one that asks for more fails), and the user's files must take less than twice as long (p95). Last comes the line of
a gigabyte by itself, whose sending and reading keep the embedded cloud busy, which is one process.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench import embedded
from bench.bad_input import watch
from bench.gauntlet import sender, user
from bench.gauntlet.cases import LINE_BYTES, Case, every
from bench.gauntlet.sender import Ended, File
from bench.load import meters
from bench.peers.results import today
from bench.publish import keep, publish, table
from infra.local.cloud import CHECKOUT

MEMORY: Final = 1 << 30
MOST_SLOWED: Final = 2.0
MOST_USUAL: Final = 100_000_000  # bytes
ORDINARY: Final = 300  # more than are sent: no row of one is in another
PAGE: Final = CHECKOUT / "docs" / "gate.md"


def main() -> int:
    """Exit code 0 if every file ended as it must, within the memory, and the user was not held up."""
    asked = _asked()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with embedded.running() as here, tempfile.TemporaryDirectory() as kept, _limited(here):
        for seed in range(3):  # functions start, several of each
            here.wait(here.send_all([embedded.contacts(user.ROWS, -1 - 8 * seed - n) for n in range(8)]))
        cases = [one for one in every(asked.line_megabytes * 10**6) if not asked.words or _is_meant(one, asked.words)]
        files = [(case, case.write(_folder(kept, n))) for n, case in enumerate(cases)]
        with user.at_work(here) as worker, watch.peaks(here.here) as peaks:
            worker.work(_for(3))
            if asked.each:
                return _one_by_one(here, worker, files, asked)
            usual = [one for one in files if one[1].stat().st_size <= MOST_USUAL]
            found, ended = _in_turns(here, worker, {"ordinary ones": _ordinary(kept), "them": usual}, asked)
            found["the line"], last = _beside_the_line(here, worker, [one for one in files if one not in usual])
    ended = sender.worst([*ended, *last], files)
    told: dict[str, Any] = {"date": today(), "user": {name: user.spread(times) for name, times in found.items()}}
    told |= {"peaks_mb": {role: round(peak / 1e6) for role, peak in peaks.items()}}
    keep("gauntlet", told | {"ended": [asdict(one) for one in ended]})
    shown = table(_COLUMNS, [_cells(one) for one in ended]) + "\n\n" + _steps(found)
    summary = _summary(ended, told)
    print(f"{shown}\n\n{summary}")
    if asked.publish:
        publish("gauntlet", f"{shown}\n\n{today()}, 2 cores: {summary}.", PAGE)
    slowed = max(_ratio(told, name) for name in ("them", "the line"))
    return 0 if all(one.is_right for one in ended) and slowed < MOST_SLOWED else 1


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gauntlet", description=__doc__)
    parser.add_argument("words", nargs="*", help="with --each: files with one of these in their name; without, all")
    parser.add_argument("--rounds", type=int, default=6, help="alone and beside them, in turns (%(default)s)")
    parser.add_argument("--seconds", type=float, default=12, help="of either in a round (%(default)s)")
    parser.add_argument("--at-once", type=int, default=2, help="hostile files (%(default)s)")
    parser.add_argument("--flood", action="store_true", help="the next as soon as one has ended, not as it is told of")
    parser.add_argument("--line-megabytes", type=int, default=LINE_BYTES // 10**6, help="of the one long line")
    parser.add_argument("--each", action="store_true", help="one file after the other, and what each does to the user")
    parser.add_argument("--publish", action="store_true", help="put the table into docs/gate.md")
    asked = parser.parse_args()
    if asked.words and not asked.each:
        parser.error("some files alone go with --each")
    return asked


def _is_meant(case: Case, words: Sequence[str]) -> bool:
    return any(word in case.name for word in words)


def _folder(kept: str, n: int) -> Path:
    folder = Path(kept) / str(n)
    folder.mkdir()
    return folder


def _for(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() < until


def _ordinary(kept: str) -> list[File]:
    """What somebody sends who means no harm: what hostile files do beyond that is what makes them hostile."""
    files = [(Case("one like the user's", _contacts(n), "completed"), _folder(kept, -1 - n)) for n in range(ORDINARY)]
    return [(case, case.write(folder)) for case, folder in files]


def _contacts(seed: int) -> Callable[[], list[bytes]]:
    return lambda: [embedded.contacts(user.ROWS, seed)]


def _in_turns(
    here: embedded.Embedded, worker: user.User, others: dict[str, list[File]], asked: argparse.Namespace
) -> tuple[dict[str, list[user.Times]], list[Ended]]:
    """What the user's files took alone and beside others, in turns, so that the machine is the same; how theirs ended.

    Of the last ones all are sent at least once.
    """
    found = {name: list[user.Times]() for name in ("nobody", *others)}
    with contextlib.ExitStack() as stack:
        senders = {
            name: stack.enter_context(sender.at_work(here, files, asked.at_once, floods=asked.flood))
            for name, files in others.items()
        }
        for _ in range(asked.rounds):
            found["nobody"] += worker.work(_for(asked.seconds))
            for name, one in senders.items():
                with one.sending():
                    found[name] += worker.work(_for(asked.seconds))
        last = list(senders.values())[-1]
        while len(last.ended) < len(list(others.values())[-1]):
            with last.sending():
                time.sleep(1)
        return found, last.ended


def _beside_the_line(
    here: embedded.Embedded, worker: user.User, files: Sequence[File]
) -> tuple[list[user.Times], list[Ended]]:
    """The large files, each once."""
    ended = list[Ended]()
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(lambda: ended.extend(sender.send(here.rowmill, case, path) for case, path in files))
        times = worker.work(lambda: not sent.done())
        sent.result()
    return times, ended


def _one_by_one(here: embedded.Embedded, worker: user.User, files: Sequence[File], asked: argparse.Namespace) -> int:
    """What each file does to the user, and which processes it keeps busy."""
    rows = [("nothing", *_shown(worker.work(_for(asked.seconds))), "", "", "")]
    for case, path in files:
        seen = meters.Seen()
        with sender.at_work(here, [(case, path)], asked.at_once, floods=asked.flood) as harm:
            seen.note(meters.roles(here.here))
            seen.reset()
            begun = time.monotonic()
            with harm.sending():
                times = worker.work(_for(asked.seconds))
        seen.note(meters.roles(here.here))
        cores = ", ".join(f"{role} {used:.2f}" for role, used in seen.processor().items() if used >= _WORTH_TELLING)
        rate = f"{len(harm.ended) / (time.monotonic() - begun):.1f}"
        rows.append((case.name, *_shown(times), rate, f"{max(one.seconds for one in harm.ended):.2f}", cores))
        print(rows[-1], flush=True)
    rows.append(("nothing", *_shown(worker.work(_for(asked.seconds))), "", "", ""))
    print(table(("beside the user", *_STEPS, "a second", "slowest, s", "cores in use"), rows))
    return 0


_WORTH_TELLING: Final = 0.02  # of a core
_STEPS: Final = ("files", "p50 ms", "p95 ms", "max", "p95 taken", "split", "begun")


def _shown(times: Sequence[user.Times]) -> list[str]:
    told = user.spread(times)
    return [f"{told[name]:.0f}" for name in ("files", "p50", "p95", "max", "taken", "split", "begun")]


@contextlib.contextmanager
def _limited(here: embedded.Embedded) -> Iterator[None]:
    """Hold processes of functions to MEMORY, new ones within a moment."""
    over = threading.Event()
    watcher = threading.Thread(target=_hold, args=(here, over))
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _hold(here: embedded.Embedded, over: threading.Event) -> None:
    held = set[int]()
    while not over.wait(0.1):
        for pid in watch.workers(here.here).keys() - held:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_DATA, (MEMORY, MEMORY))
                held.add(pid)


_COLUMNS: Final = ("file", "MB", "ends as", "named", "loaded", "rejected", "s")


def _cells(one: Ended) -> list[str]:
    named = f"`{one.code}`" if one.code else "each row by its reject"
    size = f"{one.megabytes:,.1f}"
    return [one.name, size, one.state, named, f"{one.loaded:,}", f"{one.rejected:,}", f"{one.seconds:.2f}"]


def _steps(found: dict[str, list[user.Times]]) -> str:
    return table(("the user beside", *_STEPS), [(name, *_shown(times)) for name, times in found.items()])


def _ratio(told: dict[str, Any], beside: str) -> float:
    return float(told["user"][beside]["p95"] / told["user"]["nobody"]["p95"])


def _summary(ended: list[Ended], told: dict[str, Any]) -> str:
    right = sum(one.is_right for one in ended)
    most = ", ".join(f"{role} {peak} MB" for role, peak in sorted(told["peaks_mb"].items()))
    ordinary, them, line = (_ratio(told, name) for name in ("ordinary ones", "them", "the line"))
    return (
        f"{right} of {len(ended)} files ended as they must; the p95 of another user's files was {them:.2f} times that"
        f" of the same user alone ({ordinary:.2f} times beside ordinary files, {line:.2f} while the line was sent and"
        f" read); peaks under a limit of 1 GiB: {most}"
    )


if __name__ == "__main__":
    sys.exit(main())
