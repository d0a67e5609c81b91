"""Says what is there, what is missing, which device and precision will be used, and whether all is sound."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from . import manifest, weights
from .cache import KINDS, TAESD_KINDS
from .models import choose_device, choose_dtype
from .releases import RELEASES

_PACKAGES = {
    "torch": "torch",
    "diffusers": "diffusers",
    "openai-whisper": "whisper",
    "face-alignment": "face_alignment.detection.sfd.net_s3fd",
    "opencv-python": "cv2",
    "av": "av",
    "safetensors": "safetensors",
    "scipy": "scipy.signal",
    "Pillow": "PIL",
    "numpy": "numpy",
}


def examine(roots: Sequence[Path]) -> dict[str, Any]:
    """Look at everything a run needs.

    Args:
        roots: Folders to look for weights in; missing files belong into the first.

    Returns:
        JSON-ready: "packages" (name to version, or to the reason it cannot be imported), "releases"
        (name to the file found for each network, and the files to fetch), "device", "precision",
        "problems" that keep a run from working, "warnings" that may, and "sound": whether there are no
        problems, so that a run of at least one release would work.
    """
    packages, problems, warnings = {}, [], []
    for name, module in _PACKAGES.items():
        try:
            imported = importlib.import_module(module)
            packages[name] = _version(name, imported)
        except Exception as error:  # a broken package may raise anything on import
            packages[name] = f"cannot be imported: {error}"
            problems.append(f"{name} cannot be imported ({error}). Run: pip install -r requirements.txt")
    if {"opencv-python", "opencv-python-headless"} <= {dist.name for dist in importlib.metadata.distributions()}:
        warnings.append("Two OpenCV packages lie over each other. Uninstall both, then install opencv-python.")
    device = choose_device()
    releases = {name: _release(name, roots) for name in RELEASES}
    suspects = [text for state in releases.values() for text in state["suspect"]]
    warnings += [f"{text}. Delete it and fetch it again." for text in dict.fromkeys(suspects)]
    if all(state["missing"] or state["suspect"] for state in releases.values()):
        problems.append("No release has all of its weights. Run: python -m musetalk_core download")
    return {
        "python": sys.version.split()[0],
        "packages": packages,
        "device": str(device),
        "precision": str(choose_dtype("auto", device)).removeprefix("torch."),
        "weights": [str(root) for root in roots],
        "releases": releases,
        "problems": problems,
        "warnings": warnings,
        "sound": not problems,
    }


def _version(name: str, module: ModuleType) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # another build of it, such as opencv-contrib-python
        return getattr(module, "__version__", "of unknown version")


def _release(name: str, roots: Sequence[Path]) -> dict[str, Any]:
    release = RELEASES[name]
    found = {kind: weights.find(kind, release, roots) for kind in (*KINDS, *TAESD_KINDS)}
    sizes = {file.path: file.size for file in manifest.FILES}
    return {
        "found": {kind: str(path) for kind, path in found.items() if path},
        "suspect": [
            f"{path} has {path.stat().st_size} bytes, the published file {sizes[relative]}"
            for path in found.values()
            if path
            for root in roots
            if path.is_relative_to(root)
            and sizes.get(relative := path.relative_to(root).as_posix()) not in (None, path.stat().st_size)
        ],
        "missing": [
            {"path": str(roots[0] / file.path), "url": file.url, "size": file.size, "licence": file.licence}
            for file in weights.missing(release, roots)
        ],
    }


def describe(report: dict[str, Any]) -> str:
    """The report of `examine` for people."""
    lines = [f"Python {report['python']}, device {report['device']}, precision {report['precision']}"]
    lines += [f"  {name:16} {version}" for name, version in report["packages"].items()]
    lines.append(f"Weights in {', '.join(report['weights'])}")
    for name, state in report["releases"].items():
        lines.append(f"  MuseTalk {name}: {'complete' if not state['missing'] else 'incomplete'}")
        lines += [f"    found   {kind:13} {path}" for kind, path in state["found"].items()]
        lines += [f"    missing {file['path']}\n            from {file['url']}" for file in state["missing"]]
    lines += [f"WARNING: {warning}" for warning in report["warnings"]]
    lines += [f"PROBLEM: {problem}" for problem in report["problems"]]
    lines.append("All is sound." if report["sound"] else "Not ready yet; see above.")
    return "\n".join(lines)
