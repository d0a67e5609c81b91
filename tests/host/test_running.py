"""Graphs in the real host: results, one shared cache, interrupts, memory freed, graphs queued together."""

from __future__ import annotations

import io
import time

import numpy as np
from PIL import Image

from tests.host.comfy_server import ComfyServer
from tests.host.conftest import StartComfy
from tests.host.graphs import node, speaking


def loads(comfy: ComfyServer) -> int:
    return comfy.log.count("MuseTalk: loaded ")


def pictures(comfy: ComfyServer, result) -> list[np.ndarray]:
    files = result.outputs["save"]["images"]
    return [np.asarray(Image.open(io.BytesIO(comfy.view(file)))) for file in files]


def test_every_frame_of_the_voice_comes_out_with_a_repainted_face(comfy):
    result = comfy.run(speaking(seconds=0.4))
    assert result.status == "success", result.error
    frames = pictures(comfy, result)
    assert len(frames) == 10
    save_source = {"save": node("SaveImage", images=["source", 0], filename_prefix="source")}
    source = pictures(comfy, comfy.run(speaking() | save_source))
    # SaveImage cuts off what MuseTalk rounds, so one level apart is the same.
    changed = (np.abs(frames[0].astype(int) - source[0]) > 1).any(axis=2)
    assert changed[135:165, 105:150].mean() > 0.9, "the lower face is repainted"
    assert not changed[220:].any(), "what is not the face stays as it was"


def test_frame_count_is_exact_at_broadcast_rates(comfy):
    for fps, frames in ((23.976, 47), (29.97, 59)):
        result = comfy.run(speaking(seconds=2.0, fps=fps), timeout=120)
        assert len(result.outputs["save"]["images"]) == frames


def test_a_second_graph_loads_nothing_and_bbox_shift_runs_no_face_network(comfy):
    comfy.run(speaking())
    before = loads(comfy)
    graph = speaking(seconds=0.8)
    graph["source"]["inputs"]["height"] = 320
    result = comfy.run(graph)
    assert result.status == "success" and loads(comfy) == before
    assert any(data["node"] == "landmarks" for data in result.data("progress"))

    graph["landmarks"]["inputs"]["bbox_shift"] = 3
    result = comfy.run(graph)
    assert result.status == "success"
    assert "landmarks" in result.executed and {"whisper", "models", "source"}.isdisjoint(result.executed)
    assert not any(data["node"] == "landmarks" for data in result.data("progress")), "the face networks ran again"


def test_both_releases_share_the_small_networks(fresh_comfy: StartComfy):
    comfy = fresh_comfy()
    graph = speaking()
    assert comfy.run(graph, timeout=120).status == "success"
    assert loads(comfy) == 5, "each network once, and S3FD not without doubt"
    graph["models"]["inputs"]["release"] = "1.0"
    assert comfy.run(graph).status == "success"
    assert loads(comfy) == 5, "synthetic weights are the same for both releases"


def test_works_after_the_host_has_freed_its_memory(comfy):
    assert comfy.run(speaking()).status == "success"
    before = loads(comfy)
    comfy.free(unload_models=True, free_memory=True)
    time.sleep(1.5)  # the host's worker acts on it a moment later
    result = comfy.run(speaking())
    assert result.status == "success", result.error
    assert "inpaint" in result.executed and loads(comfy) == before


def test_interrupt_stops_within_one_batch(comfy):
    graph = speaking(seconds=60.0)
    graph["source"]["inputs"]["width"] = 300  # so that nothing of it is cached
    stopped_at = []

    def stop(message):
        if message["type"] == "progress" and message["data"]["node"] == "inpaint" and not stopped_at:
            stopped_at.append(message["data"]["value"])
            comfy.interrupt()

    result = comfy.run(graph, timeout=300, on_message=stop)
    assert result.status == "interrupted"
    last = [data["value"] for data in result.data("progress") if data["node"] == "inpaint"][-1]
    assert last < data_total(result), "it ran to the end"
    assert comfy.run(speaking()).status == "success", "the next graph runs"


def data_total(result) -> int:
    return [data["max"] for data in result.data("progress") if data["node"] == "inpaint"][-1]


def test_two_graphs_queued_at_once(comfy):
    one, two = speaking(seconds=0.52), speaking(seconds=0.6)
    first, second = comfy.queue(one), comfy.queue(two)
    outcomes = [comfy.wait(prompt, timeout=120) for prompt in (first, second)]
    assert [len(outcome["outputs"]["save"]["images"]) for outcome in outcomes] == [13, 15]


def test_slow_nodes_show_previews(comfy):
    graph = speaking(seconds=0.44)
    graph["source"]["inputs"]["width"] = 280
    assert comfy.run(graph).previews >= 3  # of landmarks, decoded faces and finished frames


def test_a_cut_batch_of_latents_decodes_to_the_same_faces(comfy):
    graph = speaking()
    graph["save"]["inputs"]["images"] = ["decode", 0]
    whole = pictures(comfy, comfy.run(graph))
    graph["cut"] = node("LatentFromBatch", samples=["inpaint", 0], batch_index=6, length=3)
    graph["decode"]["inputs"]["latent"] = ["cut", 0]
    for ours, expected in zip(pictures(comfy, comfy.run(graph)), whole[6:9], strict=True):
        assert np.abs(ours.astype(int) - expected).max() <= 1  # another batch size rounds otherwise


def test_face_track_saved_and_loaded_gives_the_same_frames(comfy):
    graph = speaking()
    graph["track"] = node("MuseTalkSaveFaceTrack", faces=["landmarks", 0], filename_prefix="face_tracks/t")
    result = comfy.run(graph)
    direct, name = pictures(comfy, result), result.outputs["track"]["text"][0]
    assert (comfy.output_dir / name).is_file()
    graph["landmarks"] = node(
        "MuseTalkLoadFaceTrack", models=["models", 0], file=f"{name} [output]", bbox_shift=0, extra_margin=10
    )
    del graph["track"]
    loaded = comfy.run(graph)
    assert loaded.status == "success", loaded.error
    for ours, theirs in zip(pictures(comfy, loaded), direct, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_starting_costs_little_and_warns_of_nothing(comfy):
    assert "IMPORT FAILED" not in comfy.log
    ours = [line for line in comfy.log.splitlines() if "musetalk" in line.lower() and "warning" in line.lower()]
    assert not ours
