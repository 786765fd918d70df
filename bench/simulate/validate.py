"""The measured runs played by the model: predicted over measured, of the whole and of each upload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from bench.simulate.measure import Times
from bench.simulate.model import Site, Upload, play

EMBEDDED: Final = {"high": 4, "medium": 2, "low": 2}  # concurrency of Size=small in infra/resources.yaml


@dataclass(frozen=True, slots=True)
class Compared:
    """A run as it was and as it is predicted, in seconds; of its uploads the median ratio."""

    run: str
    measured: float
    predicted: float
    of_uploads: float

    @property
    def ratio(self) -> float:
        return self.predicted / self.measured


def embedded_site(times: Times, cores: int) -> Site:
    """The embedded cloud: one machine plays everything, so chunks have nothing of their own."""
    return Site(
        split_workers=4,
        load_workers=EMBEDDED,
        cores=cores,
        event=times.event,
        plan=0.0,
        split_bytes_per_s=times.split_bytes_per_s,
        dispatch=times.dispatch,
        finish=times.finish,
        gap=times.gap,
        own_chunk=0.0,
        own_row=0.0,
        # What a machine is busy with beside the wall-clock times of one file at a time: what follows a commit, for one.
        shared_chunk=max(times.chunk, times.cpu_load_chunk + times.cpu_database_chunk),
        shared_row=times.row,
        variation=times.variation,
        in_turn=False,
        shared_plan=max(times.plan, times.cpu_split_upload),
        shared_admit=times.cpu_admit,
    )


def compare(measured: Mapping[str, Any]) -> list[Compared]:
    """Every run that was measured."""
    site = embedded_site(Times(**measured["times"]), measured["cores"])
    return [_compare(site, name, run) for name, run in measured["runs"].items()]


def _compare(site: Site, name: str, run: Mapping[str, Any]) -> Compared:
    told = run["uploads"]
    played = play(site, [Upload(one["at"], 0, one["tier"], one["rows"], one["bytes"]) for one in told])
    ratios = [(end - one["at"]) / (one["ended"] - one["at"]) for end, one in zip(played.ended, told, strict=True)]
    return Compared(name, run["took"], played.took, median(ratios))
