"""`objects.create` for each row, as a view or a management command does it."""

from __future__ import annotations

import sys

from django.db import connection

from bench.peers.programs import when_told
from bench.peers.programs.django_model import Contact, rows


def load(path: str) -> None:
    for row in rows(path):
        Contact.objects.create(**row)


if __name__ == "__main__":
    connection.ensure_connection()
    when_told(lambda: load(sys.argv[1]))
