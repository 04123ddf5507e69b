"""The networks of the source paper, one file each, and what they have in common.

A network gives `features` (N, F) and a linear `head` on them, so that the head can be trained
alone on cached features. Owns the choice by name; must not load weights (`init`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from train.networks.memory import Memory


class Network(nn.Module, ABC):
    """Pictures (N, 3, side, side), as `normalise` leaves them, to scores (N, outputs).

    `size_px` is the side the network was made for. `freeze_norm`: batch norm keeps its statistics
    while training. `plain`: no short cuts, for a converter that takes its own. `memory`, where
    there is one, adds to what the head says; it is made after training.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    size_px: int = 224
    freeze_norm: bool = False
    plain: bool = False
    head: nn.Linear
    memory: Memory | None
    _mean: Tensor
    _scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.memory = None
        # They lie where the network does: a step on a GPU must not send them each time.
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) * 255.0 for v in (self.mean, self.std))
        self.register_buffer("_mean", mean, persistent=False)
        self.register_buffer("_scale", 1.0 / std, persistent=False)

    @abstractmethod
    def features(self, pictures: Tensor) -> Tensor:
        """The (N, F) that the head is applied to."""

    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """The parts from the input on, the head left out, for layer-wise rates."""

    def forward(self, pictures: Tensor) -> Tensor:
        """Scores (N, outputs), before any softmax."""
        features = self.features(pictures)
        scores = cast(Tensor, self.head(features))
        return scores if self.memory is None else cast(Tensor, self.memory(features, scores))

    @property
    def outputs(self) -> int:
        """How many scores a picture gets."""
        return self.head.out_features if self.memory is None else self.memory.values.shape[1] + 2

    def train(self, mode: bool = True) -> Network:
        """Training mode, with batch norm left alone where it is frozen."""
        super().train(mode)
        if mode and self.freeze_norm:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def freeze(self, count: int) -> None:
        """Keep the weights of the first `count` blocks: no backward pass comes as far as them."""
        for block in self.blocks()[:count]:
            block.requires_grad_(False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 or 0..255 float pictures (N, 3, side, side) as the network wants them."""
        return (pixels.float() - self._mean) * self._scale


def build(
    name: str, outputs: int, *, size_px: int = 0, pool: str = "mean", dropout: float = 0.2
) -> Network:
    """An untrained network with `outputs` scores, for pictures of `size_px` (0: its own size).

    `pool` is "mean" or "max"; only MobileNetV2 knows both.
    """
    network = _choose(name, outputs, pool=pool, dropout=dropout)
    side = size_px or network.size_px
    network.size_px = side
    with torch.no_grad():  # gives layers that wait for their input's size their weights
        network.eval()(torch.zeros(1, 3, side, side))
    return network


def _choose(name: str, outputs: int, *, pool: str, dropout: float) -> Network:
    match name:
        case "mobilenet_v2":
            from train.networks.mobilenet_v2 import MobileNetV2

            return MobileNetV2(outputs, pool=pool, dropout=dropout)
        case "swin_t":
            from train.networks.swin_t import SwinT

            return SwinT(outputs, dropout=dropout)
        case "cnn":
            from train.networks.cnn import Cnn

            return Cnn(outputs)
        case "dnn":
            from train.networks.dnn import Dnn

            return Dnn(outputs)
    raise ValueError(f"no network {name!r}")
