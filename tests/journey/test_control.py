"""Cancel and redrive from outside: over HTTP, by the command line, with real workers under way."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from rowmill_client import ApiError

from tests import clouds
from tests.journey.conftest import Account, adds_up, eventually, people

COMMITS = ("UPDATE", "OLD.state = 'queued' AND NEW.state = 'loaded'")
MENDED_SECONDS = 75  # a minute until whatever is stuck is taken up, and the start of a worker


def test_a_cancel_is_heard_while_a_chunk_is_being_committed_and_nothing_loads_after_it(account: Account) -> None:
    account.dataset()
    with account.cloud.held(*COMMITS):
        upload_id = account.start(people(12000, padding=2000))
        eventually(account.cloud.blocked)
        answer = account.http.post(f"uploads/{upload_id}/cancel")
        assert (answer.status_code, answer.json()["state"], answer.json()["status"]) == (202, "canceling", "processing")
    upload = account.ended(upload_id)
    assert (upload["state"], upload["status"], upload["error"]["code"]) == ("canceled", "canceled", "canceled")
    assert adds_up(upload)
    assert 0 < len(account.table()) == upload["loaded"] < 12000
    assert account.http.post(f"uploads/{upload_id}/cancel").status_code == 202  # once more changes nothing
    assert account.ended(upload_id) == upload


def test_only_what_the_states_allow_is_done(account: Account) -> None:
    account.dataset()
    done = account.ended(account.start(people(10)))
    for what in ("cancel", "redrive"):
        answer = account.http.post(f"uploads/{done['id']}/{what}")
        assert (answer.status_code, answer.json()["code"]) == (409, "state_conflict")
        assert "completed" in answer.json()["detail"]
        assert account.http.post(f"uploads/upl_{'0' * 26}/{what}").status_code == 404
    with pytest.raises(ApiError):
        account.rowmill.cancel(done["id"])


def test_an_upload_that_waits_for_its_file_is_canceled_by_the_command_line(account: Account) -> None:
    account.dataset()
    created = account.rowmill.create_upload(account.file(people(10)), "people")
    shown = rowmill(account, "cancel", created["id"], "--json")
    assert (shown.returncode, json.loads(shown.stdout)["state"]) == (0, "canceled")
    told = json.loads(rowmill(account, "events", created["id"], "--json").stdout)
    assert [(one["event"], one["state"]) for one in told] == [
        ("created", "awaiting_upload"),
        ("cancel", None),
        ("state", "canceled"),
    ]
    assert [bool(one["by"] and one["request_id"]) for one in told] == [True, True, False]
    account.rowmill.send_file(created, account.folder / "a.csv")
    assert rowmill(account, "status", created["id"], "--wait").returncode == 4
    assert account.table() == []


@pytest.mark.needs("processes to kill")
@pytest.mark.timeout(600)
def test_a_chunk_that_kills_every_worker_dies_after_four_and_loads_once_the_cause_is_gone(account: Account) -> None:
    account.dataset()
    with account.cloud.held("UPDATE", "OLD.n = 2 AND OLD.state = 'queued' AND NEW.state = 'loaded'"):
        upload_id = account.start(people(6000, padding=2000))
        for _ in range(4):
            # A message may go down with a process that the cloud still takes for alive: then the clock's sweep brings it.
            (backend,) = eventually(account.cloud.blocked, MENDED_SECONDS)
            assert account.cloud.kill_worker(backend)
            eventually(lambda backend=backend: account.cloud.is_gone(backend))
            account.cloud.sweep()
        upload = account.ended(upload_id)
    assert (upload["state"], upload["loaded"] + upload["unprocessed"]) == ("completed_with_errors", 6000)
    (given_up,) = upload["error"]["errors"]
    assert (given_up["code"], given_up["rows"]) == ("chunk_dead", upload["unprocessed"])
    assert f"Records {given_up['row']} to" in given_up["detail"]
    assert "4 attempts" in given_up["detail"]
    again = rowmill(account, "redrive", upload_id, "--wait", "--json")
    assert (again.returncode, json.loads(again.stdout)["state"]) == (0, "completed")
    assert [row[0] for row in account.table()] == list(range(1, 6001))


@pytest.mark.needs("processes to kill")
@pytest.mark.timeout(600)
def test_a_file_that_kills_every_splitter_fails_after_four_and_loads_once_the_cause_is_gone(account: Account) -> None:
    account.dataset()
    with account.cloud.held("INSERT", "NEW.n = 1"):
        upload_id = account.start(people(900))
        for _ in range(4):
            (backend,) = eventually(lambda: account.cloud.blocked() or (account.cloud.sweep() and None), MENDED_SECONDS)
            assert account.cloud.kill_worker(backend)
            eventually(lambda backend=backend: account.cloud.is_gone(backend))
        upload = account.ended(upload_id, MENDED_SECONDS)
    assert (upload["state"], upload["error"]["code"], account.table()) == ("failed", "split_failed", [])
    again = rowmill(account, "redrive", upload_id, "--wait", "--json")
    assert (again.returncode, json.loads(again.stdout)["state"], len(account.table())) == (0, "completed", 900)


def test_a_file_at_which_every_splitter_fails_ends_within_a_minute_and_loads_once_the_cause_is_gone(
    account: Account,
) -> None:
    account.dataset()
    account.cloud.sql(
        "CREATE OR REPLACE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE EXCEPTION USING MESSAGE = TG_NAME; END'"
    )
    account.cloud.sql("CREATE TRIGGER fail BEFORE INSERT ON rowmill.chunk FOR EACH ROW EXECUTE FUNCTION public.fail()")
    try:
        upload = account.ended(account.start(people(900)), MENDED_SECONDS)
    finally:
        account.cloud.sql("DROP TRIGGER fail ON rowmill.chunk")
    assert (upload["state"], upload["error"]["code"], account.table()) == ("failed", "split_failed", [])
    again = rowmill(account, "redrive", upload["id"], "--wait", "--json")
    assert (again.returncode, json.loads(again.stdout)["state"], len(account.table())) == (0, "completed", 900)


def test_a_paused_upload_keeps_what_workers_had_in_hand_and_goes_on_when_it_is_resumed(account: Account) -> None:
    account.dataset()
    before = account.cloud.messages("low")
    with account.cloud.held(*COMMITS):
        upload_id = account.start(people(24000, padding=2000))
        eventually(account.cloud.blocked)
        # The file is split meanwhile; until then it cannot be paused.
        paused = eventually(lambda: _paused(account, upload_id))
        assert (paused["state"], paused["status"]) == ("paused", "pending")
    eventually(lambda: account.cloud.messages("low") <= before)
    account.cloud.sweep()  # the last chunk in hand may have come in just after another was shown
    assert account.rowmill.get_upload(upload_id)["loaded"] == len(account.table()) > 0
    shown = json.loads(rowmill(account, "status", upload_id, "--json").stdout)
    assert (shown["state"], 0 < shown["loaded"] < 24000) == ("paused", True)
    assert rowmill(account, "pause", upload_id).returncode == 0  # once more changes nothing
    ended = rowmill(account, "resume", upload_id, "--wait", "--json")
    assert (ended.returncode, json.loads(ended.stdout)["state"]) == (0, "completed")
    assert [row[0] for row in account.table()] == list(range(1, 24001))
    assert account.http.post(f"uploads/{upload_id}/resume").status_code == 409


def _paused(account: Account, upload_id: str) -> dict[str, object] | None:
    answer = account.http.post(f"uploads/{upload_id}/pause")
    return dict(answer.json()) if answer.status_code == 202 else None


def test_the_same_file_is_known_again_however_it_is_sent_until_its_upload_is_deleted(account: Account) -> None:
    account.dataset()
    body = people(2000, padding=clouds.PART // 1000 + 100)  # above two parts
    first = account.ended(account.start(body, on_duplicate_file="reject"))
    with pytest.raises(ApiError) as refused:
        account.start(body, on_duplicate_file="reject")
    assert (refused.value.code, first["id"] in str(refused.value)) == ("duplicate_file", True)
    assert json.loads(rowmill(account, "delete", first["id"], "--json").stdout) == {"deleted": first["id"]}
    with account.cloud.in_parts_above(clouds.PART):
        known, again = (account.ended(account.start(body, on_duplicate_file="reject")) for _ in range(2))
    assert (known["state"], known["rejected"]) == ("completed_with_errors", 2000)  # their keys are there
    assert (again["state"], again["error"]["code"]) == ("failed", "duplicate_file")
    assert len(account.table()) == 2000


def rowmill(account: Account, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rowmill_client", *arguments],
        env={**os.environ, "ROWMILL_API": account.cloud.instance.api_url, "ROWMILL_TOKEN": account.token},
        capture_output=True,
        text=True,
        check=False,
        timeout=clouds.seconds(60),
    )


def test_an_upload_is_undone_by_the_command_line_and_the_first_file_s_rows_are_there_again(account: Account) -> None:
    account.dataset()
    account.ended(account.start(people(3000)))
    before = account.table()
    with account.cloud.configured("split", ROWMILL_CHUNK_POLICY="0:1000000:500"):
        upload = account.ended(account.start(people(4000, padding=9), mode="upsert"))
    assert (upload["loaded"], upload["updated"], upload["chunks_total"]) == (1000, 3000, 8)
    assert len(account.table()) == 4000
    assert account.table()[:3000] != before
    shown = rowmill(account, "revert", upload["id"], "--wait", "--json")
    undone = json.loads(shown.stdout)
    assert (shown.returncode, undone["state"], undone["status"]) == (4, "reverted", "canceled")
    assert (undone["reverted_rows"], undone["restored_rows"], undone["conflicts"]) == (1000, 3000, 0)
    assert account.table() == before
    again = account.http.post(f"uploads/{upload['id']}/revert", json={"force": True})
    assert (again.status_code, again.json()["state"]) == (202, "reverted")
    assert json.loads(rowmill(account, "conflicts", upload["id"], "--json").stdout) == []
