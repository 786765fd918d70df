"""One large upload beside many small ones: what they wait, without it and while it is under way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench.load import audit, files, report
from bench.load.run import Crowd, Found
from bench.publish import table

WHALE_SECONDS: Final = 600.0  # then it counts as stuck
BLOCK_ROWS: Final = 1_000_000
AT_MOST: Final = 2.0  # times what small files wait without it


def write(path: Path, rows: int, block: int = BLOCK_ROWS) -> int:
    """A file of so many rows, a block after the other, as no e-mail comes twice in one; the sum of its points."""
    points = 0
    with path.open("wb") as out:
        for n, first in enumerate(range(0, rows, block)):
            kind = files.Kind(min(block, rows - first), False)
            content = files.content(kind, f"whale{n:03}")
            out.write(content[content.index(b"\n") + 1 if n else 0 :])
            points += kind.points
    return points


def send(crowd: Crowd, path: Path, rows: int, points: int) -> dict[str, Any]:
    """Send the file by the command line, and wait for its end."""
    began = time.time()
    command = [sys.executable, "-m", "rowmill_client", "upload", str(path), "--dataset", files.DATASET, "--json"]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, env=_environment(crowd), timeout=WHALE_SECONDS)
    shown = json.loads(done.stdout)
    sent = {"id": shown["id"], "rows": rows, "bad": 0, "points": points, "began": began, "stored": began}
    return sent | {name: shown[name] for name in ("state", "loaded", "rejected")}


def _environment(crowd: Crowd) -> dict[str, str]:
    return os.environ | {"ROWMILL_API": crowd.here.api_url, "ROWMILL_TOKEN": crowd.spare_token}


def figures(found: Found, begin: float, sent: Mapping[str, Any]) -> dict[str, Any]:
    """The three parts of the run: before the whale, while it was sent, and from stored until it was in."""
    ended = found.ended[sent["id"]]
    assert ended.finished is not None
    without = report.figures(found, (begin, sent["began"]))
    sending = report.figures(found, (sent["began"], ended.stored))
    beside = report.figures(found, (ended.stored, ended.finished))
    ratio = beside["waiting"]["small"]["p95"] / without["waiting"]["small"]["p95"]
    return {
        "whale": {"rows": sent["rows"], "stored_to_completed_s": round(ended.finished - ended.stored, 3)},
        "without": without,
        "while it was sent": sending,
        "beside": beside,
        "ratio": round(ratio, 2),
        "problems": [*found.problems(), *audit.problems([sent], found.ended)],
        **{name: without[name] for name in ("audited", "errors", "failed", "requests", "sent")},
    }


def markdown(told: Mapping[str, Any]) -> str:
    """The page; its last line is the summary."""
    rows = []
    for name in ("without", "while it was sent", "beside"):
        small, requests = (
            told[name]["waiting"].get("small", report.NONE),
            told[name]["routes"].get(report.EVERY, report.NONE),
        )
        rows.append(
            (name, f"{told[name]['seconds']:.0f}", *report.told_in_ms(small, 1000), *report.told_in_ms(requests))
        )
    head = ("the whale", "s", "small uploads", "p50 ms", "p95 ms", "p99 ms", "requests", "p50 ms", "p95 ms", "p99 ms")
    whale = told["whale"]
    verdict = "kept" if told["ratio"] <= AT_MOST else "MISSED"
    return "\n\n".join(
        (
            f"## {whale['rows']:,} rows beside {told['users']} users with files of 100 and 1,000",
            table(head, rows),
            report.soundness(told),
            f"whale: in {whale['stored_to_completed_s']} s; small files' p95 stored to completed is"
            f" {told['ratio']} x that without it (at most {AT_MOST:g}: {verdict})",
        )
    )
