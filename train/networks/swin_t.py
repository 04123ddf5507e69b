"""Swin-T (Liu et al., 2021), torchvision's layers under torchvision's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torchvision.models import swin_t

from train.networks import Network


class SwinT(Network):
    """Four stages of shifted-window attention → norm → mean pooling → dropout → head."""

    def __init__(self, outputs: int, *, dropout: float = 0.2) -> None:
        super().__init__()
        whole = swin_t(weights=None)
        self.backbone: nn.Sequential = whole.features
        self.norm: nn.Module = whole.norm
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(768, outputs)

    def features(self, pictures: Tensor) -> Tensor:
        """Pooled features (N, 768); the layers work channels last."""
        return cast(Tensor, self.dropout(self.norm(self.backbone(pictures)).mean((1, 2))))

    def blocks(self) -> Sequence[nn.Module]:
        """Patch embedding, stages and mergings, the last norm."""
        return [*self.backbone, self.norm]
