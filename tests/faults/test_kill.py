"""SIGKILL, really: a load worker in a process of its own dies at every point, over real sockets, and is replaced."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from chalicelib.postgres import connection
from tests.faults.conftest import Figures
from tests.faults.deliveries import Deliveries
from tests.faults.state import put_back, take
from tests.faults.test_points import ALL, CASES, Bench, Case
from tests.stages.conftest import cut_into


@pytest.fixture
def victim(deliveries: Deliveries) -> Iterator[subprocess.Popen[str]]:
    """The worker's parent. It reaches this process' moto as a server, and the same Postgres."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    environment = {**os.environ, "DATABASE_URL": deliveries.pipeline.url, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    command = [sys.executable, "-m", "tests.faults.victim"]
    with subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()
        process.wait(10)
    server.stop()


def _backends(deliveries: Deliveries) -> list[int]:
    """The server's processes for workers, but for our own thread's."""
    connection.close()
    return [row["pid"] for row in deliveries.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'rowmill'")]


@pytest.mark.parametrize(
    "case", [case for case in CASES if str(case) == "load-plain" or (ALL and case.stage == "load")], ids=str
)
def test_a_load_worker_killed_at_any_point_is_replaced_without_trace(
    case: Case, deliveries: Deliveries, victim: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    cut_into(monkeypatch, 3)
    bench = Bench(deliveries, case)
    assert bench.message and victim.stdin and victim.stdout
    expected = bench.delivered_again(bench.start)
    seen = set()
    for point in itertools.count(1):
        put_back(deliveries, bench.start)
        order = {"point": point, "queue": bench.message.queue, "body": bench.message.body}
        victim.stdin.write(json.dumps(order) + "\n")
        victim.stdin.flush()
        ended = int(victim.stdout.readline())
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        deliveries.see_gone(_backends(deliveries))
        left = take(deliveries)
        if left.print not in seen:
            seen.add(left.print)
            assert bench.delivered_again(left) == expected, point
            assert bench.lost_and_swept_up(left) == expected, point
    figures("kill_points", str(case), {"kills": point - 1, "states": len(seen)})
