"""Who logs in to Postgres: a login for each role of a stage, that becomes this role and has nothing besides.

Passwords follow from one secret of the stage, so a deploy that is repeated changes none.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from infra.cloud import DeployError
from infra.grants import ROLES
from infra.migrate import alone


def urls(database_url: str, stage: str, secret: str) -> dict[str, str]:
    """The URL of each role: `database_url` with another user and password."""
    return {role: _as(database_url, _login(stage, role), _password(secret, role)) for role in ROLES}


def make(owner_url: str, stage: str, secret: str) -> None:
    """The login of each role. Made by whoever may make roles here."""
    with psycopg.connect(owner_url, autocommit=True, connect_timeout=10) as connection:
        alone(connection)  # roles have no locks: of two who change one at once Postgres refuses one
        with connection.transaction():
            for role in ROLES:
                _make(connection, role, _login(stage, role), _password(secret, role))


def _make(connection: psycopg.Connection[tuple[object, ...]], role: str, login: str, password: str) -> None:
    # Hashed here: the server might write the statement to its log.
    hashed = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
    there = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (login,)).fetchone()
    names = {"login": sql.Identifier(login), "role": sql.Identifier(f"rowmill_{role}")}
    names["database"] = sql.Identifier(connection.info.dbname)
    verb = sql.SQL("CREATE" if there is None else "ALTER")
    connection.execute(
        sql.SQL("{} ROLE {login} LOGIN NOINHERIT PASSWORD {}").format(verb, sql.Literal(hashed), **names)
    )
    for statement in (
        "GRANT {role} TO {login} WITH INHERIT FALSE, SET TRUE",
        "ALTER ROLE {login} SET role = {role}",
        "GRANT CONNECT ON DATABASE {database} TO {login}",
    ):
        connection.execute(sql.SQL(statement).format(**names))


def _login(stage: str, role: str) -> str:
    return f"rowmill_{stage}_{role}"


def _password(secret: str, role: str) -> str:
    return hmac.new(secret.encode(), role.encode(), hashlib.sha256).hexdigest()


def _as(url: str, login: str, password: str) -> str:
    parts = urlsplit(url)
    if not parts.scheme.startswith("postgres"):
        raise DeployError("the database is to be named by a URL: postgresql://user:password@host:port/name")
    place = parts.netloc.rpartition("@")[2]
    made = parts._replace(netloc=f"{login}:{password}@{place}").geturl()
    # libpq reads a URL otherwise than others do: a `#` may be one of a password, and `?user=` is whom it logs in as.
    try:
        same = conninfo_to_dict(made) == {**conninfo_to_dict(url), "user": login, "password": password}
    except psycopg.ProgrammingError:
        same = False
    if not same:
        raise DeployError("the database's URL names user and password before the @, with signs as %23 for # in them")
    return made
