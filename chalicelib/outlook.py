"""How fast an upload goes, what waits before it, and when it may be over: said with its status, as far as it is known.

Nothing is asked for it besides what the status is made of, but for uploads of which no chunk is in yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from chalicelib.forecast import PACED_SPREAD, Begun, Forecast, Pace, forecast, observe
from chalicelib.journey import LOADING, rfc3339
from chalicelib.postgres import tiers
from chalicelib.postgres.connection import connection

BUILT: Final = 0.25  # of what staging a row takes a worker, to build a table's keys over it


def outlook(seen: Mapping[str, Any]) -> dict[str, Any]:
    """What the status item keeps of it, from a snapshot; nothing of an upload that is not loading.

    By its own chunks; before the first of them is in, by the latest of other uploads in its tier.
    """
    shown: dict[str, Any] = {"rate": None, "queued_before": None, "forecast": None}
    if seen["state"] not in LOADING or not seen["plan"]:
        return shown
    if seen["paced"] and seen["paced_for_s"] > 0:
        said = _by_its_own(seen)
        shown["rate"] = {
            "rows_per_s": round(seen["paced_records"] / seen["paced_for_s"], 1),
            "bytes_per_s": round(seen["paced_bytes"] / seen["paced_for_s"]),
        }
    else:
        shown["queued_before"], said = _by_others(seen)
    said = _throttled(seen, said)
    if said is not None:
        shown["forecast"] = {"at": seen["seen_at"].timestamp(), "seconds": said.seconds, "spread": said.spread}
    return shown


def eta(said: Mapping[str, float] | None, now: datetime) -> dict[str, str] | None:
    """When half of such uploads would be over, and when nine in ten: neither before now. None if nobody can tell."""
    if said is None:
        return None
    at = datetime.fromtimestamp(said["at"], UTC)
    left = Forecast(said["seconds"], said["spread"]).quantiles((0.5, 0.9), (now - at).total_seconds())
    if left is None:
        return None
    # A millisecond more than was said, which the spelling may round off: not in the past by that, either.
    p50, p90 = (rfc3339(at + timedelta(seconds=seconds, milliseconds=1)) for seconds in left)
    return {"p50_at": p50, "p90_at": p90}


def _by_its_own(seen: Mapping[str, Any]) -> Forecast | None:
    at_once = (seen["paced_s"] + seen["begun_s"]) / seen["paced_for_s"]
    pace = Pace(seen["paced"], seen["paced_s"], seen["paced_squares"], seen["paced_bytes"], at_once)
    return forecast(
        pace, seen["bytes_total"] - seen["bytes_done"], Begun(seen["begun"], seen["begun_s"]), _settling_s(seen)
    )


def _by_others(seen: Mapping[str, Any]) -> tuple[int, Forecast | None]:
    """How many chunks wait before its first one, and what is left by the pace of its tier."""
    look, tier = tiers.look(connection(), seen["number"]), seen["plan"]["tier"]
    before = look.before.get(seen["number"], tiers.Before(0, 0))
    left = seen["bytes_total"] - seen["bytes_done"]
    pace = observe(look.spans.get(tier, ()), look.now)
    return before.chunks, forecast(pace, before.bytes + left, look.begun(tier), borrowed=True)


def _throttled(seen: Mapping[str, Any], said: Forecast | None) -> Forecast | None:
    """The same, or what a dataset's max_rows_per_second leaves of it. Other uploads into it take a share of that."""
    rows = seen["rows_total"] if seen["rows_total"] is not None else seen["plan"].get("estimated_rows")
    if not seen["max_rate"] or rows is None or seen["reading"] == "check":  # which keeps no pace
        return said
    seconds = max(1.0, (rows - seen["records_done"]) / seen["max_rate"])
    return said if said is not None and said.seconds > seconds else Forecast(seconds, PACED_SPREAD)


def _settling_s(seen: Mapping[str, Any]) -> float:
    """A contested row is taken to cost as much again when it is settled, by one worker, and their share to stay.

    Of a first load a quarter, as it is not written again (`bench.all_at_once`).
    """
    if not seen["records_done"] or not seen["paced_bytes"]:
        return 0.0
    share = seen["contested"] / seen["records_done"] * (BUILT if seen["first_load"] else 1)
    return float(share * seen["bytes_total"] * seen["paced_s"] / seen["paced_bytes"])
