"""Checkpoints as they are in the world: every published format reads, and what is broken is told."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import enum
import functools
import hashlib
import json
import pickle
import re
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from musetalk_core import manifest, synthetic
from musetalk_core.checkpoints import StateDict, fill_network, read_state_dict
from musetalk_core.errors import WeightsInvalidError
from musetalk_core.networks import bisenet, rtmpose, s3fd, unet, vae, whisper
from tests.parity.networks import hugging_face_names, openai_names

ZIP = pytest.param(True, id="zip")
LEGACY = pytest.param(False, id="legacy")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Emptied at once, since checkpoints are large and pytest keeps its folders."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@functools.cache
def network(kind: str) -> nn.Module:
    return synthetic.build(kind, "small")


def tensors(kind: str) -> dict[str, Tensor]:
    return dict(network(kind).state_dict())


def write_config(path: Path, kind: str) -> None:
    path.write_text(json.dumps(dict(network(kind).config)))


def assert_same_weights(loaded: nn.Module, expected: StateDict) -> None:
    state = loaded.state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())


# The UNet


@pytest.mark.parametrize("name", ["unet.pth", "pytorch_model.bin"])
def test_the_unet_reads_with_the_configuration_beside_it(name: str, folder: Path) -> None:
    torch.save(network("unet").state_dict(), folder / name)
    write_config(folder / "musetalk.json", "unet")
    loaded = unet.load(folder / name)
    assert_same_weights(loaded, tensors("unet"))

    latents, tokens = torch.randn(1, 8, 8, 8), torch.randn(1, 50, 384)
    with torch.inference_mode():
        pictures = [net(latents, torch.tensor(0), tokens).sample for net in (network("unet"), loaded)]
    assert torch.equal(*pictures)


PUBLISHED_UNET = """{
  "_class_name": "UNet2DConditionModel",
  "_diffusers_version": "0.6.0.dev0",
  "act_fn": "silu",
  "attention_head_dim": 8,
  "block_out_channels": [
    320,
    640,
    1280,
    1280
  ],
  "center_input_sample": false,
  "cross_attention_dim": 384,
  "down_block_types": [
    "CrossAttnDownBlock2D",
    "CrossAttnDownBlock2D",
    "CrossAttnDownBlock2D",
    "DownBlock2D"
  ],
  "downsample_padding": 1,
  "flip_sin_to_cos": true,
  "freq_shift": 0,
  "in_channels": 8,
  "layers_per_block": 2,
  "mid_block_scale_factor": 1,
  "norm_eps": 1e-05,
  "norm_num_groups": 32,
  "out_channels": 4,
  "sample_size": 64,
  "up_block_types": [
    "UpBlock2D",
    "CrossAttnUpBlock2D",
    "CrossAttnUpBlock2D",
    "CrossAttnUpBlock2D"
  ]
}
"""
PUBLISHED_VAE = """{
  "_class_name": "AutoencoderKL",
  "_diffusers_version": "0.4.2",
  "act_fn": "silu",
  "block_out_channels": [
    128,
    256,
    512,
    512
  ],
  "down_block_types": [
    "DownEncoderBlock2D",
    "DownEncoderBlock2D",
    "DownEncoderBlock2D",
    "DownEncoderBlock2D"
  ],
  "in_channels": 3,
  "latent_channels": 4,
  "layers_per_block": 2,
  "norm_num_groups": 32,
  "out_channels": 3,
  "sample_size": 256,
  "up_block_types": [
    "UpDecoderBlock2D",
    "UpDecoderBlock2D",
    "UpDecoderBlock2D",
    "UpDecoderBlock2D"
  ]
}
"""


@pytest.mark.parametrize(
    ("kind", "create", "published"),
    [("unet", unet.create, PUBLISHED_UNET), ("vae", vae.create, PUBLISHED_VAE)],
    ids=["unet", "vae"],
)
def test_the_built_in_configuration_is_the_published_one(
    kind: str, create: Callable, published: str, folder: Path
) -> None:
    known = {file.sha256 for file in manifest.FILES if file.kind == kind and file.path.endswith(".json")}
    assert hashlib.sha256(published.encode()).hexdigest() in known
    (folder / "config.json").write_bytes(published.encode())
    by_file = unet.create_configured(create, folder / "config.json")
    by_default = unet.create_configured(create, folder / "no such file")
    shapes = [{name: tensor.shape for name, tensor in net.state_dict().items()} for net in (by_file, by_default)]
    assert shapes[0] == shapes[1]


# The VAE

_LDM = (
    (r"down_blocks\.(\d)\.resnets\.", r"down.\1.block."),
    (r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{3 - int(m[1])}.block."),
    (r"up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f"up.{3 - int(m[1])}.upsample."),
    (r"mid_block\.resnets\.(\d)\.", lambda m: f"mid.block_{int(m[1]) + 1}."),
    (r"attentions\.0\.group_norm\.", "attentions.0.norm."),
    (r"attentions\.0\.to_([qkv])\.", r"attentions.0.\1."),
    (r"attentions\.0\.to_out\.0\.", "attentions.0.proj_out."),
    (r"mid_block\.attentions\.0\.", "mid.attn_1."),
    (r"conv_shortcut", "nin_shortcut"),
    (r"conv_norm_out", "norm_out"),
)
_OLD = ((r"\.to_q\.", ".query."), (r"\.to_k\.", ".key."), (r"\.to_v\.", ".value."), (r"\.to_out\.0\.", ".proj_attn."))


def renamed(state: StateDict, rules: tuple) -> StateDict:
    result = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        result[name] = tensor
    return result


def ldm_vae() -> StateDict:
    """The VAE as in ``vae-ft-mse-840000-ema-pruned``: attention by 1 x 1 convolutions."""
    state = renamed(tensors("vae"), _LDM)
    for name, tensor in state.items():
        if re.search(r"attn_1\.(q|k|v|proj_out)\.weight", name):
            state[name] = tensor[:, :, None, None]
    assert state["decoder.mid.attn_1.proj_out.weight"].shape == (16, 16, 1, 1)
    assert "decoder.up.3.upsample.conv.bias" in state and "encoder.down.2.block.0.nin_shortcut.weight" in state
    return state


def write_vae(folder: Path, form: str) -> Path:
    write_config(folder / "config.json", "vae")
    if form == "safetensors":
        path = folder / "diffusion_pytorch_model.safetensors"
        save_file(tensors("vae"), path)
    elif form == "old names":
        path = folder / "diffusion_pytorch_model.bin"
        state = renamed(tensors("vae"), _OLD)
        assert "decoder.mid_block.attentions.0.proj_attn.weight" in state
        torch.save(state, path)
    elif form == "ldm":
        path = folder / "vae-ft-mse-840000-ema-pruned.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in ldm_vae().items()}, path)
    else:
        path = folder / "vae-ft-mse-840000-ema-pruned.ckpt"
        state = {f"first_stage_model.{name}": tensor for name, tensor in ldm_vae().items()}
        torch.save({"state_dict": state, "global_step": 840000}, path)
    return path


@pytest.mark.parametrize("form", ["safetensors", "old names", "ldm", "ldm with prefix"])
def test_the_vae_paints_the_same_picture_from_every_naming(form: str, folder: Path) -> None:
    loaded = vae.load(write_vae(folder, form))
    assert_same_weights(loaded, tensors("vae"))
    pixels = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.inference_mode():
        ours, theirs = vae.DiffusersCodec(network("vae")), vae.DiffusersCodec(loaded)
        latents = ours.encode(pixels)
        assert torch.equal(theirs.encode(pixels), latents)
        assert torch.equal(theirs.decode(latents), ours.decode(latents))


# Whisper


def test_whisper_reads_as_openai_published_it(folder: Path) -> None:
    own = tensors("whisper")
    state = {theirs: own[ours].half() for theirs, ours in openai_names(own).items()}
    state["decoder.blocks.0.attn.query.weight"] = torch.zeros(4, 4).half()
    state["decoder.positional_embedding"] = torch.zeros(448, 4).half()
    dims = {"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 384, "n_audio_head": 6, "n_audio_layer": 4}
    torch.save({"dims": dims, "model_state_dict": state}, folder / "tiny.pt")
    assert_same_weights(
        whisper.load(folder / "tiny.pt"), {name: tensor.half().float() for name, tensor in own.items()}
    )


@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_whisper_reads_as_hugging_face_names_it(suffix: str, folder: Path) -> None:
    own = tensors("whisper")
    state = {f"model.{theirs}": own[ours] for theirs, ours in hugging_face_names(own).items()}
    assert "model.encoder.layers.3.self_attn.k_proj.weight" in state and "model.encoder.layer_norm.bias" in state
    for name in ("model.decoder.layers.0.fc1.weight", "model.decoder.embed_positions.weight", "proj_out.weight"):
        state[name] = torch.zeros(4, 4)
    path = folder / f"model.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    assert_same_weights(whisper.load(path), own)


# DWPose: an mmengine checkpoint, full of objects of a training program that is not installed


@contextlib.contextmanager
def training_program() -> Iterator[types.SimpleNamespace]:
    """Classes in modules that can be imported only inside the ``with``."""

    class HistoryBuffer:
        def __init__(self) -> None:
            self._log_history = np.arange(5.0)
            self._count_history = np.ones(5, np.int64)
            self._statistics_methods = collections.OrderedDict(mean=functools.partial(max, 1))
            self._recent = collections.deque([1, 2], maxlen=10)

        class Window:
            """A class inside a class is pickled as ``getattr(HistoryBuffer, "Window")``."""

            def __init__(self) -> None:
                self.length = 10

    class Records(list): ...

    class Config(dict): ...

    class Rebuilt:
        def __init__(self, *args: object) -> None:
            self.items: list[object] = []

        def __reduce__(self) -> tuple:
            return type(self), (1, "two"), {"state": self}, iter([3, 4]), iter([("five", 6)])

        def __setstate__(self, state: object) -> None: ...

        def append(self, item: object) -> None: ...

        def extend(self, items: object) -> None: ...

        def __setitem__(self, key: object, value: object) -> None: ...

    class Slotted:
        __slots__ = ("value",)

    class Keyword:
        def __new__(cls, *, value: int) -> Keyword:
            return object.__new__(cls)

        def __getnewargs_ex__(self) -> tuple:
            return (), {"value": 1}

    class Phase(enum.Enum):
        TRAIN = 1

    @dataclasses.dataclass(frozen=True)
    class Setting:
        value: int

    module = types.ModuleType("mmengine.logging.history_buffer")
    classes = (HistoryBuffer, Records, Config, Rebuilt, Slotted, Keyword, Phase, Setting)
    for cls in (*classes, HistoryBuffer.Window):
        cls.__module__ = module.__name__
        cls.__qualname__ = cls.__qualname__.split("<locals>.")[-1]
        setattr(module, cls.__name__, cls)
    parents = [types.ModuleType("mmengine"), types.ModuleType("mmengine.logging"), module]
    sys.modules.update({parent.__name__: parent for parent in parents})
    yield types.SimpleNamespace(**vars(module))
    for parent in parents:
        del sys.modules[parent.__name__]


def write_mmengine(path: Path, state: StateDict, zipped: bool, protocol: int = 2) -> Path:
    with training_program() as theirs:
        slotted = theirs.Slotted()
        slotted.value = [1]
        hub = {
            "log_scalars": collections.OrderedDict({"train/lr": theirs.HistoryBuffer()}),
            "runtime_info": {
                "records": theirs.Records([theirs.Config(a=1), theirs.Records()]),
                "window": theirs.HistoryBuffer.Window(),
                "rebuilt": [theirs.Rebuilt(), slotted, theirs.Phase.TRAIN, theirs.Setting(3), theirs.Config],
                "keyed": {theirs.Phase.TRAIN: 1, theirs.Setting(1): 2, ("a", ("b",)): 3},
                "keyword": theirs.Keyword(value=1) if protocol >= 4 else None,
            },
            "resumed_keys": collections.defaultdict(list, {"a": [np.float64(0.5), np.bool_(True)]}),
        }
        content = {
            "meta": {
                "cfg": "model = dict(type='TopdownPoseEstimator')\n" * 100,
                "time": datetime.datetime(2023, 7, 1, tzinfo=datetime.timezone.utc),
                "dataset_meta": {"sigmas": np.ones(133, np.float32), "flip_pairs": [(1, 2)], "names": {"a", "b"}},
                "seed": frozenset({1}),
                "place": Path("work_dirs"),
                "range": range(3),
                "array": bytearray(b"abc"),
                "complex": 1j,
            },
            "state_dict": state,
            "message_hub": hub,
            "optimizer": {
                "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(3)}},
                "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0], "dtype": torch.float16}],
            },
            "param_schedulers": [{"by_epoch": True, "verbose": False, "func": functools.partial(max, key=len)}],
            "ema_state_dict": collections.OrderedDict({"steps": torch.tensor(1), "module.weight": torch.ones(3)}),
            "rng": [torch.get_rng_state(), torch.device("cpu"), torch.float32, torch.Size((1, 2))],
            "odd tensors": [
                torch.ones(2).to_sparse(),
                torch.ones(2, dtype=torch.uint16),
                nn.Parameter(torch.ones(2)),
            ],
            "network": nn.Conv2d(1, 1, 1),  # the legacy format keeps its source code as well
        }
        if zipped:
            content["storage"] = torch.ones(2).untyped_storage()
        torch.save(content, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    return path


@pytest.mark.parametrize("zipped", [ZIP, LEGACY])
@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_dwpose_reads_from_an_mmengine_checkpoint(zipped: bool, folder: Path) -> None:
    state = network("dwpose").state_dict()
    path = write_mmengine(folder / "dw-ll_ucoco_384.pth", state, zipped)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        torch.load(path, weights_only=True)
    assert_same_weights(rtmpose.load(path), tensors("dwpose"))


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("zipped", [ZIP, LEGACY])
def test_foreign_objects_read_in_every_pickle_protocol(zipped: bool, protocol: int, folder: Path) -> None:
    path = write_mmengine(folder / "x.pth", collections.OrderedDict(a=torch.arange(3)), zipped, protocol)
    assert read_state_dict(path)["a"].tolist() == [0, 1, 2]


# BiSeNet and S3FD: the legacy format


def test_bisenet_reads_from_the_legacy_format_with_its_auxiliary_heads(folder: Path) -> None:
    state = network("face_parse").state_dict()
    for head, channels in (("conv_out16", 64), ("conv_out32", 64)):
        state[f"{head}.conv.conv.weight"] = torch.zeros(channels, 128, 3, 3)
        for name in ("weight", "bias", "running_mean", "running_var"):
            state[f"{head}.conv.bn.{name}"] = torch.zeros(channels)
        state[f"{head}.conv.bn.num_batches_tracked"] = torch.tensor(80000)
        state[f"{head}.conv_out.weight"] = torch.zeros(19, channels, 1, 1)
    path = folder / "79999_iter.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert_same_weights(bisenet.load(path), tensors("face_parse"))


def test_s3fd_reads_from_the_legacy_format(folder: Path) -> None:
    path = folder / "s3fd-619a316812.pth"
    torch.save(network("s3fd").state_dict(), path, _use_new_zipfile_serialization=False)
    assert_same_weights(s3fd.load(path), tensors("s3fd"))


def test_tensors_of_pytorch_before_0_4_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reduce(tensor: Tensor, protocol: int) -> tuple:
        place = (tensor._typed_storage(), tensor.storage_offset(), tuple(tensor.size()), tensor.stride())
        return torch._utils._rebuild_tensor, place

    monkeypatch.setattr(Tensor, "__reduce_ex__", reduce)
    whole = torch.arange(12.0)
    torch.save({"part": whole[4:8].reshape(2, 2).T}, folder / "old.pth", _use_new_zipfile_serialization=False)
    monkeypatch.undo()
    assert read_state_dict(folder / "old.pth")["part"].tolist() == [[4, 6], [5, 7]]


@pytest.mark.parametrize("zipped", [ZIP, LEGACY])
def test_tensors_keep_their_values_types_and_sharing(zipped: bool, folder: Path) -> None:
    whole = torch.arange(24).reshape(4, 6)
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.bool, torch.int16)
    state = {str(kind): whole.to(kind) for kind in kinds}
    state |= {"view": whole[1:3, ::2].T, "same": whole, "scalar": torch.tensor(7), "empty": torch.zeros(0, 3)}
    state["parameter"] = nn.Parameter(torch.ones(2))
    torch.save(state, folder / "x.pth", _use_new_zipfile_serialization=zipped)
    read = read_state_dict(folder / "x.pth")
    assert read.keys() == state.keys()
    for name, tensor in state.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor), name
    assert read["view"].untyped_storage().data_ptr() == read["same"].untyped_storage().data_ptr()


# What is broken


def refusal(load: Callable[[Path], object], path: Path) -> WeightsInvalidError:
    with pytest.raises(WeightsInvalidError) as refused:
        load(path)
    error = refused.value
    assert str(path) in error.cause
    assert re.search(r"Delete it and fetch it again|Put the published file there", error.remedy)
    return error


def small_file(folder: Path, form: str) -> tuple[Callable[[Path], object], Path]:
    if form == "safetensors":
        return vae.load, write_vae(folder, "safetensors")
    path = folder / "unet.pth"
    torch.save(network("unet").state_dict(), path, _use_new_zipfile_serialization=form == "zip")
    write_config(folder / "musetalk.json", "unet")
    return unet.load, path


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_a_truncated_file_is_told_from_its_first_byte_to_its_last(form: str, folder: Path) -> None:
    load, path = small_file(folder, form)
    load(path)
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 100, len(whole) // 4, len(whole) // 2, len(whole) - 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        error = refusal(load, path)
        assert "not a readable checkpoint" in error.cause and f"({length} bytes" in error.cause, length


@pytest.mark.parametrize("name", ["unet.pth", "tiny.pt", "pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n",
        "version https://git-lfs.github.com/spec/v1\noid sha256:1b4889b6b1d4ce7a\nsize 334707217\n",
        '{"error": "Repository not found"}',
    ],
    ids=["web page", "git-lfs pointer", "json"],
)
def test_a_text_file_is_no_checkpoint(text: str, name: str, folder: Path) -> None:
    (folder / name).write_text(text)
    assert "not a readable checkpoint" in refusal(read_state_dict, folder / name).cause


@pytest.mark.parametrize(
    "content", [{}, [], "text", {"state_dict": {}}, {"epoch": 3, "state_dict": {"lr": 0.1}}, {5: torch.ones(1)}]
)
@pytest.mark.parametrize("zipped", [ZIP, LEGACY])
def test_a_file_without_tensors_is_told(zipped: bool, content: object, folder: Path) -> None:
    torch.save(content, folder / "x.pth", _use_new_zipfile_serialization=zipped)
    assert "holds no tensors" in refusal(read_state_dict, folder / "x.pth").cause


def test_the_file_of_another_network_is_told(folder: Path) -> None:
    _, path = small_file(folder, "zip")
    for load in (vae.load, whisper.load, rtmpose.load, bisenet.load, s3fd.load):
        error = refusal(load, path)
        assert "does not fit the" in error.cause and "is missing" in error.cause
        count = re.search(r"\((\d+) of (\d+) tensors differ\)", error.cause)
        assert count[1] == count[2] or load is vae.load  # a few are called alike, but of another shape


def test_other_shapes_are_told(folder: Path) -> None:
    load, path = small_file(folder, "zip")
    config = json.loads((folder / "musetalk.json").read_text())
    (folder / "musetalk.json").write_text(json.dumps(config | {"cross_attention_dim": 768}))
    error = refusal(load, path)
    assert "UNet2DConditionModel" in error.cause
    assert re.search(r"tensor \S+attn2\S+ should have shape \(8, 768\) but is \(8, 384\)", error.cause)
    (folder / "musetalk.json").unlink()
    assert "should have shape (320, 8, 3, 3) but is (8, 8, 3, 3)" in refusal(load, path).cause


def test_one_missing_tensor_is_told(folder: Path) -> None:
    load, path = small_file(folder, "zip")
    state = tensors("unet")
    del state["conv_out.bias"]
    torch.save(state, path)
    cause = refusal(load, path).cause
    assert "tensor conv_out.bias should have shape (4,) but is missing (1 of" in cause


@pytest.mark.parametrize(
    "missing",
    [
        "encoder.down.0.downsample.conv.weight",
        "encoder.down.0.downsample.conv.bias",
        "decoder.up.3.upsample.conv.weight",
        "decoder.up.3.upsample.conv.bias",
        "decoder.up.1.block.0.nin_shortcut.weight",
        "decoder.mid.attn_1.q.weight",
        "decoder.mid.attn_1.proj_out.bias",
        "encoder.norm_out.weight",
        "quant_conv.weight",
    ],
)
def test_a_missing_tensor_of_an_ldm_vae_is_told(missing: str, folder: Path) -> None:
    write_config(folder / "config.json", "vae")
    state = ldm_vae()
    del state[missing]
    torch.save(state, folder / "vae.ckpt")
    assert "is missing" in refusal(vae.load, folder / "vae.ckpt").cause


@pytest.mark.parametrize(
    "text",
    ["<html>404</html>", "", "{", "[1, 2]", '{"error": "no access"}', '{"block_out_channels": "wide"}', "\xff"],
)
@pytest.mark.parametrize(("form", "config"), [("zip", "musetalk.json"), ("safetensors", "config.json")])
def test_a_broken_configuration_is_told(form: str, config: str, text: str, folder: Path) -> None:
    load, path = small_file(folder, form)
    (folder / config).write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsInvalidError) as refused:
        load(path)
    assert str(folder / config) in refused.value.cause and "JSON" in refused.value.cause
    assert "published configuration is built in" in refused.value.remedy
    (folder / config).unlink()


def test_a_file_overwritten_in_place_does_not_reach_a_loaded_network(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"weight": torch.ones(300, 200), "bias": torch.ones(300)}, path)
    with torch.device("meta"):
        layer = nn.Linear(200, 300)
    fill_network(layer, read_state_dict(path), path)
    with path.open("r+b") as file:
        file.truncate(10)  # a memory-mapped tensor would end the process here
    assert (layer.weight == 1).all() and layer.weight.dtype == torch.float32
