"""MobileNetV2 (Sandler et al., 2018), the released network.

torchvision's layers under torchvision's names. While batch norm is frozen its scale is multiplied
into the convolution's weights on each pass: the same function and gradients, and on a CPU, where
memory is what it waits for, twice the speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own convention
from torch import Tensor, nn
from torchvision.models import mobilenet_v2
from torchvision.models.mobilenetv2 import InvertedResidual

from train.networks import Network


class MobileNetV2(Network):
    """Backbone → global pooling (mean or max) → dropout → head."""

    def __init__(self, outputs: int, *, pool: str = "mean", dropout: float = 0.2) -> None:
        super().__init__()
        self.backbone: nn.Sequential = mobilenet_v2(weights=None).features
        self.pool = pool
        self.rounding = False  # answer as INT8 will; gradients pass through the rounding
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(1280, outputs)

    def features(self, pictures: Tensor) -> Tensor:
        """Pooled features (N, 1280)."""
        if self.plain or (self.training and not self.freeze_norm and not self.rounding):
            maps = self.backbone(pictures)
        else:
            maps = _rounded(pictures) if self.rounding else pictures
            for block in self.backbone:
                maps = _folded_block(block, maps, self.rounding)
        pooled = maps.amax((2, 3)) if self.pool == "max" else maps.mean((2, 3))
        return cast(Tensor, self.dropout(pooled))

    def blocks(self) -> Sequence[nn.Module]:
        """The stem, seventeen bottlenecks and the last convolution."""
        return list(self.backbone)


def _folded_block(block: nn.Module, x: Tensor, rounding: bool) -> Tensor:
    if not isinstance(block, InvertedResidual):
        return _folded(cast(nn.Sequential, block), x, rounding)
    out = _folded(block.conv, x, rounding)
    out = _rounded(out) if rounding else out
    if not block.use_res_connect:
        return out
    return _rounded(x + out) if rounding else x + out


def _folded(layers: nn.Sequential, x: Tensor, rounding: bool) -> Tensor:
    """Run convolution, norm, activation triples with the norm inside the convolution."""
    conv: nn.Conv2d | None = None
    for layer in layers:
        match layer:
            case nn.Conv2d():
                conv = layer
            case nn.BatchNorm2d():
                assert conv is not None and layer.running_var is not None
                scale = layer.weight * torch.rsqrt(layer.running_var + layer.eps)
                shift = layer.bias - cast(Tensor, layer.running_mean) * scale
                weight = conv.weight * scale.view(-1, 1, 1, 1)
                weight = _rounded_kernel(weight) if rounding else weight
                x = F.conv2d(
                    x, weight, shift, conv.stride, conv.padding, conv.dilation, conv.groups
                )
            case nn.ReLU6():
                x = _rounded(F.relu6(x)) if rounding else F.relu6(x, inplace=True)
            case _:
                x = _folded(cast(nn.Sequential, layer), x, rounding)
    return x


def _rounded(x: Tensor) -> Tensor:
    """Eight bits over the range of these values, as quantisation gives an activation."""
    values = x.detach().float()
    low, high = values.amin().clamp(max=0.0), values.amax().clamp(min=0.0)
    step = ((high - low) / 255.0).clamp_min(1e-8)
    zero = torch.round(-low / step)
    short = ((torch.round(values / step) + zero).clamp(0.0, 255.0) - zero) * step
    return x + (short - values).to(x.dtype)


def _rounded_kernel(weight: Tensor) -> Tensor:
    """Seven bits per output channel: half of INT8's range, as `quantize` uses it."""
    values = weight.detach()
    step = (values.flatten(1).abs().amax(1) / 63.0).clamp_min(1e-12).view(-1, 1, 1, 1)
    return weight + (torch.round(values / step) * step - values)
