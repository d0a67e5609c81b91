"""Videos over HTTP while they are being made: from their beginning, as they grow, and finished."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from musetalk_core.growing import Growing
from musetalk_core.live_server import LiveServer

LOOSE = 10.0  # seconds; far more than anything here takes


@pytest.fixture
def streams(tmp_path: Path) -> Growing:
    numbers = count()
    return Growing(lambda: tmp_path / f"{next(numbers)}.mp4", remembered=2)


def ask(streams: Growing, scenario: Callable[[TestClient], Awaitable[None]]) -> None:
    async def run() -> None:
        app, routes = web.Application(), web.RouteTableDef()
        LiveServer(lambda request: None, list, streams).add_to(routes)
        app.add_routes(routes)
        async with TestClient(TestServer(app)) as client:
            await scenario(client)

    asyncio.run(asyncio.wait_for(run(), 30))


def write(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_video_is_sent_as_it_grows_to_those_who_come_early_and_late(streams: Growing, tmp_path: Path) -> None:
    stream = streams.new()

    async def scenario(client: TestClient) -> None:
        early = await client.get(f"/musetalk/live/{stream.id}.mp4")
        assert early.status == 200 and early.content_type == "video/mp4"
        assert early.headers["Transfer-Encoding"] == "chunked" and early.headers["Cache-Control"] == "no-store"
        write(stream.growing, b"one ")
        assert await early.content.readexactly(4) == b"one "
        write(stream.growing, b"two ")
        assert await early.content.readexactly(4) == b"two "
        late = await client.get(f"/musetalk/live/{stream.id}.mp4")
        assert await late.content.readexactly(8) == b"one two "
        write(stream.growing, b"three" * 50_000)
        (tmp_path / "whole.mp4").write_bytes(b"finished")
        stream.finished(tmp_path / "whole.mp4")
        assert await early.read() == await late.read() == b"three" * 50_000

    ask(streams, scenario)


def test_a_finished_video_is_a_file_in_which_one_can_seek(streams: Growing, tmp_path: Path) -> None:
    stream = streams.new()
    write(stream.growing, b"fragments")
    (tmp_path / "whole.mp4").write_bytes(b"0123456789")
    stream.finished(tmp_path / "whole.mp4")
    assert stream.begun and not stream.growing.exists()

    async def scenario(client: TestClient) -> None:
        address = f"/musetalk/live/{stream.id}.mp4"
        whole = await client.get(address)
        assert whole.content_type == "video/mp4" and await whole.read() == b"0123456789"
        part = await client.get(address, headers={"Range": "bytes=4-6"})
        assert part.status == 206 and await part.read() == b"456"
        head = await client.head(address)
        assert head.status == 200 and head.headers["Content-Length"] == "10"
        (tmp_path / "whole.mp4").unlink()
        gone = await client.get(address)
        assert gone.status == 404 and (await gone.json())["remedy"]

    ask(streams, scenario)


def test_asking_for_the_head_alone_does_not_wait(streams: Growing) -> None:
    stream = streams.new()

    async def scenario(client: TestClient) -> None:
        answer = await client.head(f"/musetalk/live/{stream.id}.mp4")
        assert answer.status == 200 and answer.content_type == "video/mp4"

    ask(streams, scenario)


def test_a_video_that_broke_off_ends_and_is_not_there_any_more(streams: Growing) -> None:
    stream = streams.new()

    async def scenario(client: TestClient) -> None:
        watching = await client.get(f"/musetalk/live/{stream.id}.mp4")
        write(stream.growing, b"so far")
        stream.failed()
        assert await watching.read() == b"so far"
        assert (await client.get(f"/musetalk/live/{stream.id}.mp4")).status == 404
        assert stream.gone and not stream.begun and not stream.growing.exists()

    ask(streams, scenario)


def test_what_cannot_be_deleted_yet_is_deleted_with_the_next(streams: Growing, monkeypatch) -> None:
    def in_use(*_, **__) -> None:
        raise PermissionError

    stream = streams.new()
    with monkeypatch.context() as windows:
        windows.setattr(Path, "unlink", in_use)
        stream.failed()
    assert stream.growing.exists()
    streams.new()
    assert not stream.growing.exists()


def test_who_asks_in_the_moment_in_which_it_ends_gets_the_file(streams: Growing, tmp_path: Path) -> None:
    stream = streams.new()
    (tmp_path / "whole.mp4").write_bytes(b"finished")

    class Ending(type(stream.growing)):
        def open(self, *args, **more):
            stream.finished(tmp_path / "whole.mp4")
            return super().open(*args, **more)

    stream.growing = Ending(stream.growing)

    async def scenario(client: TestClient) -> None:
        answer = await client.get(f"/musetalk/live/{stream.id}.mp4")
        assert await answer.read() == b"finished"

    ask(streams, scenario)


@pytest.mark.parametrize(
    "name", ["", "x.mp4", "x", "..%2F..%2Fsecret.mp4", "a/b.mp4", "%00.mp4", "0.mp4", "%2Fetc%2Fpasswd", "é" * 1000]
)
def test_unknown_names_are_refused_as_json(streams: Growing, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    streams.new()  # its growing file is 0.mp4

    async def scenario(client: TestClient) -> None:
        answer = await client.get(f"/musetalk/live/{name}")
        assert answer.status == 404 and set(await answer.json()) == {"error", "remedy"}

    ask(streams, scenario)


def test_who_leaves_is_not_served_any_more(streams: Growing) -> None:
    stream = streams.new()

    async def scenario(client: TestClient) -> None:
        before = len(asyncio.all_tasks())
        watching = await client.get(f"/musetalk/live/{stream.id}.mp4")
        watching.close()
        for _ in range(int(LOOSE / 0.01)):
            if len(asyncio.all_tasks()) <= before:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the handler goes on")

    ask(streams, scenario)


def test_the_oldest_that_have_ended_are_forgotten_and_deleted(streams: Growing, tmp_path: Path) -> None:
    running = streams.new()
    ended = [streams.new() for _ in range(5)]
    for stream in ended:
        stream.failed()
    streams.new()
    assert [streams.find(stream.id) is not None for stream in [running, *ended]] == [True, *[False] * 3, *[True] * 2]
    assert len({running.id, *(stream.id for stream in ended)}) == 6 and all(len(s.id) >= 22 for s in ended)
