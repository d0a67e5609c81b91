"""Live sessions in a real ComfyUI: sound in, the speaking face out, side by side and beside graphs."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass, field

import aiohttp
import av
import numpy as np
import pytest

from tests.host.comfy_server import ComfyServer
from tests.host.graphs import speaking
from tests.host.test_avatars import prepare

RATE = 16000
NAME = "live"


@pytest.fixture(scope="module")
def avatar(comfy: ComfyServer) -> str:
    graph = prepare(NAME, video=None, image=["picture", 0])
    del graph["film"], graph["avatar"]["inputs"]["video"]
    graph["picture"] = {
        "class_type": "TestPictures",
        "inputs": {"count": 1, "height": 128, "width": 128, "channels": 3},
    }
    result = comfy.run(graph, timeout=300)
    assert result.status == "success", result.error
    return NAME


@dataclass
class Client:
    """What a client of a session was told, and whether it has said that it leaves."""

    opened: dict = field(default_factory=dict)
    states: list[bool] = field(default_factory=list)
    error: dict | None = None
    left: bool = False
    video: bytearray = field(default_factory=bytearray)

    @property
    def sound(self) -> np.ndarray:
        """All that is heard, float (n,) at its own rate."""
        with av.open(io.BytesIO(bytes(self.video))) as file:
            return np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])

    @property
    def frames(self) -> int:
        with av.open(io.BytesIO(bytes(self.video))) as file:
            return sum(1 for _ in file.decode(video=0))


def noise(seconds: float) -> bytes:
    return np.random.default_rng(0).integers(-12000, 12000, int(seconds * RATE)).astype("<i2").tobytes()


async def converse(comfy: ComfyServer, seconds: float, interrupt: bool = False) -> Client:
    """Say noise and wait until it was spoken."""
    client = Client()
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{comfy.url}/musetalk/session", max_msg_size=0) as socket,
    ):
        await socket.send_json({"type": "open", "avatar": NAME, "sample_rate": RATE})
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                client.video += message.data
                # The video of what was spoken last comes after the message that it is silent again.
                silent = client.states and not client.states[-1]
                if silent and not client.left and (interrupt or spoken(client) >= seconds):
                    client.left = True
                    await socket.send_json({"type": "close"})
                continue
            told = json.loads(message.data)
            if told["type"] == "opened":
                client.opened = told
                await socket.send_bytes(noise(seconds))
                await socket.send_json({"type": "flush"})
            elif told["type"] == "error":
                client.error = told
            elif told["type"] == "state":
                client.states.append(told["speaking"])
                if told["speaking"] and interrupt:
                    await socket.send_json({"type": "interrupt"})
    return client


def spoken(client: Client) -> float:
    """Seconds of noise in what came so far."""
    sound = client.sound
    blocks = sound[: len(sound) // 441 * 441].reshape(-1, 441)  # 10 ms
    return (np.abs(blocks).mean(axis=1) > 0.02).sum() / 100 + 0.15  # the edges


def test_what_is_sent_is_spoken(comfy, avatar):
    client = asyncio.run(asyncio.wait_for(converse(comfy, 0.6), 120))
    assert client.error is None
    assert (client.opened["width"], client.opened["height"], client.opened["fps"]) == (128, 128, "25")
    assert client.states[0] is True and client.states[-1] is False
    assert client.frames >= 15


def test_two_sessions_speak_at_once(comfy, avatar):
    async def both() -> list[Client]:
        return await asyncio.wait_for(asyncio.gather(converse(comfy, 0.4), converse(comfy, 0.4)), 180)

    first, second = asyncio.run(both())
    assert first.error is second.error is None
    assert True in first.states and True in second.states


def test_an_interruption_cuts_what_is_left(comfy, avatar):
    client = asyncio.run(asyncio.wait_for(converse(comfy, 8, interrupt=True), 120))
    assert client.error is None
    assert spoken(client) < 4


def test_a_graph_runs_beside_an_open_session(comfy, avatar):
    async def beside() -> tuple[Client, str]:
        talking = asyncio.ensure_future(converse(comfy, 0.6))
        await asyncio.sleep(1)
        entry = await asyncio.to_thread(lambda: comfy.wait(comfy.queue(speaking(seconds=0.2)), 240))
        return await asyncio.wait_for(talking, 240), entry["status"]["status_str"]

    client, status = asyncio.run(beside())
    assert status == "success"
    assert client.error is None and True in client.states
