"""`python -m bench.bad_input`: files that no loader likes, at full size, on an embedded cloud of its own.

Each must end with the counts that are known beforehand, and no worker may outgrow its bound. Workers live on from one
case to the next, as they do elsewhere: what one has left in them counts in the next.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psycopg
from rowmill_client import Rowmill, Upload

from bench import embedded
from bench.bad_input import watch
from bench.bad_input.cases import FULL, Case, every, good
from bench.peers.results import today
from bench.publish import keep, table
from chalicelib.postgres import locks

CHUNK_BYTES: Final = 8 * 1024 * 1024  # as files are cut unless settings say otherwise
COUNTS: Final = ("loaded", "updated", "skipped", "rejected", "unprocessed")
WAIT_SECONDS: Final = 900.0
TINY_FILES, TINY_ACCOUNTS, AT_ONCE = 1000, 5, 32
TINY: Final = f"{TINY_FILES:,} files of 1 to 5 rows from {TINY_ACCOUNTS} accounts, {AT_ONCE} at once"
SHOWN: Final = ("split", "load", "settle", "render")


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a case. `seconds` are from stored to its end; `rejects_s` what its rejects took to become a file."""

    name: str
    megabytes: float
    rows: int
    seconds: float
    chunks: int
    attempts: int  # that any chunk of it took
    counts: dict[str, int]
    error: str | None
    peaks: watch.Peaks
    problems: list[str]
    rejects_s: float | None = None


def main() -> int:
    """Exit code 0 if every count is right and every worker within its bound."""
    parser = _parser()
    arguments = parser.parse_args()
    cases = every(arguments.rows)
    names = chosen(arguments.only, [*(case.name for case in cases), TINY])
    if not names:
        known = "\n  ".join([*(case.name for case in cases), TINY])
        parser.error(f"no case has all of these words in its name: {' '.join(arguments.only)}; there are\n  {known}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    wanted = [case for case in cases if case.name in names]
    runs: list[Ran] = []
    with embedded.running() as here, tempfile.TemporaryDirectory() as folder:
        here.wait([here.send(embedded.contacts(2_000, 0))])  # functions start
        jobs: list[Callable[[], Ran]] = [partial(_run, here, case, Path(folder)) for case in wanted]
        if TINY in names:
            jobs.append(partial(_tiny, here, Path(folder)))
        for job in jobs:
            runs.append(job())
            print(_line(runs[-1]), flush=True)
            _keep(runs)
    print(table(_COLUMNS, [_cells(ran) for ran in runs]))
    wrong = [f"{ran.name}: {problem}" for ran in runs for problem in ran.problems]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(_summary(runs))
    return 1 if wrong else 0


def chosen(words: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names that have all of these words in them."""
    return [name for name in names if all(word in name for word in words)]


def _run(here: embedded.Embedded, case: Case, folder: Path) -> Ran:
    path = folder / "a.csv"
    case.write(path)
    size = path.stat().st_size
    dataset = f"d{secrets.token_hex(4)}"
    if case.schema is not None:
        here.rowmill.put_dataset(dataset, dict(case.schema), case.mode)
    if case.before:
        here.rowmill.upload(path, dataset, timeout=WAIT_SECONDS)
    options = dict(case.options) if case.schema is not None else {"infer": True}
    with watch.peaks(here.here) as peaks:
        created = here.rowmill.create_upload(path, dataset, options)
        with _holding(here, size) if case.backwards else nullcontext():
            here.rowmill.send_file(created, path)
        upload = here.rowmill.wait(created["id"], timeout=WAIT_SECONDS)
        path.unlink()
        rejects_s = _download(here.rowmill, upload) if upload["rejected"] else None
    counts = {name: upload[name] for name in COUNTS if upload[name]}
    error = upload["error"]["code"] if upload["error"] else None
    chunks, attempts = here.ledger(
        "SELECT count(*), coalesce(max(attempts), 0) FROM rowmill.chunk JOIN rowmill.upload ON number = upload"
        " WHERE upload_id = %s",
        upload["id"],
    )[0]
    taken = upload["timings"]["stored_to_completed_s"] or 0.0
    rows = upload["rows_total"] or 0
    problems = list(_problems(here, case, upload, counts, error, peaks))
    return Ran(case.name, size / 1e6, rows, taken, chunks, attempts, counts, error, peaks, problems, rejects_s)


@contextmanager
def _holding(here: embedded.Embedded, size: int) -> Iterator[None]:
    """Be at the first half of the next upload's chunks, as a slow worker is, until the others are loaded."""
    half = -(-size // CHUNK_BYTES) // 2
    with psycopg.connect(here.here.database_url, autocommit=True) as db:
        number = here.ledger("SELECT coalesce(max(number), 0) + 1 FROM rowmill.upload")[0][0]
        for n in range(1, half + 1):
            db.execute("SELECT pg_advisory_lock(%s)", locks.chunk(number, n))
        yield
        loaded = "SELECT count(*) FROM rowmill.chunk WHERE upload = %s AND state = 'loaded'"
        while here.ledger(loaded, number)[0][0] < half:
            time.sleep(0.25)


def _download(rowmill: Rowmill, upload: Upload) -> float:
    """Seconds until the rejects are a file, and its bytes are here."""
    begun = time.monotonic()
    rowmill.download_rejects(upload["id"], "csv", lambda block: None, timeout=WAIT_SECONDS)
    return time.monotonic() - begun


def _problems(
    here: embedded.Embedded,
    case: Case,
    upload: Upload,
    counts: Mapping[str, int],
    error: str | None,
    peaks: watch.Peaks,
) -> Iterator[str]:
    if case.mode == "upsert":  # which of the rows of one key comes first is the workers' to decide
        counts = {"updated": counts.get("loaded", 0) + counts.get("updated", 0)}
    if (counts, error) != (dict(case.counts), case.error):
        yield f"{dict(counts)}, error {error}, instead of {dict(case.counts)}, error {case.error}"
    kept = here.ledger(
        "SELECT (SELECT count(*) FROM rowmill.reject WHERE upload = number),"
        " (SELECT count(*) FROM rowmill.contested WHERE upload = number) FROM rowmill.upload WHERE upload_id = %s",
        upload["id"],
    )[0]
    if kept != (upload["rejected"], 0):
        yield f"{kept[0]} rejects and {kept[1]} contested rows are kept, {upload['rejected']} rejects told"
    yield from (f"{role} grew to {peaks[role] / 1e6:.0f} MB" for role in watch.too_large(peaks))


def _tiny(here: embedded.Embedded, folder: Path) -> Ran:
    """A thousand files of one to five rows, from a few accounts at once."""
    paths = [folder / f"{rows}.csv" for rows in range(1, 6)]
    for rows, path in enumerate(paths, 1):
        path.write_text("\n".join([",".join(["email", *_REST]), *(good(n) for n in range(rows)), ""]))
    clients = [_visitor(here) for _ in range(TINY_ACCOUNTS)]

    def send(n: int) -> Upload:
        rowmill, dataset = clients[n % TINY_ACCOUNTS], f"d{n}"
        return rowmill.upload(paths[n % 5], dataset, timeout=WAIT_SECONDS)

    for n in range(TINY_FILES):
        clients[n % TINY_ACCOUNTS].put_dataset(f"d{n}", embedded.CONTACTS)
    begun = time.monotonic()
    with watch.peaks(here.here) as peaks, ThreadPoolExecutor(AT_ONCE) as pool:
        uploads = list(pool.map(send, range(TINY_FILES)))
    taken = time.monotonic() - begun
    rows = sum(n % 5 + 1 for n in range(TINY_FILES))
    loaded = sum(upload["loaded"] for upload in uploads)
    problems = [f"{role} grew to {peaks[role] / 1e6:.0f} MB" for role in watch.too_large(peaks)]
    if loaded != rows or {upload["state"] for upload in uploads} != {"completed"}:
        problems.append(f"{loaded} of {rows} rows loaded")
    size = sum(paths[n % 5].stat().st_size for n in range(TINY_FILES))
    return Ran(TINY, size / 1e6, rows, taken, TINY_FILES, 1, {"loaded": loaded}, None, peaks, problems)


def _visitor(here: embedded.Embedded) -> Rowmill:
    rowmill = Rowmill(here.here.api_url)
    rowmill.signup(f"bench-{secrets.token_hex(4)}", secrets.token_urlsafe(12))
    return rowmill


_REST: Final = [field["name"] for field in embedded.CONTACTS["fields"]][1:]
_COLUMNS: Final = (
    "file",
    "MB",
    "rows",
    "s",
    "rows/s",
    "ends as",
    *(f"{role}, MB" for role in SHOWN),
    "rejects as CSV, s",
)


def _cells(ran: Ran) -> Sequence[str]:
    rate = f"{ran.rows / ran.seconds:,.0f}" if ran.seconds and ran.rows else ""
    ends = ", ".join(
        [*(f"{number:,} {name}" for name, number in ran.counts.items()), *([f"`{ran.error}`"] if ran.error else [])]
    )
    peaks = [f"{ran.peaks[role] / 1e6:.0f}" if role in ran.peaks else "" for role in SHOWN]
    rejects = "" if ran.rejects_s is None else f"{ran.rejects_s:.1f}"
    return (ran.name, f"{ran.megabytes:.1f}", f"{ran.rows:,}", f"{ran.seconds:.1f}", rate, ends, *peaks, rejects)


def _line(ran: Ran) -> str:
    said = "; ".join(ran.problems) or "as it must"
    return f"{ran.name}: {ran.seconds:.1f} s, {said}"


def _summary(runs: Sequence[Ran]) -> str:
    most = {role: max(ran.peaks.get(role, 0) for ran in runs) / 1e6 for role in SHOWN}
    grew = ", ".join(f"{role} {peak:.0f} MB" for role, peak in most.items() if peak)
    wrong = sum(bool(ran.problems) for ran in runs)
    return f"{len(runs)} files that no loader likes: {len(runs) - wrong} ended as they must, {wrong} did not; {grew}"


def _keep(runs: Sequence[Ran]) -> None:
    """After every case, so that nothing is lost with a run that is cut off."""
    keep("bad-input", {"date": today(), "cores": os.cpu_count(), "runs": [asdict(ran) for ran in runs]})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.bad_input", description=__doc__)
    parser.add_argument("--rows", type=int, default=FULL, help="of the long files (%(default)s)")
    parser.add_argument("only", nargs="*", help="words that a case's name must all have; all cases if there are none")
    return parser


if __name__ == "__main__":
    sys.exit(main())
