"""Downloads against a server on this machine that can do all the things servers do."""

from __future__ import annotations

import hashlib
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from musetalk_core.download import fetch, fetch_all
from musetalk_core.errors import DownloadError
from musetalk_core.manifest import WeightFile
from musetalk_core.progress import silent

MIB = 1 << 20
CONTENT = bytes(range(256)) * 4 * 1024 * 3 + b"the end"  # 3 MiB and a bit


@dataclass
class Server:
    """What is served, how, and what was asked and sent."""

    port: int = 0
    files: dict[str, bytes] = field(default_factory=lambda: {"/unet.pth": CONTENT})
    ranges: bool = True
    break_after: int | None = None  # bytes of a body after which the connection drops
    asked: list[str | None] = field(default_factory=list)  # the Range header of each request
    sent: int = 0  # body bytes


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.headers["Range"])
            content = state.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = 0
            if state.ranges and self.headers["Range"]:
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            body = content[start:][: state.break_after]
            self.wfile.write(body)
            state.sent += len(body)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = http.server_address[1]
    thread = Thread(target=http.serve_forever, args=(0.01,))  # seconds until a shutdown is noticed
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def file(server: Server) -> WeightFile:
    return WeightFile(
        kind="unet",
        path="musetalkV15/unet.pth",
        url=f"http://127.0.0.1:{server.port}/unet.pth",
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        licence="MIT",
        release="1.5",
    )


def part_of(root: Path) -> Path:
    return root / "musetalkV15/unet.pth.part"


def write_part(root: Path, content: bytes) -> None:
    part_of(root).parent.mkdir(parents=True)
    part_of(root).write_bytes(content)


def test_a_file_arrives_whole_under_its_name(file: WeightFile, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    path = fetch(file, tmp_path, lambda done, total, _: steps.append((done, total)))
    assert path == tmp_path / "musetalkV15/unet.pth"
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["unet.pth"]
    assert steps == [(MIB * i, len(CONTENT)) for i in (1, 2, 3)] + [(len(CONTENT), len(CONTENT))]


def test_a_broken_connection_is_taken_up_where_it_broke(server: Server, file: WeightFile, tmp_path: Path) -> None:
    server.break_after = 2_000_000
    with pytest.raises(DownloadError, match="2000000 of") as failure:
        fetch(file, tmp_path, silent)
    assert file.url in str(failure.value)
    assert str(tmp_path / "musetalkV15") in failure.value.remedy
    assert not (tmp_path / file.path).exists()

    server.break_after, server.sent = None, 0
    steps: list[int] = []
    assert fetch(file, tmp_path, lambda done, *_: steps.append(done)).read_bytes() == CONTENT
    assert server.sent == len(CONTENT) - 2_000_000
    assert steps[0] > 2_000_000 and steps[-1] == len(CONTENT)
    assert not part_of(tmp_path).exists()


def test_a_server_without_ranges_starts_over(server: Server, file: WeightFile, tmp_path: Path) -> None:
    server.ranges = False
    write_part(tmp_path, b"not even the same bytes")
    assert fetch(file, tmp_path, silent).read_bytes() == CONTENT


def test_a_part_that_is_complete_needs_no_network(server: Server, file: WeightFile, tmp_path: Path) -> None:
    write_part(tmp_path, CONTENT)
    assert fetch(file, tmp_path, silent).read_bytes() == CONTENT
    assert server.asked == []


def test_a_part_longer_than_the_file_is_started_over(server: Server, file: WeightFile, tmp_path: Path) -> None:
    write_part(tmp_path, CONTENT + b"more")
    assert fetch(file, tmp_path, silent).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT) + 4}-", None]


@pytest.mark.parametrize("served", [CONTENT[:-1] + b"!", CONTENT[:-1], CONTENT + b"!"])
def test_another_file_under_the_address_is_refused(
    served: bytes, server: Server, file: WeightFile, tmp_path: Path
) -> None:
    server.files["/unet.pth"] = served
    with pytest.raises(DownloadError) as failure:
        fetch(file, tmp_path, silent)
    assert file.sha256 in str(failure.value)
    assert hashlib.sha256(served).hexdigest() in str(failure.value)
    assert list((tmp_path / "musetalkV15").iterdir()) == []


def test_a_file_of_unknown_hash_is_known_by_its_size(server: Server, file: WeightFile, tmp_path: Path) -> None:
    assert fetch(replace(file, sha256=None), tmp_path, silent).read_bytes() == CONTENT
    (tmp_path / file.path).unlink()
    with pytest.raises(DownloadError, match="not what it should be"):
        fetch(replace(file, sha256=None, size=12), tmp_path, silent)


def test_a_file_of_which_nothing_is_known_is_taken_as_it_comes_and_whole(
    server: Server, file: WeightFile, tmp_path: Path
) -> None:
    unknown = replace(file, sha256=None, size=None)
    write_part(tmp_path, b"of another version")
    assert fetch(unknown, tmp_path, silent).read_bytes() == CONTENT
    assert server.asked == [None], "from its beginning"
    assert fetch(unknown, tmp_path, silent).read_bytes() == CONTENT
    assert server.asked == [None], "once"


def test_a_file_that_is_there_is_not_fetched_again(server: Server, file: WeightFile, tmp_path: Path) -> None:
    fetch(file, tmp_path, silent)
    fetch(file, tmp_path, silent)
    fetch_all([file], tmp_path, silent)
    assert len(server.asked) == 1


def test_a_file_of_the_wrong_size_is_fetched_again(file: WeightFile, tmp_path: Path) -> None:
    (tmp_path / "musetalkV15").mkdir()
    (tmp_path / file.path).write_bytes(b"git-lfs pointer")
    assert fetch(file, tmp_path, silent).read_bytes() == CONTENT


def test_a_missing_page_is_told_with_the_way_to_do_it_by_hand(
    server: Server, file: WeightFile, tmp_path: Path
) -> None:
    server.files.clear()
    with pytest.raises(DownloadError, match="404") as failure:
        fetch(file, tmp_path, silent)
    assert file.url in str(failure.value)
    assert str(tmp_path / "musetalkV15") in failure.value.remedy


def test_no_server_is_told_and_keeps_the_part(file: WeightFile, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    write_part(tmp_path, CONTENT[:1000])
    with pytest.raises(DownloadError, match=f"127.0.0.1:{port}"):
        fetch(replace(file, url=f"http://127.0.0.1:{port}/unet.pth"), tmp_path, silent)
    assert part_of(tmp_path).read_bytes() == CONTENT[:1000]


class Cancelled(OSError):
    """Of a kind that a download might mistake for its own trouble."""


def test_stopping_passes_through_and_keeps_what_arrived(server: Server, file: WeightFile, tmp_path: Path) -> None:
    def stop(done: int, total: int, preview: object) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        fetch(file, tmp_path, stop)
    assert part_of(tmp_path).read_bytes() == CONTENT[:MIB]
    assert not (tmp_path / file.path).exists()
    fetch(file, tmp_path, silent)
    assert server.asked[-1] == f"bytes={MIB}-"


def test_a_folder_that_cannot_be_made_is_told(file: WeightFile, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    for attempt in (lambda root: fetch(file, root, silent), lambda root: fetch_all([file], root, silent)):
        with pytest.raises(DownloadError, match="cannot be written"):
            attempt(tmp_path / "models")


def test_a_full_disk_is_told_before_anything_is_fetched(
    server: Server, file: WeightFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=len(CONTENT) - 100))
    with pytest.raises(DownloadError, match="GB free"):
        fetch_all([file], tmp_path, silent)
    assert server.asked == []
    write_part(tmp_path, CONTENT[:100])  # what is already there needs no more room
    fetch_all([file], tmp_path, silent)
    assert (tmp_path / file.path).read_bytes() == CONTENT


def test_one_unreachable_file_does_not_stop_the_others(server: Server, file: WeightFile, tmp_path: Path) -> None:
    server.files["/tiny.pt"] = b"tiny"
    lost = replace(file, path="s3fd/s3fd.pth", url=file.url.replace("unet", "s3fd"))
    gone = replace(file, path="vae/vae.pth", url=file.url.replace("unet", "vae"))
    tiny = replace(file, path="tiny.pt", url=file.url.replace("unet.pth", "tiny.pt"), size=4, sha256=None)
    with pytest.raises(DownloadError, match="2 of 4 files") as failure:
        fetch_all([lost, file, gone, tiny], tmp_path, silent)
    assert lost.url in str(failure.value) and gone.url in str(failure.value)
    assert (tmp_path / file.path).read_bytes() == CONTENT
    assert (tmp_path / "tiny.pt").read_bytes() == b"tiny"


def test_progress_counts_all_files_together(server: Server, file: WeightFile, tmp_path: Path) -> None:
    server.files["/vae.bin"] = CONTENT
    vae = replace(file, path="vae/vae.bin", url=file.url.replace("unet.pth", "vae.bin"))
    steps: list[tuple[int, int]] = []
    fetch_all([file, vae], tmp_path, lambda done, total, _: steps.append((done, total)))
    assert {total for _, total in steps} == {2 * len(CONTENT)}
    assert steps == sorted(steps) and steps[-1][0] == 2 * len(CONTENT)
