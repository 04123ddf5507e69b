"""A plain MobileNetV2 in INT8 throughout, drawn by code: what the outside limit is measured with.

Its shape is that of Sandler et al. (2018), its weights are random numbers, and it answers nothing.
Every convolution has eight-bit weights and inputs, as a toolkit's post-training quantisation would
leave it. Must not know of bundles.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sorter.vision import engine

SIDE_PX = 224
CLASSES = 26

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2))
LAST_STAGES = ((6, 320, 1, 1),)
"""Expansion, channels, blocks, first stride: table 2 of the paper."""


def network() -> Any:
    """An `openvino.Model`: u8 (1, 224, 224, 3) in, 26 numbers out."""
    engine.openvino()
    from openvino import Model
    from openvino import opset13 as ops

    random = np.random.default_rng(0)

    def quantised(x: Any, low: float, high: float) -> Any:
        return ops.fake_quantize(x, *(np.float32(v) for v in (low, high, low, high)), 256)

    def convolved(x: Any, channels: int, side: int, stride: int, *, each: bool = False) -> Any:
        """A convolution, by channel if `each`, of `channels` outputs."""
        inputs = x.get_output_shape(0)[1]
        shape = (inputs, 1, 1, side, side) if each else (channels, inputs, side, side)
        numbers = ops.convert(ops.constant(random.integers(-63, 64, shape).astype(np.int8)), "f32")
        scale = np.full((shape[0], *[1] * (len(shape) - 1)), 0.01 / np.sqrt(np.prod(shape[1:])))
        weights = ops.multiply(numbers, ops.constant(scale.astype(np.float32)))
        pads = [side // 2] * 2
        function = ops.group_convolution if each else ops.convolution
        return function(x, weights, [stride] * 2, pads, pads, [1, 1])

    def active(x: Any) -> Any:
        return quantised(ops.clamp(x, 0.0, 6.0), 0.0, 6.0)

    image = ops.parameter([1, SIDE_PX, SIDE_PX, 3], np.uint8, name="image")
    light = ops.multiply(ops.convert(image, "f32"), np.float32(1 / 255))
    x = quantised(ops.transpose(light, np.array([0, 3, 1, 2])), 0.0, 1.0)
    x = active(convolved(x, 32, 3, 2))
    for expansion, channels, blocks, first in (*STAGES, *LAST_STAGES):
        for block in range(blocks):
            stride = first if block == 0 else 1
            inputs = x.get_output_shape(0)[1]
            wide = x if expansion == 1 else active(convolved(x, inputs * expansion, 1, 1))
            wide = active(convolved(wide, 0, 3, stride, each=True))
            out = quantised(convolved(wide, channels, 1, 1), -6.0, 6.0)
            if stride == 1 and inputs == channels:
                out = quantised(ops.add(x, out), -6.0, 6.0)
            x = out
    x = active(convolved(x, 1280, 1, 1))
    x = quantised(ops.reduce_mean(x, np.array([2, 3]), keep_dims=True), 0.0, 6.0)
    return Model([convolved(x, CLASSES, 1, 1)], [image], "yardstick")
