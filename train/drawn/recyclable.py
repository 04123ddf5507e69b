"""What is recycled: bottle, newspaper, can, cardboard, ball. Shapes only, as `objects` says."""

from __future__ import annotations

import math

import numpy as np

from train.drawn.canvas import Layer, Rng, across, ball, pick, slope, vary


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
