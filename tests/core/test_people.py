"""The same person speaks through a whole shot, whoever else comes, goes or walks past."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from musetalk_core.errors import InputError
from musetalk_core.face_options import FaceChoice
from musetalk_core.people import Follower

FPS = Fraction(25)
LEFTMOST = FaceChoice("position", 0)


def follow(faces, cuts, choice: FaceChoice, fps: Fraction, likeness=None) -> list[np.ndarray | None]:
    """The chosen person's face in each frame of a clip."""
    follower = Follower(choice, fps)
    steps = zip(faces, cuts, likeness or [None] * len(faces), strict=True)
    found = [follower.step(*step) for step in steps]
    return [None if index is None else faces[i][index] for i, index in enumerate(found)]


class Walk:
    """A face of ``size`` px that is at ``x`` in frame 0 and moves ``speed`` px a frame, in ``frames`` only."""

    def __init__(self, x: float, speed: float = 0, size: float = 60, y: float = 200, frames: range = range(10**6)):
        self.x, self.speed, self.size, self.y, self.frames = x, speed, size, y, frames

    def box(self, i: int) -> np.ndarray:
        x = self.x + self.speed * i
        half = self.size / 2
        return np.array((x - half, self.y - half, x + half, self.y + half, 0.9))


def followed(
    people: list[Walk],
    frames: int,
    choice: FaceChoice = LEFTMOST,
    cuts: tuple[int, ...] = (),
    jitter: float = 2.0,
    hidden: bool = False,
) -> list[int | None]:
    """Whom the track shows in each frame, by number.

    Args:
        hidden: Whether the detector sees only the first of two faces that overlap by a third.
    """
    rng = np.random.default_rng(0)
    clip, names = [], []
    for i in range(frames):
        here = [n for n, person in enumerate(people) if i in person.frames]
        if hidden:
            here = [
                n for n in here if all(abs(people[n].box(i)[0] - people[m].box(i)[0]) > 30 for m in here if m < n)
            ]
        boxes = [people[n].box(i) + np.array([*rng.normal(0, jitter, 4), 0]) for n in here]
        order = rng.permutation(len(here))  # a detector's order means nothing
        clip.append(np.array(boxes).reshape(-1, 5)[order])
        names.append([here[k] for k in order])
    shots = [i in cuts for i in range(frames)]
    found = follow(clip, shots, choice, FPS)
    chosen = []
    for i, box in enumerate(found):
        rows = [] if box is None else np.flatnonzero((clip[i] == box).all(axis=1))
        chosen.append(names[i][rows[0]] if len(rows) else None)
    return chosen


# Whom to choose


PEOPLE = [Walk(500, size=50), Walk(100, size=90), Walk(300, size=120)]


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (FaceChoice("largest"), 2),
        (FaceChoice("position", 0), 1),
        (FaceChoice("position", 1), 2),
        (FaceChoice("position", 2), 0),
        (FaceChoice("position", 3), None),
        (FaceChoice("point", point=(505, 195)), 0),
        (FaceChoice("point", point=(170, 400)), 1),
        (FaceChoice("point", point=(230, 0)), 2),
    ],
)
def test_the_choice_is_made_where_the_shot_begins(choice: FaceChoice, chosen: int | None) -> None:
    assert followed(PEOPLE, 5, choice) == [chosen] * 5


def test_the_one_most_like_the_picture_is_chosen_by_the_first_frame() -> None:
    clip = [np.array([person.box(i) for person in PEOPLE]) for i in range(4)]
    alike = [np.array((0.1, 0.8, 0.3))] + [np.array((0.9, 0.1, 0.1))] * 3
    found = follow(clip, [False] * 4, FaceChoice("picture"), FPS, alike)
    assert all((box == frame[1]).all() for box, frame in zip(found, clip, strict=True))


def test_the_choice_waits_for_somebody_to_choose() -> None:
    assert followed([Walk(100, frames=range(3, 9))], 9) == [None] * 3 + [0] * 6
    late = [Walk(100), Walk(300, frames=range(3, 9))]
    assert followed(late, 9, FaceChoice("position", 1)) == [None] * 3 + [1] * 6


def test_an_unknown_choice_is_told() -> None:
    with pytest.raises(InputError, match="prettiest"):
        follow([np.zeros((0, 5))], [False], FaceChoice("prettiest"), FPS)


# Following


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("speeds", [(4, -4), (6, -2), (8, 0), (0, -8)])
@pytest.mark.parametrize("chosen", [0, 1])
def test_two_who_cross_keep_their_names(chosen: int, speeds: tuple[int, int], hidden: bool) -> None:
    people = [Walk(100, speeds[0]), Walk(420, speeds[1], size=66, y=206)]
    shown = followed(people, 80, FaceChoice("position", chosen), hidden=hidden)
    assert set(shown) <= {chosen, None}
    assert shown[:20] == [chosen] * 20 and shown[-20:] == [chosen] * 20
    assert hidden or None not in shown


@pytest.mark.parametrize("lost", [1, 5, 20])
def test_a_short_absence_is_bridged(lost: int) -> None:
    class Blinking(Walk):
        def __init__(self):
            super().__init__(100, 3)
            self.frames = {*range(30), *range(30 + lost, 90)}

    assert followed([Blinking(), Walk(450)], 90) == [0] * 30 + [None] * lost + [0] * (60 - lost)


def test_when_the_chosen_one_leaves_nobody_else_is_taken() -> None:
    people = [Walk(100, -4, frames=range(30)), Walk(300), Walk(500, -2)]
    assert followed(people, 150) == [0] * 30 + [None] * 120


def test_whoever_comes_after_the_chosen_one_left_is_them_returning() -> None:
    people = [Walk(100, -4, frames=range(30)), Walk(300), Walk(620, frames=range(80, 120))]
    assert followed(people, 120) == [0] * 30 + [None] * 50 + [2] * 40


def test_one_who_comes_back_elsewhere_at_once_is_taken_after_a_second() -> None:
    people = [Walk(100, frames=range(30)), Walk(300), Walk(620, frames=range(35, 120))]
    shown = followed(people, 120)
    taken = shown.index(2)
    assert shown == [0] * 30 + [None] * (taken - 30) + [2] * (120 - taken)
    assert taken - 30 <= FPS + 1


def test_somebody_else_who_comes_back_is_not_taken_for_the_chosen_one() -> None:
    class ComesBack(Walk):
        def __init__(self):
            super().__init__(500)
            self.frames = {*range(20), *range(100, 130)}

    people = [Walk(100, frames=range(50)), ComesBack()]
    assert followed(people, 130) == [0] * 50 + [None] * 80


def test_nobody_is_followed_across_a_cut() -> None:
    people = [Walk(100, frames=range(40)), Walk(300), Walk(40, frames=range(40, 80))]
    assert followed(people, 80, cuts=(40,)) == [0] * 40 + [2] * 40
    assert followed([Walk(100, frames=range(40)), Walk(300)], 80, cuts=(40,)) == [0] * 40 + [1] * 40


def test_a_false_alarm_beside_the_face_changes_nothing() -> None:
    people = [Walk(100, 2), *(Walk(300 + 40 * i, frames=range(7 * i, 7 * i + 1)) for i in range(8))]
    assert followed(people, 60) == [0] * 60
