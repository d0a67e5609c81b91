"""What ComfyUI pays for at its start, whether the nodes are used or not."""

from __future__ import annotations

import subprocess
import sys

SLOW = {"diffusers", "whisper", "face_alignment", "av", "scipy", "transformers", "numba"}


def test_nothing_slow_is_imported_before_it_is_needed() -> None:
    modules = "face_track_file, live_server, mmpose_backend, pipeline, preview, weights"
    code = f"import sys; from musetalk_core import {modules}; print(*{{m.split('.')[0] for m in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not SLOW & set(loaded.split())
