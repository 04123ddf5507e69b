"""A trained network becomes a bundle: IR in FP16 and INT8, measured against torch before release.

Owns the conversion and its gate. A bundle is written beside its place and moved there only after
the edge's own classifier has run it. Must not train or choose thresholds.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sorter.domain import Taxonomy
from sorter.errors import ExportError
from sorter.taxonomy import taxonomy_to_dict
from sorter.vision.bundle import MODEL_FILES, open_bundle, write_metadata
from sorter.vision.classifier import Classifier
from train import checkpoint
from train.calibrate import Calibration, to_json
from train.config import Config, to_dict
from train.networks import Network

_WHOLE_BELOW = 4096

MAX_DELTA = 0.01
"""The largest difference of a probability, FP16 against torch, that may be released."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Proof:
    """Pictures (N, side, side, 3) and labels (N,) that a conversion is measured on.

    `calibration` are the pictures that INT8 ranges are taken from, a class as often as another.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    calibration: NDArray[np.uint8]


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
        probabilities = torch.softmax(inside / self.calibration.temperature, 1)
        bias, own, energy, top = self.calibration.unknown
        whole = torch.logsumexp(inside, 1, keepdim=True)
        strange = bias + energy * whole + top * (inside.amax(1, keepdim=True) - whole)
        if scores.shape[1] > self.classes:
            strange = strange + own * scores[:, self.classes :]
        return probabilities, torch.sigmoid(strange)


def export(
    network: Network,
    calibration: Calibration,
    taxonomy: Taxonomy,
    config: Config,
    proof: Proof,
    folder: Path,
    *,
    card: Mapping[str, Any],
    say: Say,
    onnx: bool = False,
) -> dict[str, Any]:
    """Write the bundle `folder`; the figures of the conversion come back and go on its card.

    Raises ExportError, and leaves any previous bundle as it was, where torch and FP16 disagree or
    INT8 loses more than `config.max_drop` points.
    """
    network = network.cpu().eval()
    classes = len(taxonomy.items)
    released = Released(network, classes, calibration).eval()
    expected = _run_torch(released, proof.pixels)
    metrics = dict(card.get("figures", {}))
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        model = _convert(released, network.size_px)
        notes = {
            "taxonomy": taxonomy,
            "policy": calibration.policy,
            "temperature": calibration.temperature,
            "data_digest": str(card.get("data_digest", "")),
            "metrics": metrics,
        }
        _save_ir(model, part / MODEL_FILES["fp16"], notes)
        figures = _check_fp16(part, proof, expected)
        say(
            f"FP16 agrees with torch on {len(proof.labels)} pictures, largest difference of a "
            f"probability {figures['fp16_max_delta']:.5f}"
        )
        if config.int8:
            figures |= _quantize(model, part, proof, expected, config, notes, say=say)
        _save_checkpoint(part / "checkpoint.pt", network, calibration, taxonomy, config, card)
        document = {**card, "conversion": figures}
        text = json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
        (part / "card.json").write_text(text, encoding="utf-8")
        if onnx:
            _save_onnx(released, network.size_px, part / "model.onnx")
        _put(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return figures


def label_accuracy(probabilities: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> float:
    """The share whose likeliest class is right."""
    return float((probabilities.argmax(1) == labels).mean())


def _run_torch(released: Released, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    parts = []
    with torch.inference_mode():
        for at in range(0, len(pixels), 32):
            parts.append(released(torch.from_numpy(pixels[at : at + 32]))[0].numpy())
    return np.concatenate(parts)


def _convert(released: Released, size_px: int) -> Any:
    import openvino

    if hasattr(released.network, "plain"):
        released.network.plain = True
    example = torch.zeros(1, size_px, size_px, 3, dtype=torch.uint8)
    try:
        with _to_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer, whose constants are meant
            model = openvino.convert_model(
                released, example_input=example, input=[1, size_px, size_px, 3]
            )
    except Exception as error:  # openvino raises its own kinds
        raise ExportError(f"openvino cannot convert this network: {error}") from error
    finally:
        if hasattr(released.network, "plain"):
            released.network.plain = False
    model.inputs[0].get_tensor().set_names({"image"})
    model.outputs[0].get_tensor().set_names({"probabilities"})
    model.outputs[1].get_tensor().set_names({"unknown"})
    model.inputs[0].get_node().set_friendly_name("image")
    return model


def _save_ir(model: Any, file: Path, notes: Mapping[str, Any]) -> None:
    import openvino

    model = model.clone()
    _compress(model)
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


def _classify(folder: Path, precision: str, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return Classifier(open_bundle(folder), precision=precision).predict(pixels)[0]


def _check_fp16(folder: Path, proof: Proof, expected: NDArray[np.float32]) -> dict[str, float]:
    got = _classify(folder, "fp16", proof.pixels)
    delta = float(np.abs(got - expected).max())
    differ = int((got.argmax(1) != expected.argmax(1)).sum())
    if differ or delta > MAX_DELTA:
        raise ExportError(
            f"FP16 and torch disagree: {differ} of {len(got)} labels differ, largest difference of "
            f"a probability {delta:.4f} (at most {MAX_DELTA}); not released"
        )
    return {
        "pictures": float(len(got)),
        "fp16_max_delta": delta,
        "torch_label_accuracy": label_accuracy(expected, proof.labels),
        "fp16_label_accuracy": label_accuracy(got, proof.labels),
    }


def _quantize(
    model: Any,
    folder: Path,
    proof: Proof,
    expected: NDArray[np.float32],
    config: Config,
    notes: Mapping[str, Any],
    *,
    say: Say,
) -> dict[str, Any]:
    """INT8 by post-training quantisation; with accuracy control where that loses too much."""
    import nncf

    nncf.set_log_level(40)
    dataset = nncf.Dataset([p[None] for p in proof.calibration])
    size = len(proof.calibration)
    file = folder / MODEL_FILES["int8"]
    reference = label_accuracy(expected, proof.labels)
    method = "post-training"
    with _to_stderr():
        small = nncf.quantize(
            model,
            dataset,
            subset_size=size,
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=_kept_whole(model, config),
        )
    _save_ir(small, file, notes)
    got = _classify(folder, "int8", proof.pixels)
    drop = 100 * (reference - label_accuracy(got, proof.labels))
    if drop > config.max_drop:
        say(f"INT8 loses {drop:.2f} points, more than {config.max_drop}: with accuracy control")
        method = "post-training with accuracy control"
        check = nncf.Dataset(
            [(p[None], int(y)) for p, y in zip(proof.pixels, proof.labels, strict=True)]
        )
        with _to_stderr():
            small = nncf.quantize_with_accuracy_control(
                model,
                nncf.Dataset([(p[None], 0) for p in proof.calibration], lambda pair: pair[0]),
                nncf.Dataset(check.get_data(), lambda pair: pair),
                validation_fn=_validate,
                max_drop=config.max_drop / 100,
                drop_type=nncf.DropType.ABSOLUTE,
                subset_size=size,
                ignored_scope=_kept_whole(model, config),
                preset=nncf.QuantizationPreset.MIXED,
            )
        _save_ir(small, file, notes)
        got = _classify(folder, "int8", proof.pixels)
        drop = 100 * (reference - label_accuracy(got, proof.labels))
    if drop > config.max_drop:
        raise ExportError(
            f"INT8 loses {drop:.2f} points of label accuracy, more than --max-drop "
            f"{config.max_drop}; raise it, or export with --no-int8"
        )
    say(f"INT8 ({method}) loses {drop:.2f} points of label accuracy")
    return {
        "int8_method": method,
        "int8_label_accuracy": label_accuracy(got, proof.labels),
        "int8_drop_points": drop,
        "int8_max_delta": float(np.abs(got - expected).max()),
    }


def _kept_whole(model: Any, config: Config) -> Any:
    """The first convolutions stay in floating point: see `_compress` for what is odd about them."""
    import nncf

    kinds = ("Convolution", "GroupConvolution")
    names = [n.get_friendly_name() for n in model.get_ordered_ops() if n.get_type_name() in kinds]
    return nncf.IgnoredScope(names=names[: config.int8_skip])


def _validate(compiled: Any, rows: Any) -> tuple[float, None]:
    hits = [int(compiled(picture)[0].argmax()) == label for picture, label in rows]
    return sum(hits) / len(hits), None


def _save_checkpoint(
    file: Path,
    network: Network,
    calibration: Calibration,
    taxonomy: Taxonomy,
    config: Config,
    card: Mapping[str, Any],
) -> None:
    checkpoint.save(
        file,
        {
            "network": config.network,
            "size_px": network.size_px,
            "config": json.dumps(
                {**to_dict(config), "init": Path(config.init).name, "teacher": ""}
            ),
            "taxonomy": json.dumps(taxonomy_to_dict(taxonomy), ensure_ascii=False),
            "calibration": to_json(calibration),
            "card": json.dumps(dict(card), ensure_ascii=False),
            "model": {k: v.contiguous() for k, v in network.state_dict().items()},
        },
    )


def _save_onnx(released: Released, size_px: int, file: Path) -> None:
    try:
        import onnx  # noqa: F401  # torch's exporter needs it
    except ImportError as error:
        raise ExportError("--onnx needs the onnx package: pip install onnx") from error
    example = torch.zeros(1, size_px, size_px, 3, dtype=torch.uint8)
    torch.onnx.export(
        released,
        (example,),
        str(file),
        input_names=["image"],
        output_names=["probabilities", "unknown"],
        dynamo=False,
    )


def _put(part: Path, folder: Path) -> None:
    """Move the finished bundle into its place; a README of the release that lies there stays."""
    readme = folder / "README.md"
    if readme.is_file():
        shutil.copy2(readme, part / "README.md")
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.replace(old)
    part.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _to_stderr() -> Iterator[None]:
    """Libraries talk on stdout, which is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
