"""Which of several faces speaks: chosen where a shot begins, and then followed through it.

Faces are followed by where they should be next: at constant velocity, all faces assigned at once
(Hungarian algorithm), so that two who cross keep their names. No network and no picture takes part.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from .errors import pick
from .face_options import FaceChoice

_PATIENCE = 1.0  # s a face may be out of sight before it counts as gone
_GATE = 0.8  # face sizes that a face may be off where it was expected
_GATE_GROWTH = 2.0  # face sizes a second out of sight
_LOST_PENALTY = 0.2  # face sizes: of two who could be it, the one who was just there is
_NEW_SPEED = 0.4  # share of the newest speed in the velocity


@dataclass(eq=False)
class _Person:
    """Somebody in this shot."""

    box: np.ndarray  # where last seen
    born: int  # frame
    seen: int  # frame
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))  # px a frame

    def expected(self, frame: int) -> np.ndarray:
        return self.box + np.tile(self.velocity * (frame - self.seen), 2)

    def see(self, box: np.ndarray, frame: int) -> None:
        speed = (_centre(box) - _centre(self.box)) / (frame - self.seen)
        self.velocity += _NEW_SPEED * (speed - self.velocity)
        self.box, self.seen = box, frame


class Follower:
    """Follows one person, frame by frame.

    - In the first frame of a shot in which the choice can be made, it is made.
    - Where the chosen one is not seen, nobody is; nobody else is taken.
    - Out of sight for a second at most, they are found again where they should be by then.
    - Out of sight for longer, whoever newly appears in the same shot is taken for them, unless it is
      more likely another one who was there before and had gone: the nearest to where they were last
      seen.
    """

    def __init__(self, choice: FaceChoice, fps: Fraction) -> None:
        """
        Args:
            choice: Who; not by "reference".
            fps: Frames a second.

        Raises:
            InputError: there is no such choice.
        """
        self._choice = choice
        self._choose = pick(_CHOICES, choice.by, "face choice")
        self._fps = float(fps)
        self._frame = -1
        self._begin_shot()

    def _begin_shot(self) -> None:
        self._people: list[_Person] = []
        self._chosen: _Person | None = None

    @property
    def following(self) -> bool:
        """Whether somebody is chosen, and in sight or waited for."""
        return self._chosen is not None and not self._gone(self._chosen)

    def twin(self) -> Follower:
        """An independent copy, to try a step with."""
        return copy.deepcopy(self, {id(self._choice): self._choice})

    def step(self, faces: np.ndarray, cut: bool, likeness: np.ndarray | None = None) -> int | None:
        """Take in the next frame.

        Args:
            faces: float (k, 4 or more): x1, y1, x2, y2 in pixels of all faces in it.
            cut: Whether it begins a new shot.
            likeness: float (k,), higher is more alike; for the choice by "picture".

        Returns:
            Which of the faces is the chosen one's; None where they are not to be seen.
        """
        self._frame += 1
        if cut:
            self._begin_shot()
        faces = np.asarray(faces, np.float64)[:, :4]
        names = self._name(faces)
        if self._chosen is None and len(faces):
            index = self._choose(faces, self._choice, likeness)
            self._chosen = None if index is None else names[index]
        elif self._chosen is not None and self._gone(self._chosen):
            # They may have come back elsewhere while still being waited for.
            since = [person for person in names if person.born > self._chosen.seen]
            if since:
                self._people.remove(self._chosen)
                self._chosen = min(since, key=lambda person: _apart(self._chosen.box, person.box))
        return next((i for i, person in enumerate(names) if person is self._chosen), None)

    def _gone(self, person: _Person) -> bool:
        return self._frame - person.seen > _PATIENCE * self._fps

    def _name(self, faces: np.ndarray) -> list[_Person]:
        """Who each of the faces is."""
        names: dict[int, _Person] = {}
        here = [person for person in self._people if not self._gone(person)]
        for row, column in _assign([self._costs(person, faces) for person in here]):
            names[column] = here[row]
        gone = [person for person in self._people if self._gone(person)]
        awaited = [person for person in here if person is self._chosen and person not in names.values()]
        for i in range(len(faces)):
            if i not in names:
                missing = gone + awaited
                nearest = min(missing, key=lambda person: _apart(person.box, faces[i]), default=None)
                if nearest in gone:
                    gone.remove(nearest)
                    nearest.velocity[:] = 0
                    names[i] = nearest
                else:
                    names[i] = _Person(faces[i], self._frame, self._frame)
                    self._people.append(names[i])
        for i, person in names.items():
            if person.seen < self._frame:
                person.see(faces[i], self._frame)
        return [names[i] for i in range(len(faces))]

    def _costs(self, person: _Person, faces: np.ndarray) -> list[float]:
        """How far each face is from where the person should be; infinite where it cannot be theirs."""
        frames = self._frame - person.seen
        expected = person.expected(self._frame)
        gate = _GATE + _GATE_GROWTH * frames / self._fps
        costs = [_apart(expected, face) for face in faces]
        return [cost + _LOST_PENALTY * (frames > 1) if cost <= gate else np.inf for cost in costs]


def _assign(costs: list[list[float]]) -> list[tuple[int, int]]:
    """Rows and columns that belong together at the least total cost; infinite ones never do."""
    from scipy.optimize import linear_sum_assignment

    if not costs or not costs[0]:
        return []
    table = np.array(costs)
    possible = np.isfinite(table)
    rows, columns = linear_sum_assignment(np.where(possible, table, 1e6))
    return [(row, column) for row, column in zip(rows, columns, strict=True) if possible[row, column]]


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """Distance of two boxes in face sizes, plus the logarithm of how much larger one is."""
    size_a, size_b = (float(np.sqrt(np.prod(box[2:] - box[:2]))) for box in (a, b))
    distance = float(np.linalg.norm(_centre(a) - _centre(b)))
    return distance / ((size_a + size_b) / 2) + abs(np.log(size_a / size_b))


def _largest(faces: np.ndarray, choice: FaceChoice, likeness: np.ndarray | None) -> int | None:
    return int(np.prod(faces[:, 2:] - faces[:, :2], axis=1).argmax())


def _from_the_left(faces: np.ndarray, choice: FaceChoice, likeness: np.ndarray | None) -> int | None:
    order = np.argsort(faces[:, 0] + faces[:, 2], kind="stable")
    return int(order[choice.position]) if choice.position < len(faces) else None


def _at_the_point(faces: np.ndarray, choice: FaceChoice, likeness: np.ndarray | None) -> int | None:
    point = np.array(choice.point, np.float64)
    outside = np.linalg.norm(point - np.clip(point, faces[:, :2], faces[:, 2:]), axis=1)
    from_centre = np.linalg.norm(point - (faces[:, :2] + faces[:, 2:]) / 2, axis=1)
    return int(np.lexsort((from_centre, outside))[0])


def _most_alike(faces: np.ndarray, choice: FaceChoice, likeness: np.ndarray | None) -> int | None:
    return int(np.argmax(likeness))


_CHOICES: dict[str, Callable[[np.ndarray, FaceChoice, np.ndarray | None], int | None]] = {
    "largest": _largest,
    "position": _from_the_left,
    "point": _at_the_point,
    "picture": _most_alike,
}
