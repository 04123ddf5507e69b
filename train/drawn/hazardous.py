"""What is dangerous: paint, battery, tablets. Shapes only, as `objects` says."""

from __future__ import annotations

import math

import numpy as np

from train.drawn.canvas import Layer, Rng, across, ball, pick, vary


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
