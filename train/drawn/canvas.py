"""Paint that objects are made of: shaded layers, soft shadows, lit backgrounds.

Owns pixels and light; knows no object. Everything random comes from the generator it is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SIDE_PX = 800
"""Side of the canvas that objects are drawn on, before it is made smaller."""

SURFACES = ("tray", "table", "belt", "paper")

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]
Rng = np.random.Generator


class Layer:
    """One object on a transparent square; coordinates run from 0 to 1 in both directions."""

    def __init__(self) -> None:
        self.image = Image.new("RGBA", (SIDE_PX, SIDE_PX), (0, 0, 0, 0))

    def _draw(self) -> ImageDraw.ImageDraw:
        return ImageDraw.Draw(self.image)

    def polygon(self, points: Points, colour: Colour) -> None:
        """A filled polygon."""
        self._draw().polygon([(x * SIDE_PX, y * SIDE_PX) for x, y in points], (*colour, 255))

    def box(self, at: tuple[float, float, float, float], colour: Colour, round_: float = 0) -> None:
        """A filled rectangle (left, top, right, bottom), with rounded corners."""
        self._draw().rounded_rectangle(
            [v * SIDE_PX for v in at], radius=round_ * SIDE_PX, fill=(*colour, 255)
        )

    def ellipse(self, at: tuple[float, float, float, float], colour: Colour) -> None:
        """A filled ellipse inside a box."""
        self._draw().ellipse([v * SIDE_PX for v in at], (*colour, 255))

    def line(self, points: Points, colour: Colour, width: float) -> None:
        """A polyline with round joints."""
        scaled = [(x * SIDE_PX, y * SIDE_PX) for x, y in points]
        self._draw().line(scaled, (*colour, 255), max(1, round(width * SIDE_PX)), joint="curve")

    def hole(self, at: tuple[float, float, float, float]) -> None:
        """Make an ellipse transparent again."""
        self._draw().ellipse([v * SIDE_PX for v in at], (0, 0, 0, 0))

    def shade(self, light: NDArray[np.float64]) -> None:
        """Multiply the colours by `light` (side, side) or anything that broadcasts to it."""
        pixels = np.asarray(self.image).astype(np.float64)
        factor = np.broadcast_to(light, (SIDE_PX, SIDE_PX))[..., None]
        over = np.clip(factor - 1.0, 0.0, None)
        # Above 1 light turns colours white, as a highlight does.
        colours = pixels[..., :3] * np.minimum(factor, 1.0)
        colours += (255.0 - colours) * np.minimum(over, 1.0)
        pixels[..., :3] = np.clip(colours, 0, 255)
        self.image = Image.fromarray(pixels.astype(np.uint8), "RGBA")

    def speckle(self, rng: Rng, strength: float, grain: int = 4) -> None:
        """Uneven material: blotches about `grain` pixels wide."""
        self.shade(1.0 + strength * (_noise(rng, grain) - 0.5))

    def add(self, other: Layer) -> None:
        """Lay `other` on top."""
        self.image = Image.alpha_composite(self.image, other.image)


def across(at: float, width: float) -> NDArray[np.float64]:
    """Light on an upright cylinder about `at`, `width` wide, brightest left of its middle."""
    x = (np.arange(SIDE_PX) / SIDE_PX - at) / (width / 2)
    round_ = np.sqrt(np.clip(1.0 - x**2, 0.0, 1.0))
    shine = 0.55 * np.exp(-(((x + 0.4) / 0.13) ** 2)) + 0.2 * np.exp(-(((x - 0.55) / 0.1) ** 2))
    return (0.45 + 0.55 * round_ + shine)[None, :]


def ball(x: float, y: float, radius: float) -> NDArray[np.float64]:
    """Light on a ball, from the upper left."""
    grid = np.arange(SIDE_PX) / SIDE_PX
    dx, dy = (grid[None, :] - x) / radius, (grid[:, None] - y) / radius
    height = np.sqrt(np.clip(1.0 - dx**2 - dy**2, 0.0, 1.0))
    lit = np.clip(0.75 * height - 0.45 * dx - 0.5 * dy, 0.0, None)
    return 0.35 + 0.6 * lit + 0.6 * np.clip(lit - 0.85, 0.0, 1.0)


def slope(angle: float, strength: float) -> NDArray[np.float64]:
    """Light that falls off along a direction (radians)."""
    grid = np.arange(SIDE_PX) / SIDE_PX - 0.5
    return 1.0 + strength * (grid[None, :] * math.cos(angle) + grid[:, None] * math.sin(angle))


def compose(layer: Layer, rng: Rng, side_px: int, *, surface: str = "") -> Image.Image:
    """The layer, turned and moved, with its shadow on a lit background; (side, side) RGB.

    `surface` is one of `SURFACES`, or any of them where it is not given.
    """
    scene = _background(rng, surface)
    scale, angle = rng.uniform(0.8, 1.08), rng.uniform(-50, 50)
    size = round(SIDE_PX * scale)
    placed = layer.image.resize((size, size), Image.Resampling.BICUBIC)
    placed = placed.rotate(angle, Image.Resampling.BICUBIC)
    whole = Image.new("RGBA", scene.size, (0, 0, 0, 0))
    shift = rng.uniform(-0.05, 0.05, 2) * SIDE_PX + (SIDE_PX - size) / 2
    whole.paste(placed, (int(shift[0]), int(shift[1])))
    mask = whole.getchannel("A")
    shadow = ImageChops.offset(mask, int(rng.uniform(6, 22)), int(rng.uniform(8, 26)))
    shadow = shadow.filter(ImageFilter.GaussianBlur(rng.uniform(8, 20)))
    dark = Image.new("RGB", scene.size, (15, 15, 20))
    scene = Image.composite(dark, scene, shadow.point([round(v * 0.55) for v in range(256)]))
    scene.paste(whole.convert("RGB"), (0, 0), mask)
    pixels = np.asarray(scene).astype(np.float64)
    pixels *= slope(rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.45))[..., None]
    pixels *= rng.uniform(0.94, 1.06, 3) * rng.uniform(0.88, 1.08)
    pixels += rng.normal(0.0, rng.uniform(2.0, 6.0), pixels.shape)
    done = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")
    done = done.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.3)))
    return done.resize((side_px, side_px), Image.Resampling.LANCZOS)


def vary(colour: Colour, rng: Rng, by: float = 22) -> Colour:
    """A colour near `colour`."""
    red, green, blue = np.clip(np.array(colour) + rng.normal(0, by, 3), 0, 255).astype(int)
    return int(red), int(green), int(blue)


def pick(rng: Rng, *colours: Colour) -> Colour:
    """One of `colours`, varied a little."""
    return vary(colours[int(rng.integers(len(colours)))], rng, 10)


def _noise(rng: Rng, grain: int) -> NDArray[np.float64]:
    """Smooth noise in [0, 1], (side, side)."""
    small = max(2, SIDE_PX // max(1, grain))
    rough = Image.fromarray((rng.random((small, small)) * 255).astype(np.uint8), "L")
    smooth = rough.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    return np.asarray(smooth).astype(np.float64) / 255.0


def _background(rng: Rng, surface: str) -> Image.Image:
    """A steel tray, a wooden table, a dark belt or white paper."""
    kind = int(rng.integers(4))
    kind = SURFACES.index(surface) if surface else kind
    base = [(168, 172, 176), (150, 112, 74), (52, 54, 58), (228, 227, 222)][kind]
    pixels = np.ones((SIDE_PX, SIDE_PX, 3)) * np.array(vary(base, rng, 10))
    pixels *= (0.93 + 0.14 * _noise(rng, int(rng.integers(60, 240))))[..., None]
    if kind == 1:
        rows = np.repeat(_noise(rng, 3)[:, :1], SIDE_PX, axis=1)
        pixels *= (0.82 + 0.3 * rows)[..., None]
    if kind == 2:
        pixels *= (0.9 + 0.2 * _noise(rng, 3))[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), "RGB")
