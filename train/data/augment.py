"""Change a batch of pictures at random, as cameras, hands and light would.

Works on whole batches of tensors, on a CPU and a GPU alike. What happens to which picture is drawn
on the host from one generator, so that a batch can be made again exactly and two devices do the
same to a picture; only noise and grain are drawn on the device, from a seed. Nothing here waits for
the device. Must not choose pictures (`sampling`) or mix labels (`targets`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # torch's own convention
from numpy.typing import NDArray
from torch import Tensor

from train.config import Config
from train.data.backdrops import Backdrops
from train.data.transfer import send

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

_LUMA = (0.299, 0.587, 0.114)
_LOW_RES = (0.21, 0.57)
"""Of the side: 48 to 128 pixels of 224."""
_JPEG_QUALITY = (25, 85)
_KERNEL_PX = 9


class _Chance:
    """The random numbers of one batch: drawn on the host, used on the device."""

    def __init__(self, stream: np.random.Generator, count: int, device: torch.device) -> None:
        self.stream, self.count, self.device = stream, count, device
        self._noise = torch.Generator(device=device)
        self._noise.manual_seed(int(stream.integers(2**62)))

    def pick(self, share: float, able: NDArray[np.bool_] | None = None) -> Rows:
        """The places of the pictures, of those that are `able`, that this happens to."""
        if not share:
            return np.zeros(0, np.int64)
        chosen = self.stream.random(self.count) < share
        return np.flatnonzero(chosen if able is None else chosen & able)

    def between(self, low: float, high: float, *shape: int) -> Floats:
        """Uniform numbers of this shape, or one for each picture of the batch."""
        return self.stream.uniform(low, high, shape or (self.count,))

    def put(self, values: NDArray[Any]) -> Tensor:
        """Values on the device, floats as float32."""
        kind = np.float32 if values.dtype == np.float64 else values.dtype
        return send(np.ascontiguousarray(values, kind), self.device)

    def noise(self, *shape: int) -> Tensor:
        """Standard normal numbers, drawn on the device."""
        return torch.randn(shape, generator=self._noise, device=self.device)


@torch.no_grad()
def augment(
    pixels: Tensor,
    size_px: int,
    config: Config,
    stream: np.random.Generator,
    *,
    backdrops: Backdrops | None = None,
    unknown: NDArray[np.bool_] | None = None,
) -> Tensor:
    """Pictures (N, side, side, 3) uint8 → float (N, 3, size_px, size_px), values 0 to 255.

    Without `backdrops` no background is replaced. `unknown`: pictures of no class, onto which
    others may be pasted.
    """
    count = len(pixels)
    batch = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    if config.augment == "none":
        return _resize(batch, size_px)
    chance = _Chance(stream, count, pixels.device)
    strong, paper = config.augment == "strong", config.augment == "paper"
    least_area = np.full(count, config.crop_min)
    if strong:
        batch, pasted = _paste(batch, backdrops, unknown, config.paste, chance)
        least_area[pasted] = max(config.crop_min, 0.8)  # what was made smaller stays in sight
        batch = _replace_backdrops(batch, backdrops, pasted, config.backdrop, chance)
        batch = _recompress(batch, config.jpeg, chance)
    batch = _move(batch, size_px, config, least_area, chance)
    if paper:
        return _recolour(batch, colour=0.0, hue=0.0, grey=0.1, balance=0.0, chance=chance)
    batch = _recolour(
        batch,
        colour=config.colour if strong else config.colour / 2,
        hue=config.hue if strong else 0.0,
        grey=config.grey if strong else 0.0,
        balance=config.white_balance if strong else 0.0,
        chance=chance,
    )
    if strong:
        batch = _coarsen(batch, config.low_res, chance)
        batch = _blur(batch, config.blur, chance)
        batch = _add_noise(batch, config.noise, chance)
        batch = _erase(batch, config.erase, chance)
    return batch.clamp_(0.0, 255.0)


def _change(batch: Tensor, rows: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """`batch` with the pictures at `rows` changed, in place."""
    return batch.index_copy_(0, rows, change(batch.index_select(0, rows)))


# What lies behind an item.


def _replace_backdrops(
    batch: Tensor,
    backdrops: Backdrops | None,
    pasted: NDArray[np.bool_],
    share: float,
    chance: _Chance,
) -> Tensor:
    """Some of the pictures whose background is of one colour get another.

    A shop's white background says what the item is; a tray's or a belt's does not.
    """
    if backdrops is None or not share:
        return batch
    chosen = chance.pick(share, backdrops.there & ~pasted)
    if not len(chosen):
        return batch
    side, drawn = batch.shape[-1], chance.stream.random(len(chosen)) < 0.5
    others = (chosen + chance.stream.integers(1, max(2, chance.count), len(chosen))) % chance.count
    scenes = []
    if drawn.any():
        scenes.append(_surfaces(int(drawn.sum()), side, chance))
    if not drawn.all():
        scenes.append(_corners(batch, others[~drawn], chance))
    rows = chance.put(np.concatenate([chosen[drawn], chosen[~drawn]]))
    cover = _soften(backdrops.masks(rows), 1.0)
    return _change(batch, rows, lambda old: old.lerp_(torch.cat(scenes), cover))


def _surfaces(count: int, side: int, chance: _Chance, *, bands: bool = False) -> Tensor:
    """Surfaces of about one colour, unevenly lit and grained: trays, and with `bands` belts."""
    stream = chance.stream
    colour = np.clip(stream.uniform(20, 235, (count, 1)) + stream.normal(0, 18, (count, 3)), 0, 255)
    light = stream.normal(0, 1, (count, 1, 3, 3)) * stream.uniform(0, 18, (count, 1, 1, 1))
    grain = chance.put(stream.uniform(0, 8, (count, 1, 1, 1)))
    shade = F.interpolate(chance.put(light), size=side, mode="bicubic", align_corners=False)
    surface = chance.noise(count, 1, side, side).mul_(grain).add_(shade)
    if bands:
        angle, turns = stream.uniform(0, math.pi, count), stream.uniform(4, 60, count)
        height = np.where(stream.random(count) < 0.5, stream.uniform(0, 25, count), 0.0)
        axis = torch.linspace(-1, 1, side, device=chance.device)
        across = chance.put((turns * np.cos(angle))[:, None, None, None]) * axis
        down = chance.put((turns * np.sin(angle))[:, None, None, None]) * axis[:, None]
        surface += torch.sin(across + down) * chance.put(height[:, None, None, None])
    return (surface + chance.put(colour[:, :, None, None])).clamp_(0.0, 255.0)


def _corners(batch: Tensor, rows: Rows, chance: _Chance) -> Tensor:
    """A corner of each of these pictures, out of focus: some clutter, no item to be named."""
    count, side, coarse = len(rows), batch.shape[-1], 64
    share = chance.between(0.15, 0.35, count)
    where = chance.stream.choice([-1.0, 1.0], (count, 2)) * (1.0 - share)[:, None]
    zero = np.zeros(count)
    theta = _matrix([[share, zero, where[:, 0]], [zero, share, where[:, 1]]])
    grid = F.affine_grid(chance.put(theta), [count, 3, coarse, coarse], align_corners=False)
    source = batch.index_select(0, chance.put(rows))
    part = F.grid_sample(source, grid, padding_mode="border", align_corners=False)
    # Softened where the picture is small: the same blur for a sixteenth of the work.
    part = _soften(part, chance.between(1.0, 4.0, count) * coarse / side)
    return F.interpolate(part, size=side, mode="bilinear", align_corners=False)


def _paste(
    batch: Tensor,
    backdrops: Backdrops | None,
    unknown: NDArray[np.bool_] | None,
    share: float,
    chance: _Chance,
) -> tuple[Tensor, NDArray[np.bool_]]:
    """Some items cut out, made smaller and laid elsewhere; which pictures those are.

    Cut along their backdrop, where they have one, otherwise as a round patch. They are laid on a
    picture of no class or on a drawn surface.
    """
    count, side = chance.count, batch.shape[-1]
    pasted = np.zeros(count, np.bool_)
    unknown = pasted if unknown is None else unknown
    chosen = chance.pick(share, ~unknown)
    if not len(chosen):
        return batch, pasted
    pasted = pasted.copy()
    pasted[chosen] = True
    ground = _surfaces(len(chosen), side, chance, bands=True)
    others = np.flatnonzero(unknown)
    laid = np.flatnonzero(chance.stream.random(len(chosen)) < 0.5)
    if len(others) and len(laid):
        seen = chance.put(chance.stream.choice(others, len(laid)))
        ground.index_copy_(0, chance.put(laid), batch.index_select(0, seen))
    rows = chance.put(chosen)
    axis = torch.linspace(-1, 1, side, device=batch.device)
    away = (axis.square() + axis.square()[:, None]).sqrt()
    cover = ((1.05 - away) / 0.15).clamp_(0.0, 1.0).expand(len(chosen), 1, side, side)
    if backdrops is not None:
        known = chance.put(backdrops.there[chosen].astype(np.float64)).view(-1, 1, 1, 1)
        cover = torch.lerp(cover, 1.0 - _soften(backdrops.masks(rows), 1.0), known)
    item = batch.index_select(0, rows) * cover
    scale, zero = chance.between(0.4, 1.0, len(chosen)), np.zeros(len(chosen))
    at = chance.between(-1.0, 1.0, len(chosen), 2) * (1.0 - scale)[:, None] / scale[:, None]
    theta = chance.put(_matrix([[1.0 / scale, zero, -at[:, 0]], [zero, 1.0 / scale, -at[:, 1]]]))
    grid = F.affine_grid(theta, [len(chosen), 4, side, side], align_corners=False)
    moved = F.grid_sample(torch.cat([item, cover], 1), grid, align_corners=False)
    laid_on = ground.mul_(1.0 - moved[:, 3:]).add_(moved[:, :3])
    return batch.index_copy_(0, rows, laid_on), pasted


# Where the camera stands.


def _resize(batch: Tensor, size_px: int) -> Tensor:
    if batch.shape[-1] == size_px:
        return batch
    return F.interpolate(batch, size=(size_px, size_px), mode="bilinear", antialias=True)


def _move(
    batch: Tensor, size_px: int, config: Config, least_area: Floats, chance: _Chance
) -> Tensor:
    """Crop, stretch, turn, mirror, tilt and bend in one pass."""
    count, stream = chance.count, chance.stream
    paper, strong = config.augment == "paper", config.augment == "strong"
    area = np.ones(count) if paper else least_area + stream.random(count) * (1.0 - least_area)
    ratio = np.ones(count) if paper else np.exp(chance.between(-0.29, 0.29))
    wide, high = np.sqrt(area * ratio), np.sqrt(area / ratio)
    limit = 30.0 if paper else config.rotate_deg
    angle = np.deg2rad(chance.between(-limit, limit))
    mirror = np.ones(count) if paper else np.where(stream.random(count) < 0.5, -1.0, 1.0)
    upside = np.where(stream.random(count) < (0.1 if paper else config.flip_vertical), -1.0, 1.0)
    shift_x = chance.between(-1, 1) * np.maximum(0.0, 1.0 - wide)
    shift_y = chance.between(-1, 1) * np.maximum(0.0, 1.0 - high)
    cos, sin = np.cos(angle), np.sin(angle)
    zero, one = np.zeros(count), np.ones(count)
    theta = _matrix(
        [
            [wide * mirror * cos, -high * sin, shift_x],
            [wide * mirror * sin, high * upside * cos, shift_y],
            [zero, zero, one],
        ]
    )
    tilted = chance.pick(config.perspective if strong else 0.0)
    theta[tilted] = theta[tilted] @ _tilts(len(tilted), chance)
    axis = (torch.arange(size_px, device=batch.device) * 2 + 1) / size_px - 1.0
    ones = torch.ones((size_px, size_px), device=batch.device)
    base = torch.stack([axis * ones, axis[:, None] * ones, ones], 2).view(1, -1, 3)
    places = torch.matmul(base, chance.put(theta).transpose(1, 2))
    grid = places[..., :2]
    if len(tilted):
        grid = grid / places[..., 2:]
    grid = grid.reshape(count, size_px, size_px, 2)
    bent = chance.pick(config.elastic if strong else 0.0)
    if len(bent):
        strength = chance.between(0.02, 0.06, len(bent), 1, 1, 1)
        field = chance.put(stream.normal(0, 1, (len(bent), 2, 5, 5)) * strength)
        by = F.interpolate(field, size=size_px, mode="bicubic", align_corners=True)
        grid = _change(
            grid.contiguous(), chance.put(bent), lambda old: old + by.permute(0, 2, 3, 1)
        )
    return F.grid_sample(batch, grid, padding_mode="reflection", align_corners=False)


def _tilts(count: int, chance: _Chance) -> Floats:
    """Plane maps (n, 3, 3): pressed flat and slanted, and seen from the side."""
    one, zero = np.ones(count), np.zeros(count)
    squeeze = np.exp(chance.between(-0.4, 0.4, count))
    slant = chance.between(-0.25, 0.25, 2, count)
    away = chance.between(-0.25, 0.25, 2, count)
    return _matrix(
        [
            [squeeze, slant[0], zero],
            [slant[1], 1.0 / squeeze, zero],
            [away[0], away[1], one],
        ]
    )


def _matrix(rows: list[list[Floats]]) -> Floats:
    """Matrices (N, rows, columns) from their entries, (N,) each."""
    return np.stack([np.stack(row, 1) for row in rows], 1)


# Colour and light.


def _recolour(
    batch: Tensor, *, colour: float, hue: float, grey: float, balance: float, chance: _Chance
) -> Tensor:
    """Brightness, contrast, saturation, hue, white balance and grey as one matrix a picture."""
    count, stream = chance.count, chance.stream
    luma = np.tile(np.array(_LUMA), (3, 1))
    saturation = 1.0 + chance.between(-colour, colour) * 1.3
    saturation = np.where(stream.random(count) < grey, 0.0, saturation)[:, None, None]
    matrix = saturation * np.eye(3) + (1.0 - saturation) * luma
    matrix = matrix @ _hue_matrix(chance.between(-hue, hue) * 2 * math.pi)
    gain = 1.0 + chance.between(-colour, colour)
    channels = 1.0 + chance.between(-colour, colour, count, 3) * 0.3
    warm = chance.pick(balance)
    if len(warm):  # of a lamp: red against blue, and less of it green
        red, green = (chance.between(-by, by, len(warm)) for by in (0.35, 0.12))
        channels[warm] *= np.exp(np.stack([red, green, -red], 1))
    contrast = 1.0 + chance.between(-colour, colour)
    matrix = matrix * (gain * contrast)[:, None, None] * channels[:, :, None]
    flat = torch.bmm(chance.put(matrix), batch.flatten(2))
    lift = chance.put(((1.0 - contrast) / contrast)[:, None, None])
    flat += flat.mean((1, 2), keepdim=True) * lift
    return flat.view_as(batch)


def _hue_matrix(turn: Floats) -> Floats:
    """A rotation about the grey axis by `turn` (N,) radians, (N, 3, 3)."""
    cos, sin = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
    third = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return cast(Floats, cos * np.eye(3) + (1 - cos) * third + sin * cross)


# What the camera does to the picture.


def _coarsen(batch: Tensor, share: float, chance: _Chance) -> Tensor:
    """Some pictures from a small sensor or from far away."""
    side = batch.shape[-1]
    for i in chance.pick(share).tolist():
        small = max(1, round(side * chance.stream.uniform(*_LOW_RES)))
        part = F.interpolate(batch[i : i + 1], size=small, mode="bilinear", antialias=True)
        batch[i : i + 1] = F.interpolate(part, size=side, mode="bilinear", align_corners=False)
    return batch


def _blur(batch: Tensor, share: float, chance: _Chance) -> Tensor:
    """Some pictures out of focus, some moved while the shutter was open."""
    chosen = chance.pick(share)
    if not len(chosen):
        return batch
    kernels = np.stack(
        [
            _motion_kernel(chance.stream)
            if chance.stream.random() < 0.5
            else _round_kernel(chance.stream)
            for _ in chosen
        ]
    )
    weights = chance.put(kernels)[:, None].repeat_interleave(batch.shape[1], 0)
    return _change(batch, chance.put(chosen), lambda old: _filter(old, weights))


def _filter(batch: Tensor, weights: Tensor) -> Tensor:
    """Each channel of each picture by its own kernel (N · channels, 1, high, wide)."""
    high, wide = weights.shape[2:]
    padded = F.pad(batch, [wide // 2, wide // 2, high // 2, high // 2], mode="reflect")
    flat = padded.reshape(1, -1, *padded.shape[2:])
    return F.conv2d(flat, weights, groups=len(weights)).view_as(batch)


def _soften(batch: Tensor, sigma: float | Floats) -> Tensor:
    """Blurred by a Gaussian of `sigma` pixels, one for all or one for each picture."""
    axis = np.arange(-(_KERNEL_PX // 2), _KERNEL_PX // 2 + 1)
    lines = np.exp(-0.5 * (axis / np.reshape(sigma, (-1, 1))) ** 2)
    lines /= lines.sum(1, keepdims=True)
    lines = np.broadcast_to(lines, (len(batch), _KERNEL_PX)).astype(np.float32)
    weights = send(lines, batch.device).repeat_interleave(batch.shape[1], 0)
    batch = _filter(batch, weights.view(-1, 1, 1, _KERNEL_PX))
    return _filter(batch, weights.view(-1, 1, _KERNEL_PX, 1))


def _round_kernel(stream: np.random.Generator) -> Floats:
    axis = np.arange(-(_KERNEL_PX // 2), _KERNEL_PX // 2 + 1)
    line = np.exp(-(axis**2) / (2 * stream.uniform(0.6, 2.2) ** 2))
    kernel = np.outer(line, line)
    return cast(Floats, kernel / kernel.sum())


def _motion_kernel(stream: np.random.Generator) -> Floats:
    angle, length = stream.uniform(0, math.pi), stream.uniform(2.0, 4.5)
    steps, middle = np.linspace(-length, length, 25), _KERNEL_PX // 2
    rows = np.rint(steps * math.sin(angle) + middle).astype(int)
    columns = np.rint(steps * math.cos(angle) + middle).astype(int)
    kernel = np.zeros((_KERNEL_PX, _KERNEL_PX))
    np.add.at(kernel, (rows, columns), 1.0)
    return cast(Floats, kernel / kernel.sum())


def _add_noise(batch: Tensor, share: float, chance: _Chance) -> Tensor:
    chosen = chance.pick(share)
    if not len(chosen):
        return batch
    level = chance.put(chance.between(2.0, 12.0, len(chosen), 1, 1, 1))
    noise = chance.noise(len(chosen), *batch.shape[1:])
    return _change(batch, chance.put(chosen), lambda old: old.add_(noise.mul_(level)))


def _erase(batch: Tensor, share: float, chance: _Chance) -> Tensor:
    """A rectangle of some pictures is hidden behind one colour."""
    chosen, side = chance.pick(share), batch.shape[-1]
    if not len(chosen):
        return batch
    hidden = chance.between(0.03, 0.25, len(chosen))
    ratio = np.exp(chance.between(-0.9, 0.9, len(chosen)))
    size = np.stack([hidden * ratio, hidden / ratio], 1)  # high, wide
    size = np.clip(np.rint(side * np.sqrt(size)), 1, side).astype(np.int64)
    start = chance.stream.integers(0, side - size + 1)
    first, end = chance.put(start), chance.put(start + size)
    axis = torch.arange(side, device=batch.device)
    inside = (axis >= first[..., None]) & (axis < end[..., None])  # (n, 2, side)
    box = (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]
    tint = chance.put(chance.between(0, 255, len(chosen), 3, 1, 1))
    return _change(batch, chance.put(chosen), lambda old: torch.where(box, tint, old))


# JPEG: what is lost is lost in rounding 8 × 8 cosine coefficients (ITU-T T.81, annex A and K).

_QUANTA = np.array(
    [
        [
            [16, 11, 10, 16, 24, 40, 51, 61],
            [12, 12, 14, 19, 26, 58, 60, 55],
            [14, 13, 16, 24, 40, 57, 69, 56],
            [14, 17, 22, 29, 51, 87, 80, 62],
            [18, 22, 37, 56, 68, 109, 103, 77],
            [24, 35, 55, 64, 81, 104, 113, 92],
            [49, 64, 78, 87, 103, 121, 120, 101],
            [72, 92, 95, 98, 112, 100, 103, 99],
        ],
        [
            [17, 18, 24, 47, 99, 99, 99, 99],
            [18, 21, 26, 66, 99, 99, 99, 99],
            [24, 26, 56, 99, 99, 99, 99, 99],
            [47, 66, 99, 99, 99, 99, 99, 99],
            *[[99] * 8] * 4,
        ],
    ],
    np.float64,
)
_COSINES = np.array(
    [
        [
            math.sqrt((1 if k == 0 else 2) / 8) * math.cos((2 * n + 1) * k * math.pi / 16)
            for n in range(8)
        ]
        for k in range(8)
    ]
)
_TO_YCC = np.array([_LUMA, (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312)])


def _recompress(batch: Tensor, share: float, chance: _Chance) -> Tensor:
    """Some pictures once more through a camera's JPEG."""
    chosen = chance.pick(share)
    if not len(chosen):
        return batch
    quality = chance.stream.integers(*_JPEG_QUALITY, len(chosen))
    return _change(batch, chance.put(chosen), lambda old: _jpeg(old, quality, chance))


def _jpeg(batch: Tensor, quality: NDArray[np.int64], chance: _Chance) -> Tensor:
    """Pictures as JPEG of these qualities (libjpeg's scale, no chroma subsampling) leaves them."""
    scale = np.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None, None, None]
    quanta = np.clip(np.floor((_QUANTA * scale + 50) / 100), 1, 255)[:, [0, 1, 1]]
    steps = chance.put(quanta)[:, :, None, :, None, :]  # (n, 3, 1, 8, 1, 8)
    to_ycc, cosines = chance.put(_TO_YCC), chance.put(_COSINES)
    count, channels, high, wide = batch.shape
    spare = [0, -wide % 8, 0, -high % 8]
    padded = F.pad(batch, spare, mode="replicate") if any(spare) else batch
    tall, broad = padded.shape[2:]
    ycc = torch.matmul(to_ycc, padded.flatten(2))
    ycc[:, 0] -= 128.0
    blocks = ycc.view(count, channels, tall // 8, 8, broad // 8, 8)
    values = torch.einsum("ij,nchjwk,lk->nchiwl", cosines, blocks, cosines)
    values = (values / steps).round_().mul_(steps)
    ycc = torch.einsum("ji,nchjwk,kl->nchiwl", cosines, values, cosines)
    ycc = ycc.reshape(count, channels, -1)
    ycc[:, 0] += 128.0
    back = torch.matmul(chance.put(np.linalg.inv(_TO_YCC)), ycc).view(padded.shape)
    return back[:, :, :high, :wide].round_().clamp_(0.0, 255.0)
