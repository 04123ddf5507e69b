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
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(1280, outputs)

    def features(self, pictures: Tensor) -> Tensor:
        """Pooled features (N, 1280)."""
        if self.plain or (self.training and not self.freeze_norm):
            maps = self.backbone(pictures)
        else:
            maps = pictures
            for block in self.backbone:
                maps = _folded_block(block, maps)
        pooled = maps.amax((2, 3)) if self.pool == "max" else maps.mean((2, 3))
        return cast(Tensor, self.dropout(pooled))

    def blocks(self) -> Sequence[nn.Module]:
        """The stem, seventeen bottlenecks and the last convolution."""
        return list(self.backbone)


def _folded_block(block: nn.Module, x: Tensor) -> Tensor:
    if isinstance(block, InvertedResidual):
        out = _folded(block.conv, x)
        return x + out if block.use_res_connect else out
    return _folded(cast(nn.Sequential, block), x)


def _folded(layers: nn.Sequential, x: Tensor) -> Tensor:
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
                x = F.conv2d(
                    x, weight, shift, conv.stride, conv.padding, conv.dilation, conv.groups
                )
            case nn.ReLU6():
                x = F.relu6(x, inplace=True)
            case _:
                x = _folded(cast(nn.Sequential, layer), x)
    return x
