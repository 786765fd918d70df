"""The peers' benchmark over a real server: what it counts, what it leaves, what it says of a load that failed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench import kernel
from bench.peers import files, ground, meter, others
from bench.peers.children import serving, started
from bench.peers.ground import Failed, Ground
from bench.simulate.measure import processor_times
from infra.local.processes import family

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground.standing(tmp_path_factory.mktemp("peers"), deployed=False, patience=0) as standing:
        yield standing


def test_psql_loads_the_file_and_leaves_no_table(place: Ground, tmp_path: Path) -> None:
    spent = others.psql(place, files.contacts(tmp_path, 300))
    assert spent.seconds > 0
    assert place.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_load_that_fails_has_no_figure_but_a_reason(place: Ground, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="COPY target"):
        others.psql(place, files.contacts(tmp_path, 300, "bad"))


def test_the_processor_time_of_a_client_is_told_from_its_neighbours(place: Ground) -> None:
    program = f"print('ready', flush=True)\ninput()\n{BURN.format(seconds=0.3)}print('done', flush=True)\ninput()"
    with (
        started(place, [sys.executable, "-c", program], ground.environment(place), "burn.log") as child,
        meter.measured(place.postgres, [child.process]) as spent,
    ):
        child.tell("")
        child.expect("done")
    assert 0.2 < spent.client < 0.6
    assert spent.postgres < 0.2


def test_what_the_model_goes_by_as_the_emulators_time_is_its_servers(place: Ground) -> None:
    for _ in range(50):
        httpx.get(f"{place.here.endpoint}/_ministack/health").raise_for_status()
    spent = sum(kernel.spent(each.pid) for each in family(place.cloud))  # the guard's and the server's
    assert processor_times(place.here)["emulator"] >= spent


def test_a_command_that_has_ended_counts_as_well(place: Ground, tmp_path: Path) -> None:
    with meter.measured(place.postgres) as spent:
        ground.run(place, [sys.executable, "-c", BURN.format(seconds=0.3)], tmp_path / "burn.log")
    assert 0.2 < spent.client < 0.6


def test_a_program_that_dies_is_a_failure_with_its_last_word(place: Ground) -> None:
    program = [sys.executable, "-c", "print('ready', flush=True); input(); raise SystemExit('out of luck')"]
    with (
        started(place, program, ground.environment(place), "dies.log") as child,
        pytest.raises(Failed, match="out of luck"),
    ):
        child.tell("")
        child.expect("done")


def test_a_server_goes_with_its_children(place: Ground) -> None:
    program = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    with serving(place, [sys.executable, "-c", program], ground.environment(place), "server.log") as server:
        deadline = time.monotonic() + 20
        while len(members := family(server)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert not any(each.alive for each in members)


def test_the_cloud_is_halted_and_goes_on(place: Ground) -> None:
    def states() -> set[str]:
        found = (Path("/proc", str(each.pid), "stat").read_text() for each in family(place.cloud))
        return {stat.rpartition(")")[2].split()[0] for stat in found}

    with place.halted_cloud():
        assert states() == {"T"}
    assert "T" not in states()
