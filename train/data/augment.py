"""Change a batch of pictures at random, as cameras, hands and light would.

Works on whole batches of tensors, because on a small machine this competes with the network for
the processor. All chance comes from one generator, so that a batch can be made again exactly.
Must not choose pictures (`sampling`) or mix labels (`targets`).
"""

from __future__ import annotations

import math
from typing import cast

import cv2
import numpy as np
import simplejpeg
import torch
import torch.nn.functional as F  # noqa: N812  # torch's own convention
from numpy.typing import NDArray
from torch import Tensor

from train.config import Config

_LUMA = (0.299, 0.587, 0.114)
_ONE_COLOUR = 14
"""Grey levels a channel within which a background counts as of one colour."""
_BORDER_SHARE = 0.85


def augment(
    pixels: NDArray[np.uint8], size_px: int, config: Config, stream: np.random.Generator
) -> Tensor:
    """Pictures (N, side, side, 3) uint8 → float (N, 3, size_px, size_px), values 0 to 255."""
    strong = config.augment == "strong"
    if strong:
        pixels = replace_backdrops(pixels, config.backdrop, stream)
        pixels = _recompress(pixels, config.jpeg, stream)
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    if config.augment == "none":
        return _resize(batch, size_px)
    batch = _move(batch, size_px, config, stream)
    if config.augment == "paper":
        return _recolour(batch, colour=0.0, hue=0.0, grey=0.1, stream=stream)
    batch = _recolour(
        batch,
        colour=config.colour if strong else config.colour / 2,
        hue=config.hue if strong else 0.0,
        grey=config.grey if strong else 0.0,
        stream=stream,
    )
    if strong:
        batch = _blur(batch, config.blur, stream)
        batch = _add_noise(batch, config.noise, stream)
        batch = _erase(batch, config.erase, stream)
    return batch.clamp_(0.0, 255.0)


def replace_backdrops(
    pixels: NDArray[np.uint8], chance: float, stream: np.random.Generator
) -> NDArray[np.uint8]:
    """Some of the pictures whose background is of one colour get another: (N, side, side, 3).

    A shop's white background says what the item is; a tray's or a belt's does not.
    """
    count = len(pixels)
    for i in np.flatnonzero(stream.random(count) < chance):
        mask = _backdrop(pixels[i])
        if mask is None:
            continue
        if stream.random() < 0.5:
            scene = _tray(pixels.shape[1], stream)
        else:
            scene = _part_of(pixels[(i + int(stream.integers(1, max(2, count)))) % count], stream)
        share = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0)[:, :, None]
        pixels[i] = (pixels[i] * (1.0 - share) + scene * share).astype(np.uint8)
    return pixels


def _backdrop(picture: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
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


def _tray(side: int, stream: np.random.Generator) -> NDArray[np.float32]:
    """A surface of about one colour, unevenly lit and grained."""
    grey = stream.uniform(20, 235)
    colour = np.clip(grey + stream.normal(0, 18, 3), 0, 255)
    light = stream.normal(0, 1, (3, 3)).astype(np.float32) * stream.uniform(0, 18)
    shade = cv2.resize(light, (side, side), interpolation=cv2.INTER_CUBIC)[:, :, None]
    grain = stream.standard_normal((side, side, 1), dtype=np.float32) * stream.uniform(0, 8)
    return np.clip(colour + shade + grain, 0, 255).astype(np.float32)


def _part_of(picture: NDArray[np.uint8], stream: np.random.Generator) -> NDArray[np.float32]:
    """A corner of another picture, out of focus: some clutter, no item that could be named."""
    side = len(picture)
    size = int(side * stream.uniform(0.15, 0.35))
    top, left = (int(stream.choice([0, side - size])) for _ in range(2))
    part = np.ascontiguousarray(picture[top : top + size, left : left + size])
    scene = cv2.resize(part, (side, side), interpolation=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(scene, (0, 0), stream.uniform(1.0, 4.0)).astype(np.float32)


def _resize(batch: Tensor, size_px: int) -> Tensor:
    if batch.shape[-1] == size_px:
        return batch
    return F.interpolate(
        batch, size=(size_px, size_px), mode="bilinear", antialias=True, align_corners=False
    )


def _move(batch: Tensor, size_px: int, config: Config, stream: np.random.Generator) -> Tensor:
    """Crop, stretch, turn and mirror in one resampling."""
    count = len(batch)
    paper = config.augment == "paper"
    area = np.ones(count) if paper else stream.uniform(config.crop_min, 1.0, count)
    ratio = np.ones(count) if paper else np.exp(stream.uniform(-0.29, 0.29, count))
    wide, high = np.sqrt(area * ratio), np.sqrt(area / ratio)
    limit = 30.0 if paper else config.rotate_deg
    angle = np.deg2rad(stream.uniform(-limit, limit, count)) if limit else np.zeros(count)
    mirror = np.ones(count) if paper else np.where(stream.random(count) < 0.5, -1.0, 1.0)
    upside = np.where(stream.random(count) < (0.1 if paper else config.flip_vertical), -1.0, 1.0)
    shift_x = stream.uniform(-1, 1, count) * np.maximum(0.0, 1.0 - wide)
    shift_y = stream.uniform(-1, 1, count) * np.maximum(0.0, 1.0 - high)
    cos, sin = np.cos(angle), np.sin(angle)
    theta = np.stack(
        [
            np.stack([wide * mirror * cos, -high * sin, shift_x], 1),
            np.stack([wide * mirror * sin, high * upside * cos, shift_y], 1),
        ],
        1,
    )
    grid = F.affine_grid(
        torch.from_numpy(theta).float(), [count, 3, size_px, size_px], align_corners=False
    )
    return F.grid_sample(batch, grid, padding_mode="reflection", align_corners=False)


def _recolour(
    batch: Tensor, *, colour: float, hue: float, grey: float, stream: np.random.Generator
) -> Tensor:
    """Brightness, contrast, saturation, hue, white balance and grey as one matrix a picture."""
    count = len(batch)
    luma = np.tile(np.array(_LUMA), (3, 1))
    saturation = 1.0 + stream.uniform(-colour, colour, count) * 1.3
    saturation = np.where(stream.random(count) < grey, 0.0, saturation)[:, None, None]
    matrix = saturation * np.eye(3) + (1.0 - saturation) * luma
    turn = stream.uniform(-hue, hue, count) * 2 * math.pi
    matrix = matrix @ _hue_matrix(turn)
    gain = 1.0 + stream.uniform(-colour, colour, count)
    balance = 1.0 + stream.uniform(-colour, colour, (count, 3)) * 0.3
    contrast = 1.0 + stream.uniform(-colour, colour, count)
    matrix = matrix * (gain * contrast)[:, None, None] * balance[:, :, None]
    weights = torch.from_numpy(matrix).float()
    flat = torch.bmm(weights, batch.flatten(2))
    middle = flat.mean((1, 2), keepdim=True) / torch.from_numpy(contrast).float().view(-1, 1, 1)
    flat += middle * (1.0 - torch.from_numpy(contrast).float().view(-1, 1, 1))
    return flat.view_as(batch)


def _hue_matrix(turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """A rotation about the grey axis by `turn` (N,) radians, (N, 3, 3)."""
    cos, sin = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
    third = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return cast(NDArray[np.float64], cos * np.eye(3) + (1 - cos) * third + sin * cross)


def _blur(batch: Tensor, chance: float, stream: np.random.Generator) -> Tensor:
    """Some pictures out of focus, some moved while the shutter was open."""
    for i in np.flatnonzero(stream.random(len(batch)) < chance):
        kernel = _motion_kernel(stream) if stream.random() < 0.5 else _round_kernel(stream)
        size = kernel.shape[-1]
        padded = F.pad(batch[i : i + 1], [size // 2] * 4, mode="reflect")
        batch[i : i + 1] = F.conv2d(padded, kernel.expand(3, 1, size, size), groups=3)
    return batch


def _round_kernel(stream: np.random.Generator) -> Tensor:
    sigma = stream.uniform(0.6, 2.2)
    axis = torch.arange(-4, 5).float()
    line = torch.exp(-(axis**2) / (2 * sigma**2))
    kernel = line[:, None] * line[None, :]
    return kernel / kernel.sum()


def _motion_kernel(stream: np.random.Generator) -> Tensor:
    angle, length = stream.uniform(0, math.pi), stream.uniform(2.0, 4.5)
    steps = torch.linspace(-length, length, 25)
    kernel = torch.zeros(9, 9)
    rows = (steps * math.sin(angle) + 4).round().long()
    columns = (steps * math.cos(angle) + 4).round().long()
    kernel.index_put_((rows, columns), torch.ones(25), accumulate=True)
    return kernel / kernel.sum()


def _add_noise(batch: Tensor, chance: float, stream: np.random.Generator) -> Tensor:
    for i in np.flatnonzero(stream.random(len(batch)) < chance):
        level = stream.uniform(2.0, 12.0)
        noise = stream.standard_normal(batch[i].shape, dtype=np.float32)
        batch[i] += torch.from_numpy(noise) * level
    return batch


def _erase(batch: Tensor, chance: float, stream: np.random.Generator) -> Tensor:
    """A rectangle of some pictures is hidden behind one colour."""
    side = batch.shape[-1]
    for i in np.flatnonzero(stream.random(len(batch)) < chance):
        share, ratio = stream.uniform(0.03, 0.25), math.exp(stream.uniform(-0.9, 0.9))
        high = max(1, min(side, round(side * math.sqrt(share * ratio))))
        wide = max(1, min(side, round(side * math.sqrt(share / ratio))))
        top, left = stream.integers(0, side - high + 1), stream.integers(0, side - wide + 1)
        tint = torch.from_numpy(stream.uniform(0, 255, 3)).float().view(3, 1, 1)
        batch[i, :, top : top + high, left : left + wide] = tint
    return batch


def _recompress(
    pixels: NDArray[np.uint8], chance: float, stream: np.random.Generator
) -> NDArray[np.uint8]:
    """Some pictures once more through a camera's JPEG."""
    for i in np.flatnonzero(stream.random(len(pixels)) < chance):
        quality = int(stream.integers(25, 85))
        data = simplejpeg.encode_jpeg(pixels[i], quality=quality)
        pixels[i] = simplejpeg.decode_jpeg(data)
    return pixels
