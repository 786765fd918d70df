"""What each function's login may do in Postgres, and what it must not: each connects and tries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from infra import grants, logins
from infra.__main__ import main
from infra.cloud import DeployError
from infra.migrate import MIGRATIONS, migrate, take_back, waiting
from tests.stages.conftest import Pipeline

DENIED = psycopg.errors.InsufficientPrivilege
ROLES = grants.ROLES


@pytest.fixture(scope="module")
def urls(database_url: str) -> Mapping[str, str]:
    """Each role's login, as a deploy makes it."""
    return made(database_url)


def made(database_url: str) -> Mapping[str, str]:
    logins.make(database_url, "roles-test", "a secret that only this test knows")
    return logins.urls(database_url, "roles-test", "a secret that only this test knows")


@pytest.fixture
def number(pipeline: Pipeline) -> int:
    """A dataset with a row and what another was before; its number."""
    pipeline.dataset(mode="upsert")
    pipeline.run(b"email,name,age\na@x.org,Ada,36\n")
    pipeline.run(b"email,name,age\na@x.org,Ada,37\n")
    return int(pipeline.sql("SELECT max(number) AS number FROM rowmill.dataset")[0]["number"])


def connected(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url, autocommit=True)


def refused(db: psycopg.Connection[tuple[object, ...]], *statements: str) -> list[str]:
    """The statements that are not: none of them leaves anything."""
    let_through = []
    for statement in statements:
        try:
            with db.transaction(), db.cursor() as cursor:
                if statement.startswith("COPY") and "STDIN" in statement:
                    with cursor.copy(statement):
                        pass
                else:
                    cursor.execute(statement)
                raise psycopg.Rollback
            let_through.append(statement)
        except (DENIED, psycopg.errors.WrongObjectType):  # the latter: "cannot copy to view"
            pass
    return let_through


def test_every_table_has_its_place_in_the_list(pipeline: Pipeline) -> None:
    there = pipeline.sql(
        "SELECT relname FROM pg_class WHERE relnamespace = 'rowmill'::regnamespace AND relkind IN ('r', 'p')"
    )
    assert {row["relname"] for row in there} == set(grants.listed())


def test_what_is_there_is_what_is_listed_whatever_was_granted_by_hand(database_url: str) -> None:
    with connected(database_url) as db:
        assert (grants.give(db), grants.take(db)) == (0, 0)
        db.execute("GRANT DELETE ON rowmill.chunk TO rowmill_load; REVOKE SELECT ON rowmill.chunk FROM rowmill_load")
        db.execute("GRANT UPDATE (password_hash) ON rowmill.account TO rowmill_notify")
        assert (grants.give(db), grants.take(db)) == (1, 2)
        assert (grants.give(db), grants.take(db)) == (0, 0)


def test_functions_of_another_release_keep_what_they_need_until_they_are_gone(database_url: str) -> None:
    """The stack is changed minutes after the database, by a newer release or by an older one that goes out again."""
    may = "SELECT has_table_privilege('rowmill_load', 'rowmill.chunk', 'DELETE')"
    with connected(database_url) as db:
        db.execute("GRANT DELETE ON rowmill.chunk TO rowmill_load")  # as that one lists it
        migrate(database_url)
        assert db.execute(may).fetchone() == (True,)
        take_back(database_url)
        assert db.execute(may).fetchone() == (False,)


def test_a_second_deploy_makes_the_same_logins(database_url: str, urls: Mapping[str, str]) -> None:
    again = made(database_url)
    assert again == urls
    assert len(set(again.values())) == len(ROLES)


def test_two_deploys_at_once_make_the_same_logins(database_url: str, urls: Mapping[str, str]) -> None:
    """Of two who change a role at once Postgres refuses one, and that one's deploy would stop half way."""
    with ThreadPoolExecutor(2) as pool:
        assert all(found == urls for found in pool.map(made, [database_url] * 8))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://127.0.0.1:5432/rowmill?user=owner&password=secret",
        "postgresql://owner:secret@127.0.0.1:5432/rowmill?user=owner",
        "postgresql://owner:sec#ret@127.0.0.1:5432/rowmill",
        "postgresql://owner:sec?ret@127.0.0.1:5432/rowmill",
        "postgresql://owner:sec%ret@127.0.0.1:5432/rowmill",
    ],
)
def test_a_url_that_would_have_functions_log_in_as_another_or_elsewhere_stops_a_deploy(url: str) -> None:
    """libpq takes all of them but the last, so migrations would have gone well by then."""
    with pytest.raises(DeployError) as stopped:
        logins.urls(url, "roles-test", "a secret")
    assert "ret@" not in str(stopped.value)
    assert "=secret" not in str(stopped.value)


def test_what_else_a_url_says_is_kept_for_each_login() -> None:
    url = "postgresql://owner:sec%23ret@[::1]:5432/rowmill?sslmode=require&application_name=a%20b"
    made = logins.urls(url, "roles-test", "a secret")["api"]
    assert made.startswith("postgresql://rowmill_roles-test_api:")
    assert made.endswith("@[::1]:5432/rowmill?sslmode=require&application_name=a%20b")


def test_a_login_is_its_role_and_nothing_besides(urls: Mapping[str, str]) -> None:
    for role in ROLES:
        with connected(urls[role]) as db:
            assert db.execute("SELECT current_user").fetchone() == (f"rowmill_{role}",)
            others = [f"SET ROLE rowmill_{other}" for other in ROLES if other != role]
            assert refused(db, *others, "SET ROLE pg_read_server_files", "CREATE ROLE more") == [], role
            db.execute("RESET ROLE")
            db.execute("SET ROLE NONE")
            assert refused(db, "SELECT FROM rowmill.upload", "CREATE TEMP TABLE more ()") == [], role


def test_none_but_define_makes_changes_or_drops_a_table(urls: Mapping[str, str], number: int) -> None:
    ddl = (
        *(f"CREATE TABLE {schema}.more ()" for schema in ("rowmill", "data", "stage", "public")),
        *(f"ALTER TABLE {table} ADD COLUMN more text" for table in ("rowmill.upload", f"data.d_{number}")),
        *(f"DROP TABLE {table}" for table in ("rowmill.reject", f"data.d_{number}_before")),
        *(f"TRUNCATE {table}" for table in ("rowmill.upload", f"data.d_{number}")),
        f"CREATE INDEX ON data.d_{number} (name)",
        "CREATE SCHEMA more",
        "CREATE FUNCTION rowmill.more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        f"SELECT rowmill.open_dataset({number})",
    )
    make, drop = "SELECT rowmill.make_stage(1)", "SELECT rowmill.drop_stage(1)"
    let_through = {}
    for role in ROLES:
        if role != "define":
            with connected(urls[role]) as db:
                doors = [*([] if role == "split" else [make]), *([] if role in grants.STEP else [drop])]
                let_through[role] = refused(db, *ddl, *doors)
    assert let_through == {role: [] for role in ROLES if role != "define"}
    with connected(urls["define"]) as db:
        db.execute(f"ALTER TABLE data.d_{number} ADD COLUMN more text")


def test_the_api_copies_into_nothing_and_inserts_a_row_all_the_same(urls: Mapping[str, str], number: int) -> None:
    table = f"data.d_{number}"
    with connected(urls["api"]) as db:
        copies = [f"COPY {name} FROM STDIN" for name in (table, f"{table}_by_hand", f"{table}_before")]
        copies += [f"COPY {table}_before_by_hand FROM STDIN", f"COPY {table} FROM '/etc/passwd'"]
        copies += [f"COPY {table} FROM PROGRAM 'id'", f"COPY (SELECT 1) TO PROGRAM 'cat > {number}'"]
        results = ("chunk", "reject", "cause", "contested", "origin", "fingerprint", "key_hash", "receipt", "taken")
        copies += [f"COPY rowmill.{name} FROM STDIN" for name in results]
        assert refused(db, *copies) == []
        db.execute(f"INSERT INTO {table}_by_hand (email, _row) VALUES ('b@x.org', 1)")
    with connected(urls["load"]) as db:  # where it can be told that nothing else is in the way
        assert refused(db, f"COPY {table} FROM STDIN") == [f"COPY {table} FROM STDIN"]


def test_the_api_writes_no_result_of_a_file(urls: Mapping[str, str]) -> None:
    with connected(urls["api"]) as db:
        results = (
            "reject",
            "cause",
            "remedy",
            "contested",
            "origin",
            "key_hash",
            "profile",
            "lost",
            "taken",
            "conflict",
        )
        inserts = [f"INSERT INTO rowmill.{name} DEFAULT VALUES" for name in (*results, "receipt", "chunk", "staged")]
        gone = [f"DELETE FROM rowmill.{name}" for name in ("upload", "chunk", "reject", "announcement", "event")]
        changed = ["UPDATE rowmill.event SET event = 'x'", "UPDATE rowmill.receipt SET jws = 'x'"]
        assert refused(db, *inserts, *gone, *changed) == []


def test_none_but_the_api_reads_what_lets_somebody_in(urls: Mapping[str, str]) -> None:
    secrets = (
        "SELECT password_hash FROM rowmill.account",
        "SELECT * FROM rowmill.account",
        "SELECT hash FROM rowmill.refresh_token",
        "INSERT INTO rowmill.account VALUES ('usr_x', 'ten_x', 'x', 'x')",
    )
    for role in ROLES:
        if role != "api":
            with connected(urls[role]) as db:
                asked = [*secrets, *([] if role in ("notify", "sweep") else ["SELECT secret FROM rowmill.webhook"])]
                assert refused(db, *asked) == [], role


def test_rows_are_read_by_whom_it_takes(urls: Mapping[str, str], number: int) -> None:
    readers = {role for role in ROLES if _reads(urls[role], f"data.d_{number}")}
    assert readers == {"api", "load", "settle", "receipt", "doctor", "define"}


def _reads(url: str, table: str) -> bool:
    with connected(url) as db:
        return refused(db, f"SELECT email FROM {table}") != []


@pytest.fixture(scope="module", autouse=True)
def leave_nothing(database_url: str, urls: Mapping[str, str]) -> Iterator[None]:
    """Roles are the server's, and other tests look at it."""
    yield
    with connected(database_url) as db:
        for role in ROLES:
            login = sql.Identifier(f"rowmill_roles-test_{role}")
            db.execute(sql.SQL("DROP OWNED BY {}; DROP ROLE {}").format(login, login))


@pytest.mark.parametrize("look", [migrate, waiting])
def test_a_migration_that_was_changed_or_comes_too_late_stops_a_deploy(
    database_url: str, tmp_path: Path, look: Callable[[str, Path], object]
) -> None:
    assert waiting(database_url) == []
    late = tmp_path / "0000_late.sql"
    late.write_text("CREATE TABLE rowmill.never ()")
    with pytest.raises(DeployError, match=r"0000_late.sql comes before"):
        look(database_url, tmp_path)
    late.rename(tmp_path / min(MIGRATIONS.glob("*.sql")).name)
    with pytest.raises(DeployError, match="changed after it was applied"):
        look(database_url, tmp_path)


def test_a_database_that_a_deploy_cannot_use_is_a_line_that_holds_no_password(
    urls: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    unreadable = "postgresql://owner:100%secret@127.0.0.1/rowmill"
    for url, why in ((unreadable, "not readable"), (urls["api"], "permission denied")):
        assert main(["migrate", "--database-url", url]) == 1
        told = capsys.readouterr().err
        assert why in told
        assert "secret" not in told
