"""Failed logins, counted by name and by address: a bucket for each, which leaks.

They are counted before the password is looked at, so that of many at once no more get through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chalicelib.postgres.connection import Connection


@dataclass(frozen=True, slots=True)
class Bucket:
    """Whom failures are counted for. It holds `most`, and loses one each `seconds`."""

    who: str
    most: int
    seconds: int


# Names are one whatever their case, by Postgres' reckoning; and what people type as a name may be their password.
_WHO: Final = "sha256(convert_to(lower(%(who)s), 'UTF8'))"
_LEVEL: Final = "greatest(0, f.level - extract(epoch FROM now() - f.at)::float / %(seconds)s)"


def count(connection: Connection, bucket: Bucket) -> int:
    """Count a failure, and answer 0; if the bucket is full, count nothing, and answer in how many seconds it is not."""
    asked = {"who": bucket.who, "most": bucket.most, "seconds": bucket.seconds}
    counted = connection.execute(
        f"INSERT INTO rowmill.login_failure AS f (who, level) VALUES ({_WHO}, 1)"
        f" ON CONFLICT (who) DO UPDATE SET level = {_LEVEL} + 1, at = now() WHERE {_LEVEL} + 1 <= %(most)s",
        asked,
    ).rowcount
    if counted:
        return 0
    row = connection.execute(
        f"SELECT ceil(({_LEVEL} + 1 - %(most)s) * %(seconds)s) FROM rowmill.login_failure f WHERE who = {_WHO}", asked
    ).fetchone()
    return max(1, int(row[0])) if row else 1


def forgive(connection: Connection, bucket: Bucket) -> None:
    """Take back the failure that was counted last: it was none."""
    connection.execute(
        f"UPDATE rowmill.login_failure SET level = greatest(0, level - 1) WHERE who = {_WHO}", {"who": bucket.who}
    )


def forgive_all(connection: Connection, bucket: Bucket) -> None:
    """Empty the bucket."""
    connection.execute(f"DELETE FROM rowmill.login_failure WHERE who = {_WHO}", {"who": bucket.who})


def forget_old(connection: Connection) -> int:
    """Delete the buckets that have been empty for long; how many there were."""
    return connection.execute("DELETE FROM rowmill.login_failure WHERE at < now() - interval '1 day'").rowcount
