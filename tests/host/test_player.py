"""The player in MuseTalk Avatar Speak: which video it shows, where, and what it lets go of."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import av
import numpy as np
import pytest

from tests.host.browser import Frontend
from tests.host.comfy_server import REPOSITORY

EXAMPLE = REPOSITORY / "example_workflows" / "MuseTalk avatar speaks.json"
SPEAK = "MuseTalkAvatarSpeak"
VIDEO = ".musetalk-panel video"


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> dict[str, bytes]:
    """By name: one that is wide, one that is high."""
    made = {}
    for name, (width, height) in {"wide": (320, 160), "high": (160, 320)}.items():
        path = tmp_path_factory.mktemp("videos") / f"{name}.mp4"
        with av.open(str(path), "w") as file:
            stream = file.add_stream("h264", rate=Fraction(25))
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for _ in range(100):
                frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 90, np.uint8))
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
        made[name] = path.read_bytes()
    return made


@pytest.fixture(scope="module")
def opened(browser, comfy, videos):
    """The frontend, with these videos behind the addresses of live ones."""

    def answer(route):
        video = videos.get(Path(urlsplit(route.request.url).path).stem)
        if video is None:
            route.fulfill(status=404)
            return
        first = int(re.search(r"\d+", route.request.headers.get("range", "bytes=0-"))[0])
        headers = {"Content-Range": f"bytes {first}-{len(video) - 1}/{len(video)}", "Accept-Ranges": "bytes"}
        route.fulfill(status=206, body=video[first:], content_type="video/mp4", headers=headers)

    frontend = Frontend(browser, comfy)
    frontend.page.route("**/musetalk/live/*", answer)
    yield frontend
    frontend.page.close()


@pytest.fixture
def frontend(opened):
    """The graph in which an avatar speaks."""
    opened.load(json.loads(EXAMPLE.read_text()))
    opened.look_at(SPEAK)
    return opened


def announce(frontend: Frontend, kind: str, name: str) -> None:
    """Say what the host says when a node of a kind has a video to watch."""
    frontend.page.evaluate(
        """async ([kind, id]) => {
            const node = window.app.graph._nodes.find((node) => node.type === kind);
            const { api } = await import('/scripts/api.js');
            const detail = { node: String(node.id), id };
            api.dispatchEvent(new CustomEvent('musetalk.live', { detail }));
        }""",
        [kind, name],
    )


def shown(frontend: Frontend, name: str):
    """The video of this name, when it can be seen."""
    video = f"{VIDEO}[src*='/musetalk/live/{name}.mp4']"
    frontend.page.wait_for_function(f'() => document.querySelector("{video}")?.readyState > 0')
    return frontend.page.locator(video)


def height(frontend: Frontend) -> float:
    return frontend.page.evaluate("(kind) => app.graph._nodes.find((node) => node.type === kind).size[1]", SPEAK)


def test_a_video_plays_in_the_node_that_makes_it(frontend):
    announce(frontend, SPEAK, "wide")
    video = shown(frontend, "wide")
    assert video.evaluate("(v) => v.controls && v.playsInline && !v.muted")
    frontend.page.wait_for_function(f"() => document.querySelector('{VIDEO}').currentTime > 0.1")


def test_no_other_node_gets_a_player(frontend):
    announce(frontend, "SaveVideo", "wide")
    frontend.page.wait_for_timeout(300)
    assert frontend.page.locator(".musetalk-panel").count() == 0


def test_node_is_as_high_as_its_video_but_saved_as_it_was(frontend):
    saved, before = frontend.node(SPEAK), height(frontend)
    announce(frontend, SPEAK, "high")
    shown(frontend, "high")
    highest = height(frontend)
    announce(frontend, SPEAK, "wide")
    shown(frontend, "wide")
    assert before <= height(frontend) < highest
    assert frontend.node(SPEAK) == saved


def test_height_set_by_hand_stays(frontend):
    announce(frontend, SPEAK, "wide")
    shown(frontend, "wide")
    script = "(kind) => app.graph._nodes.find((n) => n.type === kind).setSize([340, 700])"
    frontend.page.evaluate(script, SPEAK)
    announce(frontend, SPEAK, "high")
    shown(frontend, "high")
    assert height(frontend) == 700
    assert list(frontend.node(SPEAK)["size"]) == [340, 700]


def test_undo_keeps_the_player_where_it_was(frontend):
    announce(frontend, SPEAK, "wide")
    shown(frontend, "wide").evaluate("(v) => { v.pause(); v.currentTime = 2; }")
    frontend.page.wait_for_timeout(300)
    # Undo loads an earlier state into the same workflow.
    frontend.page.evaluate(
        """() => {
            const { workflow } = app.extensionManager;
            return app.loadGraphData(app.graph.serialize(), false, false, workflow.activeWorkflow);
        }"""
    )
    frontend.page.wait_for_timeout(500)
    frontend.look_at(SPEAK)
    video = shown(frontend, "wide")
    assert video.evaluate("(v) => v.paused")
    assert video.evaluate("(v) => v.currentTime") == pytest.approx(2, abs=0.1)


def test_a_copy_in_another_tab_does_not_show_it(frontend):
    announce(frontend, SPEAK, "wide")
    shown(frontend, "wide")
    frontend.load(frontend.graph())  # with the same ids
    frontend.page.wait_for_timeout(500)
    assert frontend.page.locator(".musetalk-panel").count() == 0
    frontend.page.evaluate("app.extensionManager.command.execute('Workspace.PreviousOpenedWorkflow')")
    frontend.page.wait_for_timeout(500)
    frontend.look_at(SPEAK)
    shown(frontend, "wide")


def test_a_node_that_is_deleted_lets_its_video_go(frontend):
    announce(frontend, SPEAK, "wide")
    shown(frontend, "wide").evaluate("(v) => { window.video = v; }")
    frontend.page.evaluate("(kind) => app.graph.remove(app.graph._nodes.find((n) => n.type === kind))", SPEAK)
    frontend.page.wait_for_function("() => video.networkState === HTMLMediaElement.NETWORK_EMPTY")
    assert frontend.page.evaluate("video.getAttribute('src')") is None


def test_a_video_that_the_host_has_forgotten_leaves_no_player(frontend):
    before = height(frontend)
    announce(frontend, SPEAK, "forgotten")
    frontend.page.wait_for_timeout(500)
    assert frontend.page.locator(".musetalk-panel").count() == 0
    assert height(frontend) == before
