"""Functions' metrics as Prometheus reads them: counts add up from line to line, times are summaries, others gauges."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final
from wsgiref.simple_server import WSGIServer

from .deployment import Deployment
from .errors import Unusable

try:
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
except ImportError:
    raise Unusable("this needs prometheus-client: pip install 'rowmill[operator]'") from None

GAUGES: Final = frozenset(("PostgresConnections", "UploadsRunning", "UploadsStuck"))
_ADDRESS: Final = "127.0.0.1"


class Exporter:
    """Adds up what a deployment's lines say since a moment. Each scrape reads those that are new."""

    def __init__(self, deployment: Deployment, since_ms: int) -> None:
        self._deployment = deployment
        self._since = since_ms
        self._lock = threading.Lock()
        self._values: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0, 0.0])
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> str:
        """Prometheus' text format."""
        return str(generate_latest(self._registry).decode())

    def serve(self, port: int) -> tuple[WSGIServer, threading.Thread]:
        """Answer `GET /metrics` on this machine alone, in a thread of its own, until the server is shut down."""
        return start_http_server(port, _ADDRESS, self._registry)

    def totals(self) -> dict[str, dict[str, Any]]:
        """By metric and function: how many values, their sum and the last one."""
        self._read()
        told: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        for (name, function), (count, total, last) in sorted(self._values.items()):
            told[name][function] = {"count": int(count), "sum": total, "last": last}
        return dict(told)

    def collect(self) -> Iterator[Metric]:
        for name, functions in self.totals().items():
            yield self._family(name, functions)

    def _family(self, name: str, functions: dict[str, dict[str, Any]]) -> Metric:
        spelled = "rowmill_" + re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        family: Any
        if name in GAUGES:
            family = GaugeMetricFamily(spelled, name, labels=["service", "function"])
        elif name.endswith("Seconds"):
            family = SummaryMetricFamily(spelled, name, labels=["service", "function"])
        else:
            family = CounterMetricFamily(spelled, name, labels=["service", "function"])
        for function, one in functions.items():
            labels = [f"rowmill-{self._deployment.stage}", function]
            if name in GAUGES:
                family.add_metric(labels, one["last"])
            elif name.endswith("Seconds"):
                family.add_metric(labels, count_value=one["count"], sum_value=one["sum"])
            else:
                family.add_metric(labels, one["sum"])
        return family  # type: ignore[no-any-return]

    def _read(self) -> None:
        with self._lock:
            for line in self._deployment.lines(self._since):
                for name, values in line.values.items():
                    kept = self._values[name, line.function]
                    kept[0] += len(values)
                    kept[1] += sum(values)
                    kept[2] = values[-1]
