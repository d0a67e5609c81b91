"""The networks with the deterministic weights of the reference results, each built once."""

import functools

import torch

from musetalk_core.networks import bisenet, rtmpose, unet, vae, whisper
from musetalk_core.networks.lean import rewrite
from tests.parity.fill import fill_array, fill_module


def _filled(network):
    """Filled in its published form, then rewritten as it is when it is used."""
    fill_module(network)
    return rewrite(network.eval().requires_grad_(False))


@functools.cache
def filled_unet():
    return _filled(unet.create())


@functools.cache
def filled_vae():
    return vae.DiffusersCodec(_filled(vae.create()))


@functools.cache
def filled_rtmpose():
    return _filled(rtmpose.create())


@functools.cache
def filled_bisenet():
    return _filled(bisenet.create())


@functools.cache
def filled_whisper(naming):
    """The encoder as it comes from a checkpoint in ``naming``: weights are drawn by their names."""
    encoder = whisper.create()
    own = encoder.state_dict()
    names = openai_names(own) if naming == "openai" else hugging_face_names(own)
    state = {
        theirs: own[ours]
        if ours == "positional_embedding"
        else torch.from_numpy(fill_array(theirs, tuple(own[ours].shape)))
        for theirs, ours in names.items()
    }
    encoder.load_state_dict(whisper.to_openai_names(state))
    return encoder.eval().requires_grad_(False)


def openai_names(own):
    return {f"encoder.{name}": name for name in own}


def hugging_face_names(own):
    theirs_of = {}
    for name in own:
        theirs = name
        for old, new in (
            ("blocks.", "layers."),
            (".attn.query.", ".self_attn.q_proj."),
            (".attn.key.", ".self_attn.k_proj."),
            (".attn.value.", ".self_attn.v_proj."),
            (".attn.out.", ".self_attn.out_proj."),
            (".attn_ln.", ".self_attn_layer_norm."),
            (".mlp_ln.", ".final_layer_norm."),
            (".mlp.0.", ".fc1."),
            (".mlp.2.", ".fc2."),
            ("ln_post.", "layer_norm."),
            ("positional_embedding", "embed_positions.weight"),
        ):
            theirs = theirs.replace(old, new)
        theirs_of[f"encoder.{theirs}"] = name
    return theirs_of
