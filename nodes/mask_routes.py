"""The mask of a face in the last runs, in other settings, without running the graph."""

from __future__ import annotations

import asyncio
import io

from aiohttp import web
from PIL import Image

from ..musetalk_core.blender import ParsedFace
from ..musetalk_core.errors import InputError
from ..musetalk_core.live_server import refusal
from ..musetalk_core.preview import draw_mask
from .panels import kept_faces
from .sockets import CHEEK_WIDTHS, MASK_MODES

_WIDTHS = {str(width): width for width in CHEEK_WIDTHS}


def add_to(routes: web.RouteTableDef) -> None:
    """Add ``GET /musetalk/mask/{id}?mask_mode=jaw&cheek_width=90``, a JPEG."""

    @routes.get("/musetalk/mask/{id}")
    async def mask(request: web.Request) -> web.Response:
        face = kept_faces.get(request.match_info["id"])
        if face is None:
            return refusal(404, InputError("This mask is forgotten.", "Run the graph again."))
        mode, width = request.query.get("mask_mode", ""), request.query.get("cheek_width", "")
        if mode not in MASK_MODES:
            remedy = f"Use one of: {', '.join(MASK_MODES)}."
            return refusal(400, InputError(f"There is no mask_mode {mode!r}.", remedy))
        if width not in _WIDTHS:
            remedy = f"Use a whole number from {CHEEK_WIDTHS[0]} to {CHEEK_WIDTHS[-1]}."
            return refusal(400, InputError(f"cheek_width cannot be {width!r}.", remedy))
        # The host's server and its messages share this thread.
        picture = await asyncio.to_thread(_draw, face, mode, _WIDTHS[width])
        return web.Response(body=picture, content_type="image/jpeg", headers={"Cache-Control": "no-store"})


def _draw(face: ParsedFace, mode: str, cheek_width: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(draw_mask(face.picture, face.mask(MASK_MODES[mode], cheek_width))).save(out, "JPEG", quality=90)
    return out.getvalue()
