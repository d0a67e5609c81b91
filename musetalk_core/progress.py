"""How the core tells its caller where it stands, and asks whether to stop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Progress = Callable[[int, int, "np.ndarray | None"], None]
"""``progress(done, total, preview)``: units of work done and in all, and where there is one a
picture to show, uint8 RGB (H, W, 3). It is called at least once a batch. To stop the work, raise
from it: whatever it raises passes through the core untouched."""


def silent(done: int, total: int, preview: np.ndarray | None = None) -> None:
    """A `Progress` that shows nothing and never stops."""
