"""What is left over: chopsticks, lighter, toothbrush, bowl. Shapes only, as `objects` says."""

from __future__ import annotations

import math

import numpy as np

from train.drawn.canvas import Layer, Rng, across, pick, slope, vary


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
