"""What each item looks like: one function a class, a layer out of lines, boxes and light.

Owns shapes; light and backgrounds are `canvas`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from sorter.samples.canvas import Layer, across, ball, pick, slope, vary

Rng = np.random.Generator


def plastic_bottle(rng: Rng) -> Layer:
    """A drink bottle, lying or standing, with cap and label."""
    layer, body = Layer(), vary((196, 220, 232), rng, 12)
    left, right = 0.36, 0.64
    layer.box((left, 0.34, right, 0.92), body, 0.05)
    layer.polygon([(left + 0.01, 0.38), (0.455, 0.2), (0.545, 0.2), (right - 0.01, 0.38)], body)
    layer.box((0.455, 0.14, 0.545, 0.24), body, 0.01)
    for y in np.arange(0.68, 0.9, 0.055):
        layer.line([(left, y), (right, y)], vary((150, 185, 205), rng, 8), 0.008)
    label = pick(rng, (30, 90, 190), (200, 40, 40), (40, 140, 70))
    layer.box((left, 0.45, right, 0.63), label)
    layer.line([(left, 0.54), (right, 0.54)], (240, 240, 240), 0.03)
    cap = pick(rng, (30, 80, 180), (235, 235, 235), (200, 40, 40))
    layer.box((0.445, 0.08, 0.555, 0.155), cap, 0.012)
    layer.shade(across(0.5, 0.3))
    return layer


def can(rng: Rng) -> Layer:
    """A drink can with a metal rim."""
    layer = Layer()
    paint = pick(rng, (200, 30, 40), (20, 70, 170), (30, 130, 60), (230, 150, 20))
    layer.box((0.33, 0.2, 0.67, 0.86), paint, 0.03)
    layer.polygon([(0.33, 0.24), (0.37, 0.16), (0.63, 0.16), (0.67, 0.24)], (190, 192, 196))
    layer.box((0.35, 0.84, 0.65, 0.88), (180, 182, 186), 0.015)
    stripe = pick(rng, (245, 245, 245), (250, 220, 60))
    wave = [(0.33 + 0.34 * t, 0.52 + 0.09 * math.sin(6.3 * t)) for t in np.linspace(0, 1, 24)]
    layer.line(wave, stripe, 0.06)
    layer.line([(x, y + 0.12) for x, y in wave], stripe, 0.018)
    layer.shade(across(0.5, 0.36))
    top = Layer()
    top.ellipse((0.37, 0.125, 0.63, 0.195), (205, 207, 210))
    top.ellipse((0.39, 0.135, 0.61, 0.185), (160, 163, 168))
    top.ellipse((0.47, 0.145, 0.56, 0.168), (215, 217, 220))
    layer.add(top)
    return layer


def cardboard(rng: Rng) -> Layer:
    """A box of corrugated cardboard, its flaps open."""
    layer, brown = Layer(), vary((186, 144, 96), rng, 10)

    def lit(factor: float) -> tuple[int, int, int]:
        red, green, blue = (min(255, round(v * factor)) for v in brown)
        return red, green, blue

    layer.polygon([(0.14, 0.42), (0.5, 0.54), (0.5, 0.9), (0.14, 0.76)], lit(0.92))
    layer.polygon([(0.5, 0.54), (0.86, 0.42), (0.86, 0.76), (0.5, 0.9)], lit(0.72))
    layer.polygon([(0.14, 0.42), (0.5, 0.3), (0.86, 0.42), (0.5, 0.54)], lit(0.5))
    layer.polygon([(0.14, 0.42), (0.5, 0.54), (0.4, 0.66), (0.05, 0.53)], lit(1.08))
    layer.polygon([(0.86, 0.42), (0.5, 0.54), (0.6, 0.66), (0.95, 0.53)], lit(0.98))
    layer.polygon([(0.14, 0.42), (0.5, 0.3), (0.42, 0.19), (0.06, 0.3)], lit(1.0))
    layer.polygon([(0.86, 0.42), (0.5, 0.3), (0.58, 0.19), (0.94, 0.3)], lit(0.88))
    layer.line([(0.32, 0.7), (0.32, 0.82)], lit(1.15), 0.035)
    layer.speckle(rng, 0.12, 3)
    return layer


def basketball(rng: Rng) -> Layer:
    """An orange ball with black seams."""
    layer = Layer()
    layer.ellipse((0.16, 0.16, 0.84, 0.84), vary((214, 104, 40), rng, 10))
    seam, width = (30, 22, 18), 0.016
    layer.line([(0.5, 0.16), (0.5, 0.84)], seam, width)
    layer.line([(0.16, 0.5), (0.84, 0.5)], seam, width)
    for side in (-1, 1):
        arc = [
            (0.5 + side * (0.14 + 0.1 * (t * 2 - 1) ** 2), 0.2 + 0.6 * t)
            for t in np.linspace(0, 1, 20)
        ]
        layer.line(arc, seam, width)
    layer.speckle(rng, 0.25, 3)
    layer.shade(ball(0.5, 0.5, 0.34))
    return layer


def newspaper(rng: Rng) -> Layer:
    """A folded front page: title, columns of print, a grey photograph."""
    layer, paper = Layer(), vary((214, 211, 200), rng, 6)
    layer.polygon([(0.12, 0.14), (0.86, 0.1), (0.9, 0.88), (0.15, 0.92)], paper)
    layer.box((0.18, 0.17, 0.82, 0.25), (40, 40, 42))
    layer.box((0.2, 0.19, 0.8, 0.23), paper)
    for x in np.arange(0.21, 0.78, 0.05):
        layer.box((x, 0.195, x + 0.032, 0.226), (35, 35, 38))
    layer.box((0.2, 0.32, 0.52, 0.54), vary((120, 120, 120), rng, 20))
    layer.ellipse((0.27, 0.36, 0.42, 0.52), vary((170, 170, 170), rng, 20))
    for left, first in ((0.2, 0.58), (0.38, 0.58), (0.57, 0.32), (0.73, 0.32)):
        for y in np.arange(first, 0.87, 0.017):
            end = left + float(rng.uniform(0.11, 0.14))
            layer.line([(left, y), (end, y)], (88, 88, 90), 0.006)
    layer.shade(slope(rng.uniform(0, 6.3), 0.2))
    layer.line([(0.13, 0.52), (0.88, 0.49)], (170, 168, 160), 0.006)
    return layer


def chopsticks(rng: Rng) -> Layer:
    """A pair of wooden chopsticks, a little apart."""
    layer, wood = Layer(), vary((222, 188, 132), rng, 10)
    spread = rng.uniform(0.03, 0.14)
    for side in (-1, 1):
        top, foot = 0.5 + side * (0.03 + spread), 0.5 + side * 0.02
        layer.polygon(
            [(top - 0.018, 0.06), (top + 0.018, 0.06), (foot + 0.009, 0.95), (foot - 0.009, 0.95)],
            wood,
        )
        layer.line([(top + 0.012, 0.07), (foot + 0.006, 0.94)], vary((176, 138, 86), rng, 8), 0.008)
    layer.speckle(rng, 0.15, 5)
    return layer


def lighter(rng: Rng) -> Layer:
    """A disposable lighter: coloured tank, metal hood, wheel and button."""
    layer = Layer()
    tank = pick(rng, (220, 40, 40), (40, 90, 200), (40, 160, 80), (240, 190, 30), (150, 60, 170))
    layer.box((0.39, 0.34, 0.61, 0.92), tank, 0.03)
    layer.box((0.39, 0.33, 0.61, 0.38), (60, 60, 62))
    layer.box((0.4, 0.14, 0.54, 0.34), (186, 188, 192), 0.01)
    layer.box((0.54, 0.25, 0.61, 0.34), (170, 30, 30), 0.015)
    layer.shade(across(0.5, 0.26))
    wheel = Layer()
    wheel.ellipse((0.515, 0.165, 0.605, 0.26), (120, 122, 126))
    wheel.ellipse((0.54, 0.19, 0.58, 0.235), (70, 72, 76))
    for x in (0.425, 0.455, 0.485):
        wheel.ellipse((x, 0.2, x + 0.018, 0.225), (70, 72, 76))
    layer.add(wheel)
    return layer


def toothbrush(rng: Rng) -> Layer:
    """A toothbrush with white bristles on a coloured handle."""
    layer = Layer()
    handle = pick(rng, (40, 120, 210), (220, 60, 120), (60, 170, 110), (245, 140, 40))
    layer.polygon([(0.485, 0.3), (0.515, 0.3), (0.535, 0.95), (0.465, 0.95)], handle)
    layer.box((0.465, 0.05, 0.535, 0.32), handle, 0.03)
    layer.line([(0.5, 0.55), (0.5, 0.9)], (245, 245, 245), 0.025)
    for y in np.arange(0.08, 0.28, 0.022):
        tuft = pick(rng, (248, 248, 250), (248, 248, 250), handle)
        layer.box((0.535, y, 0.625, y + 0.017), tuft, 0.004)
    layer.shade(slope(0.0, 0.7))
    return layer


def ceramic_bowl(rng: Rng) -> Layer:
    """A rice bowl seen from the side, glazed, with a blue ring."""
    layer, glaze = Layer(), vary((236, 236, 230), rng, 6)
    side = [
        (0.14 + 0.72 * t, 0.4 + 0.36 * math.sqrt(max(0.0, 1 - (2 * t - 1) ** 2)))
        for t in np.linspace(0, 1, 60)
    ]
    layer.polygon(side, glaze)
    layer.box((0.38, 0.72, 0.62, 0.8), glaze, 0.015)
    ring = pick(rng, (40, 70, 160), (40, 70, 160), (170, 50, 50))
    for x in np.arange(0.22, 0.8, 0.07):
        drop = 0.5 + 0.07 * math.sin((x - 0.14) / 0.72 * math.pi)
        layer.ellipse((x, drop - 0.02, x + 0.035, drop + 0.02), ring)
    layer.shade(across(0.5, 0.8))
    rim = Layer()
    rim.ellipse((0.14, 0.3, 0.86, 0.5), glaze)
    rim.ellipse((0.165, 0.32, 0.835, 0.485), vary((196, 196, 190), rng, 6))
    rim.shade(slope(1.2, 0.7))
    rim.line(
        [
            (0.5 + 0.36 * math.cos(a), 0.4 + 0.1 * math.sin(a))
            for a in np.linspace(0, 2 * math.pi, 80)
        ],
        ring,
        0.008,
    )
    layer.add(rim)
    return layer


def battery(rng: Rng) -> Layer:
    """A round cell: dark body, coppery top, the pole on it."""
    layer = Layer()
    body = pick(rng, (34, 34, 38), (30, 110, 60), (180, 30, 30))
    copper = pick(rng, (196, 132, 62), (210, 170, 60), (190, 192, 196))
    layer.box((0.37, 0.2, 0.63, 0.9), body, 0.02)
    layer.box((0.37, 0.2, 0.63, 0.4), copper, 0.02)
    layer.box((0.455, 0.15, 0.545, 0.21), (200, 202, 206), 0.01)
    layer.line([(0.5, 0.26), (0.5, 0.34)], (250, 250, 250), 0.014)
    layer.line([(0.46, 0.3), (0.54, 0.3)], (250, 250, 250), 0.014)
    layer.box((0.42, 0.5, 0.58, 0.72), pick(rng, (240, 240, 240), (240, 200, 40)), 0.01)
    layer.line([(0.45, 0.56), (0.55, 0.56)], body, 0.02)
    layer.line([(0.45, 0.64), (0.53, 0.64)], body, 0.014)
    layer.box((0.38, 0.885, 0.62, 0.905), (186, 188, 192))
    layer.shade(across(0.5, 0.28))
    return layer


def tablets(rng: Rng) -> Layer:
    """A blister of tablets or of two-coloured capsules, foil between them."""
    layer, foil = Layer(), vary((198, 202, 208), rng, 6)
    layer.box((0.2, 0.12, 0.8, 0.88), foil, 0.04)
    layer.speckle(rng, 0.16, 6)
    capsules = rng.random() < 0.5
    first = pick(rng, (220, 50, 50), (240, 200, 60), (240, 240, 236), (80, 150, 220))
    second = pick(rng, (245, 245, 240), (240, 220, 120))
    for y in np.arange(0.17, 0.83, 0.135):
        for x in (0.25, 0.43, 0.61):
            pill = Layer()
            if capsules:
                pill.box((x, y + 0.01, x + 0.14, y + 0.085), first, 0.037)
                pill.box((x + 0.07, y + 0.01, x + 0.14, y + 0.085), second, 0.037)
                pill.box((x + 0.06, y + 0.01, x + 0.1, y + 0.085), second)
            else:
                pill.ellipse((x + 0.02, y, x + 0.12, y + 0.1), first)
            pill.shade(ball(x + 0.07, y + 0.05, 0.085))
            layer.add(pill)
    return layer


def paint_bucket(rng: Rng) -> Layer:
    """A paint tin with a handle, drips over a label, paint inside."""
    layer, metal = Layer(), vary((176, 180, 184), rng, 6)
    paint = pick(rng, (210, 50, 50), (40, 100, 200), (240, 190, 40), (60, 160, 90))
    layer.polygon([(0.2, 0.3), (0.8, 0.3), (0.76, 0.9), (0.24, 0.9)], metal)
    layer.polygon([(0.21, 0.46), (0.79, 0.46), (0.772, 0.76), (0.228, 0.76)], (240, 240, 236))
    layer.box((0.34, 0.52, 0.66, 0.7), paint, 0.02)
    for x in np.arange(0.24, 0.76, 0.075):
        layer.box((x, 0.3, x + 0.045, float(0.36 + rng.uniform(0, 0.16))), paint, 0.02)
    layer.shade(across(0.5, 0.66))
    top = Layer()
    top.ellipse((0.19, 0.22, 0.81, 0.38), metal)
    top.ellipse((0.22, 0.24, 0.78, 0.365), paint)
    arc = [
        (0.5 + 0.32 * math.cos(a), 0.3 - 0.24 * math.sin(a)) for a in np.linspace(0, math.pi, 40)
    ]
    top.line(arc, (110, 112, 116), 0.012)
    layer.add(top)
    return layer


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


OBJECTS: Mapping[str, Callable[[Rng], Layer]] = {
    "00_00": plastic_bottle,
    "00_02": newspaper,
    "00_03": can,
    "00_06": cardboard,
    "00_07": basketball,
    "01_00": chopsticks,
    "01_01": lighter,
    "01_04": toothbrush,
    "01_07": ceramic_bowl,
    "02_00": paint_bucket,
    "02_01": battery,
    "02_03": tablets,
    "03_00": orange_peel,
    "03_01": leaf,
    "03_02": eggshell,
    "03_03": banana_peel,
}
"""Class code of the default taxonomy → how to draw it."""
