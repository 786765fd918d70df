"""Results in words: a line a seed, what is wrong, one line in the end, and all there are as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bench.campaign.audit import INVARIANTS
from bench.campaign.results import Kept, Result
from bench.publish import table

HOW = """# The fault campaign

A seed uploads two to five small files (chunks of 40 to 60 records; insert, skip and upsert; one, two and no unique
key; repeated keys, bad rows, quoted line ends and stray quotes) into a running embedded cloud: the deployed functions
as processes of their own, the emulator's queues, buckets and tables, a real PostgreSQL. Meanwhile a plan drawn from
the seed strikes: two proxies cut lines, drop answers, turn calls down, lose and double messages; processes are killed;
Postgres is restarted. Then the faults end, the queues drain, and rows, rejects, counts, states and events are compared
with what an oracle of its own reads out of the files.

What is not as in production: the sweep strikes every second, and what has been silent for 3 s is made 30 s older in the
ledger instead of being waited for. In six seeds of ten the queues show a message again after 3 s, so that deliveries
overlap; in the others not within the seed (*message in hand stays hidden*: as deployed, where it takes minutes), so
that only the sweep can mend what a killed process held. Clocks are set apart with libfaketime; where that is not
installed, no clock is, and the table says 0.
"""


def line(result: Result) -> str:
    """A seed in one line: what hit of what was planned, each invariant, how long it took to recover."""
    planned, hit = Counter(result.planned), Counter(result.hits)
    missed = sorted(kind for kind in planned if not hit[kind])
    verdicts = " ".join(f"{name} {'FAILED' if result.problems[name] else 'ok'}" for name in INVARIANTS)
    struck = ", ".join(kind + (f" x{count}" if count > 1 else "") for kind, count in sorted(hit.items()))
    return (
        f"seed {result.seed}: {verdicts} | {result.chunks} chunks, {result.records} records,"
        f" recovered in {result.recovery} s, {result.seconds} s in all"
        f" | hit: {struck or 'nothing'}" + (f" | missed: {', '.join(missed)}" if missed else "")
    )


def problems(result: Result) -> Iterator[str]:
    """What is wrong, a line each."""
    for name, sentences in result.problems.items():
        for sentence in sentences:
            yield f"  seed {result.seed} {name} ({INVARIANTS[name]}): {sentence}"


def summary(results: Sequence[Result]) -> str:
    """The last line."""
    bad = [result.seed for result in results if not result.ok]
    hits = sum((Counter(result.hits) for result in results), Counter[str]())
    slowest = max((result.recovery for result in results), default=0.0)
    return (
        f"campaign: {len(results)} seeds, {len(results) - len(bad)} ok, {len(bad)} FAILED{f' {bad}' if bad else ''};"
        f" {sum(hits.values())} faults of {len(hits)} kinds hit; {sum(r.chunks for r in results)} chunks,"
        f" {sum(r.records for r in results)} records; slowest recovery {slowest} s,"
        f" at most {max((r.connections for r in results), default=0)} connections"
    )


def markdown(kept: Kept) -> str:
    """A version's accumulated results as a page."""
    results = kept.all()
    verdicts = [(key, text, sum(bool(r.problems[key]) for r in results)) for key, text in INVARIANTS.items()]
    parts = [
        HOW.rstrip(),
        f"Protocol version {kept.folder.name}. {summary(results)}",
        table(("invariant", "", "seeds that broke it"), verdicts),
        table(("fault", "seeds that planned it", "seeds it hit", "times"), _faults(results)),
        table(("mutant", "found by seed", "broke"), _mutants(kept)),
    ]
    return "\n\n".join(parts)


def _faults(results: Sequence[Result]) -> Iterator[tuple[object, ...]]:
    planned = Counter(kind for result in results for kind in set(result.planned))
    hit = Counter(kind for result in results for kind, count in result.hits.items() if count)
    times = sum((Counter(result.hits) for result in results), Counter[str]())
    for kind in sorted(planned.keys() | hit.keys()):
        # What happens in every seed is in no plan.
        yield kind, planned[kind] or len(results), hit[kind], times[kind]


def _mutants(kept: Kept) -> Iterator[tuple[object, ...]]:
    for name, outcome in kept.mutants().items():
        yield name, outcome["seed"] or "SURVIVED", outcome["broke"]
