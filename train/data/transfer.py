"""Host memory to the device, without the host waiting for it.

A copy from ordinary memory stops the host until the device has done all work before it; from
page-locked memory it does not. Owns this one rule, for whoever sends something each step.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def send(values: NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """The values as a tensor on `device`; on a CPU they are not copied."""
    tensor = values if isinstance(values, Tensor) else torch.from_numpy(values)
    if device.type == "cpu" or not tensor.numel():
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
