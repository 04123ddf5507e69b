"""The source paper's own convolutional network: five blocks and three linear layers.

Its text says max pooling, its code average; this follows the code, and has no activation between
the linear layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from train.networks import Network

_BLOCKS = (((3, 16, 16), 1), ((16, 32, 32), 2), ((32, 64), 2), ((64, 64), 2), ((64, 64), 1))
"""Channels through each block's 3×3 convolutions, and its average pool's stride."""


class Cnn(Network):
    """128 px in; the flattened maps hold 12,544 values."""

    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    size_px = 128

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(*(_block(c, s) for c, s in _BLOCKS))
        self.hidden = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.LazyLinear(2048),
            nn.Dropout(0.5),
            nn.Linear(2048, 256),
            nn.Dropout(0.2),
        )
        self.head = nn.Linear(256, outputs)

    def features(self, pictures: Tensor) -> Tensor:
        """The last hidden layer (N, 256)."""
        return cast(Tensor, self.hidden(self.backbone(pictures)))

    def blocks(self) -> Sequence[nn.Module]:
        """Five convolutional blocks and the hidden layers."""
        return [*self.backbone, self.hidden]


def _block(channels: tuple[int, ...], stride: int) -> nn.Sequential:
    convolutions = [nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(channels)]
    return nn.Sequential(
        *convolutions, nn.BatchNorm2d(channels[-1]), nn.ReLU(), nn.AvgPool2d(2, stride)
    )
