"""A sequence of frames that are made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


class LazyFrames(Sequence[np.ndarray]):
    """Frames made one at a time; a slice is a view of them.

    Args:
        make: Gives the frame of an index, uint8 RGB (H, W, 3).
        indices: The indices of the frames, in order.
    """

    def __init__(self, make: Callable[[int], np.ndarray], indices: range) -> None:
        self._make, self._indices = make, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return LazyFrames(self._make, self._indices[index])
        return self._make(self._indices[index])
