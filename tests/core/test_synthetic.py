"""Stand-in weights: the same everywhere, with a face in the middle of every picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from musetalk_core import observing, synthetic, tracking
from musetalk_core.cache import KINDS, TAESD_KINDS
from musetalk_core.keypoints import estimate_keypoints
from musetalk_core.latents import decode_faces
from musetalk_core.masks import SKIN, parse_faces
from musetalk_core.models import Models
from musetalk_core.networks import unet, vae
from musetalk_core.networks.taesd import TaesdDecoder
from musetalk_core.synthetic import stamp


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("kind", [*KINDS, *TAESD_KINDS])
def test_two_builds_are_equal_whatever_came_before(kind: str) -> None:
    before = torch.get_rng_state()
    first = synthetic.build(kind, "small")
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    second = synthetic.build(kind, "small")
    assert first.state_dict().keys() == second.state_dict().keys()
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
        assert tensor.isfinite().all(), name
    for network in (first, second):
        assert not network.training and not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(("kind", "create"), [("unet", unet.create), ("vae", vae.create)], ids=["unet", "vae"])
def test_the_full_size_is_the_published_architecture(kind: str, create: Callable) -> None:
    with torch.device("meta"):
        built, published = synthetic.build(kind, "full"), create()
    shapes = [{name: tensor.shape for name, tensor in net.state_dict().items()} for net in (built, published)]
    assert shapes[0] == shapes[1]


@torch.inference_mode()
def test_taesd_paints_something_to_be_seen() -> None:
    latents = torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.35
    faces = decode_faces(TaesdDecoder(synthetic.build("taesd_decoder", "small")), latents)
    assert 40 < faces.mean() < 200 and faces.std(axis=(1, 2)).min() > 10


@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (640, 360), (97, 97)])
def test_a_face_is_seen_in_the_middle(
    height: int, width: int, synthetic_models: Callable[[], Models], rng: np.random.Generator
) -> None:
    models = synthetic_models()
    frame = rng.integers(0, 256, (height, width, 3), np.uint8)
    seen = observing.observe_faces(models, [frame])
    track = tracking.track_faces(models, seen, bbox_shift=0)
    assert track.present.tolist() == [True]
    x1, y1, x2, y2 = track.boxes[0]
    assert (x1 + x2) / 2 == pytest.approx(width / 2, abs=0.02 * width + 1)
    assert 0 <= y1 < height / 2 < y2 <= height
    assert y2 - y1 > x2 - x1 > min(height, width) / 4, "large, and upright"

    x, y = seen.landmarks[0].T
    eyes, nose, mouth = slice(36, 48), slice(27, 36), slice(48, 68)
    assert y[eyes].max() < y[mouth].min() and y[nose].max() < y[mouth].min() and y[mouth].max() < y[8]
    assert np.ptp(x) < x2 - x1 + 1 and (seen.scores > 0).all()
    assert abs((x[mouth].min() + x[mouth].max()) / 2 - width / 2) <= 0.02 * width + 1
    assert min(track.shift_range) > 0


@pytest.mark.parametrize(("height", "width"), [(1920, 1080), (2160, 3840)])
def test_the_face_grows_with_the_picture(height: int, width: int, synthetic_models: Callable[[], Models]) -> None:
    frames = [np.zeros((height // scale, width // scale, 3), np.uint8) for scale in (1, 4)]
    with torch.inference_mode():
        large, small = (estimate_keypoints(synthetic_models().dwpose(), [frame])[0] for frame in frames)
    assert np.allclose(large, 4 * small, atol=0.1)


def test_every_picture_shows_the_same_face(synthetic_models: Callable[[], Models], rng: np.random.Generator) -> None:
    frames = [np.zeros((96, 128, 3), np.uint8), rng.integers(0, 256, (96, 128, 3), np.uint8)]
    seen = observing.observe_faces(synthetic_models(), frames)
    assert np.array_equal(seen.landmarks[0], seen.landmarks[1])
    assert np.array_equal(seen.detections[0], seen.detections[1])


def test_all_of_the_face_is_skin(synthetic_models: Callable[[], Models], rng: np.random.Generator) -> None:
    face = rng.integers(0, 256, (80, 80, 3), np.uint8)
    with torch.inference_mode():
        assert (parse_faces(synthetic_models().face_parse(), [face]) == SKIN).all()


@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (640, 360), (256, 256), (128, 128)])
@pytest.mark.parametrize("shade", [0, 128, 255])
def test_the_stamp_is_legible_across_the_top(shade: int, height: int, width: int) -> None:
    frame = np.full((height, width, 3), shade, np.uint8)
    assert stamp(frame) is frame
    written = (frame != shade).any(axis=2)
    rows, columns = np.flatnonzero(written.any(1)), np.flatnonzero(written.any(0))
    assert rows[-1] < height / 4
    assert columns[-1] < width - 1 and columns[-1] - columns[0] > width / 3, "it fits, and is large"
    red, green, blue = frame[written].astype(int).T
    assert ((red > 200) & (green > 150) & (blue < 100)).any(), "yellow letters"
    assert (red + green + blue < 100).any() or shade == 0, "outlined in black"
