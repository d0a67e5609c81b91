"""The pack's own addresses in the real host."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.host.comfy_server import ComfyServer

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
LOOSE = 60.0  # seconds


def ask(comfy: ComfyServer, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and JSON of the answer; None where it is none."""

    async def get() -> tuple[int, Any]:
        async with aiohttp.ClientSession() as session, session.get(comfy.url + path, headers=headers) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else None

    return asyncio.run(asyncio.wait_for(get(), LOOSE))


def converse(comfy: ComfyServer, path: str, message: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    """The first answer of a session, and the code it is closed with."""

    async def run() -> tuple[dict[str, Any], int | None]:
        async with aiohttp.ClientSession() as session, session.ws_connect(comfy.url + path) as socket:
            await socket.send_json(message)
            answer = await socket.receive_json()
            await socket.receive()
            return answer, socket.close_code

    return asyncio.run(asyncio.wait_for(run(), LOOSE))


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_the_addresses_answer_and_refuse_in_json(comfy: ComfyServer, prefix: str) -> None:
    status, avatars = ask(comfy, f"{prefix}/musetalk/avatars")
    assert status == 200 and isinstance(avatars, list)
    for path, expected in (
        ("live/unknown.mp4", 404),
        ("live/..%2F..%2Fmain.py", 404),
        ("session", 400),
    ):
        status, error = ask(comfy, f"{prefix}/musetalk/{path}")
        assert status == expected and set(error) == {"error", "remedy"}, path


@pytest.mark.parametrize("name", ["nobody", "../nobody", "/etc", ""])
def test_an_avatar_that_is_not_there_is_named(comfy: ComfyServer, name: str) -> None:
    opening = {"type": "open", "avatar": name, "sample_rate": 16000}
    answer, code = converse(comfy, "/musetalk/session", opening)
    assert answer["type"] == "error" and answer["cause"] and answer["remedy"]
    assert code == 1008
    assert json.dumps(str(comfy.base))[1:-1] not in json.dumps(answer) or name == "nobody"


@pytest.mark.parametrize("path", ["avatars", "live/unknown.mp4", "session"])
def test_other_sites_are_refused(comfy: ComfyServer, path: str) -> None:
    headers = {**(UPGRADE if path == "session" else {}), "Origin": "http://elsewhere.example"}
    assert ask(comfy, f"/musetalk/{path}", headers)[0] == 403
