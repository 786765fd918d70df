"""`rowmill top` and `rowmill metrics`: a whole deployment, for its operator."""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Annotated, Any, Final

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from . import output
from .deployment import QUEUES, Deployment, Line, Unanswered
from .errors import Unusable
from .parameters import Json

WINDOW_SECONDS: Final = 300  # of which errors and times are told
LOGS_SECONDS: Final = 10  # between two looks at the logs: AWS lets an account make a few such requests a second
WIDE: Final = 110  # columns from which on tables stand beside each other
TIERS: Final = ("high", "medium", "low")

Stage = Annotated[
    str, typer.Option(envvar="ROWMILL_STAGE", help="The deployment's name, as python -m infra up --stage has it.")
]


def top(
    stage: Stage = "local",
    once: Annotated[bool, typer.Option("--once", help="Show it once and end.")] = False,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between two looks.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Watch a deployment: queues, workers, uploads, rows a second, errors, connections. Needs AWS credentials.

    \b
    Example: rowmill top --once
    """
    watch = Watch(Deployment(stage))
    if as_json:
        if not once:
            raise Unusable("--json shows it once: say --once, too")
        output.json_document(watch.look())
        return
    console = Console()
    if once or not console.is_terminal:
        console.print(shown(watch.look(), console.width))
        return
    seen = watch.look()
    with (
        suppress(KeyboardInterrupt),
        Live(shown(seen, console.width), console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            time.sleep(every)
            trouble = None
            try:
                seen = watch.look()
            except Unanswered as fault:  # a database that starts again is what one wants to watch
                trouble = Text(output.cell(str(fault)), style="bold red")
            live.update(Group(shown(seen, console.width), Text(), trouble or Text()), refresh=True)


class Watch:
    """Looks at a deployment again and again, and remembers what its logs said in the last minutes."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._lines: deque[Line] = deque()
        self._looked = float("-inf")

    def look(self) -> dict[str, Any]:
        """Everything at this moment, as `--json` prints it."""
        self._read()
        vitals = self._deployment.vitals()
        ages = {tier: one["oldest_s"] for tier, one in vitals.pop("waiting").items()}
        untold = vitals.pop("untold")
        ages["notify"] = untold["oldest_s"]
        queues = self._deployment.queues()
        return {
            "stage": self._deployment.stage,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **vitals,
            "queues": {name: {**depth, "oldest_s": ages.get(name)} for name, depth in queues.items()},
            "functions": summed(self._lines),
            "window_s": WINDOW_SECONDS,
        }

    def _read(self) -> None:
        if time.monotonic() - self._looked < LOGS_SECONDS:
            return
        since = int(1000 * (time.time() - WINDOW_SECONDS))
        self._lines += self._deployment.lines(since)
        while self._lines and self._lines[0].at_ms < since:
            self._lines.popleft()
        self._looked = time.monotonic()


def summed(lines: Iterable[Line]) -> dict[str, dict[str, Any]]:
    """By function: how much it has done and how long that took, errors, and what Postgres did not take."""
    values: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        for name, told in line.values.items():
            values[line.function][name] += told
    return {function: _of(told) for function, told in sorted(values.items())}


def _of(told: Mapping[str, list[float]]) -> dict[str, Any]:
    times = sorted([*told.get("RequestSeconds", ()), *told.get("ChunkSeconds", ())])
    return {
        "done": len(times),
        "p50_s": _quantile(times, 0.5),
        "p95_s": _quantile(times, 0.95),
        "errors": int(sum(told.get("Errors", ()))),
        "throttled": int(sum(told.get("ThrottledByPostgres", ()))),
    }


def _quantile(ordered: list[float], share: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4) if ordered else None


def shown(seen: Mapping[str, Any], width: int) -> RenderableType:
    """A screen of it, in one column of tables or two."""
    left, right = _queues(seen), Group(_work(seen), Text(), _functions(seen))
    if width < WIDE:
        return Group(*_headline(seen, width), Text(), left, Text(), right)
    beside = Table.grid(padding=(0, 4, 0, 0))
    beside.add_row(left, right)
    return Group(*_headline(seen, width), Text(), beside)


def _headline(seen: Mapping[str, Any], width: int) -> list[Text]:
    """What matters most, in as many lines as it takes, broken between facts."""
    lately, connections = seen["last_minute"], seen["connections"]
    errors = sum(one["errors"] for one in seen["functions"].values())
    parts = (
        (f"rowmill {seen['stage']}", "bold"),
        (seen["at"], "dim"),
        (f"{sum(seen['uploads'].values())} uploads under way", ""),
        (f"{seen['stuck']} stuck", "bold red" if seen["stuck"] else ""),
        (f"{lately['rows_per_second']:,.0f} rows/s", "bold green" if lately["rows_per_second"] else ""),
        (f"{errors} errors in {seen['window_s'] // 60} min", "bold red" if errors else ""),
        (f"Postgres {connections['used']} of {connections['most']} connections", _worry(connections)),
    )
    lines = [Text(no_wrap=True)]
    for text, style in parts:
        if lines[-1] and len(lines[-1]) + 2 + len(text) > width:
            lines.append(Text(no_wrap=True))
        lines[-1].append("  " if lines[-1] else "").append(output.cell(text), style=style)
    return lines


def _worry(connections: Mapping[str, int]) -> str:
    return "bold red" if connections["used"] > 0.8 * connections["most"] else ""


def _table(*columns: str) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        made.add_column(name, justify="left" if name == columns[0] else "right", no_wrap=True)
    return made


def _queues(seen: Mapping[str, Any]) -> Table:
    made = _table("queue", "waiting", "in hand", "put off", "oldest")
    for name in QUEUES:
        one = seen["queues"][name]
        lost = name in ("dead", "undeliverable") and one["waiting"]
        counts = (one["waiting"], one["in_hand"], one["put_off"])
        made.add_row(
            name, *(f"{n:,}" if n else "·" for n in counts), _age(one["oldest_s"]), style="red" if lost else ""
        )
    return made


def _work(seen: Mapping[str, Any]) -> Table:
    made = _table("", "now")
    for state, count in sorted(seen["uploads"].items()):
        made.add_row(f"uploads {state}", f"{count:,}")
    for worker, count in sorted(seen["workers"].items()):
        made.add_row(f"workers at {worker}", f"{count:,}")
    for name in ("rows", "rejected", "chunks"):
        made.add_row(f"{name} in the last minute", f"{seen['last_minute'][name]:,}")
    return made


def _functions(seen: Mapping[str, Any]) -> Table:
    made = _table(f"function, {seen['window_s'] // 60} min", "done", "p50", "p95", "errors", "throttled")
    for name, one in seen["functions"].items():
        times = (_seconds(one["p50_s"]), _seconds(one["p95_s"]))
        troubles = (f"{one[kind]:,}" if one[kind] else "·" for kind in ("errors", "throttled"))
        done = f"{one['done']:,}" if one["done"] else "·"
        made.add_row(output.cell(name), done, *times, *troubles, style="red" if one["errors"] else "")
    return made


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "·"
    whole = int(seconds)
    return f"{whole // 60}:{whole % 60:02}" if whole < 3600 else f"{whole // 3600} h {whole // 60 % 60} min"


def _seconds(value: float | None) -> str:
    return "·" if value is None else f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"


def metrics(
    stage: Stage = "local",
    serve: Annotated[
        int | None, typer.Option(metavar="PORT", min=1, max=65535, help="Answer GET /metrics on 127.0.0.1 from now on.")
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0, max=1_000_000, help="Begin with what was told in so many minutes.")
    ] = 60,
    as_json: Json = False,
) -> None:
    """Print what functions have counted and timed, for Prometheus; or serve it. Needs AWS credentials.

    \b
    Example: rowmill metrics
    """
    from .exposition import Exporter  # noqa: PLC0415 - prometheus-client is an operator's

    exporter = Exporter(Deployment(stage), int(1000 * (time.time() - 60 * minutes)))
    if as_json:
        output.json_document(exporter.totals())
    elif serve is None:
        sys.stdout.write(exporter.text())
    else:
        exporter.serve(serve)
        output.note(f"http://127.0.0.1:{serve}/metrics, until this is interrupted (pid {os.getpid()})")
        while True:
            time.sleep(3600)
