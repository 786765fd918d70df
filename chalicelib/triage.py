"""Step 5, why rows were rejected, as the few causes behind them; and for each the option that is proved to mend it.

Counts are what the chunks have tallied; a fix is tried on records as they stand in the file, from all over it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from chalicelib import inference, retention
from chalicelib.cells import parted
from chalicelib.checking import causes, conventions, remedies, trials
from chalicelib.checking.causes import Cause, Group
from chalicelib.datasets import Schema, read_schema
from chalicelib.errors import Refused
from chalicelib.formats import encodings
from chalicelib.journey import Number
from chalicelib.postgres import datakeys, ledger, projection, taken
from chalicelib.postgres.connection import connection
from chalicelib.postgres.outcomes import SAMPLES
from chalicelib.rerun import CUTS, Records

MOST_CAUSES: Final = 100  # that are told
MOST_COLUMNS: Final = 100  # of a cause
MOST_TRIED: Final = 200  # records a fix is tried on
LEAST_MENDED: Final = 0.9  # of those
_UNOFFERED: Final = {
    "mixed": "the values contradict each other: no one option reads them all right",
    "ambiguous": "the values can be read in two ways: which is right only their owner knows",
    "unproved": "the option mends too few of the records that it was tried on, or changes cells that were right",
    "sealed": "the dataset has encrypted fields: records of these are read again from a file alone",
    "changed": "the dataset's schema has changed since: rows of this file are to be sent anew",
}


@dataclass(frozen=True, slots=True)
class _Proof:
    """How many records a fix was tried on, and how many it mends."""

    sample: int
    mended: int

    @property
    def holds(self) -> bool:
        return self.sample > 0 and self.mended >= LEAST_MENDED * self.sample


@dataclass(frozen=True, slots=True)
class _Found:
    """A cause of an upload's rejects, with its counts and what came of its fix."""

    cause: Cause
    rejects: int
    alone: int
    proof: _Proof | None
    otherwise: str | None

    @property
    def fix(self) -> Mapping[str, Any] | None:
        """The options that mend it, if they are proved to."""
        return self.cause.option if self.otherwise is None else None

    @property
    def shown(self) -> dict[str, Any]:
        groups = self.cause.groups
        columns = list(dict.fromkeys(one.column for one in groups if one.column is not None))
        fix = self.fix
        return {
            "id": self.cause.id,
            "cause": self.cause.words,
            "codes": sorted({one.code for one in groups}),
            "columns": columns[:MOST_COLUMNS],
            "columns_total": len(columns),
            "rejects": self.rejects,
            "alone": self.alone,
            "first_line": min(one.first_line for one in groups),
            "last_line": max(one.last_line for one in groups),
            "samples": list(_samples(groups)),
            "fix": None if fix is None else {f"dialect.{name}": value for name, value in fix.items()},
            "proved": None if self.proof is None else {"sample": self.proof.sample, "mended": self.proof.mended},
            "unfixed": None if self.otherwise is None else _UNOFFERED[self.otherwise],
        }


def listing(tenant: str, upload_id: str) -> dict[str, Any]:
    """The causes of an upload's rejects, the most frequent first. Raises Refused."""
    number = retention.kept_number(tenant, upload_id)
    seen = projection.snapshot(connection(), number) if number else None
    found = _found(number, seen) if number else []
    return {
        "rejected": seen["rejected"] if seen else 0,
        "causes": [one.shown for one in found[:MOST_CAUSES]],
        "causes_total": len(found),
    }


def option_of(tenant: str, upload_id: str, names: Sequence[str]) -> dict[str, Any]:
    """The dialect that mends these causes, each of them proved. Raises Refused.

    `cause_unknown` (422), `cause_unfixed` (409) for one that no option mends.
    """
    number = retention.kept_number(tenant, upload_id)
    found = _found(number, projection.snapshot(connection(), number)) if number else []
    known = {one.cause.id: one for one in found}
    option: dict[str, Any] = {}
    for name in names:
        if name not in known:
            raise _unfit("cause_unknown", f"The upload has no cause {name[:80]!r}.", 422)
        fix = known[name].fix
        if fix is None:
            raise _unfit("cause_unfixed", f"No option mends {name}.", 409)
        if len(names) > 1 and any(one in CUTS for one in fix):
            raise _unfit("cause_unfixed", f"{name} is mended by how records are told apart: ask for it alone.", 409)
        units = [*dict.fromkeys([*option.get("units", ()), *fix.get("units", ())])]  # each cause has its own
        fix = {**fix, "units": units} if units else fix
        if any(option.get(one, value) != value for one, value in fix.items() if one != "units"):
            raise _unfit("cause_unfixed", f"{name} is mended by an option that the others contradict.", 409)
        option |= fix
    return option


def _unfit(code: str, detail: str, status: int) -> Refused:
    return Refused(code, detail, status=status, errors=[{"code": code, "column": "fix", "detail": detail}])


def _found(number: Number, seen: Mapping[str, Any] | None) -> list[_Found]:
    """The causes of an upload's rejects, the most frequent first. `seen`: its counts."""
    upload = ledger.find(connection(), number)
    groups = [_group(one) for one in taken.list_groups(connection(), number)]
    if upload is None or not groups:
        return []
    schema = read_schema(upload.descriptor) if upload.dataset else inference.text_schema((upload.plan or {})["names"])
    place = {name: index for index, name in enumerate(schema.names)}
    groups.sort(key=lambda one: (place.get(one.column or "", -1), one.code, one.cause, one.tags))
    dialect = (upload.plan or {}).get("dialect", {})
    current = conventions.read(dialect)
    nulls = schema.missing_values if current.null_values is None else current.null_values
    counts = taken.count_tags(connection(), number)
    few = causes.causes(groups, current, nulls)
    if datakeys.of_upload(connection(), number):
        few = [replace(one, option=None, otherwise="sealed") if one.option else one for one in few]
    elif not upload.dataset:  # into which records could be read again
        few = [replace(one, option=None) for one in few]
    else:
        is_all_wrong = seen is not None and seen["rejected"] == seen["rows_total"]
        few = [replace(one, candidates=remedies.recuts(one.tag, dialect, is_all_wrong=is_all_wrong)) for one in few]
    tried = _Tried(upload, schema, few) if any(one.option or one.candidates for one in few) else None
    found = [_judged(one, counts, tried) for one in few]
    return sorted(found, key=lambda one: (-one.rejects, one.cause.id))


def _judged(cause: Cause, counts: Mapping[str, tuple[int, int]], tried: _Tried | None) -> _Found:
    # Of rejects that are older than these counts, as many as have the most frequent error.
    most = max(one.errors for one in cause.groups)
    rejects, alone = counts.get(cause.tag, (most, 0))
    otherwise, proof = cause.otherwise, None
    if cause.candidates and tried and tried.is_as_planned:
        proofs = [(option, tried.proof(replace(cause, option=option))) for option in cause.candidates]
        proved = [(option, proof) for option, proof in proofs if proof.holds]
        if len(proved) == 1:
            option, proof = proved[0]
            cause = replace(cause, option=option)
        otherwise = "ambiguous" if len(proved) > 1 else None
    elif cause.option and tried:
        proof = tried.proof(cause) if tried.is_as_planned else None
        otherwise = None if proof and proof.holds else "unproved" if proof else "changed"
    return _Found(cause, rejects, alone, proof, otherwise)


def _group(row: Mapping[str, Any]) -> Group:
    samples = sorted(chain.from_iterable(row["samples"]), key=lambda one: int(one["row"]))[:SAMPLES]
    return Group(
        row["code"],
        row["field"],
        row["cause"],
        tuple(row["tags"]),
        row["errors"],
        row["first_line"],
        row["last_line"],
        samples,
    )


def _samples(groups: Iterable[Group]) -> Iterator[dict[str, Any]]:
    """The lowest rows of a cause, a column of each."""
    all_of_them = [{"column": one.column, **sample} for one in groups for sample in one.samples]
    yield from sorted(all_of_them, key=lambda one: int(one["row"]))[:SAMPLES]


class _Tried:
    """A sample of an upload's rejects, on which fixes are tried."""

    def __init__(self, upload: ledger.Upload, schema: Schema, few: Iterable[Cause]) -> None:
        self._plan = upload.plan or {}
        self._schema = schema
        self.is_as_planned = self._plan.get("dataset_version") == upload.dataset_version and not upload.dataset_is_gone
        rows = {
            int(one["row"])
            for each in few
            if each.option or each.candidates
            for group in each.groups
            for one in group.samples
        }
        self._rejects = taken.sample(connection(), upload.number, sorted(rows))
        self._tagger = remedies.Tagger(schema, conventions.planned(self._plan))

    def proof(self, cause: Cause) -> _Proof:
        """Whether the cause's option mends the records of the sample that have it."""
        theirs = [(one, columns) for one in self._rejects if (columns := self._columns(cause, one))]
        step = max(1, -(-len(theirs) // MOST_TRIED))
        theirs = theirs[::step]
        raws, option = [bytes(one["raw"]) for one, _ in theirs], cause.option or {}
        if "encoding" in option and not encodings.are_in(raws, option["encoding"]):
            return _Proof(len(theirs), 0)
        fates = Records(self._plan, self._schema, option).fates(raws)
        mended = sum(
            bool(each and trials.is_mended(each, columns)) for each, (_, columns) in zip(fates, theirs, strict=True)
        )
        return _Proof(len(theirs), mended)

    def _columns(self, cause: Cause, reject: Mapping[str, Any]) -> list[str]:
        """The columns in which a reject has this cause; of one that is wrong as a whole, all."""
        if cause.candidates:
            found = [one["column"] for one in reject["errors"] if one["code"] == cause.tag]
            return list(self._schema.names) if None in found else found
        names = {one.column for one in cause.groups}
        return [
            error["column"]
            for error in reject["errors"]
            if error["column"] in names and cause.covers(self._tagger.tags(error["column"], _value(error["detail"])))
        ]


def _value(detail: str) -> str | None:
    """The value that an error quotes."""
    value, _ = parted(detail)
    return value[1:-1] if value else None
