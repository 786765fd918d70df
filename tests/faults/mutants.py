"""Planted faults, to see the fault tests go red: `python -m tests.faults.mutants [NAME…]`.

Each is planted in a copy of the sources, where the crash points, the stories and the model then run. Prints a line a mutant:
what turned red, and that nothing does where nothing is planted. test_points.py holds that every planted text is still there to be replaced.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from infra.local.place import default_folder

ROOT = Path(__file__).parents[2]
TESTS = {
    "points": [
        "tests/faults/test_points.py",
        "-k",
        "split-plain or load-plain or settle-insert or settle-publish or sweep-dead or undo or rerun",
    ],
    "stories": ["tests/faults/test_stories.py"],
    "model": ["tests/faults/test_model.py"],
    "triage": ["tests/stages/test_triage.py", "-k", "once or looked_at or where_no_other"],
}
MUTANTS: dict[str, list[tuple[str, str, str]]] = {
    "nothing": [],  # or all red would prove nothing
    "a chunk is claimed whoever has it": [
        (
            "chalicelib/postgres/manifest.py",
            "    return row is not None\n\n\n@dataclass(frozen=True, slots=True)\nclass Counts",
            "    return True\n\n\n@dataclass(frozen=True, slots=True)\nclass Counts",
        ),
        (
            "chalicelib/postgres/manifest.py",
            "AND n = %s AND state = 'queued'\n                  AND (attempts",
            "AND n = %s\n                  AND (attempts",
        ),
    ],
    "a chunk is marked done after the commit of its rows": [
        (
            "chalicelib/load.py",
            "        manifest.record_loaded(db, work.key, counts, prepared.sha256)",
            "    manifest.record_loaded(db, work.key, counts, prepared.sha256)",
        )
    ],
    "an upload ends before its scan does": [
        (
            "chalicelib/postgres/ledger.py",
            "state = ANY(%s) AND chunks_total IS NOT NULL AND NOT EXISTS",
            "state = ANY(%s) AND NOT EXISTS",
        )
    ],
    "a repeated scan inserts its chunks again": [
        (
            "chalicelib/postgres/manifest.py",
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        )
    ],
    "a late status overwrites a newer one": [
        (
            "chalicelib/aws/dynamodb.py",
            '"attribute_exists(upload_id) AND #rank < :rank"',
            '"attribute_exists(upload_id)"',
        )
    ],
    "an attempt is not counted": [
        ("chalicelib/postgres/manifest.py", "THEN 0 ELSE 1 END", "THEN 0 ELSE 0 END"),
    ],
    "settled rows stay contested": [
        (
            "chalicelib/postgres/outcomes.py",
            '"DELETE FROM rowmill.contested WHERE upload = %s", (number,)).rowcount',
            '"SELECT FROM rowmill.contested WHERE upload = %s", (number,)).rowcount',
        )
    ],
    "a receipt without settle": [
        (
            "chalicelib/attest.py",
            "digests.settled(db, upload.number, upload.reading) or None",
            "None",
        )
    ],
    "an undo that forgets updated rows": [
        (
            "chalicelib/postgres/befores.py",
            "        restored = self._halving(self._restore, self._low, self._high)\n",
            "        restored = 0\n",
        )
    ],
    "a publish in two transactions": [
        (
            "chalicelib/publishing.py",
            "            publish.publish(db, stage, upload.mode, lost)\n",
            '            publish.publish(db, stage, upload.mode, lost)\n            db.execute("COMMIT AND CHAIN")\n',
        )
    ],
    "a dead worker's chunk is not sent again": [
        (
            "chalicelib/postgres/repair.py",
            "WHEN started_at IS NOT NULL THEN true",
            "WHEN started_at IS NOT NULL THEN false",
        )
    ],
    "two retries take up one reject": [
        ("chalicelib/postgres/taken.py", "c.number = t.upload WHERE c.holds", "c.number = t.upload WHERE false")
    ],
    "what is taken up again is committed before its piece": [
        (
            "chalicelib/rerun.py",
            "        return ledger.keep_piece(db, upload.number, {**piece,",
            "    return ledger.keep_piece(db, upload.number, {**piece,",
        )
    ],
    "a fix changes cells that were right": [
        (
            "chalicelib/checking/trials.py",
            'if "changed" in fates.values():\n        return False',
            'if "changed" in fates.values():\n        return True',
        )
    ],
}


def main(names: list[str]) -> None:
    found = {name: {kind: _outcome(name, kind) for kind in TESTS} for name in names or MUTANTS}
    folder = default_folder() / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mutants.json").write_text(json.dumps(found, indent=1) + "\n")


def _outcome(name: str, kind: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "rowmill"
        shutil.copytree(
            ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", ".rowmill", ".hypothesis", "node_modules")
        )
        for path, old, new in MUTANTS[name]:
            (copy / path).write_text((copy / path).read_text().replace(old, new))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:randomly", *TESTS[kind]]
        environment = {**os.environ, "ROWMILL_MODEL_QUICK": "1"}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    outcome = {0: "GREEN", 1: "red"}.get(done.returncode, f"broken: {done.stdout[-300:]}")
    sys.stdout.write(f"{name:55} {kind:8} {outcome}\n")
    sys.stdout.flush()
    return outcome


if __name__ == "__main__":
    main(sys.argv[1:])
