"""What is written down about one instance: the record for ourselves, and `env` for the user's shell."""

import dataclasses
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from infra.local import cloud
from infra.local.place import Place
from infra.local.processes import Process


@dataclass(frozen=True, slots=True)
class Instance:
    """What the record holds. Fields are empty until their step is done, and stay so if it is left out."""

    place: Place
    database: Process | None = None
    database_url: str = ""
    cloud: Process | None = None
    endpoint: str = ""
    api_url: str = ""
    username: str = ""
    password: str = ""
    token: str = ""

    @property
    def alive(self) -> bool:
        return all(each is not None and each.alive for each in (self.database, self.cloud))

    @property
    def environment(self) -> dict[str, str]:
        """What a client of this instance needs; `env` in the folder holds the same for a shell."""
        return {
            "ROWMILL_API": self.api_url,
            "ROWMILL_TOKEN": self.token,
            "DATABASE_URL": self.database_url,
            "AWS_ENDPOINT_URL": self.endpoint,
            **cloud.CREDENTIALS,
        }


def recorded(folder: Path) -> Instance | None:
    """The last instance of this folder, alive or killed; None once it was taken away."""
    try:
        fields = json.loads((folder / "instance.json").read_text())
    except FileNotFoundError:
        return None
    made = fields.pop("place")
    if _is_copied(Path(made["folder"]), folder):
        return Instance(Place.new(folder))
    processes = {name: Process(**fields[name]) for name in ("database", "cloud") if fields[name]}
    return Instance(place=Place(folder, made["mark"], Path(made["refuge"])), **fields | processes)


def _is_copied(written: Path, folder: Path) -> bool:
    """Whether a checkout was copied with its record, whose processes and mark are then those of where it was written.

    One that was moved is no copy: nothing is left there.
    """
    return written != folder and (written / "instance.json").exists() and not written.samefile(folder)


def note(instance: Instance) -> Instance:
    """Write the record, and give the instance back."""
    _write_private(
        instance.place.record,
        instance.place.draft,
        json.dumps(dataclasses.asdict(instance), default=str, indent=2),
    )
    return instance


def write_env(instance: Instance) -> None:
    exports = (f"export {name}={shlex.quote(value)}\n" for name, value in instance.environment.items())
    _write_private(instance.place.env_file, instance.place.draft, "".join(exports))


def _write_private(path: Path, draft: Path, text: str) -> None:
    """Whole or not at all, and readable by its owner only: both files hold passwords."""
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)
