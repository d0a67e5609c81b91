"""Fetching weight files. The only module that uses the network."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from .errors import DownloadError
from .manifest import WeightFile
from .progress import Progress

BLOCK = 1 << 20
"""Bytes read, hashed and written at a time."""

TIMEOUT = 30.0
"""Seconds without an answer or a byte after which the network counts as down."""


def is_there(file: WeightFile, root: Path) -> bool:
    """Says whether the file stands under `root` in full size. Its hash is not looked at again."""
    target = root / file.path
    return target.is_file() and file.size in (None, target.stat().st_size)


def fetch_all(files: Sequence[WeightFile], root: Path, progress: Progress) -> None:
    """Fetches the files that are not there yet. One that fails does not stop the others.

    Args:
        files: What is needed.
        root: The models folder; made if it is missing.
        progress: Told the bytes done and in all, over all files.

    Raises:
        DownloadError: The disk is too full (nothing is fetched then), or files failed: one error
            that names each of them.
    """
    missing = [file for file in files if not is_there(file, root)]
    if not missing:
        return
    _require_space(missing, root)
    failures: list[DownloadError] = []
    before = 0  # bytes of the files already fetched
    for i, file in enumerate(missing):
        after = sum(later.size or 0 for later in missing[i + 1 :])
        overall = _shifted(progress, before, after)
        try:
            before += fetch(file, root, overall).stat().st_size
        except DownloadError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        listed = "\n".join(f"- {error}" for error in failures)
        raise DownloadError(
            f"{len(failures)} of {len(missing)} files could not be downloaded:\n{listed}\n",
            "What has arrived is kept: the next try goes on from there.",
        )


def fetch(file: WeightFile, root: Path, progress: Progress) -> Path:
    """Fetches one file, going on where an earlier try broke off; a file already there is left alone.

    It arrives as `<name>.part` and gets its name when its size and hash are right.

    Args:
        file: What to fetch.
        root: The models folder; folders are made as needed.
        progress: Told the bytes done and in all, once a mebibyte. What it raises passes through,
            and what has arrived is kept for the next try.

    Returns:
        Where the file is.

    Raises:
        DownloadError: The network failed (what has arrived is kept), the disk cannot be written, or
            the file is not the one expected (it is deleted).
    """
    target = root / file.path
    if is_there(file, root):
        return target
    with closing(_transfer(file, target)) as steps:
        for done, total in steps:
            progress(done, total, None)
    return target


def _require_space(missing: Sequence[WeightFile], root: Path) -> None:
    with _disk(root):
        root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free
    # Files of unknown size are left out, and so is what earlier tries have already written.
    wanted = sum(max(0, (file.size or 0) - _size(_part(root / file.path))) for file in missing)
    if wanted > free:
        raise DownloadError(
            f"The models need {wanted / 1e9:.1f} GB and the disk of {root} has {free / 1e9:.1f} GB free.",
            "Make room or choose a models folder on another disk.",
        )


def _shifted(progress: Progress, before: int, after: int) -> Progress:
    """One file's progress, told as part of a whole with so many bytes before and after it."""
    return lambda done, total, preview: progress(before + done, before + total + after, preview)


def _transfer(file: WeightFile, target: Path) -> Iterator[tuple[int, int]]:
    """Fetches, checks and names the file, yielding (bytes done, bytes in all) along the way.

    A generator, so that what the caller's progress raises is never taken for an error in here.
    """
    part = _part(target)
    with _disk(target):
        part.parent.mkdir(parents=True, exist_ok=True)
        # Where nothing is known of the file, nothing would tell that what is there is of another version.
        known = file.size is not None or file.sha256 is not None
        size, digest = (_size(part), _digest(part)) if known else (0, hashlib.sha256())
    if not known or not _is_whole(file, size, digest):
        size, digest = yield from _receive(file, target, size, digest)
    if not _is_whole(file, size, digest):
        with _disk(target):
            part.unlink()
        raise DownloadError(
            f"{file.url} is not what it should be: expected {file.size or 'any number of'} bytes with"
            f" sha256 {file.sha256 or 'unknown'}, found {size} bytes with {digest.hexdigest()}.",
            f"Try again, or put {target.name} into {target.parent} by hand.",
        )
    with _disk(target):
        os.replace(part, target)


def _receive(
    file: WeightFile, target: Path, size: int, digest: hashlib._Hash
) -> Generator[tuple[int, int], None, tuple[int, hashlib._Hash]]:
    """Lengthens the part, which has this size and sha256, as `_transfer` yields; returns the new ones."""
    with _network(file, target):
        response = _request(file.url, size)
    with response:
        resumed = response.status == http.client.PARTIAL_CONTENT
        if not resumed:  # the server begins at the beginning
            size, digest = 0, hashlib.sha256()
        length = response.headers["Content-Length"]
        total = size + int(length) if length else file.size or 0
        with _disk(target), _part(target).open("ab" if resumed else "wb") as out:
            for block in _blocks(response, file, target):
                out.write(block)
                digest.update(block)
                size += len(block)
                yield size, max(size, total)
            out.flush()
            os.fsync(out.fileno())
    if size < total:
        raise _unreachable(file, target, f"it broke off after {size} of {total} bytes")
    return size, digest


def _request(url: str, start: int) -> http.client.HTTPResponse:
    """Opens the address, asking for what comes after the first `start` bytes."""
    headers = {"User-Agent": "musetalk"}  # some servers turn away urllib's own name
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        return urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        if start and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _request(url, 0)  # as long as the file and not it: the rest of another version
        raise


def _blocks(response: http.client.HTTPResponse, file: WeightFile, target: Path) -> Iterator[bytes]:
    with _network(file, target):
        while block := response.read(BLOCK):
            yield block


def _unreachable(file: WeightFile, target: Path, reason: str) -> DownloadError:
    return DownloadError(
        f"{file.url} could not be downloaded: {reason}.",
        f"Try again to go on from there, or download it by hand into {target.parent} as {target.name}.",
    )


@contextmanager
def _network(file: WeightFile, target: Path) -> Iterator[None]:
    """Tells the network's errors as `DownloadError`."""
    try:
        yield
    except HTTPError as error:
        raise _unreachable(file, target, f"the server answers {error.code} {error.reason}") from error
    except URLError as error:
        raise _unreachable(file, target, str(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(file, target, str(error)) from error


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Tells the disk's errors as `DownloadError`."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"{path} cannot be written: {error}.", "Make room, or choose a models folder you may write to."
        ) from error


def _is_whole(file: WeightFile, size: int, digest: hashlib._Hash) -> bool:
    return file.size in (None, size) and file.sha256 in (None, digest.hexdigest())


def _digest(path: Path) -> hashlib._Hash:
    """The sha256 of the file so far; of nothing where there is no file."""
    digest = hashlib.sha256()
    if path.exists():
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")
