"""Backgrounds of one colour: found once a picture, kept as one bit a pixel.

A shop's white paper, a belt, a tray: where the colour of the border reaches. Owns what counts as
such a background and the form of the masks; what is put there instead is `augment`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ONE_COLOUR = 14
"""Grey levels a channel within which a background counts as of one colour."""
_BORDER_SHARE = 0.85


@dataclass(frozen=True, slots=True)
class Backdrops:
    """The backgrounds of some pictures of `side` pixels.

    `bits` (N, bytes) uint8, as `pack` gives them, on the pictures' device; `there` (N,) on the
    host: whether a picture has such a background at all.
    """

    bits: Tensor
    there: NDArray[np.bool_]
    side: int

    def masks(self, rows: Tensor) -> Tensor:
        """1 where there is background, float (n, 1, side, side)."""
        shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=self.bits.device)
        bits = (self.bits.index_select(0, rows).unsqueeze(-1) >> shifts) & 1
        flat = bits.flatten(1)[:, : self.side * self.side]
        return flat.reshape(-1, 1, self.side, self.side).float()


def pack(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask of a picture (side, side, 3), eight pixels to a byte; all 0 where there is none."""
    mask = find(picture)
    return np.packbits(np.zeros(picture.shape[:2], np.uint8) if mask is None else mask)


def find(picture: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """1 where the one colour of the border reaches, or None for a border of several colours."""
    edge = max(2, len(picture) // 50)
    ring = np.concatenate(
        [picture[edge], picture[-edge - 1], picture[:, edge], picture[:, -edge - 1]]
    )
    colour = np.median(ring, 0)
    if (np.abs(ring - colour).max(1) < _ONE_COLOUR).mean() < _BORDER_SHARE:
        return None
    near = (np.abs(picture - colour).max(2) < _ONE_COLOUR * 1.3).astype(np.uint8)
    _, part = cv2.connectedComponents(near, connectivity=4)
    border = np.concatenate([part[edge], part[-edge - 1], part[:, edge], part[:, -edge - 1]])
    reach = np.isin(part, np.setdiff1d(np.unique(border), [0])).astype(np.uint8)
    return reach if 0.1 < reach.mean() < 0.97 else None
