"""The engine that needs no other machine: every step of a batch in this process, one after the other."""

from __future__ import annotations

import socket
import time

from .batch import Batch
from .batch_work import Worker
from .models import Models


def run(batch: Batch, models: Models) -> None:
    """Do all the steps of a batch with these networks."""
    worker, where = Worker(models), socket.gethostname()
    while step := batch.next():
        started = time.monotonic()
        try:
            result = worker.do(batch.jobs[step.clip], step, batch.progress.within(step))
        except Exception as error:  # such as out of memory: the next clip may be smaller
            batch.failed(step, error)
        else:
            batch.done(step, result, time.monotonic() - started, where)
