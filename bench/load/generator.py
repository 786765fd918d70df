"""`python -m bench.load.generator OUT < plan`: Locust, in a process of its own so that its CPU is known.

Its stdin holds the plan, a line of JSON. At `note` OUT gets every request and every upload so far, whole or not at all.
At `stop` everybody finishes what they are at and goes, and OUT is written once more; when stdin ends without a word,
whoever started this is gone, and so is this.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import locust  # first of all that opens sockets: it makes them gevent's
from gevent import GreenletExit
from gevent.os import tp_read
from locust.env import Environment
from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_STOPPING
from rowmill_client.resources import TERMINAL
from urllib3 import encode_multipart_formdata

from bench.load import files

SEED: Final = 1
THINK_SECONDS: Final = (10.0, 30.0)  # between visits
LOOK_SECONDS: Final = (1.0, 3.0)  # before another page
NEWCOMERS: Final = 0.02  # visits that begin with a signup and a dataset
POLL_SECONDS: Final = 1.0  # where the server does not say
IMPOLITE_SECONDS: Final = 0.1
PATIENCE_SECONDS: Final = 60.0  # with a server that is asked too often

Answer = Any  # Locust's


class Person(locust.FastHttpUser):  # type: ignore[misc]  # locust is no dependency of a working copy
    """One user: an account, a dataset, and a visit now and then to bring a file."""

    plan: Mapping[str, Any]
    written: list[dict[str, Any]]
    newest: Final[dict[int, tuple[str, str]]] = {}  # by user: their last upload, and the token that it was made with
    _numbers = itertools.count()

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.number = next(self._numbers)
        self.token: str = self.plan["tokens"][self.number % len(self.plan["tokens"])]
        self._chance = random.Random(f"{SEED}:{self.number}")
        self._files = itertools.count()
        self._sizes = {int(rows): share for rows, share in self.plan["sizes"].items()}

    def wait_time(self) -> float:
        """Locust's question after each visit."""
        return self._chance.uniform(*THINK_SECONDS)

    @locust.task  # type: ignore[untyped-decorator]
    def visit(self) -> None:
        """Bring a file, wait until it is in as the command line does, and perhaps look around."""
        if self._chance.random() < NEWCOMERS:
            self._sign_up()
        kind = files.draw(self._chance, self._sizes)
        upload: dict[str, Any] = {"user": self.number, "rows": kind.rows, "bad": kind.bad, "points": kind.points}
        self.written.append(upload)
        try:
            if self._send(kind, upload) and self._wait(upload):
                self._look_around(upload)
        except GreenletExit:
            # Locust ends at once who waits for the next visit, and this one had just begun it.
            upload["left"] = self._state != LOCUST_STATE_STOPPING
            raise
        if self.plan["once"]:
            raise StopUser

    def _sign_up(self) -> None:
        name = f"newcomer-{self.number}-{next(self._files)}-{os.getpid()}"
        body = {"username": name, "password": "correct horse"}
        answer = self._call("POST", "/v1/auth/signup", json=body)
        if answer.status_code == 201:
            before, self.token = self.token, answer.json()["access"]
            if self._call("PUT", "/v1/datasets/{name}", files.DATASET, json=files.SCHEMA).status_code not in (200, 201):
                self.token = before  # the new account has nowhere to send files to

    def _send(self, kind: files.Kind, upload: dict[str, Any]) -> bool:
        data = files.content(kind, f"{self.number:04}{next(self._files):04}")
        body = {
            "dataset": files.DATASET,
            "filename": f"{kind.rows}.csv",
            "size": len(data),
            "content_type": "text/csv",
            "checksum": files.checksum(data),
        }
        answer = self._call("POST", "/v1/uploads", json=body)
        if answer.status_code != 201:
            return False
        created = answer.json()
        upload["id"], ticket = created["id"], created["upload"]
        self.newest[self.number] = (created["id"], self.token)
        parts = [*ticket["fields"].items(), ("file", (f"{kind.rows}.csv", data, "text/csv"))]
        form, content_type = encode_multipart_formdata(parts)
        headers = {"Content-Type": content_type}
        with self.client.post(ticket["url"], form, headers=headers, name=files.FORM, catch_response=True) as stored:
            upload["stored"] = time.time()
            upload["form"] = stored.status_code
        return stored.status_code in (200, 201, 204)

    def _wait(self, upload: dict[str, Any]) -> bool:
        etag = ""
        while "state" not in upload:
            headers = {"If-None-Match": etag} if etag else {}
            answer = self._call("GET", "/v1/uploads/{id}", upload["id"], headers=headers)
            etag = answer.headers.get("etag", "") if answer.headers else ""
            if answer.status_code == 200 and (shown := answer.json())["state"] in TERMINAL:
                upload["seen"] = time.time()
                upload |= {name: shown[name] for name in ("state", "rows_total", "loaded", "rejected")}
                upload["usd"] = (shown.get("cost") or {}).get("usd")
            else:
                time.sleep(max(0.05, _retry_after(answer)))
        return True

    def _look_around(self, upload: Mapping[str, Any]) -> None:
        if self._tempted(0.3):
            self._call("GET", "/v1/uploads", query="?limit=20")
        if upload["bad"] and self._tempted(0.5):
            self._call("GET", "/v1/uploads/{id}/rejects", upload["id"])
        if self._tempted(0.2):
            query = f"?upload={upload['id']}&limit=100"
            self._call("GET", "/v1/datasets/{name}/rows", files.DATASET, query=query)

    def _tempted(self, share: float) -> bool:
        if self._chance.random() >= share:
            return False
        time.sleep(self._chance.uniform(*LOOK_SECONDS))
        return True

    def _call(self, method: str, route: str, value: str = "", query: str = "", **more: Any) -> Answer:
        """A request of the API, again and again while it is told to come again, as clients do."""
        answer = self._asked(method, route, value, query, **more)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while answer.status_code == 429 and time.monotonic() < give_up:
            time.sleep(_retry_after(answer))
            answer = self._asked(method, route, value, query, **more)
        return answer

    def _asked(self, method: str, route: str, value: str, query: str, **more: Any) -> Answer:
        """Once; anything below 400 is an answer that was to be had."""
        path = route.replace("{id}", value).replace("{name}", value) + query
        more["headers"] = {"Authorization": f"Bearer {self.token}"} | more.get("headers", {})
        with self.client.request(method, path, name=f"{method} {route}", catch_response=True, **more) as answer:
            if 0 < answer.status_code < 400:
                answer.success()
        return answer


class Poller(locust.FastHttpUser):  # type: ignore[misc]  # locust is no dependency of a working copy
    """Somebody who looks at the newest upload of another user, again and again: a page that is left open.

    A polite one tells what it has (If-None-Match) and waits as it is asked to; the other one does neither.
    """

    plan: Mapping[str, Any]
    _numbers = itertools.count()

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._user = next(self._numbers) % self.plan["users"]
        self._etags: dict[str, str] = {}
        self._polite: bool = self.plan["polite"]
        self._over = ""  # the last upload that it has seen the end of, if it rests then

    @locust.task  # type: ignore[untyped-decorator]
    def poll(self) -> None:
        """One look, and the pause after it."""
        upload, token = Person.newest.get(self._user, ("", ""))
        if upload == self._over:
            time.sleep(POLL_SECONDS)
            return
        known = {"If-None-Match": self._etags[upload]} if self._polite and upload in self._etags else {}
        headers = {"Authorization": f"Bearer {token}"} | known
        path = f"/v1/uploads/{upload}"
        with self.client.request("GET", path, name=files.POLL, headers=headers, catch_response=True) as answer:
            if 0 < answer.status_code < 400:
                answer.success()
                self._etags = {upload: answer.headers.get("etag", "")}
                if self.plan["resting"] and "retry-after" not in answer.headers:
                    self._over = upload
        time.sleep(_retry_after(answer) if self._polite else IMPOLITE_SECONDS)


def _retry_after(answer: Answer) -> float:
    asked = answer.headers.get("retry-after") if answer.headers else None
    return float(asked) if asked else POLL_SECONDS


def main() -> None:
    Person.plan = plan = json.loads(_line())
    Person.written = uploads = list[dict[str, Any]]()
    Person.host = plan["api"]
    Poller.plan, Poller.host = plan, plan["api"]
    Poller.fixed_count = plan["pollers"]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    requests: list[tuple[str, float, float, int]] = []
    faults: list[str] = []

    def note(name: str, start_time: float, response_time: float, response: Answer, **_: Any) -> None:
        requests.append((name, start_time, response_time, int(response.status_code or 0)))

    kinds = [Person, Poller] if plan["pollers"] else [Person]
    environment = Environment(user_classes=kinds, host=plan["api"], stop_timeout=plan["finish"])
    environment.events.request.add_listener(note)
    environment.events.user_error.add_listener(lambda exception, **_: faults.append(repr(exception)))
    runner = environment.create_local_runner()
    together = plan["users"] + plan["pollers"]
    runner.start(together, spawn_rate=together / plan["ramp"])
    noted = {"requests": requests, "uploads": uploads, "faults": faults}
    while (said := _line()) == "note":
        _write(noted)
    if said != "stop":
        os._exit(1)  # at once, whatever the greenlets are at
    runner.stop()
    _write(noted)


def _write(noted: Mapping[str, Any]) -> None:
    out = Path(sys.argv[1])
    beside = out.with_suffix(".new")
    beside.write_text(json.dumps(noted))
    beside.replace(out)


def _line() -> str:
    """A line of stdin, while the greenlets go on."""
    line = b""
    while not line.endswith(b"\n") and (more := tp_read(0, 1)):
        line += more
    return line.decode().strip()


if __name__ == "__main__":
    main()
