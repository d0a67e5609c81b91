"""Work that goes on in threads beside the caller's: what a stage needs is made ahead, what it made is taken away.

Networks stay on the caller's thread: the host's memory manager, its progress bar and its interrupts are made for one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, TypeVar

Item = TypeVar("Item")
Call = Callable[..., "Future[Any]"]
"""``call(work, *args)`` has ``work(*args)`` done, and gives its result to come."""

_END: Any = object()


@contextmanager
def beside() -> Iterator[Call]:
    """A thread that does what it is called for, one after the other in the order of the calls.

    The caller's context variables are known there. At the end, and where the block is left by an exception, what is
    not begun is dropped and what is begun is waited for.

    Yields:
        How to call it. What the work raises is raised by the future's `result`.
    """
    pool = ThreadPoolExecutor(1, "musetalk")
    try:
        yield lambda work, *args: pool.submit(copy_context().run, work, *args)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def ahead(items: Iterable[Item], depth: int = 1) -> Iterator[Iterator[Item]]:
    """Items that are made in a thread of their own before they are asked for.

    Args:
        items: Iterated over in that thread alone.
        depth: How many are made beyond the one that was taken last, at least 1.

    Yields:
        The same items in the same order; where making one raises, that is raised in its place.
    """
    source = iter(items)
    with beside() as call:

        def taken() -> Iterator[Item]:
            coming = deque(call(next, source, _END) for _ in range(depth))
            while (item := coming.popleft().result()) is not _END:
                coming.append(call(next, source, _END))
                yield item

        yield taken()


@contextmanager
def behind(work: Callable[[Item], object], most: int) -> Iterator[Callable[[Item], None]]:
    """Work that is done in a thread of its own on one item after the other while the next are made.

    At the end all of it is done; where the block is left by an exception, what is not begun is dropped.

    Args:
        work: Done with each item.
        most: How many items may wait or be worked on, at least 1.

    Yields:
        ``put(item)``: has the work done, and waits while there are more than so many. What the work raised is
        raised by a later ``put``, or at the end.
    """
    with beside() as call:
        waiting: deque[Future[object]] = deque()

        def put(item: Item) -> None:
            waiting.append(call(work, item))
            while waiting and (len(waiting) > most or waiting[0].done()):
                waiting.popleft().result()

        yield put
        for last in waiting:
            last.result()
