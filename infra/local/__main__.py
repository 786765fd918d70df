"""`python -m infra.local up|down|status`: the embedded cloud from a command line."""

import argparse
import signal
import sys
from pathlib import Path

from infra.local import instance
from infra.local.cloud import CloudFailed
from infra.local.database import DatabaseFailed
from infra.local.place import default_folder
from infra.local.record import Instance


def main() -> int:
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return {"up": _up, "down": _down, "status": _status}[arguments.command](arguments)
    except KeyboardInterrupt:
        # What runs all the same is somebody else's: another `up` of this folder, which this one waited for.
        print("interrupted: nothing that this has started was left running", file=sys.stderr)
        return 128 + signal.SIGINT
    except (CloudFailed, DatabaseFailed, OSError) as failure:
        print(failure, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "status"))
    parser.add_argument(
        "--folder",
        type=Path,
        default=default_folder(),
        help="the instance's folder (ROWMILL_HOME; %(default)s)",
    )
    parser.add_argument("--bare", action="store_true", help="up: start the servers, deploy nothing")
    return parser


def _up(arguments: argparse.Namespace) -> int:
    standing = instance.find(arguments.folder)
    _describe(instance.up(arguments.folder, deployed=not arguments.bare), "was up already" if standing else "is up")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    print("\n".join(instance.down(arguments.folder)) or "nothing was up")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    """Exit code 0 if it is up and 3 if not, as of other services' status commands."""
    if standing := instance.find(arguments.folder):
        _describe(standing, "is up")
        return 0
    print("not up")
    return 3


def _describe(found: Instance, state: str) -> None:
    place = found.place
    lines = {
        "endpoint": found.endpoint,
        "database": found.database_url,
        "page": f"{found.api_url}/" if found.api_url else "",
        "api": found.api_url,
        "account": f"{found.username} / {found.password}" if found.username else "",
        "logs": f"{_short(place.cloud_log)} {_short(place.postgres_log)}",
    }
    print(f"the embedded cloud {state}")
    print("".join(f"  {name:<9}{value}\n" for name, value in lines.items() if value), end="")
    print(f"source {_short(place.env_file)}")


def _short(path: Path) -> Path:
    """As the user would type it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
