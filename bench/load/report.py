"""A run in figures, and as a page. What counts is what began in the window; what a user waited may end after it."""

from __future__ import annotations

import math
import os
import platform
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from bench.load.files import FORM, POLL, SIZES
from bench.load.meters import Seen
from bench.load.run import Found
from bench.publish import table

SMALLEST: Final = min(SIZES)
EVERY: Final = "every request of the API"
Spread = dict[str, float]
NONE: Final[Spread] = {"count": 0, "p50": math.nan, "p95": math.nan, "p99": math.nan}


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of all does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


def fairness(values: Sequence[float]) -> float:
    """Jain's index: 1 if all have the same, 1/n if one has everything."""
    squares = len(values) * sum(value * value for value in values)
    return sum(values) ** 2 / squares if squares else math.nan


def figures(found: Found, window: tuple[float, float]) -> dict[str, Any]:
    """What users saw of the API and waited for their files in the window; errors and the audit are of the whole run."""
    begin, end = window
    uploads = [one for one in found.uploads if begin <= one.get("stored", 0) <= end]
    codes = Counter(code for *_, code in found.requests)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}",
        "seconds": end - begin,
        "routes": _routes([one for one in found.requests if begin <= one[1] <= end]),
        "polls": _polls([one for one in found.requests if one[0] == POLL and begin <= one[1] <= end], end - begin),
        "waiting": _waiting(found, uploads),
        "uploads": len(uploads),
        "together_s": _together(found, uploads),
        "rows_per_s": round(_rows_ended(found, begin, end) / (end - begin)),
        "usd_per_million_rows": bill(uploads),
        "fairness": _fairness(found, uploads),
        "sent": sum("stored" in one for one in found.uploads),
        "failed": found.failed(),
        "requests": len(found.requests),
        "errors": {str(code): count for code, count in sorted(codes.items()) if not 0 < code < 400},
        "audited": found.is_over,
        "problems": found.problems(),
    }


def peaks(seen: Seen, bound: int) -> dict[str, Any]:
    """What the run took of the machine at its most."""
    return {
        "connections": {"most": seen.connections, "bound": bound},
        "memory_mb": {role: round(size / 1e6) for role, size in sorted(seen.memory.items())},
        "functions_and_emulator_mb": round(seen.memory_together / 1e6),
        "processes": dict(sorted(seen.processes.items())),
    }


def _routes(requests: Iterable[Sequence[Any]]) -> dict[str, Spread]:
    taken: dict[str, list[float]] = defaultdict(list)
    for route, _, milliseconds, _ in requests:
        taken[route].append(milliseconds)
        if route != FORM:
            taken[EVERY].append(milliseconds)
    return {route: _spread(values) for route, values in sorted(taken.items())}


def _polls(polls: Sequence[Sequence[Any]], seconds: float) -> dict[str, float]:
    """What pollers were answered: how often nothing new, to come again, and how often in time."""
    codes = Counter(code for *_, code in polls)
    return _spread([milliseconds for _, _, milliseconds, _ in polls]) | {
        "per_s": round(len(polls) / seconds, 1),
        "unchanged": round(codes[304] / len(polls), 3) if polls else math.nan,
        "turned_away": codes[429],
        "errors": sum(count for code, count in codes.items() if not 0 < code < 400 and code != 429),
    }


def _waiting(found: Found, uploads: Iterable[Mapping[str, Any]]) -> dict[str, Spread]:
    """Seconds from stored to completed by tier and of small files; and until users were told."""
    waited: dict[str, list[float]] = defaultdict(list)
    for upload in uploads:
        ended = found.ended.get(upload["id"])
        if ended is None or ended.finished is None:
            continue
        waited[ended.tier or "none"].append(ended.finished - ended.stored)
        waited["all"].append(ended.finished - ended.stored)
        if ended.first_started and ended.split:
            waited["of which until a splitter took it"].append(ended.opened - ended.stored)
            waited["of which until split"].append(ended.split - ended.stored)
            waited["of which until a load began"].append(ended.first_started - ended.stored)
        if upload["rows"] <= 1000:
            waited["small"].append(ended.finished - ended.stored)
        if "seen" in upload:
            waited["until the user was told"].append(upload["seen"] - upload["stored"])
    return {name: _spread(values) for name, values in waited.items()}


def _together(found: Found, uploads: Iterable[Mapping[str, Any]]) -> float:
    """Seconds from the first of these files being stored until the last one was in."""
    ended = [found.ended[one["id"]] for one in uploads if one.get("id") in found.ended]
    over = [one.finished for one in ended if one.finished]
    return round(max(over) - min(one.stored for one in ended), 2) if over else math.nan


def _rows_ended(found: Found, begin: float, end: float) -> int:
    return sum(one.rows + one.rejects for one in found.ended.values() if one.finished and begin <= one.finished <= end)


def _fairness(found: Found, uploads: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Jain's index over users: what each waited for files of the smallest size on average, and how many each got in."""
    waited: dict[int, list[float]] = defaultdict(list)
    brought = Counter[int]()
    for upload in uploads:
        ended = found.ended.get(upload["id"])
        brought[upload["user"]] += 1
        if upload["rows"] == SMALLEST and ended and ended.finished:
            waited[upload["user"]].append(ended.finished - ended.stored)
    means = [sum(values) / len(values) for values in waited.values()]
    return {"waiting": round(fairness(means), 3), "uploads": round(fairness(list(brought.values())), 3)}


def bill(uploads: Iterable[Mapping[str, Any]]) -> float:
    """What a million rows of such files would cost on AWS, as their statuses say."""
    told = [(one["usd"], one["rows"]) for one in uploads if one.get("usd") is not None]
    return round(1e6 * sum(usd for usd, _ in told) / sum(rows for _, rows in told), 6) if told else math.nan


def _spread(values: Sequence[float]) -> Spread:
    return {"count": len(values), **{f"p{share}": round(quantile(values, share / 100), 3) for share in (50, 95, 99)}}


def is_good(told: Mapping[str, Any]) -> bool:
    """Whether every row is there once, every upload came to its end and every request was answered.

    It may be told to come again: by 429 where too much is asked, by 503 beside faults.
    """
    errors = told["errors"].keys() - {"429"} - ({"503"} if told.get("faults") else set())
    return told["audited"] and not (told["problems"] or told["failed"] or errors)


def markdown(told: Mapping[str, Any]) -> str:
    """The page; its last line is the summary."""
    if EVERY not in told["routes"] or "all" not in told["waiting"]:
        ended = "sound" if is_good(told) else "NOT SOUND"
        return (
            f"load: {told['users']} users: nothing came to its end in {told['seconds']:.0f} s, give them more; {ended}"
        )
    every, waiting = told["routes"][EVERY], told["waiting"]
    routes = [(name, *told_in_ms(one)) for name, one in told["routes"].items()]
    waits = [(name, *told_in_ms(waiting[name], 1000)) for name in sorted(waiting, key=_tier_first)]
    return "\n\n".join(
        (
            f"## {told['what']}: {told['users']} users, {told['seconds']:.0f} s, {told['date']}\n\n{told['machine']}",
            table(("request", "count", "p50 ms", "p95 ms", "p99 ms"), routes),
            table(("stored to completed", "uploads", "p50 ms", "p95 ms", "p99 ms"), waits),
            table(("who", "processes", "cores in use", "largest, MB"), _usage(told)),
            "; ".join(_of_all(told)) + ".",
            f"From the first file stored to the last one in: {told['together_s']} s.",
            *([_of_pollers(told)] if told["pollers"] else []),
            *([_of_faults(told["faults"])] if told["faults"] else []),
            *([_of_memory(told["resident_mb"])] if told["resident_mb"] else []),
            soundness(told),
            f"load: {told['users']} users: API p95 {every['p95']:.0f} ms of {every['count']:,} requests,"
            f" stored to completed p95 {waiting['all']['p95']:.2f} s, {told['rows_per_s']:,} rows/s,"
            f" {'sound' if is_good(told) else 'NOT SOUND'}",
        )
    )


def _of_all(told: Mapping[str, Any]) -> Iterator[str]:
    """What is known of the run as a whole: not every run has a price, or files of the smallest size."""
    yield f"{told['uploads']} uploads, {told['rows_per_s']:,} rows/s"
    if not math.isnan(usd := told["usd_per_million_rows"]):
        yield f"on AWS a million such rows would cost {usd:.4f} USD without the database"
    yield f"functions and emulator together at most {told['functions_and_emulator_mb']:,} MB"
    yield "at most {most} Postgres connections (bound {bound})".format(**told["connections"])
    kinds = {"waiting": f"the mean wait for {SMALLEST} rows", "uploads": "the uploads each got in"}
    known = [f"{index} of {kinds[kind]}" for kind, index in told["fairness"].items() if not math.isnan(index)]
    yield f"Jain's index over users: {', '.join(known)}"


def _of_pollers(told: Mapping[str, Any]) -> str:
    polls = told["polls"]
    p50, p95, p99 = told_in_ms(polls)[1:]
    return (
        f"{told['pollers']} {'polite' if told['polite'] else 'impolite'} pollers: {polls['per_s']:.0f} polls/s,"
        f" {p50}, {p95}, {p99} ms (p50, p95, p99), {polls['unchanged']:.1%} unchanged,"
        f" {polls['turned_away']} told to come again, {polls['errors']} errors"
    )


def _of_faults(faults: Mapping[str, Any]) -> str:
    killed = ", ".join(f"{count} {role}" for role, count in faults["killed"].items())
    return (
        f"killed: {killed}; Postgres was away for {faults['restart_s']} s. After its end the first file was in after"
        f" {faults['first_finished_s']} s, and all that had been stored before after {faults['all_finished_s']} s"
    )


def _of_memory(resident: Mapping[str, Mapping[str, int]]) -> str:
    begin, end = resident["begin"], resident["end"]
    rows = [(role, begin.get(role, ""), end.get(role, "")) for role in sorted(begin.keys() | end.keys())]
    return table(("largest process now, MB", "at the beginning", "at the end"), rows)


def soundness(told: Mapping[str, Any]) -> str:
    """What went wrong, or that nothing did."""
    lines = [
        f"errors: {told['errors'] or 'none'} of {told['requests']:,} requests;"
        f" uploads that failed: {told['failed'] or 'none'} of {told['sent']:,} sent"
    ]
    lines.append(f"audit: {len(told['problems'])} problems" if told["problems"] else "audit: 0 rows lost, 0 doubled")
    return "\n".join([*lines, *told["problems"][:20]])


def told_in_ms(spread: Spread, scale: float = 1) -> tuple[str, ...]:
    """A spread as a table has it."""
    return f"{spread['count']:,}", *(f"{spread[name] * scale:,.0f}" for name in ("p50", "p95", "p99"))


def _tier_first(name: str) -> tuple[int, str]:
    order = ("high", "medium", "low", "all", "of which until a splitter took it", "of which until split")
    return (order.index(name) if name in order else len(order), name)


def _usage(told: Mapping[str, Any]) -> Iterable[Sequence[object]]:
    for role, cores in sorted(told["processor"].items(), key=lambda one: -one[1]):
        yield role, told["processes"].get(role, ""), f"{cores:.2f}", told["memory_mb"].get(role, "")
