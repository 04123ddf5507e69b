"""EfficientNet-Lite (Liu and Tan, 2020): MobileNetV2's bottlenecks, deeper, wider, larger pictures.

Never released, only a teacher. Padding is TensorFlow's "same", which the published weights want:
where it is uneven, the right and the lower side get the larger half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch.nn.functional as F  # noqa: N812  # torch's own convention
from torch import Tensor, nn

from train.networks import Network

SCALES: tuple[tuple[float, float, int], ...] = ((1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260))
"""Width, depth and side in pixels of Lite0, Lite1 and Lite2."""

# Repeats, kernel, stride, expansion, outputs of each stage of EfficientNet-B0 (Tan and Le, 2019).
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNetLite(Network):
    """Stem → bottlenecks → last convolution → mean pooling → head; `size` is 0, 1 or 2."""

    mean = (127.0 / 255.0,) * 3
    std = (128.0 / 255.0,) * 3

    def __init__(self, outputs: int, *, size: int = 2) -> None:
        super().__init__()
        width, depth, self.size_px = SCALES[size]
        parts: list[nn.Module] = [_Conv(3, 32, kernel=3, stride=2)]
        inputs = 32
        for stage, (repeats, kernel, stride, expansion, plain) in enumerate(_STAGES):
            fixed = stage in (0, len(_STAGES) - 1)  # Lite leaves the ends' depth alone.
            wide = _rounded(plain * width)
            for i in range(repeats if fixed else math.ceil(repeats * depth)):
                step = stride if i == 0 else 1
                parts.append(_Bottleneck(inputs, wide, kernel, step, expansion))
                inputs = wide
        parts.append(_Conv(inputs, 1280, kernel=1))
        self.backbone: nn.Sequential = nn.Sequential(*parts)
        self.head = nn.Linear(1280, outputs)

    def features(self, pictures: Tensor) -> Tensor:
        """Pooled features (N, 1280)."""
        return cast(Tensor, self.backbone(pictures)).mean((2, 3))

    def blocks(self) -> Sequence[nn.Module]:
        """The stem, the bottlenecks and the last convolution."""
        return list(self.backbone)


class _Conv(nn.Module):
    """Convolution, norm and, unless `linear`, ReLU6."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        pads = []
        for side in (x.shape[3], x.shape[2]):
            short = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
            pads += [short // 2, short - short // 2]
        x = self.norm(self.conv(F.pad(x, pads)))
        return x if self.linear else F.relu6(x)


class _Bottleneck(nn.Module):
    """Expand, look around, project; added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        layers = [_Conv(inputs, middle, kernel=1)] if expansion != 1 else []
        layers.append(_Conv(middle, middle, kernel=kernel, stride=stride, groups=middle))
        layers.append(_Conv(middle, outputs, kernel=1, linear=True))
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out = cast(Tensor, self.layers(x))
        return x + out if self.adds else out


def _rounded(channels: float) -> int:
    """The nearest multiple of 8, never below nine tenths."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near
