"""Video that plays in a real browser while it is made: in the node, and in a live session."""

from __future__ import annotations

import json
import time
import wave

import numpy as np
import pytest
from PIL import Image

from tests.host.browser import Frontend
from tests.host.comfy_server import REPOSITORY, ComfyServer
from tests.host.graphs import SYNTHETIC, node

WORKFLOW = REPOSITORY / "example_workflows" / "MuseTalk avatar speaks.json"
SECONDS = 16  # more than a minute's work, by far more than the browser waits before it begins to play


@pytest.fixture(scope="module")
def avatar(comfy: ComfyServer) -> str:
    """A prepared picture, small so that it speaks as fast as a CPU allows."""
    Image.open(REPOSITORY / "assets" / "sample" / "face.jpg").resize((192, 192)).save(comfy.input_dir / "small.png")
    graph = {
        "models": node("MuseTalkLoadModels", release="1.5", precision="fp32", fetch_missing=False, weights=SYNTHETIC),
        "picture": node("LoadImage", image="small.png"),
        "avatar": node(
            "MuseTalkAvatarPrepare",
            models=["models", 0],
            name="avatar",
            image=["picture", 0],
            bbox_shift=0,
            extra_margin=10,
            fps="keep",
            mask_mode="as the release",
            cheek_width=90,
            batch_size=1,
        ),
    }
    entry = comfy.wait(comfy.queue(graph), timeout=300)
    assert entry["status"]["status_str"] == "success", entry["status"]
    return "avatar"


def test_the_node_plays_the_video_before_it_has_finished(browser, comfy, avatar):
    with wave.open(str(comfy.input_dir / "voice.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(np.random.default_rng(0).integers(-9000, 9000, SECONDS * 16000).astype("<i2").tobytes())
    frontend = Frontend(browser, comfy)
    frontend.load(json.loads(WORKFLOW.read_text()))
    frontend.turn("MuseTalkLoadModels", "weights", SYNTHETIC)
    before = set(comfy.get("/history"))
    frontend.page.evaluate("window.app.queuePrompt(0)")
    frontend.page.wait_for_selector("video[src*='musetalk/live']", state="attached", timeout=120_000)
    player = frontend.page.locator("video[src*='musetalk/live']")
    player.evaluate("video => { video.muted = true; video.play(); }")
    frontend.page.wait_for_function(
        "() => document.querySelector(\"video[src*='musetalk/live']\").currentTime > 0.5", timeout=120_000
    )
    played = player.evaluate("video => video.currentTime")
    assert set(comfy.get("/history")) == before, "the node had finished before the video played"
    frontend.page.wait_for_timeout(1000)
    assert player.evaluate("video => video.currentTime") > played

    deadline = time.monotonic() + 300
    while not (new := set(comfy.get("/history")) - before) and time.monotonic() < deadline:
        frontend.page.wait_for_timeout(500)
    assert comfy.get("/history")[new.pop()]["status"]["status_str"] == "success"
    watched = player.evaluate("video => { video.pause(); return video.currentTime; }")
    frontend.page.wait_for_function(
        """() => {
            const { seekable, duration } = document.querySelector("video[src*='musetalk/live']");
            return seekable.length && seekable.end(0) > 0 && seekable.end(0) === duration;
        }"""
    )
    assert player.evaluate("video => video.currentTime") == pytest.approx(watched, abs=0.5), "nothing is seen again"
    assert player.evaluate("video => video.paused")
    assert player.evaluate("video => video.duration") == pytest.approx(SECONDS, abs=0.1)
    frontend.page.close()


SESSION = """async ([avatar, seconds]) => {
    const socket = new WebSocket(`ws://${location.host}/musetalk/session`);
    socket.binaryType = "arraybuffer";
    await new Promise((done) => (socket.onopen = socket.onerror = done));
    const video = document.createElement("video");
    video.muted = true;
    document.body.append(video);
    window.seen = { states: [], errors: [], video };
    const waiting = [];
    let buffer;
    const feed = () => {
        if (buffer && !buffer.updating && waiting.length) buffer.appendBuffer(waiting.shift());
    };
    socket.onmessage = async ({ data }) => {
        if (typeof data !== "string") {
            waiting.push(data);
            feed();
            return;
        }
        const message = JSON.parse(data);
        if (message.type === "state") window.seen.states.push(message.speaking);
        if (message.type === "error") window.seen.errors.push(message.message);
        if (message.type !== "opened") return;
        const media = new MediaSource();
        video.src = URL.createObjectURL(media);
        await new Promise((done) => (media.onsourceopen = done));
        buffer = media.addSourceBuffer(message.mime);
        buffer.onupdateend = feed;
        feed();
        video.play();
        const sound = Int16Array.from({ length: 16000 * seconds }, () => (Math.random() - 0.5) * 20000);
        socket.send(sound.buffer);
        socket.send(JSON.stringify({ type: "flush" }));
    };
    socket.send(JSON.stringify({ type: "open", avatar, sample_rate: 16000 }));
    window.seen.close = () => socket.close();
}"""


def test_a_live_session_plays_in_a_browser(browser, comfy, avatar):
    page = browser.new_page(bypass_csp=True)  # without API nodes, the host's own pages may use no MediaSource
    page.goto(f"{comfy.url}/system_stats")
    page.evaluate(SESSION, [avatar, 1])
    page.wait_for_function("window.seen.errors.length || window.seen.states.includes(true)", timeout=120_000)
    page.wait_for_function("window.seen.errors.length || window.seen.video.currentTime > 1", timeout=60_000)
    assert page.evaluate("window.seen.errors") == []
    assert page.evaluate("window.seen.video.videoWidth") == 192
    page.evaluate("window.seen.close()")
    page.close()
