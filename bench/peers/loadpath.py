"""Rowmill's load step alone: two processes of ours, the chunk's bytes from the local file, no emulator.

Chunks and messages are the deployed splitter's: its queue has no reader meanwhile, and we take what is in it.
"""

from __future__ import annotations

import os
import queue
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import boto3

from bench.peers import meter, ours
from bench.peers.children import Child, started
from bench.peers.files import File
from bench.peers.ground import Failed
from bench.peers.meter import Spent
from infra.local import cloud
from infra.local.record import Instance

PROCESSES: Final = 2
PATIENCE: Final = 120.0
FUNCTION: Final = "rowmill-local-load_low"  # loads what files above 5,000 rows are cut into
QUEUE: Final = "rowmill-local-low"


def load(account: ours.Account, file: File) -> Spent:
    """The time from the first chunk to the last, with the upload's end."""
    place = account.ground
    dataset = account.fresh_dataset(file)
    with ExitStack() as stack:
        messages = _messages(account, file, dataset)
        command = [sys.executable, "-m", "bench.peers.chunks", str(file.path)]
        known = _environment(place.here)
        workers = [
            stack.enter_context(started(place, command, known, f"chunks-{n}.log")) for n in range(1, PROCESSES + 1)
        ]
        stack.enter_context(place.halted_cloud())
        place.settle()
        with meter.measured(place.postgres, [worker.process for worker in workers]) as spent:
            _work(workers, messages)
    account.check_rows(dataset, file)
    account.forget_rows(dataset)
    return spent


def _work(workers: Sequence[Child], messages: Sequence[str]) -> None:
    """Give every worker a message as soon as it is done with its last."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for message in messages:
        waiting.put(message)

    def feed(worker: Child) -> None:
        while True:
            try:
                worker.tell(waiting.get_nowait())
            except queue.Empty:
                return
            worker.expect("done")

    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(feed, workers))


def _messages(account: ours.Account, file: File, dataset: str) -> list[str]:
    """Have a file split while nobody loads, and take its chunks' messages out of the queue."""
    sqs = client(account.ground.here, "sqs")
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    with _nobody_loads(account.ground.here):
        created = account.rowmill.create_upload(file.path, dataset)
        account.rowmill.send_file(created, file.path)
        total = _chunks_total(account, created["id"])
        bodies: list[str] = []
        deadline = time.monotonic() + PATIENCE
        while len(bodies) < total and time.monotonic() < deadline:
            bodies += _take(sqs, url)
    if len(bodies) != total:
        raise Failed(f"{len(bodies)} messages in the queue for {total} chunks")
    return bodies


def _take(sqs: Any, url: str) -> list[str]:
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
    for message in found:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [message["Body"] for message in found]


def _chunks_total(account: ours.Account, upload_id: str) -> int:
    deadline = time.monotonic() + PATIENCE
    while (total := account.rowmill.get_upload(upload_id)["chunks_total"]) is None:
        if time.monotonic() > deadline:
            raise Failed("the scan did not end")
        time.sleep(0.3)
    return total


@contextmanager
def _nobody_loads(here: Instance) -> Iterator[None]:
    """Keep the function from its queue."""
    functions = client(here, "lambda")
    (mapping,) = functions.list_event_source_mappings(FunctionName=FUNCTION)["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def _environment(here: Instance) -> Mapping[str, str]:
    """What the deployed function is started with."""
    deployed = client(here, "lambda").get_function_configuration(FunctionName=FUNCTION)["Environment"]["Variables"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, **cloud.CREDENTIALS, **cloud.NOTHING_ELSE, "AWS_ENDPOINT_URL": here.endpoint, **deployed}


def client(here: Instance, service: str) -> Any:
    return boto3.Session("test", "test", region_name=cloud.REGION).client(service, endpoint_url=here.endpoint)
