"""The pack's addresses in the host's web server: growing videos, live sessions, the list of avatars, masks.

The host's memory manager is not made for two threads, and may move a network away while it computes. Sessions
therefore ask it for no network while a graph runs or waits in the queue, and show the idle face meanwhile. A graph
that starts while a session's network is being loaded or computes does not wait for it: for so long both use the
device. That can make the session fail, which then ends with an error and can be opened again; and in the moment of
loading, though hardly ever, the graph.
"""

from __future__ import annotations

from functools import partial

from ..musetalk_core.giving_way import GivingWay, GivingWayCache
from ..musetalk_core.live_protocol import Opened, OpenRequest
from ..musetalk_core.live_server import LiveServer
from ..musetalk_core.releases import get_release
from ..musetalk_core.turns import Turns
from ..musetalk_core.weights import open_models
from . import host, mask_routes

_KINDS = ("unet", "vae", "whisper")  # all that an avatar needs to speak


def register() -> None:
    """Adds the addresses, with and without the host's /api in front."""
    routes = host.web_routes()
    host.model_cache()  # made here, as two threads that ask for it first might make two
    LiveServer(partial(_open_session, Turns()), _list_avatars, host.streams()).add_to(routes)
    mask_routes.add_to(routes)


def _list_avatars() -> list:
    from ..musetalk_core.avatar_store import list_avatars

    return list_avatars(host.avatars_folder())


def _open_session(all_turns: Turns, request: OpenRequest) -> Opened:
    """A session with the weights that the avatar was prepared with.

    Args:
        all_turns: The one order in which all sessions of this process take their turns.
        request: What the client wants.

    Raises:
        MuseTalkError: there is no such avatar, or its weights are not there.
    """
    from ..musetalk_core.avatar_store import avatar_folder, avatar_info, open_avatar
    from ..musetalk_core.job import comment
    from ..musetalk_core.live import LiveSession

    folder = avatar_folder(host.avatars_folder(), request.avatar)
    info = avatar_info(folder)
    turns = GivingWay(all_turns, host.graph_running)
    models = open_models(
        get_release(info.release),
        host.weight_roots(),
        GivingWayCache(host.model_cache(), turns),
        host.precision("auto"),
        "small" if info.synthetic else None,
        kinds=_KINDS,
    )
    avatar = open_avatar(folder, models)
    session = LiveSession(models, avatar, request.sample_rate, turns)
    shape = info.height, info.width, 3
    return Opened(session, shape, avatar.fps, avatar.look, comment(models), turns.leave)
