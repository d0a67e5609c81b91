"""Seconds on whatever computes, the machine they were measured on, and how it is told."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .models import Models

_MATRIX = 2048  # side of the product that stands for what the machine can do


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long the work takes until the device has done it."""
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def matrix_product(dtype: torch.dtype, device: torch.device) -> tuple[float, Callable[[], object]]:
    """The product of two square matrices of 2048 rows: its GFLOP, and the work."""
    a = torch.randn(_MATRIX, _MATRIX, dtype=dtype, device=device)
    a @ a
    return 2 * _MATRIX**3 / 1e9, lambda: a @ a


def machine(models: Models) -> dict[str, Any]:
    """JSON-ready: what computes, and what with."""
    device = models.cache.residency.device
    return {
        "device": str(device),
        "machine": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": str(models.dtype).removeprefix("torch."),
        "synthetic_weights": models.synthetic,
    }


def machine_line(report: dict[str, Any]) -> str:
    """`machine` for people."""
    return (
        f"{report['machine']}, {report['device']}, {report['threads']} threads, torch {report['torch']}, "
        f"{report['precision']}, {'synthetic' if report['synthetic_weights'] else 'trained'} weights"
    )


def _processor() -> str:
    described = Path("/proc/cpuinfo")  # where Linux says more than the architecture
    if described.exists():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
