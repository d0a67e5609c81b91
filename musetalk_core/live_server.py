"""The pack's own addresses in a web server (aiohttp): growing videos, live sessions, prepared avatars.

    GET /musetalk/live/{id}.mp4    a video from its beginning, while it is still being made and afterwards
    GET /musetalk/session          a WebSocket, see `live_connection`
    GET /musetalk/avatars          the prepared avatars, as JSON

Errors are JSON, {"error": what is wrong, "remedy": what to do}, with the fitting status.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, BinaryIO

from aiohttp import web

from .errors import MuseTalkError
from .growing import Growing, Stream
from .live_connection import LIMITS, Connection, Limits, too_many, too_many_handshakes
from .live_protocol import OpenSession

_BLOCK = 1 << 16  # bytes
_LOOK_AGAIN = 0.1  # seconds
_SUFFIX = ".mp4"


class LiveServer:
    """Handlers for these addresses; they run in one event loop.

    Args:
        open_session: Opens what a client of a WebSocket asks for; runs in a thread, may take long.
        list_avatars: The prepared avatars, each a dataclass; runs in a thread.
        streams: The growing videos.
        limits: What clients may take.
    """

    def __init__(
        self,
        open_session: OpenSession,
        list_avatars: Callable[[], Sequence[Any]],
        streams: Growing,
        limits: Limits = LIMITS,
    ) -> None:
        self._open_session, self._list_avatars = open_session, list_avatars
        self._streams, self._limits = streams, limits
        self._handshakes = self._sessions = 0

    def add_to(self, routes: web.RouteTableDef) -> None:
        """Registers the addresses."""
        routes.get("/musetalk/live/{name:.*}")(self.video)
        routes.get("/musetalk/session")(self.session)
        routes.get("/musetalk/avatars")(self.avatars)

    async def avatars(self, request: web.Request) -> web.Response:
        """The prepared avatars."""
        try:
            found = await asyncio.to_thread(self._list_avatars)
        except MuseTalkError as error:
            return refusal(500, error)
        return web.json_response([asdict(each) for each in found], dumps=lambda value: json.dumps(value, default=str))

    async def video(self, request: web.Request) -> web.StreamResponse:
        """A growing video as it grows, a finished one as a file in which one can seek."""
        name = request.match_info["name"]
        stream = self._streams.find(name.removesuffix(_SUFFIX)) if name.endswith(_SUFFIX) else None
        if stream is None or stream.gone:
            return refusal(404, MuseTalkError("There is no such video, or not any more.", "Run the graph again."))
        if stream.file is not None:
            return web.FileResponse(stream.file, headers={"Content-Type": "video/mp4", "Cache-Control": "no-cache"})
        response = web.StreamResponse(
            headers={"Content-Type": "video/mp4", "Cache-Control": "no-store", "Accept-Ranges": "none"}
        )
        try:
            file = stream.growing.open("rb")
        except FileNotFoundError:  # it ended in this moment
            return await self.video(request)
        with file, suppress(ConnectionError):  # the client may go
            await response.prepare(request)
            if request.method != "HEAD":
                await _send_growing(stream, file, request, response)
        return response

    async def session(self, request: web.Request) -> web.StreamResponse:
        """A live session."""
        limits = self._limits
        socket = web.WebSocketResponse(max_msg_size=limits.message, heartbeat=limits.heartbeat, compress=False)
        if not socket.can_prepare(request):
            error = MuseTalkError("This address is a WebSocket.", "Connect to it with ws:// or wss://.")
            return refusal(400, error)
        if self._sessions >= limits.sessions:
            return refusal(503, too_many(limits.sessions))
        if self._handshakes >= limits.handshakes:
            return refusal(503, too_many_handshakes(limits.handshakes))
        self._handshakes += 1
        opened = False

        def admit() -> None:
            nonlocal opened
            if self._sessions >= limits.sessions:
                raise too_many(limits.sessions)
            self._handshakes -= 1
            self._sessions += 1
            opened = True

        try:
            await socket.prepare(request)
            if (
                not await Connection(socket, self._open_session, admit, limits).run()
                and request.transport is not None
            ):
                request.transport.abort()  # what it has not taken by now it never will
        finally:
            if opened:
                self._sessions -= 1
            else:
                self._handshakes -= 1
        return socket


async def _send_growing(stream: Stream, file: BinaryIO, request: web.Request, response: web.StreamResponse) -> None:
    """Sends what is there and what comes, until nothing more does or nobody listens."""
    while request.transport is not None and not request.transport.is_closing():
        ended = stream.ended  # asked before reading: what was written before it ended is read
        if data := file.read(_BLOCK):
            await response.write(data)
        elif ended:
            await response.write_eof()
            return
        else:
            await asyncio.sleep(_LOOK_AGAIN)


def refusal(status: int, error: MuseTalkError) -> web.Response:
    """The JSON answer to a request that goes wrong."""
    return web.json_response({"error": error.cause, "remedy": error.remedy}, status=status)
