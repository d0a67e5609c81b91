"""The panels in the host's own frontend: what they show, what they change, and that saved graphs do not know them."""

from __future__ import annotations

import base64
import json
import re
import wave

import numpy as np
import pytest

from musetalk_core.faces import Observations, make_track
from tests.host.browser import Frontend
from tests.host.comfy_server import REPOSITORY
from tests.host.graphs import SYNTHETIC

EXAMPLE = REPOSITORY / "example_workflows" / "MuseTalk picture speaks.json"
LANDMARKS, BLEND, OPTIONS = "MuseTalkDWPoseLandmarks", "MuseTalkFaceParseBlend", "MuseTalkFaceOptions"
NODE = "(kind) => window.app.graph._nodes.find((node) => node.type === kind)"
HANDLE, MASK = ".musetalk-handle", ".musetalk-stage img"
SIZE = 512  # px of the sample's picture


@pytest.fixture(scope="module")
def frontend(browser, comfy):
    """The first example graph, run once."""
    comfy.upload(REPOSITORY / "assets" / "sample" / "face.jpg")
    with wave.open(str(comfy.input_dir / "voice.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16000)
        sound.writeframes(np.random.default_rng(0).integers(-9000, 9000, 3200).astype("<i2").tobytes())
    frontend = Frontend(browser, comfy)
    show_example(frontend)
    yield frontend
    frontend.page.close()


@pytest.fixture
def panel(frontend):
    """The panel of the landmarks node, in sight, at bbox_shift 0."""
    frontend.turn(LANDMARKS, "bbox_shift", 0)
    frontend.turn(LANDMARKS, "extra_margin", 10)
    frontend.look_at(LANDMARKS)
    return frontend.page.locator(HANDLE)


_smoothings = iter(np.arange(0.05, 1.0, 0.05).tolist())


def load_example(frontend: Frontend) -> None:
    frontend.load(json.loads(EXAMPLE.read_text()))
    frontend.turn("MuseTalkLoadModels", "weights", SYNTHETIC)
    # It changes nothing of a still, but the host runs the nodes again instead of using what it has.
    frontend.turn(LANDMARKS, "smoothing", next(_smoothings))


def show_example(frontend: Frontend) -> None:
    load_example(frontend)
    run_example(frontend)


def run_example(frontend: Frontend) -> None:
    assert frontend.run()["status"]["status_str"] == "success"
    frontend.page.wait_for_selector(f"{MASK}[src]", state="attached")
    frontend.page.wait_for_selector(HANDLE, state="attached")


def given(entry: dict, kind: str) -> tuple[dict, dict]:
    """The inputs and the outputs of the node of a kind in a run."""
    graph = entry["prompt"][2]
    name = next(name for name, node in graph.items() if node["class_type"] == kind)
    return graph[name]["inputs"], entry["outputs"].get(name)


def drag(frontend: Frontend, handle, pixels: float) -> None:
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    frontend.page.mouse.move(x, y)
    frontend.page.mouse.down()
    frontend.page.mouse.move(x, y + pixels / 2)
    frontend.page.mouse.move(x, y + pixels)
    frontend.page.mouse.up()
    frontend.settle()


def canvas_point(frontend: Frontend, x: float, y: float) -> tuple[float, float]:
    """Where a point of the frame is on the page; the example's face is large enough for all of it to be shown."""
    box = frontend.page.locator(".musetalk-stage canvas").bounding_box()
    return box["x"] + x / SIZE * box["width"], box["y"] + y / SIZE * box["height"]


def test_box_is_the_one_that_a_run_would_give(browser):
    random = np.random.default_rng(0)
    count, height, width = 40, 200, 240
    landmarks = random.integers(0, 60, (count, 68, 2)) + random.integers(-25, 190, (count, 1, 2))
    landmarks[::9] = -1  # another's
    landmarks[1::9, :, 0] = 50  # an empty box
    corner = random.integers(0, 100, (count, 2))
    detections = np.concatenate((corner, corner + random.integers(1, 90, (count, 2))), axis=1)
    seen = Observations(height, width, landmarks, np.ones((count, 68)), detections, np.zeros(count, bool))
    page = browser.new_page()
    source = base64.b64encode((REPOSITORY / "web" / "geometry.js").read_bytes()).decode()
    page.evaluate(f"import('data:text/javascript;base64,{source}').then((made) => {{ window.made = made; }})")
    boxes = """([faces, shift, margin]) =>
        faces.map((face) => window.made.faceBox(face, shift, margin).box ?? [0, 0, 0, 0])"""
    for turned in (False, True):
        for shift in (-60, -7, 0, 5, 20):
            turn = (lambda points: (points, np.ones(len(points)))) if turned else None
            track = make_track(seen, shift, 9, turn=turn)
            faces = [
                {
                    "landmarks": landmarks[i].tolist() if seen.marked[i] else None,
                    "turned": bool(track.angles[i]),
                    "detection": detections[i].tolist(),
                    "width": width,
                    "height": height,
                }
                for i in range(count)
            ]
            assert page.evaluate(boxes, [faces, shift, 9]) == track.boxes.tolist(), (turned, shift)
    page.close()


def test_saved_graph_does_not_know_the_panels(frontend):
    load_example(frontend)
    before = {node["id"]: node for node in frontend.graph()["nodes"]}
    run_example(frontend)
    for node in frontend.graph()["nodes"]:
        if node["type"] in (LANDMARKS, BLEND):
            assert node == before[node["id"]]


def test_node_of_its_smallest_size_grows_but_is_saved_as_it_was(frontend):
    graph = json.loads(EXAMPLE.read_text())
    node = next(node for node in graph["nodes"] if node["type"] == LANDMARKS)
    node["size"] = [300, 280]
    frontend.load(graph)
    before = frontend.node(LANDMARKS)
    frontend.page.evaluate(
        """([kind, data]) => window.app.graph._nodes.find((node) => node.type === kind)
            .onExecuted({ musetalk_shift: [data] })""",
        [LANDMARKS, shift_data()],
    )
    frontend.look_at(LANDMARKS)
    stage = frontend.page.locator(".musetalk-stage").bounding_box()
    assert stage["width"] > 250 and stage["height"] == pytest.approx(stage["width"], abs=24)
    assert frontend.node(LANDMARKS) == before
    show_example(frontend)


def shift_data() -> dict:
    points = [[200 + i, 150 + 2 * i] for i in range(68)]
    face = {"picture": {"filename": "face.jpg", "subfolder": "", "type": "input"}, "landmarks": points, "frame": 0}
    face |= {"width": SIZE, "height": SIZE, "angle": 0, "turned": False, "detection": [200, 150, 268, 286]}
    return face | {"bbox_shift": 0, "extra_margin": 10, "has_margin": True, "range": [-2, 2]}


def test_dragging_the_upper_edge_sets_bbox_shift_and_the_next_run_uses_it(frontend, panel):
    place, top = frontend.node(LANDMARKS)["pos"], panel.bounding_box()["y"]
    offset = frontend.page.evaluate("[...window.app.canvas.ds.offset]")
    drag(frontend, panel, 12)
    value = frontend.widget(LANDMARKS, "bbox_shift")
    assert value > 0, "downwards is more"
    assert panel.bounding_box()["y"] == pytest.approx(top + 12, abs=3), "the edge follows the hand"
    assert panel.get_attribute("aria-valuenow") == str(value)
    assert frontend.node(LANDMARKS)["pos"] == place, "the node stays"
    assert frontend.page.evaluate("[...window.app.canvas.ds.offset]") == offset, "so does the canvas"

    inputs, outputs = given(frontend.run(), LANDMARKS)
    assert inputs["bbox_shift"] == value
    assert outputs["musetalk_shift"][0]["bbox_shift"] == value


def test_keys_move_the_upper_edge(frontend, panel):
    panel.focus()
    assert panel.get_attribute("role") == "slider"
    lowest, highest = given_range(frontend)
    for key, expected in (
        ("ArrowUp", 1),
        ("ArrowRight", 2),
        ("ArrowDown", 1),
        ("PageUp", 6),
        ("PageDown", 1),
        ("Home", lowest),
        ("End", highest),
    ):
        panel.press(key)
        assert frontend.widget(LANDMARKS, "bbox_shift") == expected, key
    value = frontend.page.locator(".musetalk-caption b").first
    assert "warning" not in (value.get_attribute("class") or "")
    panel.press("ArrowUp")
    assert frontend.widget(LANDMARKS, "bbox_shift") == highest + 1, "leaving the range is allowed"
    frontend.settle()
    assert "warning" in value.get_attribute("class")
    for _ in range(25):
        panel.press("PageUp")
    assert frontend.widget(LANDMARKS, "bbox_shift") == 100 == int(panel.get_attribute("aria-valuemax"))


def remove(frontend: Frontend, kind: str) -> None:
    script = "(kind) => { const { graph } = window.app; graph.remove(graph._nodes.find((n) => n.type === kind)); }"
    frontend.page.evaluate(script, kind)


def given_range(frontend: Frontend) -> list[int]:
    text = frontend.page.locator(HANDLE).get_attribute("aria-valuetext")
    return [int(number.replace("−", "-")) for number in re.findall(r"[-−+]?\d+", text)][1:]


def test_margin_and_shift_of_the_widgets_are_drawn_at_once(frontend, panel):
    def drawn():
        frontend.settle()
        return frontend.page.evaluate("document.querySelector('.musetalk-stage canvas').toDataURL()")

    first = drawn()
    frontend.turn(LANDMARKS, "extra_margin", 40)
    wider = drawn()
    frontend.turn(LANDMARKS, "bbox_shift", 4)
    assert len({first, wider, drawn()}) == 3
    frontend.turn(LANDMARKS, "bbox_shift", 0)
    frontend.turn(LANDMARKS, "extra_margin", 10)
    assert drawn() == first


def test_shift_from_another_node_is_shown_but_not_dragged(frontend, panel):
    link = """(kind) => {
        const { graph } = window.app, node = graph._nodes.find((node) => node.type === kind);
        const source = window.LiteGraph.createNode('PrimitiveInt');
        graph.add(source);
        source.connect(0, node, node.inputs.findIndex((input) => input.name === 'bbox_shift'));
    }"""
    frontend.page.evaluate(link, LANDMARKS)
    frontend.settle()
    assert panel.get_attribute("aria-disabled") == "true"
    drag(frontend, panel, 20)
    panel.press("ArrowUp")
    assert frontend.widget(LANDMARKS, "bbox_shift") == 0
    frontend.page.evaluate(
        "() => window.app.graph.remove(window.app.graph._nodes.find((node) => node.type === 'PrimitiveInt'))"
    )
    frontend.settle()
    assert panel.get_attribute("aria-disabled") == "false"


def test_undo_takes_a_drag_back_and_keeps_the_panel(frontend, panel):
    drag(frontend, panel, 14)
    assert frontend.widget(LANDMARKS, "bbox_shift") > 0
    frontend.page.keyboard.press("Control+z")
    frontend.page.wait_for_timeout(700)
    assert frontend.widget(LANDMARKS, "bbox_shift") == 0
    frontend.look_at(LANDMARKS)
    assert panel.count() == 1 and panel.is_visible()


def test_other_mask_settings_are_shown_without_a_run(frontend, comfy):
    frontend.look_at(BLEND)
    asked, shown, runs = [], [], len(comfy.get("/history"))
    frontend.page.on("response", lambda answer: asked.append(answer.url) if "/mask/" in answer.url else None)
    for mode, width in (("jaw", 90), ("jaw", 30), ("neck", 30)):
        frontend.turn(BLEND, "mask_mode", mode)
        frontend.turn(BLEND, "cheek_width", width)
        frontend.page.wait_for_timeout(500)
        assert asked[-1].endswith(f"mask_mode={mode}&cheek_width={width}")
        assert frontend.page.evaluate(f"document.querySelector('{MASK}').naturalWidth") > 200
        shown.append(frontend.page.locator(MASK).get_attribute("src"))
    assert len(set(shown)) == 3
    assert len(comfy.get("/history")) == runs


def test_a_click_chooses_the_face_there(frontend, panel):
    frontend.page.mouse.click(*canvas_point(frontend, 60, 80))
    frontend.settle()
    node = frontend.node(OPTIONS)
    face, _, x, y = node["widgets_values"][:4]
    assert face == "at a point" and (x, y) == (pytest.approx(60, abs=4), pytest.approx(80, abs=4))
    assert node["pos"][0] + node["size"][0] < frontend.node(LANDMARKS)["pos"][0]
    frontend.page.mouse.click(*canvas_point(frontend, 470, 90))
    frontend.settle()
    assert frontend.widget(OPTIONS, "x") == pytest.approx(470, abs=4)
    assert sum(node["type"] == OPTIONS for node in frontend.graph()["nodes"]) == 1
    inputs, _ = given(frontend.run(), LANDMARKS)
    assert "face_options" in inputs
    remove(frontend, OPTIONS)


def test_panels_follow_language_and_theme(frontend, panel):
    note, root = frontend.page.locator(".musetalk-caption .note").first, ".musetalk-panel"
    background = f"getComputedStyle(document.querySelector('{root}')).backgroundColor"
    dark, english = frontend.page.evaluate(background), note.inner_text()
    try:
        frontend.set("Comfy.Locale", "zh")
        frontend.set("Comfy.ColorPalette", "light")
        frontend.page.wait_for_timeout(500)
        frontend.look_at(LANDMARKS)
        assert re.search(r"[\u4e00-\u9fff]", note.inner_text()) and not re.search(r"[\u4e00-\u9fff]", english)
        assert re.search(r"[\u4e00-\u9fff]", panel.get_attribute("aria-label"))
        assert sum(map(int, re.findall(r"\d+", frontend.page.evaluate(background))[:3])) > 600
        assert sum(map(int, re.findall(r"\d+", dark)[:3])) < 300
    finally:
        frontend.set("Comfy.Locale", "en")
        frontend.set("Comfy.ColorPalette", "dark")


def test_a_mask_that_cannot_be_drawn_is_said_in_the_panel(frontend):
    frontend.look_at(BLEND)
    errors = []
    frontend.page.on("pageerror", lambda error: errors.append(error))
    mode = frontend.widget(BLEND, "mask_mode")
    frontend.page.route("**/musetalk/mask/*", lambda route: route.fulfill(status=502, body="<html>Bad gateway"))
    frontend.turn(BLEND, "mask_mode", "jaw" if mode == "neck" else "neck")
    frontend.page.wait_for_selector(".note.warning")
    assert "502" in frontend.page.locator(".note.warning").inner_text()
    frontend.page.unroute("**/musetalk/mask/*")
    frontend.turn(BLEND, "mask_mode", mode)
    frontend.page.wait_for_selector(".note.warning", state="detached")
    assert not errors


def test_a_mask_that_is_forgotten_takes_its_panel_away_until_the_next_run(frontend):
    frontend.page.evaluate(f"() => {{ window.drawing = ({NODE})('{BLEND}').onDrawForeground; }}")
    for _ in range(2):
        picture = frontend.page.locator(MASK).get_attribute("src")
        frontend.page.evaluate(f"({NODE})('{BLEND}').onExecuted({{ musetalk_mask: [{{ id: 'forgotten' }}] }})")
        frontend.page.wait_for_selector(MASK, state="detached")
        assert frontend.page.evaluate("(url) => fetch(url).then(() => 'kept', () => 'gone')", picture) == "gone"
        frontend.turn(LANDMARKS, "smoothing", next(_smoothings))
        run_example(frontend)
    same = frontend.page.evaluate(f"window.drawing === ({NODE})('{BLEND}').onDrawForeground")
    assert same, "the node is not burdened with each panel it has had"


def test_page_loaded_again_has_no_panels_until_the_next_run(frontend):
    frontend.open()
    frontend.load(json.loads(EXAMPLE.read_text()))
    frontend.look_at(LANDMARKS)
    assert frontend.page.locator(".musetalk-panel").count() == 0
    assert frontend.page.evaluate("document.querySelector('.musetalk-panel')") is None
