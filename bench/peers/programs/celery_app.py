"""A Celery application whose task inserts a thousand contacts by `bulk_create`. PEERS_REDIS is the broker's URL."""

from __future__ import annotations

import os
from collections.abc import Sequence

from celery import Celery

from bench.peers.programs.django_model import Contact

app = Celery("peers", broker=os.environ["PEERS_REDIS"], backend=os.environ["PEERS_REDIS"])
app.conf.update(worker_prefetch_multiplier=1, task_acks_late=True, broker_connection_retry_on_startup=True)


@app.task  # type: ignore[untyped-decorator]
def insert(batch: Sequence[dict[str, str]]) -> int:
    return len(Contact.objects.bulk_create([Contact(**row) for row in batch]))
