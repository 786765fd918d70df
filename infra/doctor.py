"""`python -m infra doctor`: has the doctor function look at every upload of a stage, page by page, and prints it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from infra.cloud import DeployError, connect

PATIENCE: Final = 320  # longer than the function may run: who asked again would have two of it at the same page


def consult(stage: str, *, mend: bool) -> None:
    """Compare, and mend if asked to. The sweep carries on what mending began."""
    function = f"rowmill-{stage}-doctor"
    differences = 0
    for side in ("ledger", "status"):
        checked = 0
        for page in _pages(function, side, mend=mend):
            checked += page["checked"]
            differences += len(page["differences"])
            for found in page["differences"]:
                print(_told(found, mend))
        print(f"{side}: {checked} uploads looked at")
    print(f"{differences} differences" if differences else "everything agrees")


def rewrap(stage: str) -> None:
    """Have all data keys of encrypted fields wrapped by the stage's KMS key as it is now."""
    count = sum(int(page["checked"]) for page in _pages(f"rowmill-{stage}-doctor", "keys", mend=True))
    print(f"{count} data keys wrapped anew")


def _told(found: dict[str, Any], mend: bool) -> str:
    outcome = ("mended" if mend else "can be mended") if found["mendable"] else "needs a decision"
    return f"{found['upload_id']} {found['code']} ({outcome}): {found['detail']}"


def _pages(function: str, side: str, *, mend: bool) -> Iterator[dict[str, Any]]:
    functions = connect().client("lambda", PATIENCE)
    after: Any = None
    while True:
        event = {"side": side, "after": after, "mend": mend}
        answer = functions.invoke(FunctionName=function, Payload=json.dumps(event).encode())
        page: dict[str, Any] = json.loads(answer["Payload"].read())
        if answer.get("FunctionError") or "refused" in page:
            raise DeployError(f"{function} failed: {page.get('refused') or page}")
        yield page
        after = page["next"]
        if after is None:
            return
