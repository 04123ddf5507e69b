"""A network as OpenVINO IR: the graph the edge runs, its conversion, its file.

Owns what is inside the graph. Whether it may be released is judged by `export`.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sorter.errors import ExportError
from sorter.teach.graph import name_places
from sorter.vision.metadata import write_metadata
from train.judge.calibrate import MAX_OFFSET, Calibration
from train.networks import Network

_WHOLE_BELOW = 4096
"""Tensors of fewer values stay in FP32."""


class Released(nn.Module):
    """What the edge runs: uint8 NHWC pictures → calibrated probabilities, unknown score."""

    def __init__(self, network: Network, classes: int, calibration: Calibration) -> None:
        super().__init__()
        self.network = network
        self.classes = classes
        self.calibration = calibration

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, side, side, 3) → (N, C), (N, 1)."""
        scores = self.network(self.network.normalise(image.permute(0, 3, 1, 2)))
        inside = scores[:, : self.classes]
        whole = torch.logsumexp(inside, 1, keepdim=True)
        largest = inside.amax(1, keepdim=True) - whole
        bias, own, energy, top, near, unknown_near = self.calibration.unknown
        start, near_slope, unknown_slope, top_slope = self.calibration.slope
        unknown = bias + energy * whole + top * largest
        offset = start + top_slope * largest
        if scores.shape[1] > self.classes:
            unknown = unknown + own * scores[:, self.classes : self.classes + 1]
        if scores.shape[1] > self.classes + 1:
            any_class, none = scores[:, self.classes + 1 :].chunk(2, 1)
            unknown = unknown + near * any_class + unknown_near * none
            offset = offset + near_slope * any_class + unknown_slope * none
        temperature = self.calibration.temperature * offset.clamp(-MAX_OFFSET, MAX_OFFSET).exp()
        probabilities = torch.softmax(inside / temperature, 1)
        return probabilities, torch.sigmoid(unknown)


class Raw(nn.Module):
    """The same pictures → raw scores (N, outputs), as a fold needs them: nothing is known yet."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.network(self.network.normalise(image.permute(0, 3, 1, 2)))
        return scores


def convert(released: Released | Raw) -> Any:
    """An `openvino.Model` of one picture per request. Raises ExportError."""
    from openvino.tools import ovc

    side = released.network.size_px
    released.network.plain = True
    example = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    try:
        with quiet_stdout(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer, whose constants are meant
            model = ovc.convert_model(released, example_input=example, input=[1, side, side, 3])
    except Exception as error:  # openvino raises its own kinds
        raise ExportError(f"openvino cannot convert this network: {error}") from error
    finally:
        released.network.plain = False
    model.inputs[0].get_tensor().set_names({"image"})
    model.inputs[0].get_node().set_friendly_name("image")
    for output, name in zip(model.outputs, ("probabilities", "unknown"), strict=False):
        output.get_tensor().set_names({name if len(model.outputs) > 1 else "scores"})
    return model


def save_ir(model: Any, file: Path, notes: Mapping[str, Any]) -> None:
    import openvino

    model = model.clone()
    _compress(model)
    if len(model.outputs) > 1:
        name_places(model, int(model.outputs[0].shape[1]))
    write_metadata(model, **notes)
    openvino.save_model(model, file, compress_to_fp16=False)


def _compress(model: Any) -> None:
    """Keep large tensors in FP16, small ones whole.

    Biases and the first depthwise convolutions reach into the thousands once batch norm is folded
    into them, and then cancel out: rounding only these was measured to move a probability by
    0.037, rounding all the others by 0.003. They are a hundredth of the weights.
    """
    import openvino
    from openvino import opset13

    for node in model.get_ordered_ops():
        if node.get_type_name() != "Constant" or node.get_element_type() != openvino.Type.f32:
            continue
        values = node.data
        if values.size < _WHOLE_BELOW or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        readers = list(node.output(0).get_target_inputs())
        short = opset13.convert(opset13.constant(values.astype(np.float16)), "f32")
        for reader in readers:
            reader.replace_source_output(short.output(0))


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Libraries talk on stdout, which is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
