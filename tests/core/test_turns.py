"""Several who speak at once take turns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from musetalk_core.turns import Turns


def soon(true: Callable[[], bool]) -> None:
    """Wait for something that other threads are about to do."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_one_at_a_time_in_the_order_they_came() -> None:
    turns, order, inside = Turns(), [], []

    def one(name: int) -> None:
        with turns:
            inside.append(name)
            assert len(inside) == 1
            order.append(name)
            inside.pop()

    threads = []
    with turns:
        for name in range(8):
            threads.append(threading.Thread(target=one, args=(name,)))
            threads[-1].start()
            soon(lambda: len(turns._waiting) == len(threads))
    for thread in threads:
        thread.join()
    assert order == [*range(8)]


def test_who_comes_back_at_once_stands_behind_those_who_wait() -> None:
    turns, order = Turns(), []

    def again(name: str) -> None:
        for _ in range(50):
            with turns:
                order.append(name)
                soon(lambda: turns._waiting or order.count("a") == 50 or order.count("b") == 50)

    threads = [threading.Thread(target=again, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = "".join(order[: 2 * min(order.index("b") + 1, 40)])
    assert "aaa" not in together and "bbb" not in together


def test_an_error_inside_gives_the_turn_on() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns:
        _ = 1 / 0
    with turns:
        pass
