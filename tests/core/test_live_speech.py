"""A live session step by step: no sample lost, each face with its own sound, the time kept."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musetalk_core.errors import InputError
from musetalk_core.live_speech import PAUSE, ROOM
from tests.core.live_stage import FPS, Stage

NTSC = Fraction(30000, 1001)

steps = st.one_of(
    st.tuples(st.just("push"), st.floats(0, 0.4)),
    st.tuples(st.just("push"), st.floats(0, 12)),
    st.tuples(st.just("run"), st.floats(0.01, 0.6)),
    st.tuples(st.just("flush"), st.none()),
    st.tuples(st.just("interrupt"), st.none()),
    st.tuples(st.just("stall"), st.floats(0.01, 2.5)),
)


def stall(stage: Stage, seconds: float) -> None:
    stage.looks = False
    stage.run(seconds)
    stage.looks = True


@settings(max_examples=60, deadline=None)
@given(
    st.lists(steps, max_size=25),
    st.sampled_from([(FPS, 16000), (NTSC, 44100), (Fraction(24), 8000), (Fraction(5), 16000), (Fraction(60), 22050)]),
    st.floats(0, 0.05),
    st.floats(0, 0.06),
)
def test_nothing_is_lost_repeated_or_shown_with_another_sound(todo, timing, fixed, each) -> None:
    fps, rate = timing
    stage = Stage(lambda size: fixed + each * size, fps, rate)
    for what, value in todo:
        match what:
            case "push":
                stage.push(value)
            case "run":
                stage.run(value)
            case "flush":
                stage.speech.flush()
            case "interrupt":
                stage.interrupt()
            case "stall":
                stall(stage, value)
    stage.speech.flush()
    for _ in range(100):  # as long as it may take
        if len(stage.waiting):
            stage.run(1)
    stage.run(0.5)
    assert not len(stage.waiting) and stage.shown[-1].frame is None
    assert not stage.speech.waiting
    # Each utterance is shown frame by frame from its first, and each frame has the sound of its own time.
    count: dict[int, int] = {}
    begin: dict[int, float] = {}
    for one in stage.spoken:
        assert one.frame == count.get(one.utterance, 0)
        count[one.utterance] = one.frame + 1
        origin = begin.setdefault(one.utterance, one.moment.sound[0])
        assert one.moment.sound[0] - origin == int(one.frame * rate / fps)
    assert list(begin) == sorted(begin)
    drift = stage.drift
    assert set(drift) <= {-1, 0, 1}
    assert all(off == 0 for off, one in zip(drift, stage.shown, strict=True) if one.frame is None)
    assert stage.push(ROOM + 1) == ROOM * rate


def test_speech_is_shown_as_soon_as_it_is_painted_and_the_source_plays_on() -> None:
    stage = Stage()
    stage.run(1)
    stage.push(2)
    pushed = stage.now
    stage.run(4)
    assert stage.spoken[0].time - pushed < 2 / FPS
    assert [one.position for one in stage.shown] == [*range(len(stage.shown))]  # no jump, in or out
    whole = [one.frame is not None for one in stage.shown]
    assert whole.index(True) + 50 == len(whole) - whole[::-1].index(True)  # all 50 without a gap


def test_a_frame_that_is_expected_late_shows_the_source_of_that_time() -> None:
    stage = Stage(lambda size: 0.3)
    for _ in range(2):  # the first time nothing is known of what a batch takes
        stage.push(0.2)
        stage.speech.flush()
        stage.run(2)
    first = next(i for i, one in enumerate(stage.shown) if one.utterance == 1)
    assert abs(stage.shown[first].position - stage.shown[first - 1].position) <= 2


def test_starved_it_is_idle_and_goes_on_where_it_stopped() -> None:
    stage = Stage()
    for wait in [0.1] * 9 + [PAUSE - 0.02] + [0.1] * 10:
        stage.push(0.1)
        stage.run(wait)
    stage.run(1)
    assert stage.utterances == 1 and [one.frame for one in stage.spoken] == [*range(50)]
    speaking = [one.moment.speaking for one in stage.shown]
    first, last = speaking.index(True), len(speaking) - speaking[::-1].index(True)
    assert speaking[first:last].count(False) >= 4
    assert all(not one.moment.sound.any() for one in stage.shown if one.frame is None)


def test_sound_in_large_pieces_is_one_utterance_without_a_gap() -> None:
    stage = Stage()
    for _ in range(5):
        stage.push(1)
        stage.run(0.7)
    stage.run(4)
    assert stage.utterances == 1 and [one.frame for one in stage.spoken] == [*range(125)]
    numbers = [i for i, one in enumerate(stage.shown) if one.moment.speaking]
    assert numbers == [*range(numbers[0], numbers[0] + 125)]  # to its end, though nobody said that it is over


def test_batches_that_take_long_are_begun_in_time() -> None:
    stage = Stage(lambda size: 0.06 + 0.015 * size)  # slower than real time by one or two
    for _ in range(2):
        stage.push(9)
        stage.run(12)
    settled = stage.spoken[-200:]
    assert settled[-1].time - settled[0].time == pytest.approx(199 / FPS, abs=0.02)


def test_one_batch_that_takes_very_long_slows_nothing_that_comes_later() -> None:
    """The machine was busy with something else; what it takes to paint is as it was."""
    more = [0.0]
    stage = Stage(lambda size: 0.03 + 0.005 * size + more.pop())
    for i in range(20):  # with whatever size the long one comes
        more += [0.0] * 1000
        stage.push(9)
        stage.run(i / 5)
        more.append(20.0)
        stage.run(35)
        assert not stage.speech.waiting
        for _ in range(3):
            said = len(stage.shown)
            stage.push(2)
            stage.speech.flush()
            stage.run(3)
            numbers = [i for i, one in enumerate(stage.shown) if one.moment.speaking and i >= said]
            assert numbers == [*range(numbers[0], numbers[0] + 50)]
            jumps = np.diff([one.position for one in stage.shown[said:]])
            assert np.abs(jumps - 1).max() <= 1


def test_the_first_frame_that_ever_was_painted_may_take_long() -> None:
    more = [0.0] * 1000 + [20.0]
    stage = Stage(lambda size: 0.02 + more.pop())
    stage.push(0.5)
    stage.run(25)
    said = len(stage.shown)
    stage.push(1)
    stage.speech.flush()
    stage.run(2)
    jumps = np.diff([one.position for one in stage.shown[said:]])
    assert np.abs(jumps - 1).max() <= 1


def test_no_idle_frame_flashes_after_the_first_that_speaks() -> None:
    stage = Stage(lambda size: 0.06 + 0.015 * size)  # one by one is too slow
    stage.push(4)
    stage.run(8)
    said = len(stage.shown)
    stage.push(2)
    stage.speech.flush()
    stage.run(4)
    numbers = [i for i, one in enumerate(stage.shown) if one.moment.speaking and i >= said]
    assert numbers == [*range(numbers[0], numbers[0] + 50)]


def test_words_without_a_pause_between_them_keep_the_time() -> None:
    stage = Stage(fps=NTSC, rate=44100)
    for _ in range(100):
        stage.push(0.1)
        stage.speech.flush()
        stage.run(0.1)
    stage.run(5)
    assert stage.utterances == 100 and not len(stage.waiting)
    assert set(stage.drift) <= {-1, 0, 1}


def test_slow_networks_delay_the_words_and_cut_none() -> None:
    stage = Stage(lambda size: 0.1 * size)  # a quarter of real time
    stage.push(2)
    stage.run(8)
    assert [one.frame for one in stage.spoken] == [*range(50)] and len(stage.spoken) < len(stage.shown) / 2


def test_after_a_pause_a_new_utterance_begins() -> None:
    stage = Stage()
    stage.push(0.5)
    stage.run(0.5 + PAUSE + 0.1)
    assert len(stage.spoken) == 13  # to its end, with the frame that was begun
    stage.push(0.5)
    stage.run(2)
    assert {one.utterance for one in stage.spoken} == {0, 1}


def test_whoever_waits_for_room_does_not_end_the_utterance() -> None:
    stage = Stage()
    for _ in range(9):
        stage.push(25 - stage.pushed / stage.rate)
        stage.run(2)  # a new push only every two seconds
    stage.run(12)
    assert stage.utterances == 1 and [one.frame for one in stage.spoken] == [*range(625)]


def test_flush_speaks_the_rest_at_once() -> None:
    stage = Stage()
    stage.push(0.1)  # too little for a frame to be known
    stage.run(0.1)
    assert not stage.spoken
    stage.speech.flush()
    stage.run(0.15)
    assert [one.frame for one in stage.spoken] == [0, 1, 2]


def test_an_interruption_cuts_all_that_waits_and_what_is_being_painted() -> None:
    stage = Stage(lambda size: 0.1)
    stage.push(8)
    stage.run(1.5)
    stage.interrupt()
    cut = stage.now
    stage.run(0.5)
    assert all(one.frame is None for one in stage.shown if one.time > cut) and not stage.speech.waiting
    stage.push(0.4)
    stage.speech.flush()
    stage.run(2)
    after = [one for one in stage.spoken if one.time > cut]
    assert {one.utterance for one in after} == {1} and len(after) == 10


def test_pictures_are_painted_half_a_second_ahead_and_no_more() -> None:
    stage = Stage()
    stage.looks = False
    stage.push(8)
    stage.run(5)
    assert sum(stage.batches) == 13
    assert stage.batches[0] == 1


def test_the_time_waits_for_one_who_is_more_than_a_second_late() -> None:
    stage = Stage()
    stage.run(1)
    stall(stage, 0.6)
    stage.run(0.4)
    assert len(stage.shown) == pytest.approx(50, abs=1)  # caught up
    before = len(stage.shown)
    stall(stage, 5)
    stage.run(1)
    assert len(stage.shown) - before == pytest.approx(25, abs=1)  # not 150


def test_sound_that_is_no_number_is_refused_and_none_of_it_taken() -> None:
    stage = Stage()
    with pytest.raises(InputError, match="not finite"):
        stage.speech.push(np.array([0, np.nan], np.float32), stage.now)
    assert stage.push(ROOM + 1) == ROOM * stage.rate


def test_what_is_pushed_is_the_sessions_own() -> None:
    stage = Stage()
    buffer = np.ones(16000, np.float32)
    stage.speech.push(buffer, stage.now)
    buffer[:] = 2
    stage.waiting = np.ones(16000, np.float32)
    stage.run(3)
    assert len(stage.spoken) == 25


def test_ten_minutes_keep_the_time_and_take_no_more_memory() -> None:
    stage, sizes, moments, samples = Stage(lambda size: 0.02, NTSC, 8000, 1 / 50), [], 0, 0
    tracemalloc.start()
    for _ in range(10):
        for i in range(20):
            stage.push(1.3 + 0.07 * i)
            stage.run(1.5)
            if i % 7 == 6:
                stage.interrupt()
            stage.run(1.5)
        assert {one.moment.speaking for one in stage.shown} == {False, True}
        moments += len(stage.shown)
        samples += sum(len(one.moment.sound) for one in stage.shown)
        assert abs(samples - int(moments * 8000 / NTSC)) <= 1
        stage.shown.clear()
        stage.batches.clear()
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert moments == pytest.approx(600 * NTSC, abs=2)
    assert max(sizes[5:]) < max(sizes[:5]) + 100_000
