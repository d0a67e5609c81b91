"""The stages together: every output frame has the picture, the mouth and the sound of its own moment."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from musetalk_core import job, observing, pipeline
from musetalk_core.blender import Blender
from musetalk_core.errors import InputError
from musetalk_core.keypoints import estimate_keypoints
from musetalk_core.masks import LOWER_LIP, NECK, NOSE, SKIN
from musetalk_core.media_input import Clip, read_clip
from musetalk_core.networks import s3fd
from musetalk_core.networks.vae import SCALING_FACTOR
from musetalk_core.pipeline import FaceLatents
from musetalk_core.progress import Progress, silent
from musetalk_core.speaking import lip_sync
from musetalk_core.timeline import source_frame
from tests.core.stand_ins import (
    OneClass,
    StandIns,
    Unreachable,
    counted_rows,
    fixed_track,
    pictures,
    tone,
    write_wav,
)

SIZE = (64, 48)  # height, width
BOX = (8, 16, 40, 48)
MOUTH = (42, 24)  # row and column of a pixel that is repainted in full
SHOULDER = (62, 4)  # of one that is never touched
PRESENT = [True, True, False, True, True]


def track_of(present=PRESENT):
    return fixed_track(SIZE, BOX, present)


def grey(source: int) -> int:
    """The level of `pictures`' frame."""
    return 40 + 10 * source


# Every frame in its place


@pytest.mark.parametrize("release", ["1.0", "1.5"])
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_a_frame_without_a_face_passes_through_and_the_others_keep_their_place(release: str, batch_size: int) -> None:
    frames = pictures(5)
    features = counted_rows(14, release)
    out = list(lip_sync(StandIns(release), frames, track_of(), features, batch_size))
    assert len(out) == 14
    for i, shown in enumerate(out):
        source = source_frame(i, 5, "pingpong")
        assert (shown[SHOULDER] == grey(source)).all(), f"frame {i} shows another source frame than {source}"
        if source == 2:
            np.testing.assert_array_equal(shown, frames[2])
        else:
            red, green, blue = shown[MOUTH].tolist()
            assert red == 10 * i, f"frame {i} hears frame {red / 10}"
            assert green == blue == grey(source), f"frame {i} was painted from source {(green - 40) / 10}"


@pytest.mark.parametrize("present", [[False, True], [True, False], [False, False, True, False]])
def test_faceless_frames_at_the_ends_do_not_shift_the_others(present: list[bool]) -> None:
    frames = pictures(len(present))
    for i, shown in enumerate(lip_sync(StandIns(), frames, track_of(present), counted_rows(9), 2)):
        source = source_frame(i, len(present), "pingpong")
        expected = [10 * i, grey(source), grey(source)] if present[source] else [grey(source)] * 3
        assert shown[MOUTH].tolist() == expected


def test_step_by_step_gives_what_the_whole_gives() -> None:
    models, frames, track, features = StandIns(), pictures(5), track_of(), counted_rows(14)
    encoded = pipeline.encode_faces(models, frames, track, 3)
    predicted = pipeline.predict(models, encoded, features, 4)
    painted = pipeline.decode(models, predicted, 5)
    assert painted.shape == (14, 256, 256, 3) and not painted[2].any()
    steps = list(Blender(models, frames, track).blend_all(painted, 6))
    np.testing.assert_array_equal(steps, list(lip_sync(StandIns(), frames, track, features)))


def test_a_part_of_the_frames_is_predicted_like_the_whole() -> None:
    models = StandIns()
    encoded = pipeline.encode_faces(models, pictures(5), track_of())
    whole = pipeline.predict(models, encoded, counted_rows(14))
    part = pipeline.predict(models, encoded, counted_rows(14), 2, range(5, 9))
    assert torch.equal(part, whole[5:9])
    # And decoded, as after a node that cuts the batch.
    painted = pipeline.decode(models, whole)
    np.testing.assert_array_equal(pipeline.decode(models, part), painted[5:9])


def test_a_still_speaks_for_as_long_as_the_sound() -> None:
    out = list(lip_sync(StandIns(), pictures(1), track_of([True]), counted_rows(20)))
    assert [int(frame[MOUTH][0]) for frame in out] == [10 * i for i in range(20)]


# No more work than needed


def test_frames_beyond_the_track_are_never_touched() -> None:
    frames = Unreachable(pictures(5), total=1000)
    assert len(list(lip_sync(StandIns(), frames, track_of(), counted_rows(14)))) == 14


def test_frames_beyond_the_sound_are_never_touched(
    synthetic_models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = write_wav(tmp_path / "voice.wav", tone(0.12, 16000)[None], 16000, "mono")
    asked = []

    def clip(path: Path, seconds: Fraction, progress: Progress) -> Clip:
        asked.append(seconds)
        times = tuple(Fraction(i, 25) for i in range(1000))
        return Clip(Unreachable(pictures(3), total=1000), Fraction(25), times)

    monkeypatch.setattr(job, "open_clip", clip)
    output = tmp_path / "out.mp4"
    outcome = job.run(synthetic_models(), Path("film.mp4"), voice, output, job.Settings(), lambda stage: silent)
    assert (outcome.frames, outcome.fps, outcome.faceless) == (3, 25, 0)
    assert asked == [Fraction(12, 100)]
    assert len(read_clip(output).frames) == 3


def test_each_source_frame_is_parsed_once_and_only_if_it_is_shown() -> None:
    models = StandIns()
    list(lip_sync(models, pictures(5), track_of(), counted_rows(24), 4))
    assert sum(models.networks.face_parse.batches) == 4
    models = StandIns()
    list(lip_sync(models, pictures(5), track_of(), counted_rows(2), 4))
    assert sum(models.networks.face_parse.batches) == 2


def test_a_blender_remembers_what_it_parsed() -> None:
    models = StandIns()
    blender = Blender(models, pictures(5), track_of())
    painted = np.zeros((10, 256, 256, 3), np.uint8)
    for _ in range(3):
        assert len(list(blender.blend([0, 1, 2, 3, 4, 4, 3, 2, 1, 0], painted))) == 10
    assert sum(models.networks.face_parse.batches) == 4


def test_both_crops_are_encoded_in_one_call() -> None:
    models = StandIns()
    encoded = pipeline.encode_faces(models, pictures(5), track_of(), 3)
    assert models.networks.vae.encoded == [6, 2]  # four faces, each masked and whole
    level = torch.tensor([grey(i) for i in range(5)]) / 127.5 - 1
    masked, whole = encoded.values[:, :4] / SCALING_FACTOR, encoded.values[:, 4:] / SCALING_FACTOR
    for i, present in enumerate(PRESENT):
        expected = level[i] if present else torch.zeros(())
        assert torch.allclose(whole[i], expected.expand(4, 32, 32), atol=1e-5)
        assert torch.allclose(masked[i, :, :16], expected.expand(4, 16, 32), atol=1e-5)
        assert torch.allclose(masked[i, :, 16:], torch.full((4, 16, 32), -1.0 if present else 0.0), atol=1e-5)
    np.testing.assert_array_equal(encoded.present, PRESENT)


def test_faceless_frames_cost_no_network() -> None:
    models = StandIns()
    list(lip_sync(models, pictures(5), track_of([True, False, False, False, False]), counted_rows(10), 5))
    assert models.networks.vae.encoded == [2]
    assert sum(models.networks.unet.batches) == sum(models.networks.vae.decoded) == 2
    assert models.networks.face_parse.batches == [1]


# Choices


@pytest.mark.parametrize("side", [64, 512])
def test_faces_of_another_size_are_accepted(side: int) -> None:
    restored = [np.full((side, side, 3), 200, np.uint8)] * 3
    blender = Blender(StandIns(), pictures(5), track_of())
    for shown in blender.blend_all(restored[:2], 2):
        assert (shown[MOUTH] == 200).all()
    assert [int(frame[MOUTH][0]) for frame in blender.blend(range(3), restored)] == [200, 200, grey(2)]


def test_a_sampled_posterior_is_repeatable_and_is_not_the_mode(synthetic_models) -> None:
    models = synthetic_models()

    def encode(seed: int | None) -> torch.Tensor:
        return pipeline.encode_faces(models, pictures(2), track_of([True, True]), 1, seed).values

    assert torch.equal(encode(1), encode(1))
    assert torch.equal(encode(None), encode(None))
    assert not torch.allclose(encode(1), encode(None), atol=1e-3)
    assert not torch.allclose(encode(1), encode(2), atol=1e-3)


def test_any_batch_size_paints_alike(synthetic_models) -> None:
    models, frames = synthetic_models(), pictures(3)
    one, three = (list(lip_sync(models, frames, track_of([True] * 3), counted_rows(5), size)) for size in (1, 3))
    assert np.abs(np.array(one, np.int16) - np.array(three, np.int16)).max() <= 1


@pytest.mark.parametrize(
    ("label", "repainting"),
    [
        (SKIN, {"jaw", "raw", "neck", "face"}),
        (NOSE, {"face"}),
        (NECK, {"neck"}),
        (LOWER_LIP, {"jaw", "raw", "neck", "face"}),
    ],
)
def test_the_mask_mode_is_the_releases_unless_chosen(label: int, repainting: set[str]) -> None:
    frames, painted = pictures(1), np.full((1, 256, 256, 3), 250, np.uint8)

    def repaints(release: str, **choice) -> bool:
        models = StandIns(release)
        models.networks.face_parse = OneClass(label)
        shown = next(Blender(models, frames, track_of([True]), **choice).blend([0], painted))
        return bool((shown[MOUTH] == 250).all())

    assert {mode for mode in ("jaw", "raw", "neck", "face") if repaints("1.5", mask_mode=mode)} == repainting
    assert repaints("1.5") == ("jaw" in repainting)
    assert repaints("1.0") == ("face" in repainting)


# Synthetic weights say so


@pytest.mark.parametrize("present", [[True], [True, False]])
def test_synthetic_frames_are_stamped_and_others_are_not(present: list[bool]) -> None:
    frames = [np.full((240, 320, 3), 90, np.uint8)] * len(present)
    track = fixed_track((240, 320), (100, 90, 200, 210), present)
    plain, stamped = (
        list(lip_sync(StandIns(synthetic=synthetic), frames, track, counted_rows(6))) for synthetic in (False, True)
    )
    for i, (a, b) in enumerate(zip(plain, stamped, strict=True)):
        rows = np.flatnonzero((a != b).any(axis=(1, 2)))
        assert len(rows) >= 5 and rows.max() < 40
        assert (a[:80] == 90).all()
        assert present[source_frame(i, len(present), "pingpong")] or (a == 90).all()


def test_the_synthetic_models_are_known_as_such(synthetic_models) -> None:
    assert synthetic_models().synthetic


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 3), (33, 47)])
def test_frames_of_any_size_go_through(size: tuple[int, int]) -> None:
    frames = [np.full((*size, 3), 90, np.uint8)] * 2
    track = fixed_track(size, (0, 0, size[1], size[0]), [True, False])
    out = list(lip_sync(StandIns(synthetic=True), frames, track, counted_rows(4)))
    assert [frame.shape for frame in out] == [(*size, 3)] * 4


# What does not belong together


def test_features_of_another_release_are_refused() -> None:
    encoded = pipeline.encode_faces(StandIns("1.5"), pictures(5), track_of())
    with pytest.raises(InputError, match=r"of MuseTalk 1\.0, the UNet of 1\.5") as failure:
        pipeline.predict(StandIns("1.5"), encoded, counted_rows(3, "1.0"))
    assert failure.value.remedy
    with pytest.raises(InputError):
        list(lip_sync(StandIns("1.0"), pictures(5), track_of(), counted_rows(3, "1.5")))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (pictures(5, 64, 50), "48 x 64, but these are 50 x 64"),
        (pictures(5, 48, 64), "48 x 64, but these are 64 x 48"),
        (pictures(4), "has 5 frames but only 4 pictures"),
    ],
)
def test_frames_the_track_was_not_made_from_are_refused(frames: list[np.ndarray], message: str) -> None:
    for attempt in (
        lambda: pipeline.encode_faces(StandIns(), frames, track_of()),
        lambda: Blender(StandIns(), frames, track_of()),
        lambda: list(lip_sync(StandIns(), frames, track_of(), counted_rows(3))),
    ):
        with pytest.raises(InputError, match=message) as failure:
            attempt()
        assert failure.value.remedy


# Progress, and stopping


class Stopped(OSError):
    """Of a kind that a stage might mistake for its own trouble."""


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> tuple[StandIns, dict[str, Callable[[Progress], object]]]:
    """Stand-ins, and each stage with two frames a batch, by name."""
    models, frames, track, features = StandIns(), pictures(5), track_of(), counted_rows(9)
    models.networks.s3fd = None
    monkeypatch.setattr(s3fd, "detect", lambda network, batch: [np.array([[*BOX, 0.9]])] * len(batch))
    values, present = torch.zeros(5, 8, 32, 32), np.array(PRESENT)
    painted = torch.ones(9, 4, 32, 32)
    faces = np.zeros((9, 256, 256, 3), np.uint8)
    network = models.networks.dwpose
    return models, {
        "look": lambda report: observing.observe_faces(
            models, frames, 2, lambda batch: estimate_keypoints(network, batch), report
        ),
        "encode": lambda report: pipeline.encode_faces(models, frames, track, 2, None, report),
        "predict": lambda report: pipeline.predict(models, FaceLatents(values, present), features, 2, None, report),
        "decode": lambda report: pipeline.decode(models, painted, 2, report),
        "blend": lambda report: list(Blender(models, frames, track).blend_all(faces, 2, report)),
        "everything": lambda report: list(lip_sync(models, frames, track, features, 2, None, report)),
    }


# Frames of each stage: five, of which four have a face; nine are spoken, of which seven have one.
@pytest.mark.parametrize(
    ("stage", "frames"), [("look", 5), ("encode", 4), ("predict", 7), ("decode", 9), ("blend", 9), ("everything", 9)]
)
def test_progress_is_told_once_a_batch_and_ends_at_the_end(stages, stage: str, frames: int) -> None:
    calls: list[tuple[int, int]] = []

    def report(done: int, total: int, preview: np.ndarray | None) -> None:
        calls.append((done, total))
        assert preview is None or (preview.dtype == np.uint8 and preview.ndim == 3 and preview.shape[2] == 3)

    stages[1][stage](report)
    batches = -(-frames // 2)
    assert len(calls) >= batches
    assert calls == sorted(calls)
    told = [call for call in dict.fromkeys(calls) if call[0]]  # within a batch, the same may be told again
    assert told[-batches:] == [(min(2 * i + 2, frames), frames) for i in range(batches)]


@pytest.mark.parametrize("stage", ["look", "encode", "predict", "decode", "blend", "everything"])
def test_stopping_takes_effect_within_a_batch_and_passes_through(stages, stage: str) -> None:
    models, run = stages
    error = Stopped()

    def stop(done: int, total: int, preview: np.ndarray | None) -> None:
        raise error

    with pytest.raises(Stopped) as failure:
        run[stage](stop)
    assert failure.value is error
    networks = models.networks
    work = [networks.unet.batches, networks.dwpose.batches, networks.face_parse.batches]
    assert all(len(batches) <= 1 for batches in (*work, networks.vae.encoded, networks.vae.decoded))
    assert sum(map(len, (*work, networks.vae.encoded, networks.vae.decoded))) == 1
