"""Where one instance lives: its folder and the paths in it.

Everything an instance writes is named here, so that taking it away needs no search. The mark is a random
word per start. Every process of the instance carries it in its environment, and a refuge outside the folder
has it in its name, so both can be recognised after a crash, whatever was written down before it.
"""

import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

MARK = "ROWMILL_INSTANCE"


def default_folder() -> Path:
    return Path(os.environ.get("ROWMILL_HOME", ".rowmill"))


@dataclass(frozen=True, slots=True)
class Place:
    folder: Path
    mark: str
    refuge: Path
    """The database's folder when it has to run as a user who cannot see into ours. Made only then."""

    @classmethod
    def new(cls, folder: Path) -> "Place":
        mark = secrets.token_hex(16)
        return cls(folder.resolve(), mark, _open_to_all() / f"rowmill-{mark}")

    @property
    def record(self) -> Path:
        return self.folder / "instance.json"

    @property
    def env_file(self) -> Path:
        return self.folder / "env"

    @property
    def draft(self) -> Path:
        """Where either of the two is written before it takes its name."""
        return self.folder / "draft"

    @property
    def temp(self) -> Path:
        """TMPDIR of the emulator and of its Lambda processes."""
        return self.folder / "tmp"

    @property
    def database(self) -> Path:
        return self.folder / "postgres"

    @property
    def cloud_log(self) -> Path:
        return self.folder / "logs" / "cloud.log"

    @property
    def postgres_log(self) -> Path:
        return self.folder / "logs" / "postgres.log"


def _open_to_all() -> Path:
    """The first temp folder that any user can walk into."""
    candidates = [Path(tempfile.gettempdir()).resolve(), Path("/tmp"), Path("/var/tmp")]  # noqa: S108 - the name is random
    return next((each for each in candidates if _walkable(each)), candidates[0])


def _walkable(folder: Path) -> bool:
    return all(each.is_dir() and each.stat().st_mode & 0o001 for each in (folder, *folder.parents))
