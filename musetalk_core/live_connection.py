"""One client of a live session: sound in, video out, over a WebSocket."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from .errors import InputError, MuseTalkError
from .fragmented import FragmentedVideo
from .live_backlog import Backlog
from .live_protocol import Opened, OpenRequest, OpenSession, read_command, read_open, read_sound

log = logging.getLogger(__name__)

_QUEUED = 8  # pieces of video on their way to the client; then its session waits
_END = None


@dataclass(frozen=True)
class Limits:
    """What one client, and all together, may take.

    Attributes:
        sessions: Open at once.
        handshakes: Connections that have not opened a session yet.
        message: Bytes of one message.
        opening: Seconds to the first message.
        idle: Seconds without a message (an empty binary one counts) in which there is nothing to speak.
        backlog: Seconds of sound that may wait for its turn.
        parting: Seconds for the last messages to a client that does not read.
        heartbeat: Seconds between the pings by which a client that has vanished is noticed.
    """

    sessions: int = 4
    handshakes: int = 8
    message: int = 1 << 20
    opening: float = 10
    idle: float = 60
    backlog: float = 120
    parting: float = 3
    heartbeat: float = 20


LIMITS = Limits()


class Busy(MuseTalkError):
    """No session can be opened now."""


def too_many(sessions: int) -> Busy:
    """The error for it."""
    return Busy(f"All {sessions} live sessions are in use.", "Close one, or try again later.")


def too_many_handshakes(handshakes: int) -> Busy:
    """The error for it."""
    return Busy(
        f"{handshakes} connections have not opened a session yet.", "Send an open message, or try again later."
    )


class Connection:
    """A WebSocket that has been accepted.

    Args:
        socket: It; prepared.
        open_session: Opens what the client asks for; runs in a thread.
        admit: Called when the client has asked for a session; raises `Busy` where there are too many.
        limits: What it may take.
    """

    def __init__(
        self, socket: web.WebSocketResponse, open_session: OpenSession, admit: Callable[[], None], limits: Limits
    ) -> None:
        self._socket, self._open_session, self._admit, self._limits = socket, open_session, admit, limits

    async def run(self) -> bool:
        """Serves the client to its end; whatever goes wrong is told to it.

        Returns:
            Whether it took leave. Where not, nothing is to be waited for.
        """
        try:
            request = await self._first()
            if request is not None:
                self._admit()
                await self._serve(request)
            code, error = WSCloseCode.OK, None
        except Busy as busy:
            code, error = WSCloseCode.TRY_AGAIN_LATER, busy
        except InputError as wrong:
            code, error = WSCloseCode.POLICY_VIOLATION, wrong
        except MuseTalkError as failure:
            code, error = WSCloseCode.INTERNAL_ERROR, failure
        except ConnectionError:  # the client has gone
            return False
        except Exception:
            log.exception("A live session broke off")
            code = WSCloseCode.INTERNAL_ERROR
            error = MuseTalkError("The live session broke off.", "See the server's log.")
        return await self._part(code, error)

    async def _first(self) -> OpenRequest | None:
        """What the client wants; None where it leaves before it says so."""
        opening = self._limits.opening
        try:
            message = await asyncio.wait_for(self._socket.receive(), opening)
        except asyncio.TimeoutError:
            raise InputError(f"No open message came for {opening:g} s.", "Send it at once.") from None
        if message.type is WSMsgType.TEXT:
            return read_open(message.data)
        if message.type is WSMsgType.BINARY:
            raise InputError("Sound came before a session was open.", "Send an open message first.")
        return None

    async def _serve(self, request: OpenRequest) -> None:
        pieces = _Pieces()
        opened, video = await asyncio.to_thread(self._begin, request, pieces)
        backlog = Backlog(opened.session, round(self._limits.backlog * request.sample_rate))
        outbox: asyncio.Queue = asyncio.Queue(_QUEUED)
        loop = asyncio.get_running_loop()

        def hand_over(piece: object) -> None:
            asyncio.run_coroutine_threadsafe(outbox.put(piece), loop).result()

        # A thread of its own, which does not keep the process from ending.
        threading.Thread(
            target=_produce, args=(opened, video, pieces, backlog, hand_over), name="musetalk-live", daemon=True
        ).start()
        answer = {
            "type": "opened",
            "width": video.width,
            "height": video.height,
            "fps": str(opened.fps),
            "mime": video.mime,
        }
        both = [asyncio.ensure_future(self._send(answer, outbox)), asyncio.ensure_future(self._listen(backlog))]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            closing = asyncio.ensure_future(asyncio.to_thread(opened.close))
            while await outbox.get() is not _END:  # it may be waiting for room
                pass
            await closing
        for task in done:
            task.result()

    def _begin(self, request: OpenRequest, pieces: _Pieces) -> tuple[Opened, FragmentedVideo]:
        opened = self._open_session(request)
        try:
            video = FragmentedVideo(
                pieces, opened.shape, opened.fps, request.sample_rate, opened.look, opened.comment
            )
        except BaseException:
            opened.close()
            raise
        return opened, video

    async def _send(self, answer: dict, outbox: asyncio.Queue) -> None:
        """Everything for the client, in order. A slow one is waited for."""
        await self._socket.send_json(answer)
        while True:
            piece = await outbox.get()
            if piece is _END:
                outbox.put_nowait(_END)  # for the one who clears up
                return
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, bytes):
                await self._socket.send_bytes(piece)
            else:
                await self._socket.send_json({"type": "state", "speaking": piece})

    async def _listen(self, backlog: Backlog) -> None:
        """Everything from the client, until it closes or goes."""
        while True:
            message = await self._next(backlog)
            if message.type is WSMsgType.BINARY:
                backlog.add(read_sound(message.data))
            elif message.type is WSMsgType.TEXT:
                command = read_command(message.data)
                if command == "close":
                    return
                getattr(backlog, command)()
            else:
                return

    async def _next(self, backlog: Backlog) -> WSMessage:
        idle, begun = self._limits.idle, time.monotonic()
        while (left := max(begun, backlog.busy_at) + idle - time.monotonic()) > 0:
            try:
                return await asyncio.wait_for(self._socket.receive(), left)
            except asyncio.TimeoutError:
                continue  # it may have spoken meanwhile
        raise InputError(
            f"Nothing came for {idle:g} s, and there was nothing to speak.",
            "Send sound, or an empty binary message to stay connected.",
        )

    async def _part(self, code: int, error: MuseTalkError | None) -> bool:
        try:
            if error is not None and not self._socket.closed:
                report = {"type": "error", "message": str(error), "cause": error.cause, "remedy": error.remedy}
                await asyncio.wait_for(self._socket.send_json(report), self._limits.parting)
            await asyncio.wait_for(self._socket.close(code=code), self._limits.parting)
        except (asyncio.TimeoutError, ConnectionError):
            return False
        return True


class _Pieces:
    """Collects what the writer writes until it is taken."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


def _produce(
    opened: Opened, video: FragmentedVideo, pieces: _Pieces, backlog: Backlog, hand_over: Callable[[object], None]
) -> None:
    """Encodes the session's moments until it ends, then hands over `_END`: bytes, whether it speaks, or an error."""
    speaking = False
    try:
        for moment in opened.session:
            backlog.hand_on()
            video.add(moment.picture, moment.sound)
            if moment.speaking != speaking:
                speaking = moment.speaking
                hand_over(speaking)
            if data := pieces.take():
                hand_over(data)
    except Exception as error:
        hand_over(error)
    finally:
        try:
            video.finish()
        finally:
            hand_over(_END)
