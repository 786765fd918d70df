"""Where a stranger's URL may lead: nowhere but to public addresses, to the very one that was looked at, and back soon."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from chalicelib import outgoing
from chalicelib.errors import Refused
from chalicelib.outgoing import Undelivered
from chalicelib.settings import settings
from tests.receiver import Receiver, receiving

INVALID = [
    "http://example.org/",
    "ftp://example.org/",
    "file:///etc/passwd",
    "gopher://example.org:443/",
    "//example.org/",
    "example.org",
    "https://",
    "https:///path",
    "https://user@example.org/",
    "https://user:secret@example.org/",
    "https://example.org@127.0.0.1/",
    "https://example.org/#part",
    "https://example.org:80/",
    "https://example.org:22/",
    "https://example.org:0/",
    "https://example.org:65536/",
    "https://example.org:x/",
    "https://exa mple.org/",
    "https://example.org/a b",
    "https://example.org/\r\nHost: other",
    "https://example.org\\@127.0.0.1/",
    "https://exämple.org/",
    "https://[::1/",
    "https://[fe80::1%25eth0]/",
    "https://example.org/" + "a" * 2000,
    "https://" + "a" * 300 + "/",
    "",
]
PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.0.8",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
]
# Spellings that name a private address by themselves: no name server is asked for these.
SPELLINGS = [
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://0/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[fd00:ec2::254]/",
    "https://localhost/",
]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "93.184.215.14",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "2001:4860:4860::8888",
]


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("ROWMILL_WEBHOOK_PRIVATE", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch, strict: None) -> None:
    monkeypatch.setenv("ROWMILL_WEBHOOK_PRIVATE", "1")
    settings.cache_clear()


class Names:
    """A name server: each name has these addresses in turn, the last of them for good."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not found:
            raise socket.gaierror(-2, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


def refused(url: str, names: Any = socket.getaddrinfo) -> str:
    with pytest.raises(Refused) as error:
        outgoing.post(url, {}, b"", names)
    with pytest.raises(Refused) as looked:
        outgoing.look(url, names)
    assert (error.value.status, error.value.code) == (422, looked.value.code)
    return error.value.code


@pytest.mark.parametrize("url", INVALID)
def test_a_url_that_is_not_of_a_public_https_server_is_refused_by_its_text(url: str) -> None:
    names = Names([])
    assert refused(url, names) == "webhook_url_invalid"
    assert names.asked == 0


@pytest.mark.parametrize("url", SPELLINGS)
def test_a_private_address_is_refused_however_it_is_spelled(url: str) -> None:
    assert refused(url) == "webhook_url_forbidden"


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_to_a_private_address_is_refused(address: str) -> None:
    assert not outgoing.is_public(ip_address(address))
    assert refused("https://example.org/", Names([address])) == "webhook_url_forbidden"


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert outgoing.is_public(ip_address(address))


def test_one_private_address_among_public_ones_is_enough() -> None:
    assert refused("https://example.org/", Names(["93.184.215.14", "10.0.0.1"])) == "webhook_url_forbidden"


def test_a_name_that_nobody_knows_may_be_registered_and_is_not_called() -> None:
    outgoing.look("https://example.org/", Names([]))
    with pytest.raises(Undelivered, match="name_unknown"):
        outgoing.post("https://example.org/", {}, b"", Names([]))


@pytest.mark.usefixtures("private")
def test_a_name_that_changes_after_the_look_leads_to_the_address_that_was_looked_at() -> None:
    """DNS rebinding: the second answer of the name server is another machine, which must hear nothing."""
    with receiving("127.0.0.1") as meant, receiving("127.0.0.2", meant.port) as other:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        url = f"http://hooks.example:{meant.port}/a?b=1"
        assert outgoing.post(url, {"X-One": "1"}, b"{}", names) == 204
        assert (names.asked, len(meant.got), len(other.got)) == (1, 1, 0)
    (got,) = meant.got
    assert (got.path, got.headers["host"], got.headers["x-one"]) == ("/a?b=1", f"hooks.example:{meant.port}", "1")


@pytest.mark.usefixtures("private")
def test_an_address_that_nobody_listens_at_is_passed_over_for_the_next() -> None:
    with receiving("127.0.0.2") as there:
        names = Names(["127.0.0.1", "127.0.0.2"])
        assert outgoing.post(f"http://hooks.example:{there.port}/", {}, b"", names) == 204
    with pytest.raises(Undelivered, match="not_connected"):
        outgoing.post(f"http://hooks.example:{there.port}/", {}, b"", Names(["127.0.0.1"]))


@pytest.mark.usefixtures("private")
def test_a_redirect_is_an_answer_and_not_followed() -> None:
    with receiving() as here, receiving() as inner:
        here.answers.append((302, {"Location": inner.url}))
        assert outgoing.post(here.url, {}, b"") == 302
        assert inner.got == []


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 200 OK\r\n"], ids=["says-nothing", "says-200"])
def test_a_server_that_dawdles_is_left_when_the_time_is_up(monkeypatch: pytest.MonkeyPatch, begins: bytes) -> None:
    """By the whole time, not by the time between two bytes; a status that has come by then counts."""
    monkeypatch.setattr(outgoing, "SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        stop = threading.Event()

        def drip() -> None:
            line, _ = server.accept()
            with line:
                line.sendall(begins)
                while not stop.wait(0.1):
                    try:
                        line.sendall(b"X-More: 1\r\n" if begins else b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        begun = time.monotonic()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        if begins:
            assert outgoing.post(url, {}, b"") == 200
        else:
            with pytest.raises(Undelivered, match="connection_lost"):
                outgoing.post(url, {}, b"")
        assert time.monotonic() - begun < 5
        stop.set()
        thread.join()


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200]
)
def test_what_is_no_answer_of_http_is_a_failure(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def reply() -> None:
            line, _ = server.accept()
            with line:
                line.recv(65536)
                line.sendall(answer)

        thread = threading.Thread(target=reply, daemon=True)
        thread.start()
        with pytest.raises(Undelivered, match="connection_lost"):
            outgoing.post(f"http://127.0.0.1:{server.getsockname()[1]}/", {}, b"")
        thread.join()


# TLS: the address is pinned, the certificate is the name's.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of hooks.example, signed by itself."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hooks.example"]
    extension = ["-addext", "subjectAltName=DNS:hooks.example", "-addext", "basicConstraints=critical,CA:TRUE"]
    subprocess.run([*command, *extension, "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def secure(certificate: Path) -> Iterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with receiving(tls=context) as here:
        yield here


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    outgoing._tls.cache_clear()
    yield
    outgoing._tls.cache_clear()


@pytest.mark.usefixtures("private", "trusted")
def test_the_certificate_is_held_to_the_name_and_the_line_to_the_address(secure: Receiver) -> None:
    names = Names(["127.0.0.1"])
    assert outgoing.post(f"https://hooks.example:{secure.port}/", {}, b"{}", names) == 204
    with pytest.raises(Undelivered, match="certificate_invalid"):
        outgoing.post(f"https://other.example:{secure.port}/", {}, b"{}", names)
    assert len(secure.got) == 1


@pytest.mark.usefixtures("private")
def test_a_certificate_that_nobody_vouches_for_is_refused(secure: Receiver) -> None:
    with pytest.raises(Undelivered, match="certificate_invalid"):
        outgoing.post(f"https://hooks.example:{secure.port}/", {}, b"{}", Names(["127.0.0.1"]))
    assert secure.got == []


@pytest.mark.usefixtures("private")
def test_a_server_without_tls_is_not_spoken_to_in_clear() -> None:
    with receiving() as here, pytest.raises(Undelivered, match="tls_failed"):
        outgoing.post(f"https://hooks.example:{here.port}/", {}, b"{}", Names(["127.0.0.1"]))
    assert here.got == []
