"""DWPose by a working installation of mmpose, for those who have one; our own RTMPose is the default.

The checkpoint is read as data here too, not by mmengine, which would execute what it carries.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from .checkpoints import fill_network, read_state_dict
from .errors import InputError
from .models import Models

_CONFIG = ".mim/configs/wholebody_2d_keypoint/rtmpose/ubody/rtmpose-l_8xb32-270e_coco-ubody-wholebody-384x288.py"


def estimator(models: Models) -> Callable[[Sequence[np.ndarray]], tuple[np.ndarray, np.ndarray]]:
    """A keypoint estimator like `keypoints.estimate_keypoints`, computed by mmpose.

    Raises:
        InputError: mmpose does not work, or the weights are synthetic.
    """
    source = models.sources["dwpose"]
    path = source.path
    if path is None:
        raise InputError("mmpose needs real weights.", "Choose the torch backend for synthetic ones.")
    return functools.partial(_estimate, _load(path, source.stamp(), models.cache.residency.device))


@functools.lru_cache(maxsize=1)
def _load(path: Path, stamp: tuple[int, int], device: torch.device):
    """``stamp`` only makes a replaced file another one to the cache."""
    try:
        import mmpose
        from mmpose.apis import init_model

        model = init_model(str(Path(mmpose.__file__).parent / _CONFIG), checkpoint=None, device=str(device))
    except Exception as error:  # with an mmcv or mmengine of the wrong version it may raise anything
        raise InputError(
            f"The mmpose backend needs a working mmpose ({error}).",
            "Choose the torch backend: it needs none.",
        ) from error
    return fill_network(model, read_state_dict(path), path).to(device)


def _estimate(model, frames: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    from mmpose.apis import inference_topdown

    found = [inference_topdown(model, frame[..., ::-1])[0].pred_instances for frame in frames]
    points = np.concatenate([one.keypoints for one in found]).astype(np.float32)
    return points, np.concatenate([one.keypoint_scores for one in found]).astype(np.float32)


BACKENDS = {"torch": lambda models: None, "mmpose": estimator}
"""Name of a backend to what makes its keypoint estimator; None stands for our own RTMPose."""
