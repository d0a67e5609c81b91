"""The table of weight files holds together."""

from __future__ import annotations

import pytest

from musetalk_core.manifest import ALTERNATIVES, CONFIGS, FILES, needed

PATHS = {file.path for file in FILES}


def test_every_file_can_be_told_from_a_broken_one() -> None:
    for file in FILES:
        assert file.size or file.sha256 or file.path.endswith(".safetensors"), file.path
        assert file.sha256 is None or (len(file.sha256) == 64 and int(file.sha256, 16)), file.path


def test_no_file_is_listed_twice() -> None:
    assert len(PATHS) == len(FILES)


def test_every_address_ends_in_the_name_of_its_file() -> None:
    for file in FILES:
        assert file.url.startswith("https://")
        assert file.url.rsplit("/", 1)[1] == file.path.rsplit("/", 1)[1]


def test_paths_stay_inside_the_models_folder() -> None:
    for path in PATHS | {path for paths in ALTERNATIVES.values() for path in paths}:
        assert not path.startswith("/") and ".." not in path and "\\" not in path


@pytest.mark.parametrize("release", ["1.0", "1.5"])
def test_a_release_gets_the_preferred_file_of_each_network_and_its_config(release: str) -> None:
    paths = [file.path for file in needed(release)]
    shared = {"vae", "whisper", "dwpose", "face_parse", "s3fd"}
    preferred = {ALTERNATIVES[kind][0] for kind in shared | {f"unet-{release}"}}
    assert set(paths) == preferred | {CONFIGS[path] for path in preferred if path in CONFIGS}
    assert {file.kind for file in needed(release)} == shared | {"unet"}
    assert {file.release for file in needed(release)} == {release, None}


def test_a_release_that_does_not_exist_has_no_files() -> None:
    with pytest.raises(KeyError):
        needed("2.0")
