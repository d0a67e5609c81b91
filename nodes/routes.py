"""The pack's addresses in the host's web server: growing videos, live sessions, the list of avatars, masks.

Sessions do not compute while a graph runs, and show the idle face meanwhile: the host's memory manager is not made
for two threads, and may move a network away in the middle of a batch. A graph that starts during a batch does not
wait for it; should that batch fail, its session ends with an error and can be opened again.
"""

from __future__ import annotations

import functools

from ..musetalk_core.giving_way import GivingWay
from ..musetalk_core.live_protocol import Opened, OpenRequest
from ..musetalk_core.live_server import LiveServer
from ..musetalk_core.releases import get_release
from ..musetalk_core.synthetic import NOTICE
from ..musetalk_core.weights import open_models
from . import host, mask_routes

_KINDS = ("unet", "vae", "whisper")  # all that an avatar needs to speak


def register() -> None:
    """Adds the addresses, with and without the host's /api in front."""
    routes = host.web_routes()
    LiveServer(_open_session, _list_avatars, host.streams()).add_to(routes)
    mask_routes.add_to(routes)


def _list_avatars() -> list:
    from ..musetalk_core.avatar_store import list_avatars

    return list_avatars(host.avatars_folder())


def _open_session(request: OpenRequest) -> Opened:
    """A session with the weights that the avatar was prepared with.

    Raises:
        MuseTalkError: there is no such avatar, or its weights are not there.
    """
    from ..musetalk_core.avatar_store import avatar_folder, avatar_info, open_avatar
    from ..musetalk_core.live import LiveSession

    folder = avatar_folder(host.avatars_folder(), request.avatar)
    info = avatar_info(folder)
    models = open_models(
        get_release(info.release),
        host.weight_roots(),
        host.model_cache(),
        host.precision(request.precision),
        "small" if info.synthetic else None,
        kinds=_KINDS,
    )
    avatar = open_avatar(folder, models)
    turns = GivingWay(_turns(), host.graph_running)
    session = LiveSession(models, avatar, request.sample_rate, turns)
    comment = ", ".join(filter(None, (f"MuseTalk {info.release}", info.synthetic and NOTICE)))
    return Opened(session, (info.height, info.width, 3), avatar.fps, avatar.look, comment, turns.leave)


@functools.cache
def _turns():
    """The one order in which all sessions of this process take their turns."""
    from ..musetalk_core.turns import Turns

    return Turns()
