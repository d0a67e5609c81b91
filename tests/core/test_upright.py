"""A tilted head is turned upright, painted and turned back onto the very same pixels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from musetalk_core import blending, latents, upright

SAMPLE = Path(__file__).parents[2] / "assets" / "sample"
ANGLES = [-35, 7.3, 90, 180]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.asarray(Image.open(SAMPLE / "face.jpg").crop((0, 0, 480, 360)))


@pytest.fixture(scope="module")
def landmarks() -> np.ndarray:
    return np.array(json.loads((SAMPLE / "face.json").read_text())["frames"][0]["landmarks"])


def tilted(picture: np.ndarray, angle: float) -> np.ndarray:
    """Turned counterclockwise by Pillow, so that turning it clockwise by the angle undoes it."""
    return np.asarray(Image.fromarray(picture).rotate(angle, Image.Resampling.BICUBIC))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def test_a_level_face_has_no_roll_and_a_tilted_one_the_angle_that_undoes_it(landmarks: np.ndarray) -> None:
    level = landmarks[None].astype(float)
    start = upright.roll(level)
    assert abs(start[0]) < 8  # nearly upright in the photograph
    for angle in (-150.0, -35.0, 7.3, 90.0):
        head = upright.turn_points(level, np.array([-angle]), (360, 480))
        assert upright.roll(head)[0] == pytest.approx(start[0] + angle)
    turned = upright.turn_points(level, start, (360, 480))
    assert upright.roll(turned)[0] == pytest.approx(0, abs=1e-9)
    assert turned[0, 36:48, 1].max() < turned[0, 48:60, 1].min()  # eyes above the mouth


def test_a_head_that_leans_clockwise_is_turned_counterclockwise() -> None:
    head = np.zeros((1, 68, 2))
    head[0, 36:42], head[0, 42:48] = (10, 10), (30, 20)  # the eye on the right is lower
    assert upright.roll(head)[0] < 0


@pytest.mark.parametrize("angle", [-35.0, 7.3, 90.0])
@pytest.mark.parametrize("size", [(101, 141), (100, 141)])
def test_points_go_where_the_picture_goes(angle: float, size: tuple[int, int]) -> None:
    dot = np.zeros((*size, 3), np.uint8)
    cv2.circle(dot, (90, 40), 4, (255, 255, 255), -1)
    turned = tilted(dot, -angle)[..., 0]  # clockwise
    rows, columns = np.indices(turned.shape)
    seen = np.array([(columns * turned).sum(), (rows * turned).sum()]) / turned.sum()
    point = upright.turn_points(np.array([[[90, 40]]]), np.array([angle]), size)[0, 0]
    np.testing.assert_allclose(point, seen, atol=0.05)
    np.testing.assert_allclose(upright.matrix(angle, size) @ (90, 40, 1), point)


@pytest.mark.parametrize("angle", ANGLES)
def test_the_crop_of_a_tilted_picture_is_the_crop_of_the_level_one(photo: np.ndarray, angle: float) -> None:
    box = np.array((150, 70, 290, 250))
    level, turned = latents.crop_face(photo, box), latents.crop_face(tilted(photo, angle), box, angle)
    assert turned.shape == level.shape == (256, 256, 3)
    inside = np.s_[4:-4, 4:-4]  # the level crop knows nothing beyond its box
    shifted = np.roll(level, 1, axis=1)
    assert difference(turned[inside], level[inside]) < min(2, difference(shifted[inside], level[inside]) / 2)


def test_a_face_larger_than_the_model_is_brought_down_alike(photo: np.ndarray) -> None:
    large = cv2.resize(photo, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    box = np.array((450, 210, 870, 750))
    turned = latents.crop_face(np.ascontiguousarray(large[::-1, ::-1]), box, 180.0)
    assert difference(turned[2:-2, 2:-2], latents.crop_face(large, box)[2:-2, 2:-2]) < 0.5


@pytest.mark.parametrize("angle", ANGLES)
def test_the_square_of_a_tilted_picture_is_the_square_of_the_level_one(photo: np.ndarray, angle: float) -> None:
    square = (100, 50, 300, 250)
    cut = blending.cut_square(tilted(photo, angle), square, angle)
    assert difference(cut, blending.cut_square(photo, square)) < 3


def test_a_turned_square_is_black_where_it_leaves_the_frame() -> None:
    frame = np.full((40, 40, 3), 200, np.uint8)
    cut = blending.cut_square(frame, (-20, -20, 60, 60), 90.0)
    assert (cut[20:60, 20:60] == 200).all() and int(cut.astype(bool).sum()) == 40 * 40 * 3
    assert not blending.cut_square(frame, (-40, -40, -10, -10), 45.0).any()


def test_a_turned_crop_repeats_the_edge_where_it_leaves_the_frame() -> None:
    assert (latents.crop_face(np.full((40, 40, 3), 200, np.uint8), np.array((-20, -20, 60, 60)), 30.0) == 200).all()


def painted_back(frame: np.ndarray, box: np.ndarray, angle: float) -> np.ndarray:
    """The frame with the very crop of a box blended into it under a full mask."""
    square = blending.blending_square(box, 1.5)
    out = frame.copy()
    mask = np.full((square[2] - square[0],) * 2, 255, np.uint8)
    blending.composite(out, latents.crop_face(frame, box, angle), box, mask, square, angle)
    return out


@pytest.mark.parametrize("angle", ANGLES)
def test_painting_back_the_very_crop_leaves_the_frame(photo: np.ndarray, angle: float) -> None:
    box = np.array((150, 70, 290, 250))
    frame = tilted(photo, angle)
    out = painted_back(frame, box, angle)
    changed = (out != frame).any(axis=2)
    assert changed.sum() > 0.5 * 140 * 180  # it was painted
    level = painted_back(photo, box, 0.0)
    inherent = difference(level, photo)  # of going through 256 x 256, not turned
    assert difference(out, frame) < 1.6 * inherent  # and one more interpolation
    before, after = frame.mean(axis=2), out.mean(axis=2)
    slope = np.stack(np.gradient((before + after) / 2), axis=2)
    shift = np.linalg.lstsq(slope[changed], (after - before)[changed], rcond=None)[0]
    assert np.abs(shift).max() < 0.02  # px


@pytest.mark.parametrize("angle", ANGLES)
def test_only_the_turned_box_changes(angle: float) -> None:
    frame, box = np.zeros((90, 120, 3), np.uint8), np.array((40, 30, 80, 70))
    square = blending.blending_square(box, 1.5)
    blending.composite(
        frame, np.full((256, 256, 3), 255, np.uint8), box, np.full((60, 60), 255, np.uint8), square, angle
    )
    rows, columns = np.indices(frame.shape[:2])
    grid = np.stack((columns, rows), axis=2).reshape(1, -1, 2)
    at = upright.turn_points(grid, np.array([angle]), (90, 120)).reshape(90, 120, 2)
    depth = np.minimum(at - (39.5, 29.5), (79.5, 69.5) - at).min(axis=2)  # px inside the box
    assert (frame[depth > 0.8] == 255).all()
    assert not frame[depth < -0.8].any()


@given(
    st.tuples(*[st.integers(-60, 100)] * 2, *[st.integers(1, 60)] * 2),
    st.floats(-180, 180).filter(bool),
    st.integers(1, 70),
    st.integers(1, 70),
)
@example((-60, -60, 5, 5), 45.0, 20, 20)  # wholly outside
@settings(max_examples=100, deadline=None)
def test_any_box_at_any_angle_is_cut_and_blended(place, angle: float, height: int, width: int) -> None:
    x, y, w, h = place
    frame, box = np.zeros((height, width, 3), np.uint8), np.array((x, y, x + w, y + h))
    crop = latents.crop_face(frame, box, angle)
    assert crop.shape == (256, 256, 3)
    square = blending.blending_square(box, 1.5)
    assert blending.cut_square(frame, square, angle).shape == (square[2] - square[0],) * 2 + (3,)
    mask = blending.soften(np.full((512, 512), 255, np.uint8), box, square, 0.05)
    blending.composite(frame, crop, box, mask, square, angle)
    assert not frame.any()
