"""A small client of ComfyUI's HTTP and WebSocket API."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import aiohttp

from tests.host.result import TERMINAL_STATUS, Result

ApiGraph = dict[str, dict[str, Any]]
Message = dict[str, Any]

# Leading 4-byte codes of the binary frames that carry an image (code 3 carries text).
_PREVIEW_CODES = {1, 2, 4}
_POLL_SECONDS = 0.1
_HTTP_SECONDS = 60.0

# A host on this machine must never be reached through a proxy of the environment.
_opener = build_opener(ProxyHandler({}))


class Rejected(Exception):
    """The host refused the graph, or at least one of its outputs; `body` is the host's JSON answer."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(json.dumps(body, ensure_ascii=False))
        self.body = body


class ComfyClient:
    """Talks to one ComfyUI at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str) -> Any:
        """The JSON answer to GET `path`."""
        return _json(self._fetch(Request(self.url + path)))

    def get_bytes(self, path: str) -> bytes:
        """The answer to GET `path` as it is."""
        return self._fetch(Request(self.url + path))

    def post(self, path: str, payload: dict[str, Any]) -> Any:
        """The JSON answer to POST `path`, None if the answer is empty."""
        headers = {"Content-Type": "application/json"}
        return _json(self._fetch(Request(self.url + path, json.dumps(payload).encode(), headers)))

    def object_info(self) -> dict[str, Any]:
        """What the host knows about every node type."""
        return self.get("/object_info")

    def view(self, file: dict[str, str]) -> bytes:
        """The content of a file as an output lists it: filename, subfolder and type."""
        query = urlencode({key: file[key] for key in ("filename", "subfolder", "type")})
        return self._fetch(Request(f"{self.url}/view?{query}"))

    def queue(self, graph: ApiGraph, client_id: str | None = None) -> str:
        """Queue the graph and return its prompt id; messages go to the WebSocket of `client_id`.

        The host accepts a graph when any one of its outputs is valid, and then leaves out the others.
        That raises `Rejected` too, although the valid part has been queued.
        """
        payload: dict[str, Any] = {"prompt": graph}
        if client_id is not None:
            payload["client_id"] = client_id
        try:
            answer = self.post("/prompt", payload)
        except HTTPError as error:
            if error.code != 400:
                raise
            raise Rejected(json.load(error)) from error
        if answer["node_errors"]:
            raise Rejected(answer)
        return answer["prompt_id"]

    def wait(self, prompt_id: str, timeout: float = 60.0) -> dict[str, Any]:
        """The history entry of a queued prompt, as soon as there is one."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            history = self.get(f"/history/{prompt_id}")
            if prompt_id in history:
                return history[prompt_id]
            time.sleep(_POLL_SECONDS)
        raise TimeoutError(f"prompt {prompt_id} is not in the history after {timeout:g} s")

    def run(
        self,
        graph: ApiGraph,
        timeout: float = 60.0,
        on_message: Callable[[Message], None] | None = None,
    ) -> Result:
        """Run the graph to its end while listening on the WebSocket.

        `on_message` sees every JSON message as it comes in, and may for instance call `interrupt`.
        """
        return asyncio.run(self._run(graph, timeout, on_message or _ignore))

    def interrupt(self) -> None:
        """Ask the host to stop the prompt that is running."""
        self.post("/interrupt", {})

    def free(self, unload_models: bool = True, free_memory: bool = True) -> None:
        """Ask the host to unload models and forget cached results; it does so a moment later."""
        self.post("/free", {"unload_models": unload_models, "free_memory": free_memory})

    def _fetch(self, request: Request) -> bytes:
        with _opener.open(request, timeout=_HTTP_SECONDS) as response:
            return response.read()

    async def _run(self, graph: ApiGraph, timeout: float, on_message: Callable[[Message], None]) -> Result:
        client_id = uuid.uuid4().hex
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{self.url}/ws?clientId={client_id}", max_msg_size=0) as socket,
        ):
            prompt_id = self.queue(graph, client_id)
            try:
                messages, previews = await asyncio.wait_for(_listen(socket, prompt_id, on_message), timeout)
            except asyncio.TimeoutError as error:
                raise TimeoutError(f"prompt {prompt_id} did not end within {timeout:g} s") from error
        return Result(
            status=TERMINAL_STATUS[messages[-1]["type"]],
            outputs=self.wait(prompt_id)["outputs"],
            messages=tuple(messages),
            previews=previews,
        )


async def _listen(
    socket: aiohttp.ClientWebSocketResponse, prompt_id: str, on_message: Callable[[Message], None]
) -> tuple[list[Message], int]:
    """The JSON messages up to the one that ends the prompt, and the number of preview images."""
    messages: list[Message] = []
    previews = 0
    async for frame in socket:
        if frame.type is aiohttp.WSMsgType.BINARY:
            previews += int.from_bytes(frame.data[:4], "big") in _PREVIEW_CODES
        elif frame.type is aiohttp.WSMsgType.TEXT:
            message = frame.json()
            messages.append(message)
            on_message(message)
            if message["type"] in TERMINAL_STATUS and message["data"]["prompt_id"] == prompt_id:
                return messages, previews
    raise ConnectionError(f"the host closed the WebSocket before prompt {prompt_id} ended")


def _ignore(message: Message) -> None:
    """The callback of those who need none."""


def _json(body: bytes) -> Any:
    return json.loads(body) if body else None
