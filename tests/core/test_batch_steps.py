"""Which step of a batch comes when: stages wait for each other, clips that are begun come first."""

from __future__ import annotations

from fractions import Fraction

from musetalk_core.batch_steps import Begun, Made, Schedule, Step

LONG = Begun([8, 4], [8, 8, 2], Fraction(25), None)
KNOWN = Begun([], [8, 2], Fraction(25), None)  # the faces need not be looked for
SHORT = Begun([8], [8], Fraction(25), Made(8, 0, 0))


def all_now(schedule: Schedule) -> list[Step]:
    """Every step that may be done now."""
    return list(iter(schedule.next, None))


def parts(clip: int, stage: str, count: int) -> list[Step]:
    return [Step(clip, stage, part) for part in range(count)]


def begun(*clips: int, how: Begun = LONG) -> Schedule:
    """A schedule of clips that are begun, and nothing else is done."""
    schedule = Schedule(clips)
    for step in all_now(schedule):
        schedule.done(step, how)
    return schedule


def test_stages_come_in_order_and_each_when_all_of_the_one_before_is_done() -> None:
    schedule = Schedule([5])
    assert all_now(schedule) == [Step(5, "begin")]
    schedule.done(Step(5, "begin"), LONG)
    for stage, count in (("look", 2), ("track", 1), ("speak", 3), ("join", 1)):
        steps = all_now(schedule)
        assert steps == parts(5, stage, count)
        for step in reversed(steps):  # in whichever order they are done
            assert schedule.next() is None and not schedule.over
            schedule.done(step)
    assert schedule.next() is None and schedule.over


def test_where_the_faces_are_known_pieces_come_after_the_beginning() -> None:
    assert all_now(begun(0, how=KNOWN)) == parts(0, "speak", 2)


def test_a_clip_that_was_finished_at_its_beginning_is_over() -> None:
    schedule = begun(0, how=SHORT)
    assert schedule.over and schedule.next() is None and not schedule.in_work(0)


def test_clips_that_are_begun_come_before_new_ones_and_in_their_order() -> None:
    schedule = Schedule([0, 1, 2])
    first, second = schedule.next(), schedule.next()
    assert (first, second) == (Step(0, "begin"), Step(1, "begin"))
    schedule.done(second, LONG)
    schedule.done(first, LONG)
    assert all_now(schedule) == [*parts(0, "look", 2), *parts(1, "look", 2), Step(2, "begin")]


def test_a_step_that_was_not_done_comes_before_all_others() -> None:
    schedule = begun(0, 1)
    lost, *_ = all_now(schedule)
    schedule.done(Step(1, "look", 0))
    schedule.done(Step(1, "look", 1))
    schedule.again(lost)
    assert all_now(schedule) == [Step(0, "look", 0), Step(1, "track")]
    schedule.done(Step(0, "look", 1))
    assert schedule.next() is None  # nothing of the next stage before it is done
    schedule.done(lost)
    assert schedule.next() == Step(0, "track")


def test_a_beginning_that_was_not_done_is_begun_again() -> None:
    schedule = Schedule([0, 1])
    step = schedule.next()
    schedule.again(step)
    assert all_now(schedule) == [Step(0, "begin"), Step(1, "begin")]


def test_nothing_more_is_done_for_a_clip_that_is_given_up() -> None:
    schedule = begun(0, 1)
    schedule.next()
    schedule.give_up(0)
    assert not schedule.in_work(0) and schedule.in_work(1)
    assert all_now(schedule) == parts(1, "look", 2)
    schedule.give_up(1)
    assert schedule.over


def test_it_is_over_only_when_steps_that_are_out_are_back() -> None:
    schedule = begun(0, how=KNOWN)
    for step in all_now(schedule):
        schedule.done(step)
    (join,) = all_now(schedule)
    assert schedule.next() is None and not schedule.over
    schedule.done(join)
    assert schedule.over


def test_a_batch_without_clips_is_over() -> None:
    assert Schedule([]).over and Schedule([]).next() is None


def test_steps_are_counted_and_measured_in_frames() -> None:
    schedule = begun(0)
    assert [schedule.frames(step) for step in parts(0, "look", 2)] == [8, 4]
    assert [schedule.frames(step) for step in parts(0, "speak", 3)] == [8, 8, 2]
    assert schedule.frames(Step(0, "join")) == 0
    assert [schedule.parts(Step(0, stage)) for stage in ("begin", "look", "track", "speak", "join")] == [
        1,
        2,
        1,
        3,
        1,
    ]
