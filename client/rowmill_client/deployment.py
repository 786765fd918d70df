"""A whole deployment as its operator sees it: by AWS credentials, past the API, which tells a tenant of its own alone.

What Postgres knows is told by the doctor function, what waits by SQS, errors and times by the lines of metrics in the
functions' logs. boto3 is imported where it is used: who only sends files does not need it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from .errors import RowmillError, Unusable

QUEUES: Final = ("intake", "high", "medium", "low", "settle", "notify", "receipt", "dead", "undeliverable")
FUNCTIONS: Final = (
    *("api", "split", "load_high", "load_medium", "load_low", "settle", "bury", "notify", "receipt"),
    *("sweep", "doctor", "render", "define"),
)
NAMESPACE: Final = "Rowmill"
LATE_MS: Final = 10_000  # a line may be stored so long after it was printed
_COUNTS: Final = {"waiting": "", "in_hand": "NotVisible", "put_off": "Delayed"}


class Unanswered(RowmillError):
    """AWS, or the function that was asked, said no."""


@dataclass(frozen=True, slots=True)
class Line:
    """What one function has told at one moment: values by the name of their metric."""

    at_ms: int
    function: str
    values: Mapping[str, list[float]]


@dataclass(slots=True)
class _Look:
    """How far the log of one function has been read, what was seen there, and the lines that were new."""

    read_to: int = 0
    seen: Counter[int] = field(default_factory=Counter)
    lines: list[Line] = field(default_factory=list)


@dataclass(slots=True)
class Deployment:
    """One stage in the account that the environment's credentials are of."""

    stage: str
    _clients: dict[str, Any] = field(default_factory=dict)
    _urls: dict[str, str] = field(default_factory=dict)
    _looks: dict[str, _Look] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            try:
                import boto3  # noqa: PLC0415
                from botocore.config import Config  # noqa: PLC0415
            except ImportError:
                raise Unusable("this needs boto3: pip install 'rowmill[operator]'") from None
            config = Config(retries={"mode": "standard"}, connect_timeout=5, max_pool_connections=len(FUNCTIONS))
            with _asking():
                self._clients[service] = boto3.client(service, config=config)
        return self._clients[service]

    def vitals(self) -> dict[str, Any]:
        """What Postgres knows: uploads by state, workers, what waits, the last minute, connections."""
        name = f"rowmill-{self.stage}-doctor"
        with _asking():
            answer = self.client("lambda").invoke(FunctionName=name, Payload=b'{"side": "vitals"}')
            said: dict[str, Any] = json.loads(answer["Payload"].read())
        if answer.get("FunctionError") or "uploads" not in said:
            why = said.get("refused", {}).get("detail", "see its log")
            raise Unanswered(f"{name} does not say how things are: {why}")
        return said

    def queues(self) -> dict[str, dict[str, int]]:
        """Messages by queue: that wait, are in hand, are put off. As SQS counts, approximately."""
        with _asking(), ThreadPoolExecutor(len(QUEUES)) as pool:
            self.client("sqs")
            return dict(zip(QUEUES, pool.map(self._depth, QUEUES), strict=True))

    def _depth(self, queue: str) -> dict[str, int]:
        sqs = self.client("sqs")
        if queue not in self._urls:
            self._urls[queue] = sqs.get_queue_url(QueueName=f"rowmill-{self.stage}-{queue}")["QueueUrl"]
        names = {said: f"ApproximateNumberOfMessages{kind}" for said, kind in _COUNTS.items()}
        found = sqs.get_queue_attributes(QueueUrl=self._urls[queue], AttributeNames=list(names.values()))["Attributes"]
        return {said: int(found.get(name, 0)) for said, name in names.items()}

    def lines(self, since_ms: int) -> list[Line]:
        """Lines of metrics since then that have not been read yet, each once, in order of time."""
        with _asking(), ThreadPoolExecutor(len(FUNCTIONS)) as pool:
            self.client("logs")
            looks = dict(zip(FUNCTIONS, pool.map(lambda one: self._look(one, since_ms), FUNCTIONS), strict=True))
        self._looks = looks  # not before all have answered: of a look that failed nobody was told a line
        return sorted((line for look in looks.values() for line in look.lines), key=lambda line: line.at_ms)

    def _look(self, function: str, since_ms: int) -> _Look:
        logs, group = self.client("logs"), f"/aws/lambda/rowmill-{self.stage}-{function}"
        before = self._looks.get(function, _Look())
        start = max(since_ms, before.read_to - LATE_MS)
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=start, filterPattern='"_aws"'
        )
        look = _Look(before.read_to)
        try:
            for event in (event for page in pages for event in page["events"]):
                look.read_to = max(look.read_to, event["timestamp"])
                # The embedded cloud gives events no id. Two that are all alike are two: they are counted.
                look.seen[one := hash((event["logStreamName"], event["timestamp"], event["message"]))] += 1
                if look.seen[one] > before.seen[one] and (line := parsed(event["message"])):
                    look.lines.append(line)
        except logs.exceptions.ResourceNotFoundException:
            pass  # a function of a later release, or one that has not said anything
        return look


def parsed(text: str) -> Line | None:
    """A line of the log as metrics of ours, if it is one."""
    try:
        said = json.loads(text)
        (directive,) = said["_aws"]["CloudWatchMetrics"]
        if directive["Namespace"] != NAMESPACE:
            return None
        values = {name: _listed(said[name]) for name in (one["Name"] for one in directive["Metrics"])}
        return Line(int(said["_aws"]["Timestamp"]), str(said["function"]), values)
    except (ValueError, TypeError, KeyError):
        return None


def _listed(value: Any) -> list[float]:
    return [float(one) for one in (value if isinstance(value, list) else [value])]


@contextmanager
def _asking() -> Iterator[None]:
    """Turns what boto3 raises into a line: no credentials, no region, no permission, nobody there."""
    try:
        yield
    except RowmillError:
        raise
    except Exception as fault:
        if type(fault).__module__.partition(".")[0] in ("botocore", "boto3"):
            raise Unanswered(str(fault)) from fault
        raise
