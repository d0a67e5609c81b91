"""The audio encoder of Whisper tiny, from the openai-whisper package.

Only the encoder is built; the text decoder in the checkpoints is not read into memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checkpoints import StateDict, fill_network, read_state_dict

if TYPE_CHECKING:
    from whisper.model import AudioEncoder

N_MELS = 80
N_CTX = 1500  # encoder steps in a 30 s window: 50 a second
N_STATE = 384
N_HEAD = 6
N_LAYER = 4

_HUGGING_FACE_NAMES = {
    "layers.": "blocks.",
    ".self_attn.q_proj.": ".attn.query.",
    ".self_attn.k_proj.": ".attn.key.",
    ".self_attn.v_proj.": ".attn.value.",
    ".self_attn.out_proj.": ".attn.out.",
    ".self_attn_layer_norm.": ".attn_ln.",
    ".final_layer_norm.": ".mlp_ln.",
    ".fc1.": ".mlp.0.",
    ".fc2.": ".mlp.2.",
    "embed_positions.weight": "positional_embedding",
}


def create() -> AudioEncoder:
    """Build the encoder with untrained weights: mel (B, 80, 3000) to features (B, 1500, 384)."""
    from whisper.model import AudioEncoder

    return AudioEncoder(N_MELS, N_CTX, N_STATE, N_HEAD, N_LAYER)


def load(path: Path) -> AudioEncoder:
    """Read OpenAI's ``tiny.pt`` or Hugging Face's ``whisper-tiny`` (``.bin`` or ``.safetensors``).

    Raises:
        WeightsInvalidError: the file is damaged, or of another size of Whisper.
    """
    return fill_network(create(), to_openai_names(read_state_dict(path)), path)


def to_openai_names(state: StateDict) -> StateDict:
    """Keep the encoder's tensors, renamed to openai-whisper's names where they are Hugging Face's."""
    encoder = {}
    for name, tensor in state.items():
        name = name.removeprefix("model.")
        if not name.startswith("encoder."):
            continue
        name = name.removeprefix("encoder.")
        if name.startswith("layer_norm."):
            name = name.replace("layer_norm.", "ln_post.")
        for theirs, ours in _HUGGING_FACE_NAMES.items():
            name = name.replace(theirs, ours)
        encoder[name] = tensor
    return encoder


def hidden_states(encoder: AudioEncoder, mel: Tensor, norm_last: bool) -> Tensor:
    """All five hidden states of the encoder.

    Args:
        encoder: The network.
        mel: Log-mel windows, (B, 80, 3000).
        norm_last: Put the last state through the encoder's final LayerNorm (release 1.5).

    Returns:
        (B, 1500, 5, 384): the input of the first block, then the output of each of the four.
    """
    x = F.gelu(encoder.conv1(mel))
    x = F.gelu(encoder.conv2(x)).permute(0, 2, 1)  # (B, 1500, 384)
    x = (x + encoder.positional_embedding).to(x.dtype)
    states = [x]
    for block in encoder.blocks:
        x = block(x)
        states.append(x)
    if norm_last:
        states[-1] = encoder.ln_post(x)
    return torch.stack(states, dim=2)
