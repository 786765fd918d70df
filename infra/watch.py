"""What a person must hear about, and what there is to look at: the alarms and the dashboard, one table each.

The one thing to know: OPERATIONS.md says of every alarm here what it means and what to do, under its name. Metrics are
those of AWS's services and Rowmill's own, which functions print (namespace Rowmill, `service` and `function`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

SERVICE: Final = "rowmill-${Stage}"
FUNCTIONS: Final = ("api", "split", "load_high", "load_medium", "load_low", "settle", "bury", "notify", "receipt")
FUNCTIONS_AT_REST: Final = ("sweep", "doctor", "render", "define")
# Seconds that a message may wait: in short, what a client would call stuck. Tiers take turns, so low may wait longest.
OLDEST: Final = {"intake": 600, "high": 300, "medium": 900, "low": 3600, "settle": 600}
OLDEST_BESIDE: Final = {"dead": 600, "notify": 900, "receipt": 7200}
# A metric-math alarm takes ten metrics; those with two copies by design, and who is called by hand, are not among them.
MAY_NOT_WAIT: Final = (*(name for name in FUNCTIONS if name != "bury"), "sweep")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by its dimensions, whose values may have ${Stage} in them."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]

    def stat(self, statistic: str, period: int) -> dict[str, Any]:
        """It as one of the terms of an alarm."""
        return {"Metric": self._named(), "Period": period, "Stat": statistic}

    def alone(self, statistic: str, period: int) -> dict[str, Any]:
        """It as all that an alarm looks at."""
        return {**self._named(), "Period": period, "Statistic": statistic}

    def _named(self) -> dict[str, Any]:
        named = [{"Name": key, "Value": {"Fn::Sub": value}} for key, value in self.dimensions.items()]
        return {"Namespace": self.namespace, "MetricName": self.name, "Dimensions": named}

    def drawn(self, **options: Any) -> list[Any]:
        """It as a line of the dashboard."""
        return [self.namespace, self.name, *(part for pair in self.dimensions.items() for part in pair), options]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Rings when `statistic` of the metric, or the formula over several, is above (or under) `bound` in `of` of the
    last `times` periods of so many seconds. `bound` may name a parameter of the stack."""

    name: str  # after rowmill-{stage}-, and a heading of OPERATIONS.md up to the first dot
    tells: str
    terms: Mapping[str, Metric]
    bound: float | str = 0
    statistic: str = "Sum"
    formula: str = ""
    period: int = 60
    times: int = 1
    of: int = 1
    under: bool = False
    silence: str = "notBreaching"

    def resource(self) -> dict[str, Any]:
        """It as CloudFormation has it."""
        heard = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]}
        said = {
            "AlarmName": {"Fn::Sub": f"rowmill-${{Stage}}-{self.name}"},
            "AlarmDescription": f"{self.tells} OPERATIONS.md, {self.name.partition('.')[0]}.",
            **self._seen(),
            "Threshold": {"Ref": self.bound} if isinstance(self.bound, str) else self.bound,
            "ComparisonOperator": "LessThanThreshold" if self.under else "GreaterThanThreshold",
            "EvaluationPeriods": self.times,
            "DatapointsToAlarm": self.of,
            "TreatMissingData": self.silence,
            "AlarmActions": heard,
            "OKActions": heard,
        }
        on_aws = {"Condition": "DoesMath"} if self.formula else {}
        return {"Type": "AWS::CloudWatch::Alarm", **on_aws, "Properties": said}

    def _seen(self) -> dict[str, Any]:
        if not self.formula:
            (metric,) = self.terms.values()
            return metric.alone(self.statistic, self.period)
        found: list[dict[str, Any]] = [
            {"Id": key, "MetricStat": metric.stat(self.statistic, self.period), "ReturnData": False}
            for key, metric in self.terms.items()
        ]
        return {"Metrics": [*found, {"Id": "told", "Expression": self.formula, "ReturnData": True}]}


def alarms() -> Iterator[Alarm]:
    """Every alarm of a stage."""
    yield from _of_messages()
    yield from _of_calls()
    yield from _of_uploads()
    yield from _of_postgres()
    yield Alarm(
        "cost",
        "A day's uploads cost more than they may.",
        {"m": _ours("UploadCostUsd")},
        "MostDollarsADay",
        period=86_400,
    )


def _of_messages() -> Iterator[Alarm]:
    """What was given up, or waits for too long."""
    yield Alarm("undeliverable", "A message could not even be buried.", {"m": _depth("undeliverable")}, 0, "Maximum")
    yield Alarm(
        "dead-letters",
        "Messages were given up, and bury does not keep up.",
        {"m": _depth("dead")},
        0,
        "Maximum",
        times=5,
        of=5,
    )
    yield Alarm("dead-chunks", "Records were given up, and wait for a redrive.", {"m": _ours("ChunksDead")})
    for queue, seconds in (OLDEST | OLDEST_BESIDE).items():
        tells = f"A message has waited {seconds // 60} minutes in {queue}."
        yield Alarm(f"waiting.{queue}", tells, {"m": _age(queue)}, seconds, "Maximum")


def _of_calls() -> Iterator[Alarm]:
    """Functions that fail, answers of 5xx, and calls that Lambda does not take."""
    for name in (*FUNCTIONS, *FUNCTIONS_AT_REST):
        terms = {
            "crashed": _lambda("Errors", name),
            "failed": _ours("Errors", name),
            "calls": _lambda("Invocations", name),
        }
        formula = "IF(calls > 0, 100 * (FILL(crashed, 0) + FILL(failed, 0)) / calls, 0)"
        yield Alarm(
            f"errors.{name}",
            f"One in twenty calls of {name} fails.",
            terms,
            5,
            formula=formula,
            period=300,
            times=3,
            of=2,
        )
    yield Alarm(
        "refusals",
        "One answer in a hundred is a 5xx.",
        {"m": _gateway("5XXError")},
        0.01,
        "Average",
        period=300,
        times=3,
        of=2,
    )
    waits = {f"m{place}": _lambda("Throttles", name) for place, name in enumerate(MAY_NOT_WAIT)}
    yield Alarm("throttles", "Lambda turns calls away.", waits, 10, formula="SUM(METRICS())", period=300, times=3, of=2)


def _of_uploads() -> Iterator[Alarm]:
    """Uploads that nothing moves, and the clock that would."""
    yield Alarm(
        "stuck-uploads",
        "An upload has not moved for minutes, sweeps notwithstanding.",
        {"m": _ours("UploadsStuck")},
        0,
        "Maximum",
        times=5,
        of=5,
    )
    yield Alarm(
        "no-sweep",
        "The clock stands still: what is lost is not mended.",
        {"m": _lambda("Invocations", "sweep")},
        1,
        times=5,
        of=5,
        under=True,
        silence="breaching",
    )


def _of_postgres() -> Iterator[Alarm]:
    yield Alarm(
        "connections",
        "Postgres is about to run out of connections.",
        {"m": _ours("PostgresConnections")},
        "MostConnections",
        "Maximum",
        times=3,
        of=3,
    )
    yield Alarm(
        "postgres-refuses",
        "Postgres does not take what it is asked.",
        {"m": _ours("ThrottledByPostgres")},
        50,
        period=300,
        times=2,
        of=2,
    )


def resources() -> dict[str, Any]:
    """All of it, by logical names."""
    made = {f"{_camel(one.name)}Alarm": one.resource() for one in alarms()}
    named = {"DashboardName": {"Fn::Sub": SERVICE}, "DashboardBody": {"Fn::Sub": json.dumps({"widgets": _laid_out()})}}
    return made | {"Dashboard": {"Type": "AWS::CloudWatch::Dashboard", "Properties": named}}


def _graphs() -> Iterator[tuple[str, str, list[list[Any]]]]:
    """Title, statistic and lines of each graph, in reading order."""
    yield (
        "Uploads: under way, stuck",
        "Maximum",
        [_ours("UploadsRunning").drawn(), _ours("UploadsStuck").drawn(color="#d62728")],
    )
    yield "Rows a minute", "Sum", [_ours("RowsLoaded").drawn(), _ours("RowsRejected").drawn()]
    yield (
        "Seconds from stored to completed",
        "p50",
        [_ours("UploadSeconds").drawn(stat=one) for one in ("p50", "p95", "p99")],
    )
    yield "Seconds a chunk", "p50", [_ours("ChunkSeconds").drawn(stat=one) for one in ("p50", "p95")]
    yield "Chunks loaded, given up", "Sum", [_ours("ChunksLoaded").drawn(), _ours("ChunksDead").drawn(color="#d62728")]
    yield (
        "Messages that wait",
        "Maximum",
        [_depth(queue).drawn() for queue in (*OLDEST, *OLDEST_BESIDE, "undeliverable")],
    )
    yield "Age of the oldest message", "Maximum", [_age(queue).drawn() for queue in (*OLDEST, *OLDEST_BESIDE)]
    yield "Seconds a request", "p50", [_ours("RequestSeconds").drawn(stat=one) for one in ("p50", "p95", "p99")]
    yield "Requests, 4xx, 5xx", "Sum", [_gateway(one).drawn() for one in ("Count", "4XXError", "5XXError")]
    every = (*FUNCTIONS, *FUNCTIONS_AT_REST)
    yield "Calls that failed", "Sum", [_lambda("Errors", name).drawn() for name in every]
    yield "Errors that functions tell of", "Sum", [_ours("Errors", name).drawn() for name in every]
    yield "Copies that run", "Maximum", [_lambda("ConcurrentExecutions", name).drawn() for name in every]
    yield "Calls turned away", "Sum", [_lambda("Throttles", name).drawn() for name in every]
    yield "Postgres: connections", "Maximum", [_ours("PostgresConnections").drawn()]
    yield "Postgres: what it did not take", "Sum", [_ours("ThrottledByPostgres").drawn()]
    yield "USD a day for uploads", "Sum", [_ours("UploadCostUsd").drawn(period=86_400)]


def _laid_out() -> list[dict[str, Any]]:
    """Alarms above, then graphs, three to a row of 24."""
    arn = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:rowmill-${Stage}-"
    states = {"title": "Alarms", "alarms": [arn + one.name for one in alarms()]}
    widgets: list[dict[str, Any]] = [{"type": "alarm", "x": 0, "y": 0, "width": 24, "height": 4, "properties": states}]
    for place, (title, statistic, lines) in enumerate(_graphs()):
        shown = {"title": title, "metrics": lines, "stat": statistic, "period": 60, "region": "${AWS::Region}"}
        corner = {"x": place % 3 * 8, "y": 4 + place // 3 * 6, "width": 8, "height": 6}
        widgets.append({"type": "metric", **corner, "properties": shown})
    return widgets


def _ours(name: str, function: str = "") -> Metric:
    """A metric that functions print: of one, or of all together."""
    return Metric("Rowmill", name, {"service": SERVICE} | ({"function": function} if function else {}))


def _lambda(name: str, function: str) -> Metric:
    return Metric("AWS/Lambda", name, {"FunctionName": f"{SERVICE}-{function}"})


def _gateway(name: str) -> Metric:
    return Metric("AWS/ApiGateway", name, {"ApiName": SERVICE, "Stage": "api"})


def _depth(queue: str) -> Metric:
    return Metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": f"{SERVICE}-{queue}"})


def _age(queue: str) -> Metric:
    return Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName": f"{SERVICE}-{queue}"})


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.replace(".", "-").replace("_", "-").split("-"))
