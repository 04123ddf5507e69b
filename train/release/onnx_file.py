"""A network as an ONNX file, for runtimes other than the edge's.

Owns the file: the same graph as the IR, from uint8 pictures to calibrated probabilities, its labels
in the metadata, measured against torch before it takes its place. Must not touch a bundle.
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sorter.domain import Taxonomy
from sorter.errors import ExportError, FolderError, MissingExtraError, UsageError
from sorter.files import STDOUT, place_for, write_whole
from sorter.taxonomy import taxonomy_to_dict
from sorter.text import first_line
from sorter.vision import engine, images
from train.drawn.render import BUNDLED, draw
from train.judge.calibrate import Calibration
from train.networks import Network
from train.release.ir import Released, quiet_stdout

_NOTE = "unknown_threshold"
"""A key of the metadata that only our files have."""

MAX_DELTA = 0.01
"""The largest difference of a probability or unknown score from torch's, as for FP16.

Both sides are 32 bits wide, and fifty photographs differed by 0.00001 at most; a drawing's flat
areas, where the first bottlenecks cancel out, by 0.007.
"""


def save_onnx(
    network: Network,
    calibration: Calibration,
    taxonomy: Taxonomy,
    file: Path,
    *,
    data_digest: str = "",
) -> float:
    """Write `file`; the largest difference of an output from torch's comes back.

    Input `image` uint8 (1, side, side, 3) RGB; outputs `probabilities` (1, C) and `unknown`
    (1, 1). The metadata has `labels` and `codes`, JSON lists in the order of the probabilities,
    and `taxonomy`, `bin_thresholds`, `unknown_threshold`, `temperature`, `data_digest`.

    Raises MissingExtraError without the onnx packages, ExportError, FolderError.
    """
    file = _place(file)  # before the minute that the rest may take
    released = Released(network, len(taxonomy.categories), calibration).eval()
    model = _convert(released, network.size_px)
    notes = {
        "labels": json.dumps([item.name for item in taxonomy.categories], ensure_ascii=False),
        "codes": json.dumps([item.code for item in taxonomy.categories]),
        "taxonomy": json.dumps(taxonomy_to_dict(taxonomy), ensure_ascii=False),
        "bin_thresholds": json.dumps(list(calibration.policy.bin_thresholds)),
        _NOTE: repr(calibration.policy.unknown_threshold),
        "temperature": repr(calibration.temperature),
        "data_digest": data_digest,
    }
    for key, value in notes.items():
        model.metadata_props.add(key=key, value=value)
    content = model.SerializeToString()
    delta = _measure(content, released, network.size_px)
    if not delta <= MAX_DELTA:
        raise ExportError(
            f"ONNX and torch disagree: an output differs by {delta:.4f} (at most {MAX_DELTA}); "
            "not written"
        )
    write_whole(file, content, option="--onnx")
    return delta


def _convert(released: Released, size_px: int) -> Any:
    """The `onnx.ModelProto` of the whole graph, weights inside."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401  # runs what was written
        import onnxscript  # noqa: F401  # torch's exporter needs both of its kind
    except ImportError as error:
        raise MissingExtraError(
            f"--onnx needs {error.name}, which is not installed: pip install 'sorter[train]'"
        ) from error
    example = torch.zeros(1, size_px, size_px, 3, dtype=torch.uint8)
    released.network.plain = True
    try:
        with _silence():
            program = torch.onnx.export(
                released,
                (example,),
                input_names=["image"],
                output_names=["probabilities", "unknown"],
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # torch raises its own kinds, with pages of text
        raise ExportError(
            f"torch cannot write this network as ONNX: {first_line(error)}"
        ) from error
    finally:
        released.network.plain = False
    assert program is not None  # what dynamo=True gives
    return program.model_proto


def _measure(content: bytes, released: Released, size_px: int) -> float:
    """The largest difference of a probability or unknown score, on drawings and on noise.

    NaN where a runtime gives one. Run by ONNX Runtime, whose own optimisations are part of what a
    user gets, and by openvino, which reads ONNX too.
    """
    drawn = [np.asarray(draw(code, seed=seed)) for code, seed in BUNDLED.values()]
    pictures = [images.from_array(pixels, size_px).pixels for pixels in drawn]
    noise = np.random.default_rng(0).integers(0, 256, (size_px, size_px, 3), dtype=np.uint8)
    differences = []
    for run in (_in_onnxruntime(content), _in_openvino(content)):
        for pixels in (*pictures, noise):
            with torch.inference_mode():
                expected = released(torch.from_numpy(pixels[None].copy()))
            for ours, theirs in zip(expected, run(pixels[None]), strict=True):
                differences.append(np.abs(ours.numpy() - theirs).max())
    return float(np.max(differences))


_Run = Callable[[NDArray[np.uint8]], Sequence[NDArray[np.float32]]]
"""A picture (1, side, side, 3) → probabilities (1, C), unknown score (1, 1)."""


def _in_onnxruntime(content: bytes) -> _Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda picture: session.run(["probabilities", "unknown"], {"image": picture})


def _in_openvino(content: bytes) -> _Run:
    openvino = engine.openvino()
    settings = {openvino.properties.hint.inference_precision: openvino.Type.f32}
    core = engine.core()
    network = core.compile_model(core.read_model(content), "CPU", settings)

    def run(picture: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        result = network([picture])
        return [result[name] for name in ("probabilities", "unknown")]

    return run


def _place(file: Path) -> Path:
    """Where `file` goes. Raises UsageError for one that is not ours, FolderError."""
    if file == STDOUT:
        raise UsageError("--onnx -: a network is not text to print; name a file")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"{file}: not written: {error.strerror or error}") from error
    return place_for(file, option="--onnx", ours=lambda _: _NOTE.encode() in file.read_bytes())


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter warns and logs of steps that are meant."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with quiet_stdout(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
