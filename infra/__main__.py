"""`python -m infra plan|up|package|lock|migrate|doctor|rewrap|down --stage STAGE`: behind `make up` and a release."""

from __future__ import annotations

import argparse
import os
import re
import sys

import psycopg
from botocore.exceptions import BotoCoreError, ClientError
from psycopg.conninfo import conninfo_to_dict

from infra import lock
from infra.cloud import DeployError
from infra.deploy import Asked, deploy, plan, remove
from infra.doctor import consult, rewrap
from infra.migrate import migrate
from infra.package import ROOT, package


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 1 and a sentence on stderr where it stopped."""
    asked = _parser().parse_args(arguments)
    try:
        asked.run(asked)
    except (DeployError, BotoCoreError, ClientError, psycopg.Error) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    look = commands.add_parser("plan", help="say what a deploy would change, and change nothing")
    _add_settings(look)
    look.set_defaults(run=lambda asked: plan(asked.stage, _asked(asked)))

    up = commands.add_parser("up", help="deploy this checkout; a second time changes nothing")
    _add_settings(up)
    up.add_argument("--planned", metavar="NAME", help="do what a plan has shown, and nothing else")
    up.set_defaults(run=_up)

    pack = commands.add_parser("package", help="write template and zip, say where")
    pack.add_argument("--stage", required=True, type=_stage)
    pack.set_defaults(run=lambda asked: print(package(asked.stage).directory))

    keep = commands.add_parser("lock", help="write requirements.lock from requirements.txt")
    keep.set_defaults(run=lambda asked: print(lock.write(ROOT)))

    move = commands.add_parser("migrate", help="apply waiting migrations only")
    move.add_argument("--database-url", default=os.environ.get("DATABASE_URL"))
    move.set_defaults(run=lambda asked: print(f"migrations: {migrate(_database(asked.database_url))} applied"))

    check = commands.add_parser("doctor", help="compare files, ledger, tables and status; say what differs")
    check.add_argument("--stage", required=True, type=_stage)
    check.add_argument("--mend", action="store_true", help="mend what can be mended; default: only tell")
    check.set_defaults(run=lambda asked: consult(asked.stage, mend=asked.mend))

    wrap = commands.add_parser("rewrap", help="wrap the data keys of encrypted fields anew; no row is touched")
    wrap.add_argument("--stage", required=True, type=_stage)
    wrap.set_defaults(run=lambda asked: rewrap(asked.stage))

    down = commands.add_parser("down", help="delete a stage with its files; never prod")
    down.add_argument("--stage", required=True, type=_stage)
    down.set_defaults(run=lambda asked: remove(asked.stage))
    return parser


def _add_settings(up: argparse.ArgumentParser) -> None:
    up.add_argument("--stage", required=True, type=_stage)
    up.add_argument("--database-url", default=os.environ.get("DATABASE_URL"), help="as functions reach it")
    up.add_argument("--migrate-url", help="as this machine reaches it, or the owner's role; default: the same")
    up.add_argument("--public-endpoint", help="the S3 endpoint as clients reach it")
    up.add_argument("--allowed-origin", help="whose pages may send files to the bucket")
    up.add_argument(
        "--rotate-keys",
        action="store_true",
        help="have new keys sign access tokens and receipts; the last one of tokens stays good",
    )
    up.add_argument("--mail-sender", default=os.environ.get("ROWMILL_MAIL_SENDER"), help="whom e-mail is from")
    up.add_argument(
        "--mail-domains", default=os.environ.get("ROWMILL_MAIL_DOMAINS"), help="where e-mail may go, between commas"
    )
    up.add_argument("--scanner", choices=("off", "clamd", "guardduty"), help="who looks for malware")
    up.add_argument("--scanner-address", help="where clamd is, host:port, as functions reach it")
    up.add_argument("--oidc-issuer", help="whose tokens open the API, instead of accounts of its own")
    up.add_argument("--oidc-audience", help="what that issuer calls the API")


def _asked(asked: argparse.Namespace) -> Asked:
    return Asked(
        database_url=_database(asked.database_url),
        public_endpoint=asked.public_endpoint,
        migrate_url=_database(asked.migrate_url) if asked.migrate_url else None,
        allowed_origin=asked.allowed_origin,
        rotate_keys=asked.rotate_keys,
        mail_sender=asked.mail_sender,
        mail_domains=asked.mail_domains,
        oidc=(asked.oidc_issuer, asked.oidc_audience),
        scanner=(asked.scanner, asked.scanner_address),
    )


def _up(asked: argparse.Namespace) -> None:
    deployment = deploy(asked.stage, _asked(asked), planned=asked.planned)
    if not deployment.changed:
        print("nothing to change")
    print(f"the page: {deployment.api_url}/")  # with the slash, or it would not find its own files
    print(deployment.api_url)


def _stage(text: str) -> str:
    """Stages become part of names everywhere; the shortest limit is a bucket's 63 characters."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{1,19}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 2 to 20 of a-z, 0-9 and -")
    return text


def _database(url: str | None) -> str:
    if not url:
        raise DeployError("no database: give --database-url or set DATABASE_URL")
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # Without libpq's own words: they cite what may be one's password.
        raise DeployError("the database's URL is not readable as one: in a password, % is written %25") from None
    return url


if __name__ == "__main__":
    sys.exit(main())
