"""Only what shows is computed, and what shows is what the reference's whole square shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from musetalk_core import blending, device_compositing, masks
from musetalk_core.bench_plain import plain_blend, plain_parse
from musetalk_core.blender import Blender
from musetalk_core.finishing import Finish
from musetalk_core.releases import RELEASES
from tests.core.stand_ins import StandIns, fixed_track
from tests.parity.inputs import label_map, smooth_image

SIZE = 512  # of a parse map
MODES = ["raw", "neck", "face", "jaw"]


def noise_labels(seed: int) -> np.ndarray:
    """Every label everywhere: whatever a kernel reaches too far or not far enough changes the result."""
    return np.random.default_rng(seed).integers(0, 19, (SIZE, SIZE), np.uint8)


def speckled(seed: int) -> np.ndarray:
    """A few points of skin, nose and mouth, so that dilated points stay apart."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((SIZE, SIZE), np.uint8)
    at = rng.integers(0, SIZE, (2, 400))
    labels[at[0], at[1]] = rng.choice([masks.SKIN, masks.NOSE, masks.MOUTH], 400)
    labels[rng.integers(0, 400) :, rng.integers(0, 400) :][:110, :110] = masks.SKIN
    return labels


boxes = st.tuples(st.integers(3, 700), st.integers(3, 700)).map(
    lambda size: np.array((40, 30, 40 + size[0], 30 + size[1]))
)


@given(boxes, st.sampled_from(MODES), st.sampled_from(["1.0", "1.5"]), st.integers(0, 300), st.booleans())
@example(np.array((40, 30, 59, 49)), "face", "1.0", 90, False)  # its square ends where the box does
@settings(max_examples=60, deadline=None)
def test_the_mask_follows_from_the_window_alone(box, mode: str, release: str, cheek_width: int, points: bool) -> None:
    labels = (speckled if points else noise_labels)(len(mode))
    chosen = RELEASES[release]
    square = blending.blending_square(box, chosen.crop_expand)
    window = blending.region_window(box, square)
    left, top, right, bottom = masks.surroundings(window)
    seen = np.zeros_like(labels)
    seen[top:bottom, left:right] = labels[top:bottom, left:right]
    whole = masks.select_region(labels, mode, cheek_width)
    part = masks.select_region(seen, mode, cheek_width, window)
    np.testing.assert_array_equal(
        blending.soften(part, box, square, chosen.blur_ratio), blending.soften(whole, box, square, chosen.blur_ratio)
    )


@pytest.mark.parametrize("labels", [speckled(1), label_map(3)])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("release", ["1.0", "1.5"])
@pytest.mark.parametrize(
    "box", [(300, 60, 630, 460), (297, 61, 631, 460), (20, 30, 123, 145), (300, 200, 319, 219), (0, 0, 700, 360)]
)
def test_it_blends_as_the_reference_does(labels: np.ndarray, mode: str, release: str, box) -> None:
    frame, face = smooth_image(480, 720, 1), smooth_image(256, 256, 2)
    box, chosen = np.array(box), RELEASES[release]
    square = blending.blending_square(box, chosen.crop_expand)
    region = masks.select_region(labels, mode, chosen.cheek_width, blending.region_window(box, square))
    ours = frame.copy()
    blending.composite(ours, face, box, blending.soften(region, box, square, chosen.blur_ratio), square)
    off = np.abs(ours.astype(int) - plain_blend(frame, face, box, labels, chosen, mode))
    assert off.max() <= 1
    assert (off > 0).mean() < 0.001


class Patchwork(nn.Module):
    """A face parser whose scores are random, and depend a little on the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()), requires_grad=False)
        self.fixed = torch.randn(1, 19, 64, 64, generator=torch.Generator().manual_seed(0))

    def scores(self, x: Tensor) -> Tensor:
        return self.fixed + F.avg_pool2d(x, 8).mean(1, keepdim=True) * self.fixed.flip(1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.scores(x), x.shape[2:], mode="bilinear", align_corners=True)


def test_it_parses_as_the_reference_does() -> None:
    pictures = [smooth_image(300, 300, 4), smooth_image(700, 700, 5)]
    expected = plain_parse(Patchwork(), pictures)
    assert len(np.unique(expected)) == 19
    labels = masks.parse_faces(Patchwork(), pictures)
    assert (labels == expected).mean() > 0.9999  # what is equal to rounding may be labelled either way
    windows = [(100, 256, 400, 450), (0, 200, SIZE, SIZE)]
    for part, whole, (left, top, right, bottom) in zip(
        masks.parse_faces(Patchwork(), pictures, windows), labels, windows, strict=True
    ):
        assert (part[top:bottom, left:right] == whole[top:bottom, left:right]).mean() > 0.9999
        part[top:bottom, left:right] = 0
        assert not part.any()


@pytest.mark.parametrize("box", [(10, 5, 300, 405), (100, 100, 164, 190)])
@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_a_device_blends_as_the_cpu_does(box, weight: float, kind) -> None:
    frame, face, box = smooth_image(420, 400, 1), smooth_image(256, 256, 2), np.array(box)
    square = blending.blending_square(box, 1.5)
    side = square[2] - square[0]
    region = masks.select_region(label_map(0), "jaw", 90)
    visible = blending.visible_part(blending.soften(region, box, square, 0.05), box, square)
    assert 0 < len(visible.alpha) < side // 2
    expected, ours = frame.copy(), frame.copy()
    blending.show(expected, face, box, visible, weight=weight)
    device_compositing.show(ours, kind(face), box, visible, weight, torch.device("cpu"))
    assert (ours != frame).any()
    assert np.abs(ours.astype(int) - expected).max() <= 1


def test_a_card_blends_upright_faces_without_a_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    models, frames = StandIns(), [np.zeros((60, 60, 3), np.uint8)] * 2
    models.cache.residency.device = torch.device("cuda")
    track = fixed_track((60, 60), (10, 10, 50, 50), [True, True])
    track.angles[1] = 20.0
    asked = []
    monkeypatch.setattr(device_compositing, "show", lambda *given: asked.append(given[-1]))
    painted = [np.full((256, 256, 3), 250, np.uint8)] * 2
    list(Blender(models, frames, track, finish=Finish(0.5, 0.5)).blend([0, 1], painted))
    assert not asked
    _, tilted = Blender(models, frames, track).blend([0, 1], painted)
    assert asked == [torch.device("cuda")]
    assert tilted.any()
