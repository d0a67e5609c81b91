"""What passes between the core and its caller: frames one way, progress the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Progress = Callable[[int, int, "np.ndarray | None"], None]
"""``progress(done, total, preview)``: units of work done and in all, and where there is one a
picture to show, uint8 RGB (H, W, 3). It is called at least once a batch. To stop the work, raise
from it: whatever it raises passes through the core untouched."""

Frames = Sequence[np.ndarray]
"""Pictures, uint8 RGB (H, W, 3) each, all of one size; any sequence, so that a host can convert lazily."""


class Picked(Sequence):
    """Some frames of a sequence, in an order of their own, without asking for any of them yet.

    Args:
        frames: All of them.
        indices: Which to show, one for each frame of this sequence.
    """

    def __init__(self, frames: Frames, indices: Sequence[int]) -> None:
        self._frames, self.indices = frames, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Picked(self._frames, self.indices[index])
        return self._frames[self.indices[index]]


def silent(done: int, total: int, preview: np.ndarray | None = None) -> None:
    """A `Progress` that shows nothing and never stops."""
