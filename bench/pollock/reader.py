"""A file by our reader in process: what the pipeline has to come to as well."""

from __future__ import annotations

from bench.pollock.files import File, Outcome, Way
from bench.reading import read
from chalicelib.errors import Refused


def outcome(file: File, way: Way) -> Outcome:
    """What the reader makes of it. Told, it is as wide as Pollock says."""
    data = file.path.read_bytes()
    if not data:
        return Outcome(refused="file_empty")  # as the splitter has it
    try:
        table = read(data, file.declared(way), width=None if way == "detected" else file.parameters["n_columns"])
    except Refused as refused:
        return Outcome(refused=refused.code)
    names = list(table.names) if way == "detected" else file.names
    return Outcome(names, table.rows, [(each.record, each.line, each.code) for each in table.rejects])
