"""What each item looks like: one function a class, a layer out of lines, boxes and light.

Owns which class is drawn how; the shapes are in a file a bin, light and backgrounds are `canvas`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from train.drawn.canvas import Layer, Rng
from train.drawn.food import banana_peel, eggshell, leaf, orange_peel
from train.drawn.hazardous import battery, paint_bucket, tablets
from train.drawn.recyclable import basketball, can, cardboard, newspaper, plastic_bottle
from train.drawn.residual import ceramic_bowl, chopsticks, lighter, toothbrush

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
