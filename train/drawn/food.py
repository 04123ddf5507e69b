"""What was food or grew: peels, leaf, eggshell. Shapes only, as `objects` says."""

from __future__ import annotations

import math

import numpy as np

from train.drawn.canvas import Layer, Rng, ball, pick, slope, vary


def banana_peel(rng: Rng) -> Layer:
    """Four flaps of peel spread from the stem, brown spots on yellow."""
    layer, yellow = Layer(), vary((232, 196, 56), rng, 10)
    turn = rng.uniform(0, 1.5)
    for k in range(4):
        flap, angle = Layer(), turn + k * math.pi / 2 + rng.uniform(-0.25, 0.25)
        long, bend = rng.uniform(0.34, 0.44), rng.uniform(-0.5, 0.5)
        left, right = [], []
        for t in np.linspace(0, 1, 20):
            a = angle + bend * t * t
            x, y = 0.5 + long * t * math.cos(a), 0.5 + long * t * math.sin(a)
            wide = 0.085 * math.sin(math.pi * min(1.0, 0.25 + 0.75 * t)) + 0.012
            left.append((x - wide * math.sin(a), y + wide * math.cos(a)))
            right.append((x + wide * math.sin(a), y - wide * math.cos(a)))
        inside = rng.random() < 0.35
        flap.polygon([*left, *right[::-1]], vary((240, 226, 170), rng, 6) if inside else yellow)
        for _ in range(int(rng.integers(3, 9))):
            px, py = left[int(rng.integers(4, 18))]
            px, py = px + (0.5 - px) * 0.12, py + (0.5 - py) * 0.12
            r = rng.uniform(0.004, 0.016)
            flap.ellipse((px - r, py - r, px + r, py + r), vary((96, 66, 26), rng, 10))
        flap.line(left, vary((170, 136, 36), rng, 8), 0.008)
        flap.shade(slope(angle + 1.57, 0.8))
        layer.add(flap)
    layer.line([(0.5, 0.5), (0.52, 0.42), (0.56, 0.38)], vary((120, 96, 40), rng, 8), 0.04)
    return layer


def eggshell(rng: Rng) -> Layer:
    """Two broken halves, jagged rims, the hollow darker."""
    layer = Layer()
    shell = pick(rng, (226, 184, 146), (240, 230, 216), (206, 158, 118))
    for x, y, turn in ((0.33, 0.55, rng.uniform(-0.5, 0.2)), (0.66, 0.5, rng.uniform(0, 0.7))):
        half, wide, tall = Layer(), 0.19, 0.22
        cos, sin = math.cos(turn), math.sin(turn)

        def at(
            a: float, r: float, place: tuple[float, ...] = (x, y, wide, tall, cos, sin)
        ) -> tuple[float, float]:
            px, py = place[2] * r * math.cos(a), place[3] * r * math.sin(a)
            return (
                place[0] + px * place[4] - py * place[5],
                place[1] + px * place[5] + py * place[4],
            )

        cup = [at(a, 1.0) for a in np.linspace(0, math.pi, 30)]
        rim = [at(math.pi + a, float(rng.uniform(0.1, 0.42))) for a in np.linspace(0, math.pi, 16)]
        half.polygon([*cup, *rim], shell)
        half.shade(ball(x, y + 0.05, 0.26))
        hollow = Layer()
        low = [at(a, float(rng.uniform(0.28, 0.42))) for a in np.linspace(0, math.pi, 16)]
        hollow.polygon([*low, *rim], vary((236, 230, 220), rng, 5))
        hollow.shade(slope(1.57, 1.2) * 0.86)
        half.add(hollow)
        layer.add(half)
    layer.speckle(rng, 0.05, 4)
    return layer


def leaf(rng: Rng) -> Layer:
    """A cabbage leaf: wavy green blade, pale ribs."""
    layer, green = Layer(), vary((92, 152, 58), rng, 14)
    waves = rng.uniform(0, 6.3, 3)
    edge = []
    for a in np.linspace(0, 2 * math.pi, 140):
        r = 1 + 0.06 * math.sin(9 * a + waves[0]) + 0.04 * math.sin(17 * a + waves[1])
        edge.append((0.5 + 0.33 * r * math.sin(a), 0.44 - 0.36 * r * math.cos(a)))
    layer.polygon(edge, green)
    layer.speckle(rng, 0.5, 40)
    layer.speckle(rng, 0.3, 9)
    rib = vary((206, 222, 170), rng, 8)
    layer.polygon([(0.46, 0.95), (0.54, 0.95), (0.505, 0.14), (0.495, 0.14)], rib)
    for y, reach in ((0.66, 0.2), (0.54, 0.25), (0.42, 0.25), (0.3, 0.19)):
        for side in (-1, 1):
            curve = [
                (0.5 + side * reach * t, y - 0.14 * t - 0.05 * t * t) for t in np.linspace(0, 1, 12)
            ]
            layer.line(curve, rib, 0.012)
    layer.shade(slope(rng.uniform(0, 6.3), 0.5))
    return layer


def orange_peel(rng: Rng) -> Layer:
    """Pieces of peel: dimpled orange outside, white pith along the torn rim."""
    layer = Layer()
    for x, y, r in ((0.36, 0.4, 0.24), (0.66, 0.56, 0.22), (0.38, 0.74, 0.15)):
        piece, bumps = Layer(), rng.uniform(0, 6.3, 3)
        rim = []
        for a in np.linspace(0, 2 * math.pi, 60):
            wobble = 1 + 0.14 * math.sin(3 * a + bumps[0]) + 0.07 * math.sin(7 * a + bumps[1])
            rim.append((x + r * wobble * math.cos(a), y + 0.8 * r * wobble * math.sin(a)))
        piece.polygon(rim, vary((244, 232, 208), rng, 5))
        piece.polygon(
            [(x + (px - x) * 0.86, y + (py - y) * 0.86) for px, py in rim],
            vary((238, 132, 24), rng, 10),
        )
        piece.speckle(rng, 0.35, 7)
        piece.shade(ball(x, y, r * 1.25))
        layer.add(piece)
    return layer
