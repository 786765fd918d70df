"""`python -m bench.gauntlet`: files that mean harm, while somebody else goes on loading small files.

First that user alone, then the same beside the files, a few at a time, again and again. Each file must end, in a state
and with a code that are known beforehand; no process of a function may have more than 1 GiB of memory (RLIMIT_DATA, so
that one that asks for more fails), and the user's files must take less than twice as long (p95). Last comes the line of
a gigabyte, whose sending and reading keep the embedded cloud busy, which is one process: told, and held to nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import secrets
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rowmill_client import ApiError, Rowmill

from bench import embedded
from bench.bad_input import watch
from bench.gauntlet.cases import LINE_BYTES, Case, every
from bench.load.report import table
from bench.peers.results import today
from bench.publish import publish
from infra.local.cloud import CHECKOUT
from infra.local.place import default_folder

MEMORY: Final = 1 << 30
ROWS: Final = 500  # of a file of the user's
PAUSE_SECONDS: Final = 0.2  # between them
WAIT_SECONDS: Final = 180.0
MOST_SLOWED: Final = 2.0
MOST_USUAL: Final = 100_000_000  # bytes
PAGE: Final = CHECKOUT / "docs" / "gate.md"


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a hostile file; `seconds` from announced to its end, sending included."""

    name: str
    megabytes: float
    state: str
    code: str | None
    loaded: int
    rejected: int
    seconds: float
    is_right: bool


def main() -> int:
    """Exit code 0 if every file ended as it must, within the memory, and the user was not held up."""
    parser = argparse.ArgumentParser(prog="python -m bench.gauntlet", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="that the user works alone, and beside them at least")
    parser.add_argument("--at-once", type=int, default=2, help="hostile files")
    parser.add_argument("--line-megabytes", type=int, default=LINE_BYTES // 10**6, help="of the one long line")
    parser.add_argument("--publish", action="store_true", help="put the table into docs/gate.md")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with embedded.running() as here, tempfile.TemporaryDirectory() as kept, _limited(here):
        for seed in range(3):  # functions start, several of each
            here.wait(here.send_all([embedded.contacts(ROWS, -1 - 8 * seed - n) for n in range(8)]))
        alone = _worked(here, asked.seconds, 1)
        cases = every(asked.line_megabytes * 10**6)
        files = [(case, case.write(_folder(kept, n))) for n, case in enumerate(cases)]
        usual = [one for one in files if one[1].stat().st_size <= MOST_USUAL]
        with watch.peaks(here.here) as peaks:
            ended, beside = _beside(here, usual, asked.seconds, asked.at_once, 2)
            last, flooded = _beside(here, [one for one in files if one not in usual], 0, 1, 3)
    ended += last
    peaks_mb = {role: round(peak / 1e6) for role, peak in peaks.items()}
    p95 = {"alone": _p95(alone), "beside": _p95(beside), "beside the line": _p95(flooded)}
    told = {"date": today(), "p95_s": p95, "files": len(beside), "peaks_mb": peaks_mb}
    report = default_folder() / "reports" / "gauntlet.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(told | {"ended": [asdict(one) for one in ended]}, indent=2))
    shown = table(_COLUMNS, [_cells(one) for one in ended])
    summary = _summary(ended, p95, len(beside), peaks_mb)
    print(f"{shown}\n\n{summary}")
    if asked.publish:
        publish("gauntlet", f"{shown}\n\n{today()}, 2 cores: {summary}.", PAGE)
    return 0 if all(one.is_right for one in ended) and p95["beside"] < MOST_SLOWED * p95["alone"] else 1


def _beside(
    here: embedded.Embedded, files: list[tuple[Case, Path]], seconds: float, at_once: int, seed: int
) -> tuple[list[Ended], list[float]]:
    """Send these files for so long, all of them at least once, while a user works: the first ends, the user's times."""
    over, until = threading.Event(), time.monotonic() + seconds
    with ThreadPoolExecutor(at_once + 1) as pool:
        beside = pool.submit(_worked, here, 0, seed, over)
        try:
            ended = list(pool.map(lambda one: _send(here, *one), files))
            while time.monotonic() < until:
                again = list(pool.map(lambda one: _send(here, *one), files))
                ended = [old if new.is_right else new for old, new in zip(ended, again, strict=True)]
        finally:
            over.set()
        return ended, beside.result()


def _folder(kept: str, n: int) -> Path:
    folder = Path(kept) / str(n)
    folder.mkdir()
    return folder


def _worked(here: embedded.Embedded, seconds: float, seed: int, over: threading.Event | None = None) -> list[float]:
    """What each file took from stored to completed of a user who sends one after the other, until all is over."""
    until, times, n = time.monotonic() + seconds, list[float](), 0
    with tempfile.TemporaryDirectory() as folder, Rowmill(here.here.api_url or "") as user:
        user.signup(f"user-{secrets.token_hex(4)}", secrets.token_urlsafe(12))
        user.put_dataset("contacts", embedded.CONTACTS)
        path = Path(folder) / "mine.csv"
        while time.monotonic() < until or not (over is None or over.is_set()):
            n += 1
            path.write_bytes(embedded.contacts(ROWS, 1_000_000 * seed + n))
            upload = user.upload(path, "contacts", timeout=WAIT_SECONDS)
            if upload["state"] != "completed":
                raise RuntimeError(f"the user's file ended as {upload['state']}")
            times.append(upload["timings"]["stored_to_completed_s"] or 0.0)
            time.sleep(PAUSE_SECONDS)
    return times


def _send(here: embedded.Embedded, case: Case, path: Path) -> Ended:
    size, begun = path.stat().st_size / 1e6, time.monotonic()
    dataset = f"d{secrets.token_hex(4)}"
    here.rowmill.put_dataset(dataset, embedded.CONTACTS)
    state, code, loaded, rejected = "refused", None, 0, 0
    try:
        upload = here.rowmill.upload(path, dataset, timeout=WAIT_SECONDS)
    except ApiError as refused:
        code = refused.code
    else:
        state, code = upload["state"], upload["error"]["code"] if upload["error"] else None
        loaded, rejected = upload["loaded"], upload["rejected"]
    is_right = (state, code) == (case.state, case.code) and (loaded == 0 or state == "completed_with_errors")
    ended = Ended(case.name, size, state, code, loaded, rejected, time.monotonic() - begun, is_right)
    print(
        f"{case.name}: {state} {code or ''}, {ended.seconds:.1f} s{'' if is_right else ', NOT AS IT MUST'}", flush=True
    )
    return ended


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


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1] if len(times) > 1 else sum(times)


_COLUMNS: Final = ("file", "MB", "ends as", "named", "loaded", "rejected", "s")


def _cells(one: Ended) -> list[str]:
    named = f"`{one.code}`" if one.code else "each row by its reject"
    size = f"{one.megabytes:,.1f}"
    return [one.name, size, one.state, named, f"{one.loaded:,}", f"{one.rejected:,}", f"{one.seconds:.1f}"]


def _summary(ended: list[Ended], p95: dict[str, float], count: int, peaks: dict[str, int]) -> str:
    right = sum(one.is_right for one in ended)
    most = ", ".join(f"{role} {peak} MB" for role, peak in sorted(peaks.items()))
    times = f"{1000 * p95['alone']:.0f} ms alone and {1000 * p95['beside']:.0f} ms beside them"
    ratio = p95["beside"] / p95["alone"]
    return (
        f"{right} of {len(ended)} files ended as they must; another user's {count} files took {times} (p95,"
        f" {ratio:.2f} times), and {1000 * p95['beside the line']:.0f} ms while the line was sent and read; peaks under"
        f" a limit of 1 GiB: {most}"
    )


if __name__ == "__main__":
    sys.exit(main())
