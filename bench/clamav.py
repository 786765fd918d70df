"""ClamAV's daemon, the real one, with a signature of our own: its official ones cannot be fetched here."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chalicelib.formats.threats import EICAR
from infra.local.database import free_port

CLAMD: Final = shutil.which("clamd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
ABSENT: Final = "clamd is not installed (Debian: apt-get install clamav-daemon)"
NAME: Final = "Rowmill.Eicar.UNOFFICIAL"


@dataclass
class Daemon:
    """A clamd on 127.0.0.1 and on a socket in its folder."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def local_address(self) -> str:
        return f"unix:{self.folder / 'clamd.sock'}"

    def start(self) -> None:
        assert CLAMD is not None
        arguments = [CLAMD, "--foreground", "--config-file", str(self.folder / "clamd.conf")]
        with (self.folder / "clamd.log").open("ab") as log:
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log)
        until = time.monotonic() + 30
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "clamd.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as asked:
            asked.sendall(b"zPING\0")
            return asked.recv(10) == b"PONG\0"
        return False


@contextlib.contextmanager
def running(folder: Path, stream_bytes: int = 100 << 20) -> Iterator[Daemon]:
    """A daemon that knows EICAR by one signature, wherever in a file it stands."""
    database = folder / "database"
    database.mkdir()
    (database / "own.ndb").write_text(f"Rowmill.Eicar:0:*:{EICAR.hex()}\n")
    daemon = Daemon(folder, free_port())
    (folder / "clamd.conf").write_text(
        f"DatabaseDirectory {database}\nTCPAddr 127.0.0.1\nTCPSocket {daemon.port}\nLocalSocket {folder}/clamd.sock\n"
        f"Foreground yes\nTemporaryDirectory {folder}\nStreamMaxLength {stream_bytes}\nMaxThreads 4\n"
    )
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()
