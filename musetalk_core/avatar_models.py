"""Whether networks are those that an avatar was prepared with."""

from __future__ import annotations

from .errors import InputError
from .fingerprints import CONNECTED, TAESD, fingerprint
from .models import Models

_NAMES = {"vae": "VAE", "face_parse": "face parser"}


def require_release(avatar: str, release: str, models: Models) -> None:
    """Refuse models of another release.

    Args:
        avatar: The avatar's name.
        release: Name of the release it was prepared for.
        models: What it is to speak with.

    Raises:
        InputError: they are.
    """
    if release != models.release.name:
        raise InputError(
            f"The avatar {avatar} was prepared for MuseTalk {release}, not {models.release.name}.",
            f"Prepare it again, or load the models of {release}.",
        )


def require_vae(avatar: str, before: str, models: Models) -> None:
    """Refuse to decode with another VAE than the one that encoded.

    TAESD is made for the latents of Stable Diffusion's VAEs: what one of the two encoded, the other decodes.

    Args:
        avatar: The avatar's name.
        before: `fingerprints.of_encoder` when it was prepared.
        models: What it is to speak with.

    Raises:
        InputError: both are full VAEs, and not the same.
    """
    if not before.startswith(TAESD) and "taesd_decoder" not in models.sources:
        require_weights(avatar, "vae", before, models)


def require_weights(avatar: str, kind: str, before: str, models: Models) -> None:
    """Refuse a network with other weights.

    Args:
        avatar: The avatar's name.
        kind: "vae" or "face_parse".
        before: The `fingerprint` of the one it was prepared with.
        models: What it is to speak with.

    Raises:
        InputError: it has others.
    """
    now = fingerprint(models, kind)
    if before == now:
        return
    if before.startswith(CONNECTED) and not now.startswith(CONNECTED):
        raise InputError(
            f"The avatar {avatar} was prepared with a VAE connected to MuseTalk Load Models, now there is none.",
            "Connect it again, or prepare the avatar again without it.",
        )
    if now.startswith(CONNECTED) and not before.startswith(CONNECTED):
        raise InputError(
            f"The avatar {avatar} was prepared without the VAE that is connected to MuseTalk Load Models.",
            "Disconnect it, or prepare the avatar again with it.",
        )
    raise InputError(
        f"The avatar {avatar} was prepared with another {_NAMES[kind]} ({_told(before)}, not {_told(now)}).",
        "Prepare it again, or use the weights it was prepared with.",
    )


def _told(weights: str) -> str:
    kind, _, size = weights.partition("-")
    return f"{size} synthetic weights" if kind == "synthetic" else f"weights {weights.removeprefix(CONNECTED)[:8]}"
