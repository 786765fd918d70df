"""What is told of an upload's end, or that it waits to be confirmed, in which words: counts and ids, never a row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, cast

from chalicelib.journey import AT_REST, COUNTS, STATUS, Number, State, rfc3339
from chalicelib.postgres import outbox, projection
from chalicelib.postgres.connection import Connection
from chalicelib.postgres.deliveries import Delivery
from chalicelib.postgres.outbox import Event

PING: Final = "webhook.ping"
ALL: Final = tuple(f"upload.{state}" for state in sorted(AT_REST))  # what a webhook may subscribe to


def keep(connection: Connection, number: Number) -> None:
    """Keep what there is to say of an upload's end before a new generation begins, or of a check while it is shown.

    Hold the upload exclusively: its counts are others from then on.
    """
    for event_id in outbox.list_unsaid(connection, number):
        event = outbox.find(connection, event_id)
        if event is not None:
            outbox.keep(connection, event_id, said(connection, event))


def said(connection: Connection, event: Event) -> dict[str, Any]:
    """The data of an event that is of the upload's present generation, or of an upload that no splitter met."""
    seen = projection.snapshot(connection, event.number) if event.number is not None else {}
    counts = {"rows_total": None, "valid": 0, **dict.fromkeys(COUNTS, 0)}
    counts |= {name: value for name, value in (seen or {}).items() if name in counts}
    error = (seen or {}).get("error")
    return {
        "upload_id": event.upload_id,
        "dataset": event.item.get("dataset"),
        "generation": event.generation or 0,
        "state": event.kind,
        "status": STATUS[cast(State, event.kind)],
        **counts,
        "error": error["code"] if error else None,
        "parent_id": event.item.get("parent_id"),
    }


def payload(event_id: str, kind: str, moment: datetime, data: Mapping[str, Any]) -> bytes:
    """An event as it is sent to webhooks and to the topic: the same bytes at each attempt."""
    said = {"id": event_id, "type": kind, "timestamp": rfc3339(moment), "data": data}
    return json.dumps(said, separators=(",", ":")).encode()


def letter(delivery: Delivery) -> tuple[str, str]:
    """An event as an e-mail: its subject and its text."""
    data = delivery.data
    waits = data["state"] == "needs_review"
    state = "waits to be confirmed" if waits else str(data["state"]).replace("_", " ")
    done = f"{data['valid']:,} rows valid" if waits else f"{data['loaded']:,} rows loaded"
    subject = f"{data['dataset']}: upload {state}, {done}, {data['rejected']:,} rejected"
    lines = [f"Upload {data['upload_id']} into {data['dataset']} {'' if waits else 'is '}{state}.", ""]
    for name in ("rows_total", *(["valid"] if waits else []), *COUNTS):
        value = data[name]
        lines.append(f"{name}: {'unknown' if value is None else format(value, ',')}")
    lines += [f"error: {data['error']}"] if data["error"] else []
    return subject, "\n".join([*lines, "", f"Event {delivery.event_id}. You get this because the upload asked for it."])
