"""The same network with numbers that eight bits can hold.

ImageNet's MobileNetV2 has bottlenecks whose channels lie far from zero or differ a hundredfold in
size, and INT8 has one range per tensor, so the largest channel takes it all. Every bottleneck is
centred and scaled channel by channel, which the convolutions around it undo: the function is the
same (Nagel et al., 2019, "Data-Free Quantization through Weight Equalization and Bias
Correction"). Owns this rewriting; must not quantise (`train.release.quantize`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual

from train.networks import Network
from train.networks.mobilenet_v2 import MobileNetV2

_BATCH = 32


def equalise(network: Network, pixels: NDArray[np.uint8], device: torch.device) -> None:
    """Rewrite `network`, on `device`, in place: the same answers, easier to quantise.

    Ranges come from `pixels` (N, side, side, 3). Other networks than MobileNetV2 stay as they are.
    """
    if not isinstance(network, MobileNetV2):
        return
    network.eval()
    with torch.no_grad():
        for writers, readers in _streams(network):
            _centre(writers, readers, *_moments(network, writers[0], pixels, device))


Unit = tuple[nn.Conv2d, nn.BatchNorm2d]


def _streams(network: MobileNetV2) -> Iterator[tuple[list[nn.BatchNorm2d], list[Unit]]]:
    """Each bottleneck: the batch norms whose sum it is, and the 1 × 1 convolutions that read it."""
    blocks = [b for b in network.backbone if isinstance(b, InvertedResidual)]
    last = cast(nn.Sequential, network.backbone[len(network.backbone) - 1])
    writers: list[nn.BatchNorm2d] = []
    readers: list[Unit] = []
    for block in blocks:
        first = cast(nn.Sequential, block.conv[0])
        expands = len(block.conv) == 4
        if writers:
            assert expands  # only the first bottleneck of the network does not
            readers.append((cast(nn.Conv2d, first[0]), cast(nn.BatchNorm2d, first[1])))
        if writers and not block.use_res_connect:
            yield writers, readers
            writers, readers = [], []
        writers.append(cast(nn.BatchNorm2d, block.conv[-1]))
    readers.append((cast(nn.Conv2d, last[0]), cast(nn.BatchNorm2d, last[1])))
    yield writers, readers


def _moments(
    network: MobileNetV2, norm: nn.BatchNorm2d, pixels: NDArray[np.uint8], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Mean and spread of each channel that `norm` writes, over `pixels`."""
    sums: list[tuple[Tensor, Tensor, int]] = []

    def note(_module: nn.Module, _inputs: object, out: Tensor) -> None:
        sums.append((out.sum((0, 2, 3)), out.square().sum((0, 2, 3)), out[:, 0].numel()))

    plain, network.plain = network.plain, True
    handle = norm.register_forward_hook(cast(Callable[..., None], note))
    try:
        for at in range(0, len(pixels), _BATCH):
            batch = torch.from_numpy(pixels[at : at + _BATCH]).to(device).permute(0, 3, 1, 2)
            network.features(network.normalise(batch))
    finally:
        handle.remove()
        network.plain = plain
    count = sum(n for _, _, n in sums)
    mean = torch.stack([s for s, _, _ in sums]).sum(0) / count
    square = torch.stack([q for _, q, _ in sums]).sum(0) / count
    return mean, (square - mean.square()).clamp_min(0.0).sqrt()


def _centre(
    writers: list[nn.BatchNorm2d], readers: list[Unit], mean: Tensor, spread: Tensor
) -> None:
    """Write (x − mean) / spread in place of x; whoever reads it takes that back."""
    scale = spread.clamp_min(1e-3 * float(spread.max()))
    for number, norm in enumerate(writers):
        # The offset is the first writer's: what is added to it later is a difference.
        norm.bias.copy_((norm.bias - (mean if number == 0 else 0.0)) / scale)
        norm.weight.div_(scale)
    for conv, norm in readers:
        kernel = conv.weight[:, :, 0, 0]
        cast(Tensor, norm.running_mean).sub_(kernel @ mean)
        conv.weight.mul_(scale.view(1, -1, 1, 1))
