"""That rows of a dataset have changed, for whoever remembers what they were.

The count goes up in the transaction that changes the rows, so both are seen at once. Call it last: who counts in the
same slot waits from here to the commit.
"""

from __future__ import annotations

from typing import Final

from chalicelib.postgres.connection import Connection

SLOTS: Final = 16  # by the backend's process, so that two that commit at once seldom meet
COUNT: Final = "(SELECT coalesce(sum(changes), 0)::bigint FROM rowmill.dataset_change c WHERE c.dataset = d.number)"


def note(connection: Connection, dataset: int) -> None:
    """Rows of the dataset change with this transaction."""
    connection.execute(
        """
        INSERT INTO rowmill.dataset_change AS c (dataset, slot, changes) VALUES (%s, pg_backend_pid() %% %s, 1)
        ON CONFLICT (dataset, slot) DO UPDATE SET changes = c.changes + 1
        """,
        (dataset, SLOTS),
    )
