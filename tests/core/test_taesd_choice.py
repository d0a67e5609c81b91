"""TAESD instead of the VAE: chosen for either half, found where users have it, never needed unless chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from musetalk_core import cli, download, manifest, pipeline, synthetic, weights
from musetalk_core.avatar import Preparation
from musetalk_core.avatar_commands import PREPARING, SPEAKING
from musetalk_core.avatar_store import avatar_info, open_avatar, prepare_avatar
from musetalk_core.cache import KINDS, TAESD_KINDS, ByteBudget, ModelCache, Source
from musetalk_core.errors import InputError, WeightsMissingError
from musetalk_core.networks.taesd import TaesdDecoder, TaesdEncoder
from musetalk_core.releases import RELEASES
from tests.core.avatars import BATCH, Looked, Painters, no_stages, spoken_by, steady
from tests.core.jobs import face_film
from tests.core.stand_ins import PlainVae

NEW = RELEASES["1.5"]
NOWHERE = [Path("nowhere")]


@pytest.fixture
def cache() -> ModelCache:
    return ModelCache(ByteBudget(torch.device("cpu")))


def opened(cache: ModelCache, encode: str, decode: str, host_vae=None, kinds: Sequence[str] = KINDS):
    kinds = weights.chosen_kinds(kinds, encode, decode)
    return weights.open_models(NEW, NOWHERE, cache, "fp32", "small", host_vae, kinds)


# What is used


@pytest.mark.parametrize(
    ("encode", "decode", "used"),
    [
        ("full", "full", {"vae"}),
        ("taesd", "full", {"taesd_encoder", "vae"}),
        ("full", "taesd", {"vae", "taesd_decoder"}),
        ("taesd", "taesd", {"taesd_encoder", "taesd_decoder"}),
    ],
)
@torch.inference_mode()
def test_each_half_is_what_was_chosen_and_only_that_is_loaded(
    encode: str, decode: str, used: set[str], cache: ModelCache
) -> None:
    models = opened(cache, encode, decode)
    assert set(models.sources) == set(KINDS) - {"vae"} | used
    latents = models.vae_encoder(1).encode(torch.zeros(1, 3, 64, 64))
    assert models.vae_decoder(1).decode(latents).shape == (1, 3, 64, 64)
    assert cache.loads == dict.fromkeys(used, 1)
    assert isinstance(models.vae_encoder(), TaesdEncoder) == (encode == "taesd")
    assert isinstance(models.vae_decoder(), TaesdDecoder) == (decode == "taesd")


def test_a_stage_loads_its_own_half_alone(cache: ModelCache) -> None:
    faces = pipeline.decode(opened(cache, "taesd", "taesd"), torch.ones(1, 4, 32, 32))
    assert faces.shape == (1, 256, 256, 3) and faces.any()
    assert cache.loads == {"taesd_decoder": 1}


@pytest.mark.parametrize(
    ("kinds", "encode", "decode", "used"),
    [
        (PREPARING, "taesd", "full", {"taesd_encoder", "dwpose", "s3fd", "face_parse"}),
        (PREPARING, "full", "taesd", {"vae", "dwpose", "s3fd", "face_parse"}),
        (SPEAKING, "full", "taesd", {"unet", "taesd_decoder", "whisper"}),
        (SPEAKING, "taesd", "full", {"unet", "vae", "whisper"}),
    ],
)
def test_who_works_with_one_half_needs_no_other(
    kinds: Sequence[str], encode: str, decode: str, used: set[str], cache: ModelCache
) -> None:
    assert set(opened(cache, encode, decode, kinds=kinds).sources) == used


@torch.inference_mode()
def test_a_vae_of_the_hosts_keeps_the_half_that_was_not_chosen(cache: ModelCache) -> None:
    host_vae = PlainVae()
    models = opened(cache, "full", "taesd", host_vae)
    assert models.vae_encoder() is host_vae and isinstance(models.vae_decoder(), TaesdDecoder)
    models = opened(cache, "taesd", "full", host_vae)
    assert models.vae_decoder() is host_vae and isinstance(models.vae_encoder(), TaesdEncoder)
    assert "vae" not in models.sources


# Where it is


def test_it_is_not_missed_unless_it_is_chosen() -> None:
    assert not {file.kind for file in weights.missing(NEW, NOWHERE)} & set(TAESD_KINDS)


@pytest.mark.parametrize(
    ("encode", "decode", "halves"),
    [("taesd", "full", ["encode"]), ("full", "taesd", ["decode"]), ("taesd", "taesd", ["encode", "decode"])],
)
def test_chosen_without_its_files_it_is_told_where_they_belong(
    encode: str, decode: str, halves: list[str], tmp_path: Path, cache: ModelCache
) -> None:
    with pytest.raises(WeightsMissingError) as refused:
        weights.open_models(
            NEW, [tmp_path], cache, kinds=weights.chosen_kinds(("vae_encoder", "vae_decoder"), encode, decode)
        )
    remedy = refused.value.remedy
    for half in halves:
        assert f"{tmp_path / 'taesd' / f'taesd_{half}r.safetensors'}\n    from https://huggingface.co/" in remedy
        assert f"--vae-{half} taesd" in remedy
    assert ("sd-vae-ft-mse" in remedy) == (len(halves) == 1)


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_it_is_found_in_every_form_and_place(half: str, tmp_path: Path) -> None:
    ours, hosts = tmp_path / "musetalk", tmp_path / "vae_approx"
    for place in (
        ours / "taesd" / f"taesd_{half}.safetensors",
        hosts / f"taesd_{half}.safetensors",
        ours / "taesd" / f"taesd_{half}.pth",
        hosts / f"taesd_{half}.pth",
        ours / "taesd" / "diffusion_pytorch_model.safetensors",
        ours / "taesd" / "diffusion_pytorch_model.bin",
    ):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
        assert weights.find(f"taesd_{half}", NEW, [ours, hosts]) == place
        place.unlink()


@torch.inference_mode()
def test_it_decodes_from_the_hosts_folder(tmp_path: Path, cache: ModelCache) -> None:
    network = synthetic.build("taesd_decoder", "full")
    state = {}
    for name, tensor in network.state_dict().items():
        _, layer, rest = name.split(".", 2)
        state[f"{int(layer) + 1}.{rest}"] = tensor
    save_file(state, tmp_path / "taesd_decoder.safetensors")
    models = weights.open_models(NEW, [tmp_path / "musetalk", tmp_path], cache, "fp32", kinds=["taesd_decoder"])
    latents = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(models.vae_decoder().decode(latents), TaesdDecoder(network).decode(latents))
    assert not models.synthetic


# The command line


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would be downloaded."""
    paths: list[str] = []
    monkeypatch.setattr(download, "fetch_all", lambda files, *_: paths.extend(file.path for file in files))
    return paths


@pytest.mark.parametrize(
    ("options", "more", "less"),
    [
        ((), set(), set()),
        (("--vae-decode", "taesd"), {"taesd/taesd_decoder.safetensors"}, set()),
        (
            ("--vae-encode", "taesd", "--vae-decode", "taesd"),
            {"taesd/taesd_encoder.safetensors", "taesd/taesd_decoder.safetensors"},
            {"sd-vae-ft-mse/diffusion_pytorch_model.safetensors", "sd-vae-ft-mse/config.json"},
        ),
    ],
    ids=["full", "decode", "both"],
)
def test_it_is_downloaded_when_it_is_chosen(
    options: tuple[str, ...], more: set[str], less: set[str], tmp_path: Path, fetched: list[str]
) -> None:
    assert cli.main(["download", "--weights", str(tmp_path), *options]) == 0
    assert set(fetched) == {file.path for file in manifest.needed("1.5")} - less | more


@pytest.mark.parametrize("command", ["run", "prepare", "speak", "bench"])
def test_every_command_with_models_has_the_choice(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = {"prepare": ["--source", "x", "--name", "x"]}.get(command, [])
    args = cli._parser().parse_args([command, *needs, "--weights", "synthetic", "--vae-decode", "taesd"])
    args.release = "1.5"
    models = cli._open(args, ("vae",))
    assert {kind: source.synthetic for kind, source in models.sources.items()} == {
        "vae": "small",
        "taesd_decoder": "small",
    }


# Avatars

TAESD_ENCODES = {"taesd_encoder": Source("taesd_encoder", synthetic="small")}
TAESD_DECODES = {"taesd_decoder": Source("taesd_decoder", synthetic="small")}
FILM = face_film(12)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch, all_skin: None) -> Looked:
    return Looked(monkeypatch)


def prepare(folder: Path, **sources: Source) -> Path:
    prepare_avatar(Painters(**sources), steady(FILM), folder, Preparation(), no_stages, BATCH)
    return folder


def test_an_avatar_encoded_in_full_may_be_decoded_by_taesd(tmp_path: Path, looked: Looked) -> None:
    ann = prepare(tmp_path / "Ann")
    assert not avatar_info(ann).taesd
    (tmp_path / "others.pth").write_text("others")
    other = Source("vae", tmp_path / "others.pth")
    models = Painters(vae=other, **TAESD_DECODES)
    assert len(spoken_by(open_avatar(ann, models), models)) == 22
    with pytest.raises(InputError, match="another VAE"):
        open_avatar(ann, Painters(vae=other))


def test_an_avatar_encoded_by_taesd_may_be_decoded_by_any(tmp_path: Path, looked: Looked) -> None:
    bob = prepare(tmp_path / "Bob", **TAESD_ENCODES)
    assert avatar_info(bob).taesd
    for models in (Painters(), Painters(vae=Source("vae", synthetic="full")), Painters(**TAESD_DECODES)):
        assert len(spoken_by(open_avatar(bob, models), models)) == 22


def test_an_avatar_is_encoded_anew_when_the_choice_changes(tmp_path: Path, looked: Looked) -> None:
    def latents(folder: Path) -> set[str]:
        return {path.name for path in folder.glob("latents-*")}

    ann = prepare(tmp_path / "Ann")
    full = latents(ann)
    assert latents(prepare(ann)) == full
    by_taesd = latents(prepare(ann, **TAESD_ENCODES))
    assert by_taesd != full and avatar_info(ann).taesd
    assert latents(prepare(ann, **TAESD_ENCODES, **TAESD_DECODES)) == by_taesd, "decoding does not matter"
    prepare(ann)
    assert not avatar_info(ann).taesd


def test_the_list_of_avatars_says_so(tmp_path: Path, looked: Looked, capsys: pytest.CaptureFixture) -> None:
    prepare(tmp_path / "Ann")
    prepare(tmp_path / "Bob", **TAESD_ENCODES)
    assert cli.main(["avatars", "--avatars", str(tmp_path)]) == 0
    ann, bob = capsys.readouterr().out.splitlines()
    assert ann.startswith("Ann") and "TAESD" not in ann
    assert bob.startswith("Bob") and "encoded by TAESD" in bob
