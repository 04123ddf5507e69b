"""The source paper's fully connected network: what a net without convolutions can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from train.networks import Network

_SIZE_PX = 64
_WIDTHS = (6, 256)
"""The paper gives the first layer six units; the second's width is ours."""


class Dnn(Network):
    """Dense → batch norm → activation → dropout 0.25, twice, then the head."""

    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    size_px = _SIZE_PX

    def __init__(self, outputs: int) -> None:
        super().__init__()
        first, second = _WIDTHS
        self.first = nn.Sequential(
            nn.Flatten(),
            nn.LazyLinear(first),
            nn.BatchNorm1d(first),
            nn.Sigmoid(),
            nn.Dropout(0.25),
        )
        self.second = nn.Sequential(
            nn.Linear(first, second), nn.BatchNorm1d(second), nn.ReLU(), nn.Dropout(0.25)
        )
        self.head = nn.Linear(second, outputs)

    def features(self, pictures: Tensor) -> Tensor:
        """The second layer (N, 256)."""
        return cast(Tensor, self.second(self.first(pictures)))

    def blocks(self) -> Sequence[nn.Module]:
        """The two hidden layers."""
        return [self.first, self.second]
