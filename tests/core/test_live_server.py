"""Clients of live sessions, well-behaved and otherwise: what they get, and that nothing of them stays behind."""

from __future__ import annotations

import asyncio
import io
import json
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import aiohttp
import numpy as np
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestClient, TestServer

from musetalk_core.errors import InputError, WeightsMissingError
from musetalk_core.growing import Growing
from musetalk_core.live_connection import LIMITS, Limits
from musetalk_core.live_protocol import OpenRequest
from musetalk_core.live_server import LiveServer
from musetalk_core.sound_input import read_sound
from tests.core.live_stand_ins import FPS, StandInStudio
from tests.core.media_samples import plain_decode

OPEN = {"type": "open", "avatar": "anna", "sample_rate": 16000}
LOOSE = 10.0  # seconds; far more than anything here takes


@dataclass(frozen=True)
class Info:
    name: str
    fps: Fraction


def with_server(
    scenario: Callable[[TestClient], Awaitable[None]],
    studio: Callable | None = None,
    limits: Limits = LIMITS,
) -> None:
    """Runs a client against a server, and sees that nothing is left of either afterwards."""

    async def run() -> None:
        app = web.Application()
        routes = web.RouteTableDef()
        server = LiveServer(
            studio or StandInStudio(),
            lambda: [Info("anna", Fraction(25)), Info("otto", Fraction(30000, 1001))],
            Growing(lambda: Path("unused")),
            limits,
        )
        server.add_to(routes)
        app.add_routes(routes)
        async with TestClient(TestServer(app)) as client:
            tasks, files = len(asyncio.all_tasks()), open_files()
            await scenario(client)
            await eventually(lambda: not sessions_running())
            await client.session.close()
            await eventually(lambda: len(asyncio.all_tasks()) <= tasks)
            await eventually(lambda: open_files() <= files)

    asyncio.run(asyncio.wait_for(run(), 60))
    if isinstance(studio, StandInStudio):
        assert all(session.closed for session in studio.sessions)


def sessions_running() -> bool:
    return any(thread.name == "musetalk-live" for thread in threading.enumerate())


def open_files() -> int:
    return len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0  # there is none on Windows


async def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(int(LOOSE / 0.01)):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


@asynccontextmanager
async def opened(client: TestClient, **changed) -> AsyncIterator[tuple[aiohttp.ClientWebSocketResponse, dict]]:
    async with client.ws_connect("/musetalk/session") as socket:
        await socket.send_json({**OPEN, **changed})
        answer = await socket.receive_json(timeout=LOOSE)
        yield socket, answer


async def until(socket: aiohttp.ClientWebSocketResponse, fits: Callable[[dict], bool]) -> tuple[bytes, dict]:
    """The video up to a text message, and that."""
    video = bytearray()
    while True:
        message = await socket.receive(timeout=LOOSE)
        if message.type is WSMsgType.BINARY:
            video += message.data
        elif message.type is WSMsgType.TEXT:
            if fits(message.json()):
                return bytes(video), message.json()
        else:
            raise AssertionError(f"closed with {socket.close_code}")


async def farewell(socket: aiohttp.ClientWebSocketResponse) -> tuple[dict | None, int]:
    """The error a session ends with, and the code it is closed with."""
    error = None
    async for message in socket:
        if message.type is WSMsgType.TEXT and message.json()["type"] == "error":
            error = message.json()
    return error, socket.close_code


def pcm(seconds: float, rate: int = 16000) -> bytes:
    time = np.arange(int(seconds * rate)) / rate
    return (np.sin(2 * np.pi * 440 * time) * 16000).astype("<i2").tobytes()


def speaking(value: bool) -> Callable[[dict], bool]:
    return lambda message: message == {"type": "state", "speaking": value}


# What a client gets


def test_a_session_speaks_what_it_is_sent() -> None:
    studio = StandInStudio(room=4000)

    async def scenario(client: TestClient) -> None:
        async with opened(client) as (socket, answer):
            assert answer["type"] == "opened"
            assert (answer["width"], answer["height"], answer["fps"]) == (64, 48, "25")
            assert answer["mime"].startswith('video/mp4; codecs="avc1.')
            await socket.send_bytes(pcm(1)[:20000])
            await socket.send_bytes(pcm(1)[20000:])
            await socket.send_json({"type": "flush"})
            before, _ = await until(socket, speaking(True))
            during, _ = await until(socket, speaking(False))
            after = bytearray()
            while not after.count(b"moof") > 3:
                after += (await socket.receive(timeout=LOOSE)).data
            await socket.send_json({"type": "close"})
            error, code = await farewell(socket)
            assert (error, code) == (None, 1000)
        video = before + during + after
        assert video[4:8] == b"ftyp"
        assert len(plain_decode(io.BytesIO(video))) > 25
        heard = np.abs(read_sound(io.BytesIO(video)).waveform[0]) > 0.2
        assert heard.sum() / 44100 == pytest.approx(0.72, abs=0.1)  # a sine is above 0.2 of 0.49 for that part of 1 s

    with_server(scenario, studio)
    (session,) = studio.sessions
    assert studio.requests == [OpenRequest("anna", 16000)]
    np.testing.assert_array_equal(np.concatenate(session.taken), np.frombuffer(pcm(1), "<i2") / np.float32(32768))
    assert session.events == ["flush after 16000", "leave", "close"]


def test_two_sessions_at_once_are_apart() -> None:
    studio = StandInStudio()

    async def scenario(client: TestClient) -> None:
        async with opened(client) as (one, _), opened(client, sample_rate=48000) as (two, _):
            await one.send_bytes(pcm(0.2))
            await until(one, speaking(False))
            await two.send_bytes(pcm(0.2, 48000))
            await until(two, speaking(False))
            await one.close()
            await two.send_bytes(pcm(0.2, 48000))
            await until(two, speaking(False))

    with_server(scenario, studio)
    assert [sum(map(len, session.taken)) for session in studio.sessions] == [3200, 19200]


def test_an_interruption_overtakes_the_sound_that_waits() -> None:
    studio = StandInStudio(room=1600)
    studio.held = True

    async def scenario(client: TestClient) -> None:
        async with opened(client) as (socket, _):
            for _ in range(10):
                await socket.send_bytes(pcm(1))
            await socket.send_json({"type": "flush"})
            await socket.send_json({"type": "interrupt"})
            await eventually(lambda: studio.sessions[0].events == ["interrupt"])
            studio.sessions[0].held.clear()
            await socket.send_bytes(pcm(0.5))
            await until(socket, speaking(False))

    with_server(scenario, studio)
    # The first tenth of a second was taken before; then only what came after the interruption.
    assert sum(map(len, studio.sessions[0].taken)) == 1600 + 8000


def test_the_avatars_are_listed() -> None:
    async def scenario(client: TestClient) -> None:
        async with client.get("/musetalk/avatars") as answer:
            assert await answer.json() == [{"name": "anna", "fps": "25"}, {"name": "otto", "fps": "30000/1001"}]

    with_server(scenario)


# Clients that do something wrong


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([b"\0\0"], "before a session was open"),
        (["no JSON"], "no JSON object"),
        (["[1]"], "no JSON object"),
        (["[" * 100_000], "no JSON object"),
        (['{"type": 5}'], "no JSON object"),
        (['{"type": "flush"}'], "'flush'"),
        ([json.dumps({"type": "open", "sample_rate": 16000})], "no avatar"),
        ([json.dumps({**OPEN, "avatar": ["anna"]})], "no avatar"),
        ([json.dumps({**OPEN, "sample_rate": 7999})], "7999"),
        ([json.dumps({**OPEN, "sample_rate": 1e999})], "inf"),
        ([json.dumps({**OPEN, "sample_rate": True})], "True"),
        ([json.dumps({**OPEN, "sample_rate": 47999})], "47999"),
        ([json.dumps(OPEN), json.dumps(OPEN)], "open already"),
        ([json.dumps(OPEN), "{}"], "no JSON object"),
        ([json.dumps(OPEN), '{"type": "dance"}'], "'dance'"),
        ([json.dumps(OPEN), b"\0\0\0"], "3 bytes"),
    ],
)
def test_what_makes_no_sense_is_named_and_ends_the_session(messages: list[str | bytes], complaint: str) -> None:
    async def scenario(client: TestClient) -> None:
        async with client.ws_connect("/musetalk/session") as socket:
            for message in messages:
                await (socket.send_str if isinstance(message, str) else socket.send_bytes)(message)
            error, code = await farewell(socket)
            assert complaint in error["cause"] and error["remedy"]
            assert error["message"] == f"{error['cause']} {error['remedy']}"
            assert code == 1008

    with_server(scenario, StandInStudio())


@pytest.mark.parametrize("early", [True, False])
def test_a_message_that_is_too_big_ends_the_session(early: bool) -> None:
    async def scenario(client: TestClient) -> None:
        async with client.ws_connect("/musetalk/session") as socket:
            if not early:
                await socket.send_json(OPEN)
            await socket.send_bytes(bytes(70_000))
            assert (await farewell(socket))[1] == 1009

    with_server(scenario, StandInStudio(), Limits(message=65536))


def test_sound_far_ahead_of_what_is_spoken_ends_the_session() -> None:
    studio = StandInStudio(room=1600)
    studio.held = True

    async def scenario(client: TestClient) -> None:
        async with opened(client) as (socket, _):
            for _ in range(4):
                await socket.send_bytes(pcm(1))
            error, code = await farewell(socket)
            assert "faster than it is spoken" in error["cause"] and code == 1008

    with_server(scenario, studio, Limits(backlog=3))


def test_who_says_nothing_is_not_waited_for() -> None:
    async def scenario(client: TestClient) -> None:
        async with client.ws_connect("/musetalk/session") as socket:
            error, code = await farewell(socket)
            assert "0.2 s" in error["cause"] and code == 1008
        async with opened(client) as (socket, _):
            for _ in range(4):
                await asyncio.sleep(0.3)
                await socket.send_bytes(b"")
            error, code = await farewell(socket)
            assert "1 s" in error["cause"] and code == 1008

    with_server(scenario, StandInStudio(), Limits(opening=0.2, idle=1))


def test_who_listens_is_not_silent() -> None:
    studio = StandInStudio(room=1600)
    studio.held = True  # as while a graph runs: the sound waits, and is not spoken

    async def scenario(client: TestClient) -> None:
        async with opened(client) as (socket, _):
            await socket.send_bytes(pcm(0.5))
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(farewell(socket), 1.2)
            studio.sessions[0].held.clear()
            await until(socket, speaking(True))
            error, code = await farewell(socket)
            assert "0.5 s" in error["cause"] and code == 1008

    with_server(scenario, studio, Limits(idle=0.5))


def test_a_microphone_may_wait_as_long_as_a_whole_answer() -> None:
    studio, sound = StandInStudio(room=16000), pcm(30)
    studio.held = True

    async def scenario(client: TestClient) -> None:
        async with opened(client) as (socket, _):
            for i in range(1500):  # half a minute
                await socket.send_bytes(sound[640 * i : 640 * (i + 1)])
            await socket.send_json({"type": "flush"})
            await socket.send_json({"type": "flush"})
            studio.sessions[0].held.clear()
            await until(socket, speaking(False))
            await socket.send_json({"type": "close"})
            assert await farewell(socket) == (None, 1000)

    with_server(scenario, studio)
    (session,) = studio.sessions
    np.testing.assert_array_equal(np.concatenate(session.taken), np.frombuffer(sound, "<i2") / np.float32(32768))
    assert session.events == ["flush after 480000", "leave", "close"]


def test_words_without_sound_do_not_pile_up() -> None:
    studio = StandInStudio(room=10)
    studio.held = True

    async def scenario(client: TestClient) -> None:
        async with opened(client) as (socket, _):
            await socket.send_bytes(pcm(0.1))
            for _ in range(100):
                await socket.send_bytes(b"\0\0")
                await socket.send_json({"type": "flush"})
            error, code = await farewell(socket)
            assert "faster than it is spoken" in error["cause"] and code == 1008

    with_server(scenario, studio, Limits(backlog=3))


def test_a_session_that_ends_by_itself_is_closed() -> None:
    studio = StandInStudio()

    async def scenario(client: TestClient) -> None:
        async with opened(client) as (socket, _):
            studio.sessions[0].close()
            assert await farewell(socket) == (None, 1000)

    with_server(scenario, studio)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (InputError("There is no avatar 'anna'.", "Prepare it."), 1008),
        (WeightsMissingError("A file is missing.", "Fetch it."), 1011),
        (ZeroDivisionError("secret"), 1011),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_what_goes_wrong_inside_is_told(failure: Exception, code: int, late: bool) -> None:
    studio = StandInStudio()

    def open_session(request: OpenRequest):
        if not late:
            raise failure
        return studio(request)

    async def scenario(client: TestClient) -> None:
        async with client.ws_connect("/musetalk/session") as socket:
            await socket.send_json(OPEN)
            if late:
                await socket.receive_json()
                studio.sessions[0].breaks = failure
            error, closed_with = await farewell(socket)
            assert closed_with == code
            assert "secret" not in error["message"] and error["remedy"]
            if isinstance(failure, InputError):
                assert error["cause"] == "There is no avatar 'anna'."

    with_server(scenario, open_session)
    assert all(session.closed for session in studio.sessions)


def test_without_a_websocket_the_address_explains_itself() -> None:
    async def scenario(client: TestClient) -> None:
        async with client.get("/musetalk/session") as answer:
            assert answer.status == 400 and "WebSocket" in (await answer.json())["error"]

    with_server(scenario)


# Clients that vanish, crawl or come in crowds


@pytest.mark.parametrize("after", ["connecting", "asking", "opening"])
def test_nothing_stays_of_a_client_that_vanishes(after: str) -> None:
    studio = StandInStudio()

    async def scenario(client: TestClient) -> None:
        socket = await client.ws_connect("/musetalk/session")
        if after != "connecting":
            await socket.send_json(OPEN)
        if after == "opening":
            await socket.receive_json()
            await socket.send_bytes(pcm(1))
        socket._response.connection.transport.abort()
        if after != "connecting":
            await eventually(lambda: bool(studio.sessions) and studio.sessions[0].closed)

    with_server(scenario, studio)


async def open_without_reading(client: TestClient) -> asyncio.StreamWriter:
    """A session whose client has opened it and takes nothing of it."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(UPGRADE)
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()
    writer.write(masked(json.dumps(OPEN).encode()))
    return writer


def test_a_client_that_does_not_read_stops_its_session_only() -> None:
    studio = StandInStudio()
    studio.shape = (256, 256, 3)  # noise: it fills the network's buffers soon

    async def scenario(client: TestClient) -> None:
        writer = await open_without_reading(client)
        await eventually(lambda: bool(studio.sessions) and studio.sessions[0].frames > 0)
        frames = -1
        while frames < (frames := studio.sessions[0].frames):
            await asyncio.sleep(1)
        async with opened(client) as (socket, _):
            await socket.send_bytes(pcm(0.2))
            await until(socket, speaking(False))
        assert studio.sessions[0].frames == frames and not studio.sessions[0].closed
        writer.transport.abort()

    with_server(scenario, studio)


def test_a_client_that_neither_reads_nor_speaks_is_not_kept() -> None:
    studio = StandInStudio()
    studio.shape = (256, 256, 3)

    async def scenario(client: TestClient) -> None:
        writer = await open_without_reading(client)
        await eventually(lambda: bool(studio.sessions) and studio.sessions[0].closed)
        await eventually(lambda: not sessions_running())
        writer.close()

    with_server(scenario, studio, Limits(idle=1.5, parting=0.2))


def test_crowds_are_refused_and_leave_nothing() -> None:
    limits = Limits(sessions=2, handshakes=3)

    async def scenario(client: TestClient) -> None:
        async def knock() -> bytes:
            reader, writer = await asyncio.open_connection(client.host, client.port)
            writer.write(UPGRADE)
            answer = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            return answer.split()[1]

        handshakes = [await client.ws_connect("/musetalk/session") for _ in range(3)]
        async with client.get("/musetalk/session", headers=UPGRADE_HEADERS) as answer:
            assert answer.status == 503 and "not opened" in (await answer.json())["error"]
        for socket in handshakes[:2]:
            await socket.send_json(OPEN)
            assert (await socket.receive_json())["type"] == "opened"
        await handshakes[2].send_json(OPEN)  # was let in before, and comes too late
        error, code = await farewell(handshakes[2])
        assert "in use" in error["cause"] and code == 1013
        for _ in range(100):
            assert set(await asyncio.gather(*(knock() for _ in range(100)))) == {b"503"}
        for socket in handshakes:
            await socket.close()
        await eventually(lambda: not sessions_running())
        async with opened(client) as (socket, answer):
            assert answer["type"] == "opened"

    with_server(scenario, StandInStudio(), limits)


UPGRADE_HEADERS = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
UPGRADE = (
    "GET /musetalk/session HTTP/1.1\r\nHost: here\r\n"
    + "".join(f"{name}: {value}\r\n" for name, value in UPGRADE_HEADERS.items())
    + "\r\n"
).encode()


def masked(text: bytes) -> bytes:
    """A short text message as a client frames it; a mask of zeros leaves it readable."""
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


assert FPS == 25  # what the tests above count on
