"""The contacts as a Django model. libpq's environment says where the database is."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.db import models

_PLACE = {name: os.environ[f"PG{name}"] for name in ("HOST", "PORT", "USER", "PASSWORD")}
settings.configure(
    DATABASES={
        "default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"], **_PLACE},
    },
    USE_TZ=True,
)
django.setup()


class Contact(models.Model):  # type: ignore[misc]
    """The table that the benchmark makes."""

    id = models.BigAutoField(primary_key=True)
    email = models.TextField(unique=True)
    name = models.TextField(null=True)
    signup_date = models.DateField(null=True)
    amount = models.DecimalField(null=True, max_digits=12, decimal_places=2)
    country = models.TextField(null=True)
    note = models.TextField(null=True)

    class Meta:
        app_label = "peers"
        managed = False
        db_table = "target"


def rows(path: str) -> Iterator[dict[str, Any]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
