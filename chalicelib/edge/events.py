"""Queues, the clock and direct calls: messages in, partial batch answers out; a passing fault comes again later."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from botocore.exceptions import BotoCoreError, ClientError
from chalice.app import CloudWatchEvent, SQSEvent, SQSRecord

from chalicelib import metrics
from chalicelib.aws import sqs
from chalicelib.edge.faults import as_ours, named, note_throttled
from chalicelib.errors import NotYet, RowmillError, Unavailable
from chalicelib.logs import about, logger

MAX_TRIES: Final = 2000  # delayed copies of a message, eight hours of them, before the queue's own retries
MAX_WAIT_SECONDS: Final = 20  # so that an outage is over for everybody half a minute after it ends
NEWER_MESSAGE_SECONDS: Final = 300  # by which time a deploy in hand is over
SWEEP_SECONDS: Final = 30  # the clock strikes once a minute at most: a sweep is two rounds
SPLIT_RESERVE_SECONDS: Final = 20  # for the batch at hand, and for what a slow service may take


def each(event: SQSEvent, handle: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Handle the batch's messages one by one; those that failed go back to their queue alone."""
    failed = [record.to_dict()["messageId"] for record in event if not _handled(record, handle)]
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}


def _handled(record: SQSRecord, handle: Callable[[dict[str, Any]], object]) -> bool:
    message = _message(record.body)
    logger.clear_state()
    about(record.to_dict()["messageId"])
    if (version := _version(record)) > sqs.VERSION:
        return _left(record, version)
    try:
        result = handle(message)
    except Exception as error:
        return _retried(record, message, error)
    else:
        logger.info("handled", upload=result)
        return True
    finally:
        metrics.flush()


def _message(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {}


def _version(record: SQSRecord) -> int:
    """Of a message's body; 1 if it does not say."""
    said = str(record.to_dict().get("messageAttributes", {}).get("version", {}).get("stringValue", "1"))
    return int(said) if said.isdecimal() else sqs.VERSION + 1


def _left(record: SQSRecord, version: int) -> bool:
    """A message of a release that is not here yet, or not any more, waits for it: as it is, and however long."""
    try:
        sqs.send_text(_queue(record), record.body, version, NEWER_MESSAGE_SECONDS)
    except (ClientError, BotoCoreError) as unsent:
        logger.error("failed", error=named(unsent))
        return False
    logger.warning("put off", error="message_newer", version=version, known=sqs.VERSION, delay=NEWER_MESSAGE_SECONDS)
    return True


def _queue(record: SQSRecord) -> str:
    return str(record.to_dict()["eventSourceARN"]).rsplit(":", 1)[1]


def _retried(record: SQSRecord, message: dict[str, Any], error: Exception) -> bool:
    """A passing fault becomes a delayed copy and spends no delivery; any other goes back to the queue."""
    known = as_ours(error)
    before = message.get("tries")
    tries = before + 1 if type(before) is int and before >= 0 else 1
    if isinstance(known, NotYet):
        tries -= 1
    if isinstance(known, Unavailable) and tries <= MAX_TRIES:
        delay = round(random.uniform(0.5, 1) * min(2 ** min(tries, 10), MAX_WAIT_SECONDS))
        if isinstance(known, NotYet):
            delay = known.retry_after
        try:
            sqs.send(_queue(record), {**message, "tries": tries}, delay=delay)
        except (ClientError, BotoCoreError) as unsent:
            error = unsent
        else:
            logger.warning("put off", error=named(error.__cause__ or error), tries=tries, delay=delay)
            note_throttled(error)
            return True
    logger.error("failed", error=named(error))
    metrics.count("Errors")
    return False


def deadline(event: SQSEvent) -> float:
    """When (of time.monotonic) a scan, or the reading for a receipt, leaves the rest to the next invocation."""
    left: int = cast(Any, event.context).get_remaining_time_in_millis()
    return time.monotonic() + left / 1000 - SPLIT_RESERVE_SECONDS


def swept(event: CloudWatchEvent, sweep: Callable[[], dict[str, int]]) -> dict[str, int]:
    """Sweep, and when the clock asked, half a minute later again; log what was done."""
    rounds = 1 if event.detail.get("once") else 2
    for left in reversed(range(rounds)):
        begun = time.monotonic()
        try:
            done = sweep()
        except Exception as error:
            logger.error("failed", error=named(error))
            metrics.count("Errors")
            if not left:
                raise
        else:
            logger.info("swept", extra=done)
        finally:
            metrics.flush()
        if left:
            time.sleep(max(0.0, SWEEP_SECONDS - (time.monotonic() - begun)))
    return done


def called(event: Mapping[str, Any], handle: Callable[[Mapping[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Answer a direct call; a refusal travels as data and is raised again by the caller."""
    logger.clear_state()
    about(str(event.get("correlation_id", "")))
    try:
        result = handle(event)
    except RowmillError as error:
        result = {"refused": {**error.told, "status": error.status, "headers": error.headers}}
    except Exception:
        metrics.count("Errors")
        raise
    finally:
        metrics.flush()
    logger.info("called", refused=result.get("refused", {}).get("code"))
    return result
