"""What each role may do to each table of schema `rowmill`: given as it is listed here whenever migrations have run;
what is not listed is taken once no function runs that had it.

A function's role has what its statements need and no more, so a statement that is new, or a table, needs its place
here: the tests run every stage under its role. Of the tables of datasets and of stages migration 0028 says it, as they
come and go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from psycopg import sql

ROLES: Final = ("api", "split", "load", "settle", "bury", "sweep", "notify", "receipt", "render", "doctor", "define")
# Whoever ends a step of an upload sees whether that was the last one, and shows the status.
STEP: Final = ("api", "split", "load", "settle", "bury", "sweep")
# S select, I insert, U update, D delete; s selects the columns below alone; L locks rows, which takes leave to update
# one column: the first, a key that is never written.
_VERBS: Final[dict[str, LiteralString]] = {"S": "SELECT", "I": "INSERT", "U": "UPDATE", "D": "DELETE"}
_SHOWN: Final = {"account": ("tenant", "user_id", "username")}  # not what its password is proved by
_SEQUENCES: Final = {"handmade_row": ("api",)}
_MAY: Final = """
account          api=SIUD load=s settle=s define=s
announcement     step=S api=IU split=U bury=U sweep=UD notify=S receipt=S doctor=SI
cancel           step=S api=IDL split=I load=IL settle=I sweep=I notify=S receipt=S render=S doctor=S
cause            api=S load=I settle=I sweep=SD
chunk            step=SU split=I settle=I sweep=D notify=S receipt=SU render=S doctor=S
conflict         api=S settle=SI sweep=SD
contested        step=S load=I settle=D sweep=D
data_key         api=SI load=SI settle=SI sweep=SUD receipt=S render=S doctor=SU
dataset          step=S api=L sweep=UD notify=S receipt=S render=S doctor=S define=SIU
dataset_change   api=SIU load=SIU settle=SIU sweep=SIUD define=SD
dataset_grant    step=S api=IUD sweep=D receipt=S render=S doctor=S define=SD
delivery         api=SI sweep=SUD notify=SIU
epoch            step=S notify=S receipt=S render=S doctor=SU
event            step=I api=S sweep=SD receipt=I doctor=SI
fingerprint      step=SD load=I
gate             split=SIU sweep=SIUD
guess            step=SD load=I
key_hash         step=SD load=I
login_failure    api=SIUD sweep=SD
lost             step=SD settle=IU define=S
migration
origin           step=S load=I sweep=UD
outbox           step=SIU api=D sweep=D notify=SU doctor=S
pace             api=SIU load=SIU sweep=SD define=SD
picture          api=SIUD settle=SU sweep=SUD define=SU
profile          step=SD load=IU
proof            api=SIUD sweep=SUD receipt=SIUD
receipt          api=SD sweep=SD receipt=SI
refresh_token    api=SIU
reject           step=S load=I settle=I sweep=D render=S
remedy           api=S load=I settle=I sweep=SD
repeat           api=SIU sweep=SD
revert           step=S api=IU sweep=D settle=U notify=S receipt=S render=S doctor=S
segment          split=SID sweep=SD
session          api=SIDL sweep=SD
staged           step=SD split=I
taken            api=S split=SI load=S sweep=SD
takeover         api=SIU sweep=SD receipt=S doctor=S
tenant           api=SIU sweep=SUD doctor=S define=S
upload           step=SU api=I split=I sweep=D notify=S receipt=SU render=S doctor=SU define=S
webhook          api=SIUD sweep=SDL notify=SU
"""


class Grant(NamedTuple):
    """One privilege of one role; `column` is empty if it is the whole table's."""

    table: str
    role: str
    verb: LiteralString
    column: str


def listed() -> dict[str, dict[str, str]]:
    """The letters of each role, by table and role."""
    found: dict[str, dict[str, str]] = {}
    for line in _MAY.split("\n"):
        if table := line.partition(" ")[0]:
            roles = found.setdefault(table, {})
            for said in line.split()[1:]:
                name, _, letters = said.partition("=")
                for role in STEP if name == "step" else (name,):
                    roles[role] = roles.get(role, "") + letters
    return found


def give(connection: psycopg.Connection[Any]) -> int:
    """Grant what is listed and not there; how much. Repeat at will."""
    with connection.transaction():
        lacking = set(_wanted(connection)) - set(_there(connection))
        for grant in sorted(lacking):
            connection.execute(_statement("GRANT {} ON rowmill.{} TO {}", grant))
    return len(lacking)


def take(connection: psycopg.Connection[Any]) -> int:
    """Take away what is there and not listed; how much. Repeat at will, but not while another release runs."""
    with connection.transaction():
        idle = set(_there(connection)) - set(_wanted(connection))
        for grant in sorted(idle):
            connection.execute(_statement("REVOKE {} ON rowmill.{} FROM {}", grant))
    return len(idle)


def _wanted(connection: psycopg.Connection[Any]) -> Iterator[Grant]:
    """As listed, of the tables that this database has: an older release may be going out again."""
    rows = connection.execute(
        "SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum = 1"
        " WHERE relnamespace = 'rowmill'::regnamespace AND relkind = 'r'"
    )
    may = listed()
    for table, first in rows.fetchall():
        for role, letters in may.get(table, {}).items():
            for letter in letters:
                if letter in _VERBS:
                    yield Grant(table, role, _VERBS[letter], "")
                elif letter == "s":
                    yield from (Grant(table, role, "SELECT", column) for column in _SHOWN[table])
                elif "U" not in letters:
                    yield Grant(table, role, "UPDATE", first)
    for sequence, roles in _SEQUENCES.items():
        for role in roles:
            yield Grant(sequence, role, "USAGE", "")


def _there(connection: psycopg.Connection[Any]) -> Iterator[Grant]:
    rows = connection.execute(
        """
        WITH here AS (SELECT oid, relname, relacl FROM pg_class WHERE relnamespace = 'rowmill'::regnamespace
                      AND relkind IN ('r', 'S')),
        granted AS (
            SELECT relname, (aclexplode(relacl)).*, '' AS attname FROM here
            UNION ALL
            SELECT relname, (aclexplode(attacl)).*, attname FROM here JOIN pg_attribute ON attrelid = here.oid)
        SELECT relname, substr(rolname, 9), privilege_type, attname FROM granted JOIN pg_roles ON grantee = pg_roles.oid
        WHERE rolname = ANY(%s)
        """,
        ([f"rowmill_{role}" for role in ROLES],),
    )
    return (Grant(*row) for row in rows.fetchall())


def _statement(template: LiteralString, grant: Grant) -> sql.Composed:
    column = sql.SQL(" ({})").format(sql.Identifier(grant.column)) if grant.column else sql.SQL("")
    verb = sql.SQL(grant.verb) + column
    return sql.SQL(template).format(verb, sql.Identifier(grant.table), sql.Identifier(f"rowmill_{grant.role}"))
