"""Every stage computes what the reference computes, on the same weights: full size, float32, CPU."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from musetalk_core import audio, blending, faces, latents, masks
from musetalk_core.keypoints import estimate_keypoints, flip_tested_simcc, warp_to_input
from musetalk_core.networks import rtmpose
from musetalk_core.networks.bisenet import SIZE
from musetalk_core.releases import RELEASES
from tests.parity import networks

FEATURE_TOLERANCE = 5e-4  # max abs error of UNet output, VAE latents and Whisper features


def max_error(ours, theirs):
    return float(np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)).max())


def share_within(ours, theirs, levels):
    difference = np.abs(np.asarray(ours, np.int16) - np.asarray(theirs, np.int16))
    return float((difference <= levels).mean()), int(difference.max())


def assert_same_picture(ours, theirs):
    share, worst = share_within(ours, theirs, 1)
    assert ours.shape == theirs.shape
    assert share >= 0.995 and worst <= 8, f"{share:.4%} within 1 level, worst {worst}"


def blend_frame(frame, face, box, labels, release, mode=None):
    square = blending.blending_square(box, release.crop_expand)
    region = masks.select_region(labels, mode or release.mask_mode, release.cheek_width)
    mask = blending.soften(region, box, square, release.blur_ratio)
    out = frame.copy()
    blending.composite(out, face, box, mask, square)
    return out


@pytest.mark.parametrize(("release", "naming", "prefix"), [("1.5", "hugging_face", "v15"), ("1.0", "openai", "v1")])
@pytest.mark.parametrize("fps", [25, 30])
def test_whisper_features(golden, release, naming, prefix, fps):
    data = golden("audio")
    encoder = networks.filled_whisper(naming)
    waveform = data["waveform"][None]
    features = audio.encode(lambda: encoder, waveform, audio.SAMPLE_RATE, Fraction(fps), RELEASES[release])
    assert features.frames == len(data["waveform"]) * fps // audio.SAMPLE_RATE
    for expected, index in zip(data[f"{prefix}_fps{fps}"], data[f"{prefix}_fps{fps}_index"], strict=True):
        tokens = features.tokens([int(index)])[0]
        assert max_error(tokens, expected) <= FEATURE_TOLERANCE, f"frame {index}"


def test_frame_count_of_1_5_is_the_reference_count(golden):
    data = golden("audio")
    encoder = networks.filled_whisper("hugging_face")
    for fps in (25, 30):
        waveform = data["waveform"][None]
        features = audio.encode(lambda: encoder, waveform, audio.SAMPLE_RATE, Fraction(fps), RELEASES["1.5"])
        assert features.frames == int(data[f"v15_fps{fps}_count"])


def simcc_shortfall(picture, keypoints):
    """How far below our best score each of the given keypoints scores with us, (133,)."""
    warped, centre, scale = warp_to_input(picture)
    bins = (keypoints - centre + 0.5 * scale) / scale * (rtmpose.INPUT_WIDTH, rtmpose.INPUT_HEIGHT)
    bins = np.round(bins * rtmpose.SIMCC_SPLIT_RATIO).astype(int)
    scores = flip_tested_simcc(networks.filled_rtmpose(), warped[None])
    rows = np.arange(rtmpose.KEYPOINTS)
    return sum(
        axis[0].amax(1).numpy() - axis[0].numpy()[rows, np.clip(bins[:, i], 0, axis.shape[2] - 1)]
        for i, axis in enumerate(scores)
    )


def test_dwpose_keypoints(golden):
    """A point that differs is a tie when the reference's place scores as high with us as our own:
    with random weights the flip test makes points on the body's midline mirror-symmetric."""
    data = golden("dwpose")
    pictures = [data[name] for name in sorted(data.files) if name.startswith("image_")]
    same, ties = 0, 0
    for i, picture in enumerate(pictures):
        points, scores = estimate_keypoints(networks.filled_rtmpose(), [picture])
        near = np.abs(points[0] - data["keypoints"][i]).max(axis=1) <= 0.01
        tied = ~near & (simcc_shortfall(picture, data["keypoints"][i]) <= 1e-4)
        same, ties = same + int(near.sum()), ties + int(tied.sum())
        assert max_error(scores[0], data["scores"][i]) <= FEATURE_TOLERANCE
    total = rtmpose.KEYPOINTS * len(pictures) - ties
    assert same >= 0.99 * total, f"{total - same} of {total} points differ, {ties} ties aside"
    assert ties <= 0.05 * total


def test_boxes_and_shift_ranges(golden):
    data = golden("boxes")
    landmarks = data["landmarks"].astype(np.int64)
    for i, shift in enumerate(data["bbox_shift"]):
        one, detection = landmarks[i : i + 1], data["detections"][i : i + 1]
        np.testing.assert_array_equal(faces.face_boxes(one, detection, int(shift))[0], data["boxes"][i])
        assert faces.shift_range(one, detection) == tuple(data["shift_range"][i])


def test_vae_encodes_the_crop(golden):
    data = golden("vae")
    ours = latents.encode_crops(networks.filled_vae(), data["crop"][None])
    assert max_error(ours, data["latents"]) <= FEATURE_TOLERANCE


def test_vae_decodes_the_face(golden):
    data = golden("vae")
    ours = latents.decode_faces(networks.filled_vae(), torch.from_numpy(data["latents_in"]))
    share, worst = share_within(ours, data["decoded"], 1)
    assert share >= 0.999, f"{share:.4%} within 1 level, worst {worst}"


def test_unet(golden):
    data = golden("unet")
    ours = latents.inpaint(networks.filled_unet(), torch.from_numpy(data["latents"]), torch.from_numpy(data["audio"]))
    assert max_error(ours, data["output"]) <= FEATURE_TOLERANCE


def test_parsing_logits_and_labels(golden):
    data = golden("parsing")
    network = networks.filled_bisenet()
    picture = torch.from_numpy(data["image"]).float() / 255
    x = (picture - torch.tensor(masks._MEAN)) / torch.tensor(masks._STD)
    logits = network(x.permute(2, 0, 1)[None])[0]
    step = SIZE // data["logits_sample"].shape[1]
    assert max_error(logits[:, ::step, ::step], data["logits_sample"]) <= 1e-3
    labels = masks.parse_faces(network, [data["image"]])[0]
    assert (labels == data["labels"]).mean() >= 0.999


def test_region_of_every_mode_and_cheek_width(golden):
    data = golden("parsing")
    names = [name for name in data.files if name.startswith("mask_")]
    assert names
    for name in names:
        _, mode, index, width = name.split("_")
        expected = np.unpackbits(data[name])[: SIZE * SIZE].reshape(SIZE, SIZE)
        ours = masks.select_region(data[f"label_map_{index}"], mode, int(width)) > 0
        assert (ours == expected).mean() >= 0.999, name


def test_composited_frames(golden):
    data = golden("blending")
    v15, v1 = RELEASES["1.5"], RELEASES["1.0"]
    for i, box in enumerate(data["boxes"]):
        face, frame, labels = data[f"face_{i}"], data["frame"], data["label_map"]
        assert_same_picture(blend_frame(frame, face, box, labels, v15, "raw"), data[f"blend_raw_{i}"])
        assert_same_picture(blend_frame(frame, face, box, labels, v15, "jaw"), data[f"blend_jaw_{i}"])
        assert_same_picture(blend_frame(frame, face, box, labels, v1), data[f"blend_v1_{i}"])


def test_prepared_avatar_masks(golden):
    data = golden("blending")
    release = RELEASES["1.5"]
    for i, box in enumerate(data["boxes"]):
        square = blending.blending_square(box, release.crop_expand)
        assert square == tuple(data[f"avatar_crop_{i}"])
        region = masks.select_region(data["label_map"], release.mask_mode, release.cheek_width)
        mask = blending.soften(region, box, square, blur_ratio=0.1)
        assert_same_picture(mask, data[f"avatar_mask_{i}"])


def test_one_frame_through_everything(golden):
    data = golden("chain")
    box = data["box"]
    encoded = latents.encode_crops(networks.filled_vae(), latents.crop_face(data["image"], box)[None])
    assert max_error(encoded, data["latents"]) <= FEATURE_TOLERANCE
    predicted = latents.inpaint(networks.filled_unet(), encoded, torch.from_numpy(data["audio"]))
    assert max_error(predicted, data["pred_latent"]) <= FEATURE_TOLERANCE
    face = latents.decode_faces(networks.filled_vae(), predicted)[0]
    share, worst = share_within(face, data["face"], 1)
    assert share >= 0.999, f"{share:.4%} within 1 level, worst {worst}"
    out = blend_frame(data["image"], face, box, data["label_map"], RELEASES["1.5"])
    assert_same_picture(out, data["frame"])
