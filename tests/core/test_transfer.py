"""Tensors go to where another is, and come back, as they were."""

import torch

from musetalk_core.transfer import to_device, to_host


def test_a_tensor_takes_dtype_and_device_of_another() -> None:
    moved = to_device(torch.tensor([1.5, -2.0]), torch.empty(1, dtype=torch.bfloat16))
    assert moved.dtype == torch.bfloat16 and moved.tolist() == [1.5, -2.0]
    assert to_device(torch.zeros(2), torch.empty(1, device="meta")).is_meta


def test_a_tensor_on_the_cpu_is_there_already() -> None:
    tensor = torch.arange(3)
    assert to_host(tensor) is tensor
