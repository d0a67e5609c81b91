"""Which networks a command or a worker computes with, as it was chosen: it can be handed to another process."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .acceleration import Acceleration
from .synthetic import Size
from .weights import VaeChoice

if TYPE_CHECKING:
    from .cache import ModelCache
    from .models import Models

_SYNTHETIC: dict[str | None, Size] = {"synthetic": "small", "synthetic-full": "full"}


@dataclass(frozen=True)
class Opening:
    """What is chosen about networks.

    Attributes:
        release: Name of the release.
        roots: Folders of the weights, absolute.
        synthetic: Stand-in weights of this size instead of files.
        precision, acceleration: As for `weights.open_models`.
        vae_encode, vae_decode: As for `weights.chosen_kinds`.
    """

    release: str
    roots: tuple[Path, ...]
    synthetic: Size | None
    precision: str
    acceleration: Acceleration
    vae_encode: VaeChoice
    vae_decode: VaeChoice

    @classmethod
    def of(cls, args: argparse.Namespace) -> Opening:
        """What the options of a command say."""
        from . import weights

        synthetic = _SYNTHETIC.get(args.weights)
        roots = [Path(args.weights)] if args.weights and not synthetic else weights.default_roots()
        return cls(
            args.release,
            tuple(root.absolute() for root in roots),
            synthetic,
            args.precision,
            args.acceleration,
            args.vae_encode,
            args.vae_decode,
        )

    def open(self, kinds: Sequence[str], cache: ModelCache) -> Models:
        """The handle for the networks of these kinds, see `weights.chosen_kinds`; nothing is loaded yet.

        Raises:
            WeightsMissingError: naming every missing file.
        """
        from . import weights
        from .releases import get_release

        chosen = weights.chosen_kinds(kinds, self.vae_encode, self.vae_decode)
        return weights.open_models(
            get_release(self.release),
            self.roots,
            cache,
            self.precision,
            synthetic=self.synthetic,
            kinds=chosen,
            acceleration=self.acceleration,
        )


def new_cache(share: float = 1.0) -> ModelCache:
    """A cache on the best device there is.

    Args:
        share: Of the card's free memory, where others compute on it, too.
    """
    import torch

    from .cache import ByteBudget, ModelCache
    from .models import choose_device

    device = choose_device()
    # UNet and VAE take turns: a budget that holds only one of them would move both for every batch. In half precision
    # they take 1.9 GB. Where what is left is too little to compute in, networks leave, see `passes`.
    budget = int(torch.cuda.mem_get_info(device)[0] * share) * 3 // 4 if device.type == "cuda" else None
    return ModelCache(ByteBudget(device, budget))
