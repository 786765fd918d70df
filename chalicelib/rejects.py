"""Step 5, the bad rows: as pages, as a file to correct and send back, and as a summary of what is wrong.

A file is made by a function of its own, at most once a generation, and handed out by a presigned URL. Few rejects
are made while the client waits; for many it is told to ask again. With encrypted fields the file is the answer itself.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from chalicelib import retention, vault
from chalicelib.aws import functions, s3
from chalicelib.datasets import read_schema
from chalicelib.errors import Refused
from chalicelib.formats import sheet, workbook
from chalicelib.formats.sheet import MAX_RAW_BYTES, Sheet
from chalicelib.journey import TERMINAL, UPLOAD_SECONDS, Number, lineage, rejects_key, rfc3339
from chalicelib.paging import Asked, Page, decode, fill
from chalicelib.postgres import datakeys, ledger, locks, outcomes, projection, taken
from chalicelib.postgres.connection import connection
from chalicelib.settings import settings

MOST_INLINE: Final = 3_500_000  # bytes of a file that is an answer: in base64 what the gateway passes on
AT_ONCE: Final = 10_000  # rejects that are made into a file while the client waits: about a second
KINDS: Final = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}

Download = dict[str, Any]
Row = Mapping[str, Any]


def listing(tenant: str, upload_id: str, asked: Asked) -> Page | Download | None:
    """The rejects in the format asked for: a page, or a file's URL; None while it is being made. Raises Refused."""
    form = asked.filters.get("format", "json")
    return page(tenant, upload_id, asked) if form == "json" else file(tenant, upload_id, form)


def page(tenant: str, upload_id: str, asked: Asked) -> Page:
    """An upload's rejected rows in file order, with every reason and the record as uploaded."""
    number = retention.kept_number(tenant, upload_id)
    after = decode(asked.cursor, int, 0)
    if number is None:
        return Page([], None)
    # Closed before anything else is asked: a page may end before the cursor does, within its transaction.
    db = connection()
    opened = vault.record_opener(db, number)
    with closing(outcomes.list_rejects(db, number, after, asked.limit + 1, vault.MOST_RAW)) as sealed:
        found = (_open(number, one, opened) for one in sealed)
        page = fill(found, asked.limit, _shown, lambda reject: reject["record"])
    here = taken.of_records(connection(), number, [one["row"] for one in page.items])
    for one in page.items:
        if one["row"] in here:
            one["parent_row"] = here[one["row"]][0]
    return page


def _open(number: Number, reject: Row, opened: Callable[[int, bytes], bytes]) -> Row:
    return {**reject, "raw": opened(lineage(number, reject["record"]), bytes(reject["raw"]))}


def _shown(row: Row) -> dict[str, Any]:
    raw = bytes(row["raw"])
    shown = {
        "row": row["record"],
        "line": row["line"],
        "errors": row["errors"],
        "raw": raw[:MAX_RAW_BYTES].decode(errors="backslashreplace"),
    }
    return shown | ({"raw_truncated": True} if len(raw) > MAX_RAW_BYTES else {})


def summary(tenant: str, upload_id: str) -> dict[str, Any]:
    """Why rows were rejected: the most frequent causes with their share, first and last line, and lowest rows."""
    number = retention.kept_number(tenant, upload_id)
    seen = projection.snapshot(connection(), number) if number else None
    rejected = seen["rejected"] if seen else 0
    found = outcomes.list_causes(connection(), number) if number else []
    causes = [_cause(one, rejected) for one in found]
    return {"rejected": rejected, "causes": causes, "causes_total": found[0]["of"] if found else 0}


def _cause(row: Row, rejected: int) -> dict[str, Any]:
    return {
        "code": row["code"],
        "column": row["field"],
        "cause": row["cause"],
        "rows": row["rejects"],
        "share": round(min(1.0, row["rejects"] / max(rejected, 1)), 4),
        "first_line": row["first_line"],
        "last_line": row["last_line"],
        "samples": row["samples"],
    }


# The file


def file(tenant: str, upload_id: str, form: str) -> Download | None:
    """A URL of the rejects as a file; None while it is being made. Raises Refused (409 until the upload has ended)."""
    number = retention.kept_number(tenant, upload_id)
    seen = projection.snapshot(connection(), number) if number else None
    if number is None or seen is None or seen["state"] not in TERMINAL:
        raise Refused("state_conflict", "The upload's rejects become a file when it has ended.", status=409)
    if form == "xlsx" and seen["rejected"] >= workbook.MAX_ROWS:
        raise Refused("rejects_too_many", f"A sheet holds {workbook.MAX_ROWS - 1} rejects; ask for csv.")
    expires_at = datetime.now(UTC) + timedelta(seconds=UPLOAD_SECONDS)
    if datakeys.of_upload(connection(), number):
        return {"url": _inline(number, form), "expires_at": rfc3339(expires_at)}
    key = rejects_key(tenant, upload_id, seen["generation"], form)
    if not s3.has_arrived(key) and not _made(number, form, seen["rejected"]):
        return None
    url = s3.presign_download(key, f"{upload_id}-rejects.{form}", UPLOAD_SECONDS)
    return {"url": url, "expires_at": rfc3339(expires_at)}


def _inline(number: Number, form: str) -> str:
    """The file itself, as a URL: what is sealed is put nowhere in the open. Raises Refused `rejects_too_large`."""
    upload = ledger.find(connection(), number)
    assert upload is not None
    file = bytearray()
    with closing(_blocks(upload, form)) as blocks:
        for block in blocks:
            file += block
            if len(file) > MOST_INLINE:
                detail = "Rejects with encrypted fields are a file of 3.5 MB at most; read them as pages."
                raise Refused("rejects_too_large", detail, status=409)
    return f"data:{KINDS[form].replace(' ', '')};base64,{b64encode(file).decode()}"


def _made(number: Number, form: str, rejected: int) -> bool:
    """Have the file made, unless somebody is at it; whether it is there."""
    with locks.alone(connection(), locks.render(number)) as idle:
        pass
    if not idle:
        return False
    order = {"upload": number, "format": form}
    if rejected <= AT_ONCE:
        return bool(functions.call(settings().render_function, order).get("made"))
    functions.start(settings().render_function, order)
    return False


def make(order: Mapping[str, Any]) -> dict[str, Any]:
    """Make a file of an upload's rejects, if it has ended and the file is not there; whether it is."""
    db = connection()
    form = order.get("format")
    upload = ledger.named(db, order.get("upload")) if form in KINDS else None
    seen = projection.snapshot(db, upload.number) if upload else None
    if upload is None or seen is None or seen["state"] not in TERMINAL or datakeys.of_upload(db, upload.number):
        return {"made": False}
    with locks.alone(db, locks.render(upload.number)) as ours:
        if ours:
            key = rejects_key(upload.tenant, upload.upload_id, seen["generation"], str(form))
            s3.write(key, KINDS[str(form)], _blocks(upload, str(form)))
    return {"made": ours}


def _blocks(upload: ledger.Upload, form: str) -> Generator[bytes, None, None]:
    db = connection()
    opened = vault.record_opener(db, upload.number)
    plan = upload.plan or {}
    is_as_planned = plan.get("dataset_version", upload.dataset_version) == upload.dataset_version
    fields = read_schema(upload.descriptor).names if upload.dataset and is_as_planned else None
    with closing(outcomes.list_rejects(db, upload.number, 0, None, vault.MOST_RAW)) as sealed:
        rows = (_open(upload.number, one, opened) for one in sealed)
        yield from sheet.stream(Sheet.of(plan, fields, form), rows)
