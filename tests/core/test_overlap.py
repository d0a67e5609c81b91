"""Work in threads beside the caller's: in order, bounded, and never left behind."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator

import pytest

from musetalk_core.overlap import ahead, behind, beside
from tests.core.stand_ins import threads_of_ours

NAME = contextvars.ContextVar("name", default="nobody")


class Made:
    """Numbers, and how many of them were made."""

    def __init__(self, total: int) -> None:
        self.total, self.count = total, 0

    def __iter__(self) -> Iterator[int]:
        for i in range(self.total):
            self.count += 1
            yield i


class Gate:
    """Work that waits until it is let through."""

    def __init__(self) -> None:
        self.open, self.done = threading.Event(), []

    def __call__(self, item: int) -> int:
        assert self.open.wait(20)
        self.done.append(item)
        return item


@pytest.mark.parametrize("depth", [1, 3, 20])
def test_items_come_in_order_and_no_more_are_made_than_may_wait(depth: int) -> None:
    made = Made(10)
    with ahead(made, depth) as items:
        for i in range(10):
            assert next(items) == i
            assert made.count <= i + 1 + depth
        assert next(items, None) is None


def test_the_next_item_is_made_while_this_one_is_worked_on() -> None:
    making = [threading.Event(), threading.Event()]

    def items() -> Iterator[int]:
        for i, event in enumerate(making):
            event.set()
            yield i

    with ahead(items()) as taken:
        assert next(taken) == 0
        assert making[1].wait(20)


def test_an_error_comes_in_the_place_of_its_item_and_is_the_same() -> None:
    error = KeyError("of the items")

    def items() -> Iterator[int]:
        yield 1
        raise error

    with pytest.raises(KeyError) as failure, ahead(items(), 5) as taken:
        assert next(taken) == 1
        next(taken)
    assert failure.value is error and not threads_of_ours()


def test_context_variables_are_known_in_the_thread() -> None:
    NAME.set("somebody")
    with beside() as call:
        assert call(NAME.get).result() == "somebody"
        assert call(threading.get_ident).result() != threading.get_ident()


@pytest.mark.parametrize("stop", [RuntimeError(), KeyboardInterrupt()])
def test_where_the_caller_stops_what_is_not_begun_is_dropped(stop: BaseException) -> None:
    gate = Gate()
    with pytest.raises(type(stop)) as failure, behind(gate, 5) as put:
        for item in range(5):
            put(item)
        gate.open.set()
        raise stop
    assert failure.value is stop and not threads_of_ours()
    assert gate.done == [*range(len(gate.done))]


def test_nothing_begins_after_the_caller_has_stopped() -> None:
    gate = Gate()
    begun = threading.Event()

    def work(item: int) -> None:
        begun.set()
        gate(item)

    with pytest.raises(RuntimeError), behind(work, 5) as put:
        put(0)
        put(1)
        assert begun.wait(20)
        threading.Timer(0.1, gate.open.set).start()  # the first is in the middle of its work when the caller stops
        raise RuntimeError
    assert gate.done == [0]


def test_work_is_done_in_order_and_all_of_it() -> None:
    done: list[int] = []
    with behind(done.append, 3) as put:
        for item in range(50):
            put(item)
            assert item + 1 - len(done) <= 3
    assert done == [*range(50)]


def test_failed_work_is_told_by_a_later_put_or_at_the_end() -> None:
    error = OSError("disk full")

    def fail(item: int) -> None:
        raise error

    with pytest.raises(OSError) as failure, behind(fail, 2) as put:
        for item in range(10):
            put(item)
        raise AssertionError("not told")
    assert failure.value is error
    with pytest.raises(OSError) as failure, behind(fail, 2) as put:
        put(0)
    assert failure.value is error
