"""A painted face gets its original's detail and colours back, and keeps its own mouth."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from musetalk_core import blending, finishing, latents
from musetalk_core.finishing import Finish
from musetalk_core.upright import turn_points

SAMPLE = Path(__file__).parents[2] / "assets" / "sample"
MODEL = (256, 256)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """512 x 512, with a fine texture that 256 pixels cannot hold once the face is enlarged."""
    face = np.asarray(Image.open(SAMPLE / "face.jpg").crop((159, 40, 292, 200)).resize((400, 480)))
    grain = np.random.default_rng(0).normal(0, 12, (480, 400, 1))
    return np.clip(face + grain, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def mouth() -> np.ndarray:
    points = np.array(json.loads((SAMPLE / "face.json").read_text())["frames"][0]["landmarks"], float)
    return (points[finishing.OUTER_LIP] - (159, 40)) * (400 / 133, 3)


@pytest.fixture(scope="module")
def alpha() -> np.ndarray:
    """Shown in the lower half, with a soft edge."""
    mask = np.zeros((480, 400), np.uint8)
    cv2.ellipse(mask, (200, 300), (150, 140), 0, 0, 360, 255, -1)
    return cv2.GaussianBlur(mask, (61, 61), 0)


def through_the_model(picture: np.ndarray) -> np.ndarray:
    """As soft as a painted face: brought to 256 x 256 and back."""
    height, width = picture.shape[:2]
    return cv2.resize(latents.crop_face(picture, np.array((0, 0, width, height))), (width, height))


def difference(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b)[where].mean())


def lips(mouth: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    inside = np.zeros(shape, np.uint8)
    cv2.fillPoly(inside, [mouth.astype(np.int32)], 1)
    return inside.astype(bool)


def test_nothing_is_done_by_default(photo, mouth, alpha) -> None:
    assert finishing.apply(Finish(), photo, photo[::-1], mouth, alpha, MODEL) is photo


def test_detail_comes_back_outside_the_mouth_only(photo, mouth, alpha) -> None:
    soft = through_the_model(photo)
    sharp = finishing.apply(Finish(detail=1), soft, photo, mouth, alpha, MODEL)
    half = finishing.apply(Finish(detail=0.5), soft, photo, mouth, alpha, MODEL)
    inside = lips(mouth, photo.shape[:2])
    far = ~cv2.dilate(inside.astype(np.uint8), np.ones((151, 151), np.uint8)).astype(bool)
    np.testing.assert_allclose(sharp[inside].astype(int), soft[inside], atol=1)
    before, after = difference(soft, photo, far), difference(sharp, photo, far)
    assert after < 0.5 * before
    assert after < difference(half, photo, far) < before


@pytest.mark.parametrize("size", [(256, 256), (200, 120), (1, 1)])
def test_a_face_the_model_can_hold_gains_no_detail(photo, mouth, size: tuple[int, int]) -> None:
    original = cv2.resize(photo, size[::-1])
    face = np.full_like(original, 128)
    out = finishing.apply(Finish(detail=1), face, original, mouth / 480, np.full(size, 255, np.uint8), MODEL)
    np.testing.assert_array_equal(out, face)


def test_a_restored_face_of_512_already_has_what_512_pixels_hold(photo, mouth, alpha) -> None:
    face = np.full_like(photo, 128)
    np.testing.assert_array_equal(finishing.apply(Finish(detail=1), face, photo, mouth, alpha, (512, 512)), face)


def test_a_face_of_other_colours_is_brought_to_the_originals(photo, mouth, alpha) -> None:
    tint = np.array((14, -9, 6))
    off = np.clip(np.clip(photo.astype(int), 20, 235) + tint, 0, 255).astype(np.uint8)
    original = np.clip(photo, 20, 235)
    matched = finishing.apply(Finish(colour=1), off, original, mouth, alpha, MODEL)
    assert np.abs(matched.astype(int) - original).max() <= 2
    half = finishing.apply(Finish(colour=0.5), off, original, mouth, alpha, MODEL)
    np.testing.assert_allclose((half.astype(float) - original).mean(axis=(0, 1)), tint / 2, atol=0.6)


def test_each_side_of_the_seam_is_matched_to_its_own_side(photo, mouth, alpha) -> None:
    original = photo.clip(40, 215)
    light = np.linspace(-25, 25, 400)[None, :, None]  # the painted face is lit from the other side
    off = (original + light).round().astype(np.uint8)
    matched = finishing.apply(Finish(colour=1), off, original, mouth, alpha, MODEL)
    seam = (alpha > 60) & (alpha < 195)
    assert difference(matched, original, seam) < 0.4 * difference(off, original, seam)


def test_another_mouth_is_not_mistaken_for_another_colour(photo, mouth, alpha) -> None:
    spoken = photo.copy()
    spoken[lips(mouth, photo.shape[:2])] = (60, 10, 15)  # wide open
    matched = finishing.apply(Finish(colour=1), spoken, photo, mouth, alpha, MODEL)
    assert np.abs(matched.astype(int) - spoken).max() <= 2


def test_a_jaw_that_moved_keeps_its_place_and_its_colour(photo, mouth, alpha) -> None:
    """Where the original shows a dark neck, the painted face now shows its chin."""
    chin = np.zeros(photo.shape[:2], bool)
    chin[390:] = True
    original = photo.copy()
    original[chin] //= 4
    tint = np.array((10, -6, 4))
    painted = (through_the_model(photo).clip(20, 235) + tint).astype(np.uint8)
    out = finishing.apply(Finish(detail=1, colour=1), painted, original, mouth, alpha, MODEL)
    shown = chin & (alpha > 20)
    change = (out.astype(float) - painted)[shown]
    neck = difference(original, painted, shown)
    assert np.abs(change.mean(axis=0) + tint).max() < 0.15 * neck  # moved to the common colour, not to the neck's
    assert change.std(axis=0).max() < 0.15 * neck  # and given nothing of its detail


def test_a_mask_without_an_edge_has_no_seam_to_match(photo, mouth) -> None:
    full = np.full(photo.shape[:2], 255, np.uint8)
    out = finishing.apply(Finish(colour=1), photo[::-1], photo, mouth, full, MODEL)
    np.testing.assert_array_equal(out, photo[::-1])


@pytest.mark.parametrize("angle", [0.0, -35.0, 90.0])
def test_a_finished_face_is_nearer_to_its_frame_at_any_angle(photo, mouth, alpha, angle: float) -> None:
    canvas = np.full((700, 700, 3), 120, np.uint8)
    canvas[110:590, 150:550] = photo
    frame = np.asarray(Image.fromarray(canvas).rotate(angle, Image.Resampling.BICUBIC))
    box = np.array((150, 110, 550, 590))
    square = (110, 110, 590, 590)
    mask = np.zeros((480, 480), np.uint8)
    mask[:, 40:440] = alpha
    painted = latents.crop_face(frame, box, angle)
    painted = (painted.clip(20, 235) + np.array((12, -8, 5))).astype(np.uint8)
    lip = mouth + np.array((150, 110))

    def blended(detail: float, colour: float) -> np.ndarray:
        out = frame.copy()
        blending.composite(out, painted, box, mask, square, angle, finish=Finish(detail, colour), mouth=lip)
        return out.astype(float)

    plain, detail, colour, both = blended(0, 0), blended(1, 0), blended(0, 1), blended(1, 1)
    off = [np.abs(out - frame).sum() for out in (plain, detail, colour, both)]
    assert off[1] < off[0] and off[2] < 0.8 * off[0] and off[3] < 0.8 * off[2]
    rows, columns = np.nonzero(np.abs(detail - plain).max(axis=2) > 2)
    sharpened = turn_points(np.stack((columns, rows), axis=1)[None], np.array([angle]), (700, 700))[0]
    assert (sharpened > box[:2] - 1.5).all() and (sharpened < box[2:] + 0.5).all()
    assert not any(cv2.pointPolygonTest(lip.astype(np.float32), point, False) > 0 for point in sharpened)
