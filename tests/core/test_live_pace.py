"""How many frames are painted at once."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from musetalk_core.live_pace import LARGEST, Outlook, Pace

FPS = Fraction(25)
PLENTY = Outlook(frames=100, space=12, more=True, spare=0.2, first=False)


def measured(**seconds: float) -> Pace:
    """A pace that knows what batches take, such as ``b8=0.1``."""
    pace = Pace(FPS)
    for size, value in seconds.items():
        pace.measured(int(size[1:]), value)
    return pace


def test_the_first_frame_comes_alone() -> None:
    pace = measured(b1=0.02, b8=0.08)
    assert pace.choose(replace(PLENTY, spare=0.0, first=True)) == 1
    assert Pace(FPS).choose(PLENTY) == 1  # nothing is known yet


def test_the_largest_batch_that_is_on_time() -> None:
    pace = measured(b1=0.02, b2=0.03, b4=0.05, b8=0.09)
    assert [pace.choose(replace(PLENTY, spare=spare)) for spare in (0.02, 0.03, 0.05, 0.1)] == [1, 2, 4, 8]
    assert pace.choose(replace(PLENTY, frames=3, more=False)) == 3  # no more than there are


def test_with_time_to_spare_it_waits_for_a_full_batch() -> None:
    pace = measured(b1=0.02, b8=0.08)
    waiting = replace(PLENTY, space=2)
    assert pace.choose(waiting) == 0
    assert pace.choose(replace(waiting, spare=0.1)) == 2  # a full one a frame later would be late
    assert pace.choose(replace(PLENTY, frames=2, more=False)) == 2  # nothing will come


def test_a_batch_that_is_on_time_but_too_small_to_keep_up_is_not_taken() -> None:
    pace = measured(b1=0.06, b2=0.08, b4=0.12, b8=0.2)
    assert pace.choose(replace(PLENTY, spare=0.09)) == 4


def test_late_it_takes_the_smallest_batch_that_catches_up() -> None:
    late = replace(PLENTY, spare=-0.1)
    assert measured(b1=0.05, b2=0.06, b4=0.08, b8=0.16).choose(late) == 2
    assert measured(b1=0.05, b2=0.09, b4=0.17, b8=0.28).choose(late) == 8  # 25 a second by none but the largest
    assert measured(b1=1.2, b2=1.8, b4=3.0).choose(late) == 2  # what comes next is not to wait longer


def test_late_it_tries_larger_batches_step_by_step() -> None:
    pace, chosen = Pace(FPS), []
    for _ in range(8):
        size = pace.choose(replace(PLENTY, spare=-1.0))
        pace.measured(size, 0.05 + 0.03 * size)  # 38 ms a frame, eight at a time
        chosen.append(size)
    assert chosen[:4] == [1, 2, 4, 8] and chosen[-1] == 8


def test_an_estimate_follows_what_is_measured() -> None:
    pace = measured(b4=0.1)
    assert pace.seconds(4) == pace.seconds(2) == 0.1 and pace.seconds(8) == 0.2
    for _ in range(20):
        pace.measured(4, 0.3)
    assert 0.29 < pace.seconds(4) < 0.3


@given(
    st.dictionaries(st.integers(1, LARGEST), st.floats(0, 5), max_size=8),
    st.integers(1, 300),
    st.integers(1, 120),
    st.booleans(),
    st.floats(-10, 10),
    st.booleans(),
)
def test_never_more_than_there_is_and_never_waiting_when_late(costs, frames, space, more, spare, first) -> None:
    pace = Pace(FPS)
    for size, seconds in costs.items():
        pace.measured(size, seconds)
    size = pace.choose(Outlook(frames, space, more, spare, first))
    assert 0 <= size <= min(LARGEST, frames, space)
    if size == 0:
        assert spare > 0 and (more or space < frames)
