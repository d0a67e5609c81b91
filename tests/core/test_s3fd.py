"""S3FD finds what the package it comes from finds."""

from __future__ import annotations

import numpy as np
import torch
from face_alignment.detection.sfd.bbox import nms
from face_alignment.detection.sfd.detect import batch_detect

from musetalk_core.networks import s3fd
from tests.parity.fill import fill_module


def test_the_best_box_is_the_packages_best_box() -> None:
    network = s3fd.create()
    fill_module(network)
    frame = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    with torch.inference_mode():
        ours = s3fd.whole_pixels(s3fd.detect(network, frame[None])[0][0])
        # The package turns RGB into BGR first; the reference, and so we, do not.
        batch = torch.from_numpy(frame[..., ::-1].copy()).permute(2, 0, 1)[None]
        theirs = batch_detect(network, batch, "cpu")[0]
    best = theirs[nms(theirs, 0.3)][0]
    assert best[4] > 0.5, "the weights see no face, so nothing is compared"
    np.testing.assert_array_equal(ours, np.clip(best[:4], 0, None).astype(int))
