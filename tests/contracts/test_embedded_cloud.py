"""The embedded cloud as its users may rely on it: only ours, only local, durable, and gone without a trace.

Real servers throughout. None of these tests needs the deployment, so all instances are bare.
"""

import asyncio
import base64
import contextlib
import hashlib
import importlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast
from unittest.mock import Mock
from urllib.parse import unquote

import boto3
import psycopg
import pytest
from botocore.config import Config

from infra.local import cloud, database, emulator, instance, processes
from infra.local.emulator import (
    LOOK_SECONDS,
    THROTTLED,
    ApiGate,
    Lines,
    Message,
    look_at_large_bodies_aside,
    put_parts_together_aside,
    tell_lines_at_once,
)
from infra.local.place import MARK, Place
from infra.local.record import Instance, note
from infra.local.server import NICENESS

CHECKOUT = Path(__file__).resolve().parents[2]
LOOPBACK = "0100007F"
LISTEN = "0A"
Seen = TypeVar("Seen")
ONLY_LOGS = {"logs", "logs/cloud.log", "logs/postgres.log"}
NAP = """
import tempfile, time

def handler(event, context):
    tempfile.mkstemp(prefix="napping-")
    time.sleep(60)
"""
TELL = """
def handler(event, context):
    for n in range(event["lines"]):
        print(event["name"], n)
"""
CONNECT = """
import os, psycopg

connected = []

def handler(event, context):
    connected.append(psycopg.connect(event["url"]))
    return [os.getpid(), connected[-1].info.backend_pid]
"""


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture(scope="module")
def untouched(parent: Path) -> tuple[str, list[int]]:
    """The machine's users and the modes of the folders on the way to ours, from before the first start."""
    return _users(), _modes(parent)


@pytest.fixture(scope="module")
def shared(parent: Path, untouched: tuple[str, list[int]]) -> Iterator[Instance]:
    with instance.running(parent / "shared", deployed=False) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for one instance, taken away whatever the test left in it."""
    yield tmp_path / "instance"
    instance.down(tmp_path / "instance")


# Only local


def test_it_listens_on_loopback_only(shared: Instance) -> None:
    addresses = [address for process in _all_of(shared) for address in _listening(process)]
    assert addresses
    assert {address.split(":")[0] for address in addresses} == {LOOPBACK}


def test_each_server_listens_on_one_port(shared: Instance) -> None:
    ports = {address.split(":")[1] for process in _all_of(shared) for address in _listening(process)}
    assert ports == {f"{_port(shared.endpoint):04X}", f"{_port(shared.database_url):04X}"}


def test_a_data_key_opens_in_its_own_context_and_by_a_key_that_is_on(shared: Instance) -> None:
    kms = _client(shared, "kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    made = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext={"tenant": "a"})
    wrapped = {"KeyId": key, "CiphertextBlob": made["CiphertextBlob"]}
    assert made["Plaintext"] not in made["CiphertextBlob"]
    assert kms.decrypt(**wrapped, EncryptionContext={"tenant": "a"})["Plaintext"] == made["Plaintext"]
    with pytest.raises(kms.exceptions.InvalidCiphertextException):
        kms.decrypt(**wrapped, EncryptionContext={"tenant": "b"})
    again = kms.encrypt(KeyId=key, Plaintext=made["Plaintext"], EncryptionContext={"tenant": "a"})
    wrapped["CiphertextBlob"] = again["CiphertextBlob"]
    assert kms.decrypt(**wrapped, EncryptionContext={"tenant": "a"})["Plaintext"] == made["Plaintext"]
    kms.disable_key(KeyId=key)
    with pytest.raises(kms.exceptions.DisabledException):
        kms.decrypt(**wrapped, EncryptionContext={"tenant": "a"})


def test_the_emulator_has_what_we_change_in_it() -> None:
    """Under the names by which it is changed: an unknown one would be changed for nothing."""
    assert vars(importlib.import_module("ministack.services.lambda_svc"))["_ESM_IDLE_WAKE_GAP_SECONDS"] > LOOK_SECONDS
    worker = vars(importlib.import_module("ministack.core.lambda_runtime"))["Worker"]
    assert {"_read_stderr", "_drain_stderr_bounded", "_drain_stderr"} <= vars(worker).keys()
    s3 = vars(importlib.import_module("ministack.services.s3"))
    assert {"hashlib", "_complete_multipart_upload", "_record_object_version", "_multipart_uploads", "_qp"} <= s3.keys()
    assert {"handle_request", "_parse_multipart_form", "md5_hash", "_compute_s3_checksum"} <= s3.keys()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The emulator's, with parts put together as ours are, and a bucket that keeps versions."""
    s3: Any = importlib.import_module("ministack.services.s3")
    for name in ("hashlib", "handle_request", "_complete_multipart_upload", "_record_object_version"):
        monkeypatch.setattr(s3, name, getattr(s3, name))
    complete = s3._complete_multipart_upload

    def weighed(*given: Any) -> Any:
        tracemalloc.start()
        try:
            return complete(*given)
        finally:
            s3.copied = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()

    monkeypatch.setattr(s3, "copied", 0, raising=False)
    s3._complete_multipart_upload = weighed
    put_parts_together_aside(s3)
    _asked(s3, "PUT", "/sums")
    versions = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    _asked(s3, "PUT", "/sums", versions, versioning="")
    return s3


def _asked(s3: Any, method: str, path: str, body: bytes = b"", **query: str) -> tuple[Any, ...]:
    found: tuple[Any, ...] = asyncio.run(s3.handle_request(method, path, {}, body, query))
    return found


def _begun(s3: Any, key: str, *parts: bytes) -> str:
    upload = re.findall(b"<UploadId>(.+)</UploadId>", _asked(s3, "POST", f"/sums/{key}", uploads="")[2])[0].decode()
    for n, part in enumerate(parts, 1):
        assert _asked(s3, "PUT", f"/sums/{key}", part, uploadId=upload, partNumber=str(n))[0] == 200
    return str(upload)


def _named(*numbers: int) -> bytes:
    return b"<C>%b</C>" % b"".join(b"<Part><PartNumber>%d</PartNumber></Part>" % n for n in numbers)


PARTS = (b"a" * (5 << 20), b"b" * (5 << 20), b"c" * 70_000)


def test_parts_are_not_summed_again_when_they_are_put_together(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    md5 = Mock(wraps=hashlib.md5)
    monkeypatch.setattr(hashlib, "md5", md5)
    upload = _begun(s3, "key", *PARTS)
    assert _asked(s3, "POST", "/sums/key", _named(1, 2, 3), uploadId=upload)[0] == 200
    summed = [call.args[0] for call in md5.call_args_list]
    assert [summed.count(part) for part in PARTS] == [1, 1, 1]
    whole = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in PARTS)).hexdigest()
    assert _asked(s3, "HEAD", "/sums/key")[1]["ETag"] == f'"{whole}-3"'


def test_nothing_is_copied_in_the_event_loop_when_parts_are_put_together(s3: Any) -> None:
    upload = _begun(s3, "aside", *PARTS)
    assert _asked(s3, "POST", "/sums/aside", _named(1, 2, 3), uploadId=upload)[0] == 200
    assert s3.copied < emulator.LARGE
    assert _asked(s3, "GET", "/sums/aside")[2] == b"".join(PARTS)


def test_a_file_is_made_of_the_parts_that_are_named_and_is_a_version(s3: Any) -> None:
    made = []
    for named in ((1, 2, 3), (1, 3), (2,)):
        upload = _begun(s3, "some", *PARTS)
        refused = _named(1, 4)
        assert _asked(s3, "POST", "/sums/some", refused, uploadId=upload)[0] == 400
        answer = _asked(s3, "POST", "/sums/some", _named(*named), uploadId=upload)
        assert _asked(s3, "POST", "/sums/some", _named(*named), uploadId=upload) == answer
        made.append((answer[1]["x-amz-version-id"], b"".join(PARTS[n - 1] for n in named)))
    for version, file in made:
        assert _asked(s3, "GET", "/sums/some", versionId=version)[2] == file
        assert _asked(s3, "HEAD", "/sums/some", versionId=version)[1]["Content-Length"] == str(len(file))


def test_a_part_that_is_sent_again_while_all_are_joined_is_in_the_file(s3: Any) -> None:
    upload, again = _begun(s3, "again", *PARTS), b"d" * (5 << 20)

    async def both() -> None:
        complete = s3.handle_request("POST", "/sums/again", {}, _named(1, 2, 3), {"uploadId": upload})
        part = s3.handle_request("PUT", "/sums/again", {}, again, {"uploadId": upload, "partNumber": "1"})
        assert [found[0] for found in await asyncio.gather(complete, part)] == [200, 200]

    asyncio.run(both())
    assert _asked(s3, "GET", "/sums/again")[2] == again + b"".join(PARTS[1:])


def part(name: str, value: bytes, more: bytes = b"") -> bytes:
    return b'--a-b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name.encode(), more, value)


FILE = part("file", b"a,b\r\n--a\r\n--a-\r\n\r\n" * 9, b'; filename="a.csv"\r\nContent-Type: text/csv')


@pytest.mark.parametrize(
    "body",
    [
        part("key", b"k") + FILE + b"--a-b--\r\n",
        part("key", b"k") + FILE + b"--a-b--",
        part("file", b"", b"; filename=x") + b"--a-b--\r\n",
        FILE + part("key", b"behind") + b"--a-b--\r\n",
        part("long", b"l" * emulator.FORM_HEAD) + FILE + b"--a-b--\r\n",
        FILE + b"--a-b--\r\nepilogue",
        FILE.replace(b"\r\n\r\n", b"\r\n"),
        FILE,
        b"--a-b--\r\n",
        b"",
    ],
    ids=[
        "usual",
        "no line end",
        "empty",
        "not last",
        "begins late",
        "epilogue",
        "headless",
        "cut off",
        "bare",
        "nothing",
    ],
)
def test_a_large_form_is_parsed_as_the_emulator_does(body: bytes) -> None:
    parse = importlib.import_module("ministack.services.s3")._parse_multipart_form
    for kind in ("multipart/form-data; boundary=a-b", 'multipart/form-data; boundary="a-b"', "text/csv"):
        assert emulator.form(parse, kind, body) == parse(kind, body)


def test_others_are_answered_while_a_large_body_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sums are still compared, and its ETag is its MD5."""
    s3 = importlib.import_module("ministack.services.s3")
    for name in ("handle_request", "_parse_multipart_form", "md5_hash", "_compute_s3_checksum"):
        monkeypatch.setattr(s3, name, getattr(s3, name))
    here, summed = threading.get_ident(), list[int]()

    def summing(real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any) -> Any:
            if len(given[-1]) >= emulator.LARGE:
                summed.append(threading.get_ident())
            return real(*given)

        return counted

    for name in ("md5_hash", "_compute_s3_checksum"):
        monkeypatch.setattr(s3, name, summing(getattr(s3, name)))
    look_at_large_bodies_aside(s3)

    def ask(method: str, path: str, body: bytes = b"", **headers: str) -> tuple[Any, ...]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        found: tuple[Any, ...] = asyncio.run(s3.handle_request(method, path, named, body, {}))
        return found

    ask("PUT", "/aside")
    body = b"a" * emulator.LARGE
    sums = [base64.b64encode(hashlib.sha256(text).digest()).decode() for text in (body, b"another")]
    taken = [ask("PUT", "/aside/key", body, x_amz_checksum_sha256=told) for told in sums]
    assert [(found[0], b"BadDigest" in found[2]) for found in taken] == [(200, False), (400, True)]
    sent = part("key", b"form") + part("file", body) + b"--a-b--\r\n"
    assert ask("POST", "/aside", sent, content_type="multipart/form-data; boundary=a-b")[0] == 204
    assert {ask("HEAD", f"/aside/{key}")[1]["ETag"] for key in ("key", "form")} == {
        f'"{hashlib.md5(body).hexdigest()}"'
    }
    assert len(summed) == 5  # of a PUT both, of the form one
    assert here not in summed


@pytest.mark.parametrize(("size", "joins"), [(emulator.LARGE - 1, 0), (emulator.LARGE, 1)])
def test_a_large_body_is_joined_by_a_thread(size: int, joins: int, monkeypatch: pytest.MonkeyPatch) -> None:
    to_thread, given = Mock(wraps=asyncio.to_thread), list[Message]()
    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    body = b"a" * size
    pieces = [body[:7], b"", body[7:70_000], body[70_000:], b""]
    messages = [{"type": "http.request", "body": piece, "more_body": n < 4} for n, piece in enumerate(pieces)]

    async def receive() -> Message:
        return cast(Message, messages.pop(0))

    async def app(_: Message, receive: Callable[[], Any], __: Any) -> None:
        given.append(await receive())

    asyncio.run(cast(Any, emulator.in_one(app)({"type": "http"}, receive, cast(Any, None))))
    assert given == [{"type": "http.request", "body": body, "more_body": False}]
    assert to_thread.call_count == joins


@pytest.mark.parametrize(("others_ask", "pauses"), [(False, 0), (True, 2)], ids=["alone", "beside others"])
def test_a_large_body_is_taken_in_slowly_while_others_ask(
    others_ask: bool, pauses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = Mock(wraps=asyncio.sleep)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    sizes = [7] * others_ask + [emulator.LARGE - 1, 1, 5, 0]
    messages = [{"type": "http.request", "body": b"a" * size, "more_body": size not in (0, 7)} for size in sizes]

    async def receive() -> Message:
        return cast(Message, messages.pop(0))

    async def app(_: Message, receive: Callable[[], Any], __: Any) -> None:
        while messages:
            await receive()

    asyncio.run(cast(Any, emulator.in_one(app)({"type": "http"}, receive, cast(Any, None))))
    assert [one.args for one in sleep.call_args_list] == [(emulator.PAUSE_SECONDS,)] * pauses


def test_who_hangs_up_within_a_body_is_known_to_have() -> None:
    messages, given = [{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}], []

    async def receive() -> Message:
        return cast(Message, messages.pop(0))

    async def app(_: Message, receive: Callable[[], Any], __: Any) -> None:
        given.append(await receive())

    asyncio.run(cast(Any, emulator.in_one(app)({"type": "http"}, receive, cast(Any, None))))
    assert given == [{"type": "http.disconnect"}]


def test_a_large_answer_is_sent_a_bit_at_a_time() -> None:
    bodies = [b"a" * (2 * emulator.LARGE) + b"bc", b"", b"d" * emulator.LARGE]

    async def app(_: Message, __: Any, send: Callable[[Message], Any]) -> None:
        await send({"type": "http.response.start", "status": 200})
        for n, body in enumerate(bodies):
            await send({"type": "http.response.body", "body": body, "more_body": n < 2})

    sent = list[Message]()

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(cast(Any, emulator.in_pieces(app)({"type": "http"}, cast(Any, None), send)))
    assert sent[0] == {"type": "http.response.start", "status": 200}
    assert b"".join(one["body"] for one in sent[1:]) == b"".join(bodies)
    assert [len(one["body"]) for one in sent[1:]] == [emulator.LARGE] * 2 + [2, 0, emulator.LARGE]
    assert [one["more_body"] for one in sent[1:]] == [True] * 4 + [False]


def test_what_a_function_says_is_told_with_its_result(shared: Instance) -> None:
    _create_function(shared, "tell", TELL)
    for n, lines in enumerate([3, 0, 1, 8_000, 2]):  # of which one says more than a pipe holds
        event = json.dumps({"name": f"call {n}", "lines": lines})
        _client(shared, "lambda").invoke(FunctionName="tell", Payload=event)
        said = [line for line in _log(shared, "tell") if line.startswith("call")]
        assert said[len(said) - lines :] == [f"call {n} {line}" for line in range(lines)]


def test_an_invocation_does_not_wait_for_who_reads_its_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = importlib.import_module("ministack.core.lambda_runtime")
    monkeypatch.setattr(runtime, "Worker", runtime.Worker)
    tell_lines_at_once(runtime)
    monkeypatch.setattr(Lines, "follow", lambda _: None)  # as if it had no time
    worker = runtime.Worker("tell", {}, b"")
    reading, writing = os.pipe()
    with open(reading) as worker.stderr:  # noqa: PTH123
        worker._proc = worker
        worker._read_stderr()
        told = [worker._drain_stderr_bounded()]
        for said in (b"one\ntwo\n\xc3", b"\xbc\nbegun"):
            os.write(writing, said)
            told.append(worker._drain_stderr_bounded())
        os.close(writing)
        told.append(worker._drain_stderr_bounded())
    assert told == ["", "one\ntwo", "ü", "begun"]


def test_long_work_gives_way_and_with_it_its_backend_in_postgres(shared: Instance) -> None:
    long, short = (_connected(shared, f"rowmill-some-{name}") for name in ("load_low", "load_high"))
    _eventually(lambda: {_niceness(pid) for pid in long} == {NICENESS})
    assert {_niceness(pid) for pid in short} == {os.nice(0)}  # as ours
    session = Path(f"/proc/{long[1]}/autogroup")  # PostgreSQL gives each of its processes one
    _eventually(lambda: not session.exists() or session.read_text().endswith(f"nice {NICENESS}\n"))


def test_two_instances_share_nothing(shared: Instance, folder: Path) -> None:
    with instance.running(folder, deployed=False) as other:
        _client(shared, "s3").create_bucket(Bucket="only-in-the-first")
        assert _client(other, "s3").list_buckets()["Buckets"] == []
        stranger = other.database_url.replace(str(_port(other.database_url)), str(_port(shared.database_url)))
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(stranger)
    assert shared.alive
    _client(shared, "s3").head_bucket(Bucket="only-in-the-first")


# Durable, and without rights of its own


def test_the_database_keeps_the_durability_of_production(shared: Instance) -> None:
    expected = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "TimeZone": "UTC"}
    with psycopg.connect(shared.database_url) as connection:
        found = {name: connection.execute(f"SHOW {name}").fetchone() for name in expected}
    assert found == {name: (value,) for name, value in expected.items()}


def test_text_sorts_by_its_bytes(shared: Instance) -> None:
    with psycopg.connect(shared.database_url) as connection:
        rows = connection.execute("SELECT t FROM unnest(ARRAY['b', 'é', 'A', 'a', 'B']) t ORDER BY t").fetchall()
    assert [row[0] for row in rows] == ["A", "B", "a", "b", "é"]


def test_a_password_is_needed(shared: Instance) -> None:
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(f"postgresql://rowmill@127.0.0.1:{_port(shared.database_url)}/rowmill", passfile="/dev/null")


def test_what_a_shell_has_set_up_for_another_database_does_not_reach_ours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As whoever works with a database on AWS has it; ours, which listens on this machine alone, has no certificate."""
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    with instance.running(folder, deployed=False) as found, psycopg.connect(found.database_url) as connection:
        assert connection.execute("SHOW transaction_read_only").fetchone() == ("off",)
    assert os.environ["PGSSLMODE"] == "verify-full"


def test_no_user_is_added_and_no_folder_of_others_is_opened(untouched: tuple[str, list[int]], shared: Instance) -> None:
    assert (_users(), _modes(shared.place.folder.parent)) == untouched


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_without_namespaces_runs_the_database_as_nobody(folder: Path) -> None:
    place = Place.new(folder)
    server = database.start(place, database.as_nobody(place))
    try:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
    finally:
        database.stop(server.process)
        subprocess.run(["rm", "-r", place.refuge], check=True)
    assert f"Uid:\t{database.NOBODY}\t{database.NOBODY}" in status
    assert "Groups:\t \n" in status


# Gone without a trace


def test_up_twice_is_one_instance_and_down_twice_is_no_error(folder: Path) -> None:
    first = _command("up", "--bare", folder=folder)
    again = _command("up", "--bare", folder=folder)
    assert (first.returncode, again.returncode) == (0, 0)
    assert again.stdout == first.stdout.replace("is up", "was up already")
    assert _command("status", folder=folder).returncode == 0
    assert _command("down", folder=folder).returncode == 0
    assert _command("down", folder=folder).stdout == "nothing was up\n"
    assert _command("status", folder=folder).returncode == 3


def test_after_down_only_the_logs_are_left(folder: Path) -> None:
    found = instance.up(folder, deployed=False)
    _busy_functions(found, 1)
    everything = _all_of(found)
    instance.down(folder)
    assert not any(process.alive for process in everything)
    assert not list(processes.marked(found.place.mark))
    assert _files(folder) == ONLY_LOGS


def test_secrets_are_readable_by_their_owner_only(shared: Instance) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in (shared.place.env_file, shared.place.record)}
    assert modes == {"env": 0o600, "instance.json": 0o600}


def test_the_env_file_gives_a_shell_what_a_client_needs(shared: Instance) -> None:
    script = f'source {shared.place.env_file}; echo "$DATABASE_URL $AWS_ENDPOINT_URL $AWS_ACCESS_KEY_ID"'
    shell = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert shell.stdout.split() == [shared.database_url, shared.endpoint, "test"]


@pytest.mark.parametrize("victim", [0, 1], ids=["guard", "server"])
def test_lambda_processes_die_with_the_killed_server(folder: Path, victim: int) -> None:
    with instance.running(folder, deployed=False) as found:
        _busy_functions(found, 2)
        assert found.cloud
        emulator = processes.family(found.cloud)
        assert len(emulator) == 4
        os.kill(emulator[victim].pid, signal.SIGKILL)
        assert processes.wait_gone(emulator, seconds=5)


def test_the_next_start_takes_away_a_killed_instance(folder: Path) -> None:
    """Even what notices neither: a PostgreSQL backend in a loop works on after its server was killed."""
    assert _command("up", "--bare", folder=folder).returncode == 0
    killed = instance.find(folder)
    assert killed and killed.cloud and killed.database
    connection = psycopg.connect(killed.database_url)
    connection.pgconn.send_query(b"DO $$ BEGIN LOOP END LOOP; END $$")
    left = _all_of(killed)
    (folder / "tmp" / "ministack-lambda-left").mkdir()
    processes.destroy([*processes.family(killed.cloud), killed.database])

    assert instance.find(folder) is None
    with instance.running(folder, deployed=False) as found:
        assert found.place.mark != killed.place.mark
        assert not any(process.alive for process in left)
        assert not (folder / "tmp" / "ministack-lambda-left").exists()
    connection.close()


def test_an_instance_ends_with_the_process_that_holds_it(folder: Path) -> None:
    script = f"""
import time
from pathlib import Path
from infra.local.instance import running
with running(Path({str(folder)!r}), deployed=False):
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=CHECKOUT) as holder:
        found = _eventually(lambda: instance.find(folder))
        everything = _all_of(found)
        holder.kill()
    assert processes.wait_gone(everything, seconds=15)
    _eventually(lambda: not found.place.record.exists())
    assert _files(folder) == ONLY_LOGS


def test_an_instance_that_is_only_starting_cannot_be_borrowed_either(folder: Path) -> None:
    """Two demos at once: the second would be given the first one's instance, and take it away at its end."""
    script = f"""
import sys
import threading
from pathlib import Path
from infra.local.instance import running
with running(Path({str(folder)!r}), deployed=False):
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=CHECKOUT, stdin=subprocess.PIPE) as holder:
        _eventually((folder / "instance.json").exists)
        with pytest.raises(instance.AlreadyUp), instance.running(folder, deployed=False):
            pass
        assert instance.find(folder)
        holder.communicate()
    assert holder.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "infra.local", "up", "--bare", "--folder", str(folder)]
    with subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.DEVNULL) as starting:
        record = folder / "instance.json"
        _eventually(lambda: record.exists() and json.loads(record.read_text())["cloud"])
        mark = json.loads(record.read_text())["place"]["mark"]
        starting.send_signal(number)
    assert starting.returncode == 128 + number
    assert not list(processes.marked(mark))
    assert _files(folder) <= ONLY_LOGS


def test_a_process_that_only_has_the_pid_of_ours_is_left_alone(folder: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        imposter = processes.Process(bystander.pid, started=1)
        folder.mkdir()
        stale = Instance(Place.new(folder), database=imposter, cloud=imposter)
        note(stale)
        assert instance.find(folder) is None
        instance.down(folder)
        assert bystander.poll() is None
        bystander.kill()


def test_a_process_of_ours_is_found_even_if_its_start_was_never_recorded(folder: Path) -> None:
    folder.mkdir()
    fresh = note(Instance(Place.new(folder)))
    with subprocess.Popen(["sleep", "60"], env={MARK: fresh.place.mark}) as unrecorded:
        instance.down(folder)
        assert unrecorded.wait(5) == -signal.SIGKILL


def test_an_instance_that_is_up_cannot_be_borrowed(shared: Instance) -> None:
    with pytest.raises(instance.AlreadyUp), instance.running(shared.place.folder, deployed=False):
        pass
    assert shared.alive


def test_a_folder_that_cannot_be_one_is_a_line(folder: Path) -> None:
    folder.touch()
    for command in ("up", "down", "status"):
        ended = _command(command, folder=folder)
        assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), command
    folder.unlink()


def test_a_copy_of_a_folder_does_not_take_the_original_away(shared: Instance, folder: Path) -> None:
    """As `cp -a` of a checkout makes it: what its record names runs for the original."""
    folder.mkdir()
    for file in (shared.place.record, shared.place.env_file):
        shutil.copy2(file, folder)
    (folder / "postgres").mkdir()
    assert instance.find(folder) is None
    instance.down(folder)
    assert _files(folder) == set()
    assert shared.alive


def test_a_folder_that_was_moved_is_still_taken_away(folder: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as ours:
        started = processes.stat_fields(ours.pid)[19]
        fresh = Instance(Place.new(folder.with_name("before")), cloud=processes.Process(ours.pid, int(started)))
        fresh.place.folder.mkdir()
        note(fresh).place.folder.rename(folder)
        instance.down(folder)
        assert ours.wait(5) == -signal.SIGKILL


def test_another_version_of_the_emulator_is_refused() -> None:
    with pytest.raises(cloud.CloudFailed, match=r"ministack 0\.0\.1 is needed, found: 1\.5\.33"):
        cloud.require_version("0.0.1")


# The gate before deployed APIs


def test_api_requests_above_the_limit_wait_for_a_slot() -> None:
    seen = asyncio.run(_requests_through_gate(2, ["/restapis/a/v1/_user_request_/x"] * 7))
    assert seen == {"answered": 7, "at once": 2}


@pytest.mark.parametrize("path", ["/bucket/key", "/restapis/a/resources", "/_ministack/health"])
def test_other_requests_pass_the_gate_untouched(path: str) -> None:
    assert asyncio.run(_requests_through_gate(2, [path] * 7)) == {"answered": 7, "at once": 7}


def test_who_would_wait_for_too_long_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "WAIT_SECONDS", 0.0)
    told: list[Message] = []

    async def app(*_: object) -> None:
        await asyncio.sleep(0.01)

    async def send(message: Message) -> None:
        told.append(message)

    async def one_and_then_five() -> None:
        gate = ApiGate(app, limit=1)
        for count in (1, 5):  # after the first it is known how long one takes
            path = _scope("/restapis/a/v1/_user_request_/x")
            await asyncio.gather(*(gate(path, _receive, send) for _ in range(count)))

    asyncio.run(one_and_then_five())
    heads, bodies = told[::2], [json.loads(message["body"]) for message in told[1::2]]
    assert [head["status"] for head in heads] == [429] * 3  # one is answered, one waits for it
    assert dict(heads[0]["headers"])[b"retry-after"] == b"10"
    assert all(body.items() > THROTTLED.items() and body["instance"].startswith("urn:request:") for body in bodies)


def test_a_failed_request_gives_its_slot_back() -> None:
    async def fail(*_: object) -> None:
        raise ValueError

    async def three_times() -> None:
        gate = ApiGate(fail, limit=1)
        for _ in range(3):
            with contextlib.suppress(ValueError):
                await asyncio.wait_for(gate(_scope("/restapis/a/v1/_user_request_/x"), _receive, _send), 1)

    asyncio.run(three_times())


def test_a_function_is_given_the_path_as_it_was_sent() -> None:
    seen = []

    async def app(scope: Message, *_: object) -> None:
        seen.append(scope["path"])

    asked = ["/restapis/a/v1/_user_request_/b%2Fc/%2541", "/bucket/b%2Fc"]
    for path in asked:
        asyncio.run(ApiGate(app, limit=1)(_scope(path), _receive, _send))
    assert seen == [asked[0], "/bucket/b/c"]


def test_the_lifespan_reaches_the_application() -> None:
    reached = []

    async def app(scope: Message, *_: object) -> None:
        reached.append(scope["type"])

    asyncio.run(ApiGate(app, limit=1)({"type": "lifespan"}, _receive, _send))
    assert reached == ["lifespan"]


async def _requests_through_gate(limit: int, paths: list[str]) -> dict[str, int]:
    running, most, answered = 0, 0, 0

    async def app(*_: object) -> None:
        nonlocal running, most, answered
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        answered += 1

    gate = ApiGate(app, limit)
    await asyncio.gather(*(gate(_scope(path), _receive, _send) for path in paths))
    return {"answered": answered, "at once": most}


def _scope(path: str) -> Message:
    return {"type": "http", "path": unquote(path), "raw_path": path.encode()}


async def _receive() -> Message:
    return {}


async def _send(_: Message) -> None:
    return None


def _command(name: str, *options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.local", name, *options, "--folder", str(folder)]
    return subprocess.run(command, check=False, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)


def _client(found: Instance, service: str) -> Any:
    session = boto3.Session("test", "test", region_name=cloud.REGION)
    return session.client(service, endpoint_url=found.endpoint, config=Config(retries={"total_max_attempts": 1}))


def _busy_functions(found: Instance, count: int) -> None:
    """Start `count` Lambda processes that will work for a minute, and return when all of them do."""
    _create_function(found, "nap", NAP)
    for _ in range(count):
        _client(found, "lambda").invoke(FunctionName="nap", InvocationType="Event", Payload=b"{}")
    _eventually(lambda: len(list(found.place.temp.glob("napping-*"))) == count)


def _connected(found: Instance, name: str) -> list[int]:
    """The process of a function that is connected to the database, and the one in PostgreSQL that serves it."""
    _create_function(found, name, CONNECT)
    event = json.dumps({"url": found.database_url})
    answer = _client(found, "lambda").invoke(FunctionName=name, Payload=event)["Payload"].read()
    return list(json.loads(answer))


def _log(found: Instance, name: str) -> list[str]:
    """All lines of a function, as CloudWatch has them by now."""
    pages = _client(found, "logs").get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}")
    return [line for page in pages for event in page["events"] for line in event["message"].splitlines()]


def _niceness(pid: int) -> int:
    """The least of all its threads."""
    return min(os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in Path(f"/proc/{pid}/task").iterdir())


def _create_function(found: Instance, name: str, source: str) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as package:
        package.writestr(f"{name}.py", source)
    _client(found, "lambda").create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=f"arn:aws:iam::000000000000:role/{name}",
        Handler=f"{name}.handler",
        Code={"ZipFile": code.getvalue()},
        Timeout=90,
    )


def _all_of(found: Instance) -> list[processes.Process]:
    assert found.database and found.cloud
    return processes.family(found.database) + processes.family(found.cloud)


def _listening(process: processes.Process) -> list[str]:
    """Local addresses, in the kernel's hexadecimal, of the sockets on which a process accepts connections."""
    links = processes.descriptors(process)
    lines: list[str] = []
    with contextlib.suppress(OSError):  # one that has ended meanwhile, as a connection's does, listens on nothing
        for table in ("tcp", "tcp6"):
            lines += Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]
    found = map(str.split, lines)
    return [fields[1] for fields in found if fields[3] == LISTEN and f"socket:[{fields[9]}]" in links]


def _port(url: str) -> int:
    return int(url.partition("127.0.0.1:")[2].partition("/")[0])


def _users() -> str:
    return Path("/etc/passwd").read_text() + Path("/etc/group").read_text()


def _modes(folder: Path) -> list[int]:
    packages = Path(psycopg.__file__).resolve()
    return [each.stat().st_mode for each in (folder, *folder.parents, *packages.parents)]


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _eventually(look: Callable[[], Seen | None], seconds: float = 15) -> Seen:
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return seen
