"""The instruments on small networks: every row is there, and what is compared is the same."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from musetalk_core import (
    bench,
    bench_clip,
    bench_compare,
    bench_compare_clip,
    bench_memory,
    bench_networks,
    bench_plain_clip,
    bench_rows,
    bench_timing,
    bench_video,
    cache,
    masks,
    pipeline,
    weights,
)
from musetalk_core.bench_counting import count
from musetalk_core.cache import ByteBudget, ModelCache
from musetalk_core.cli import main
from musetalk_core.models import Models
from musetalk_core.networks import rtmpose
from musetalk_core.progress import silent
from musetalk_core.releases import RELEASES
from tests.core.media_samples import encode_film, plain_decode, walk

CPU = torch.device("cpu")
NETWORKS = ["whisper", "dwpose", "s3fd", "s3fd reduced", "vae encode", "unet", "vae decode", "face parse"]
PLAIN = ["track", "blend"]  # which no network does


@pytest.fixture(scope="module")
def quick_cache() -> Iterator[ModelCache]:
    """With a pose network of few channels."""
    stages = (64, 16, 1, True, False), (16, 16, 1, True, False), (16, 16, 1, True, False), (16, 1024, 1, False, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rtmpose, "_STAGES", stages)
        yield ModelCache(ByteBudget(CPU))


@pytest.fixture
def models(quick_cache: ModelCache) -> Models:
    return weights.open_models(RELEASES["1.5"], [Path("nowhere")], quick_cache, "fp32", synthetic="small")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, quick_cache: ModelCache) -> None:
    monkeypatch.setattr(cache, "ModelCache", lambda residency: quick_cache)
    monkeypatch.setattr(bench_video, "_FRAMES", 30)
    monkeypatch.setattr(bench_timing, "_MATRIX", 128)
    monkeypatch.setattr(bench_compare, "_PAIRS", 1)
    for module in (bench_compare, bench_compare_clip, bench_networks):
        monkeypatch.setattr(module, "FULL_HD", (128, 72))
    monkeypatch.setattr(bench_compare, "_FACE_BOX", (40, 15, 80, 60))
    monkeypatch.setattr(bench_compare, "_BLENDED", 2)
    monkeypatch.setattr(bench_compare_clip, "_OBSERVED", 2)
    monkeypatch.setattr(bench_compare_clip, "_DOUBTFUL", 1)
    monkeypatch.setattr(bench_networks, "BATCHES", (1, 2))


def measured(capsys: pytest.CaptureFixture, *options: str) -> dict:
    assert main(["bench", "--weights", "synthetic", "--size", "64x64", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


# Counting


def test_operations_and_memory_are_counted_exactly() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(1000, 500), torch.nn.ReLU(inplace=True), torch.nn.Linear(500, 1000))
    x = torch.zeros(1000, 1000)
    with torch.inference_mode():
        counted = count(lambda: layers(x), CPU)
    assert counted.gflop == 2 * 2 * 0.5  # two products of 1000 x 1000 x 500
    assert counted.peak_bytes == pytest.approx(4 * (500_000 + 1_000_000), rel=0.05)  # one result, then both


def test_memory_that_is_given_back_is_not_counted_twice() -> None:
    def work() -> None:
        for _ in range(5):
            torch.zeros(1000, 1000).view(-1).mul_(2)

    assert count(work, CPU).peak_bytes == pytest.approx(4_000_000, rel=0.05)
    assert count(lambda: [np.zeros(3_000_000, np.uint8) for _ in range(2)], CPU).peak_bytes == pytest.approx(
        6e6, rel=0.05
    )


# Stages


def test_every_stage_is_measured(capsys: pytest.CaptureFixture) -> None:
    report = measured(capsys, "--batch-size", "1", "--rounds", "2")
    assert (report["frame"], report["batch_size"], report["precision"]) == ("64 x 64", 1, "float32")
    assert report["synthetic_weights"] and "faces_to_float32_psnr_db" not in report
    assert {*report["stages"]} == {*NETWORKS, *PLAIN, "unet + vae decode"}
    for name, row in report["stages"].items():
        assert row["seconds_per_frame"] > 0 and row["peak_bytes"] > 0, name
        assert (row["gflop_per_frame"] > 0) == (name not in PLAIN), name
        assert len(row["each_round_seconds_per_frame"]) == report["rounds"] == 2
        assert row["seconds_per_frame"] == min(row["each_round_seconds_per_frame"]), name
        assert min(row["each_round_core_seconds_per_frame"]) > 0, name
    unet, decode, both = (report["stages"][name] for name in ("unet", "vae decode", "unet + vae decode"))
    assert both["gflop_per_frame"] == pytest.approx(unet["gflop_per_frame"] + decode["gflop_per_frame"])
    rounds = zip(*(row["each_round_seconds_per_frame"] for row in (unet, decode, both)), strict=True)
    assert all(together == pytest.approx(one + other) for one, other, together in rounds)
    share = both["gflop_per_frame"] / both["seconds_per_frame"] / report["matrix_product_gflop_per_second"]
    assert both["of_matrix_product"] == pytest.approx(share)
    told = bench.table(report)
    assert all(name in told for name in report["stages"])


def test_the_work_on_video_is_measured_in_seconds_and_bytes(capsys: pytest.CaptureFixture) -> None:
    report = measured(capsys, "--batch-size", "1", "--rounds", "1")["video"]
    assert list(report["rows"]) == ["write video", "survey video", "read video", "copy video"]
    for name, row in report["rows"].items():
        assert len(row["each_round_seconds_per_frame"]) == 1 and row["each_round_seconds_per_frame"][0] > 0, name
        assert row["each_round_core_seconds_per_frame"][0] > 0, name
    assert 10 < report["bytes_per_frame"] < 64 * 64 * 3  # coded, and no empty file
    told = bench_video.table(report)
    assert all(name in told for name in report["rows"])


def test_a_copied_picture_is_the_same_picture(tmp_path: Path) -> None:
    source, copy = tmp_path / "source.mp4", tmp_path / "copy.mp4"
    encode_film(source, walk(12))
    bench_video.copy_picture(source, copy)
    pairs = zip(plain_decode(source), plain_decode(copy), strict=True)
    assert all(np.array_equal(before, after) for before, after in pairs)


def test_half_precision_tells_its_error(models: Models) -> None:
    assert 20 < bench.psnr_to_float32(replace(models, dtype=torch.bfloat16), (64, 64), 1) < 80


# Plain and ours


@pytest.mark.usefixtures("all_skin")
def test_what_is_compared_is_the_same(models: Models, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bench_compare, bench_plain_clip):
        monkeypatch.setattr(module, "plain_parse", lambda _, squares: masks.parse_faces(None, squares, None))
    sound = bench_clip.voice(3)
    heard = pipeline.listen(models, sound.waveform, sound.rate, bench_clip.FPS)
    monkeypatch.setattr(pipeline, "listen", lambda *_: heard)
    report = measured(capsys, "--compare", "--batch-size", "2", "--frames", "3")
    assert (report["clip_frames"], report["batch_size"], report["pairs"]) == (3, 2, 1)
    tolerances = {
        "VAE decode": 1,
        "VAE encode": 1e-4,
        "UNet": 1e-4,
        "face parse": 0,
        "DWPose": 0.5,
        "blend, 1080p": 1,
        "face, 1080p": 1,
        "face, 1080p, doubtful": 1,
        "whole clip": 3,
        "prepared avatar": 2,
        "prepared avatar, TAESD decode": None,
    }
    assert list(report["rows"]) == list(tolerances)
    for name, row in report["rows"].items():
        for part in ("plain_seconds_per_frame", "ours_seconds_per_frame", "ratio"):
            assert 0 < row[part] < math.inf, (name, part)
        tolerance = tolerances[name]
        assert row["difference"] is None if tolerance is None else row["difference"] <= tolerance, name
    assert report["rows"]["face, 1080p"]["plain_frames"] == 1
    told = bench_compare.table(report)
    assert all(name in told for name in tolerances)
    assert "not the same" in told and "always sure" in told


def test_a_difference_is_seen() -> None:
    row = bench_rows.Row(
        "one of two",
        lambda: None,
        lambda: None,
        1,
        1,
        lambda: bench_rows.largest([np.zeros(3)], [np.array([0, -2, 1])]),
        "px",
    )
    assert bench_rows.timed(row, CPU, 1)["difference"] == 2


# Memory


def test_memory_by_network_and_batch(models: Models, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    report = bench_networks.measure(models, silent)
    unet = report["stages"]["unet"]
    assert unet["weights_bytes"]["fp16/bf16"] * 2 == unet["weights_bytes"]["fp32"]
    for name in ("unet", "vae decode", "vae encode", "dwpose", "face parse"):
        held = report["stages"][name]["activations_bytes"]["fp32"]
        assert held[2] == pytest.approx(2 * held[1], rel=0.2), name
    parse = report["stages"]["face parse"]["activations_bytes"]
    assert parse["fp16/bf16"] == parse["fp32"]
    assert report["card"]["fp32"]["largest_batch_one_resident"] == 2
    monkeypatch.setattr(bench_networks, "measure", lambda *_: report)
    assert measured(capsys, "--memory", "networks")["card"]["bytes"] == 6 << 30
    assert main(["bench", "--weights", "synthetic", "--memory", "networks"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in report["stages"]) and "one network at a time" in told


def test_a_card_holds_more_where_other_networks_are_gone() -> None:
    def stage(kind: str, weights: float, held: float) -> dict:
        return {
            "network": kind,
            "weights_bytes": {"fp32": int(weights * 1e9), "fp16/bf16": int(weights * 5e8)},
            "activations_bytes": {
                "fp32": {1: held * 1e9, 2: 2e9 * held},
                "fp16/bf16": {1: held * 5e8, 2: held * 1e9},
            },
        }

    card = bench_networks._card({"a": stage("a", 4, 0.5), "b": stage("b", 1, 0.7)})
    assert (card["fp32"]["largest_batch_all_resident"], card["fp32"]["largest_batch_one_resident"]) == (1, 2)
    assert card["fp16/bf16"]["all_resident_bytes"] == {1: 2.85e9, 2: 3.2e9}


@pytest.mark.usefixtures("all_skin")
def test_memory_of_clips_and_of_an_avatar_that_speaks(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_memory, "_SPEAKING_BATCH", 2)
    monkeypatch.setattr(bench_memory, "_SPOKEN", 2)
    monkeypatch.setattr(bench_memory, "FPS", bench_memory.FPS / 5)
    report = bench_memory.measure(models, (64, 64), [1], [1], 2, silent)
    assert report["video"][1] > 0 and report["image"][1] > 0
    speaking = report["speaking"]
    assert speaking["weights_bytes"] > 30e6 and 0 <= speaking["peak_beyond_weights_bytes"] < 1e9
    told = bench_memory.table(report)
    assert "file to file" in told and "all frames in memory" in told
    assert f"+ {speaking['peak_beyond_weights_bytes'] / 1e9:.2f} GB" in told
