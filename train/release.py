"""Export a finished checkpoint again, for example after a newer openvino.

Owns reading a bundle's own checkpoint back; the conversion is `export`'s.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sorter.domain import Prediction
from sorter.errors import ImageError, ModelError, UsageError
from sorter.taxonomy import taxonomy_from_dict
from sorter.vision import images
from train import checkpoint
from train.calibrate import from_json
from train.config import make_config
from train.data import Pixels, Sources, default_cache, gather
from train.export import Proof, export
from train.figures import predictions
from train.networks import Network, build
from train.onnx_file import save_onnx


def export_again(
    source: Path, data: Path | None, out: Path, *, int8: bool, max_drop: float
) -> dict[str, Any]:
    """Write the bundle `out` from `source`: a `checkpoint.pt` or a run folder.

    Raises ModelError, UsageError where there are no pictures to measure on, ExportError.
    """
    file, content = _read_finished(source)
    pictures = data or _run_data(file)
    if pictures is None:
        raise UsageError(f"{file}: name the pictures to measure on with --data DATA")
    taxonomy = taxonomy_from_dict(json.loads(content["taxonomy"]), source=str(file))
    config = replace(make_config(json.loads(content["config"])), int8=int8, max_drop=max_drop)
    network = open_network(content, len(taxonomy.items))

    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    corpus = gather(Sources(pictures), taxonomy, say=say)
    pixels = Pixels(corpus, network.size_px, default_cache())
    rows, train_rows = corpus.rows("val"), corpus.rows("train")
    if not len(rows):
        rows = train_rows[:200]
    step = max(1, len(train_rows) // config.calibration_size)
    proof = Proof(pixels.take(rows), corpus.labels[rows], pixels.take(train_rows[::step]))
    card = json.loads(content["card"])
    calibration = from_json(content["calibration"])
    return export(network, calibration, taxonomy, config, proof, out, card=card, say=say)


def export_onnx(source: Path, file: Path) -> dict[str, Any]:
    """Write the ONNX `file` from `source`: a `checkpoint.pt` or a run folder.

    Measured on drawn pictures, so that none need be named. Raises ModelError, ExportError,
    MissingExtraError, FolderError.
    """
    named, content = _read_finished(source)
    taxonomy = taxonomy_from_dict(json.loads(content["taxonomy"]), source=str(named))
    network = open_network(content, len(taxonomy.items)).eval()
    calibration = from_json(content["calibration"])
    digest = str(json.loads(content["card"]).get("data_digest", ""))
    delta = save_onnx(network, calibration, taxonomy, file, data_digest=digest)
    return {"onnx": str(file), "onnx_max_delta": delta}


def predict_again(file: Path, pictures: Sequence[Path]) -> list[Prediction | ImageError]:
    """Predictions of the network in `file`, float32 on the CPU, as the edge would get them."""
    content = checkpoint.load(file)
    if "calibration" not in content:
        raise ModelError(f"{file}: not a released checkpoint: it carries no calibration")
    calibration = from_json(content["calibration"])
    classes = len(json.loads(content["taxonomy"])["items"])
    network = open_network(content, classes).eval()
    results: list[Prediction | ImageError] = []
    for path in pictures:
        try:
            pixels = images.load(path, network.size_px).pixels
        except ImageError as error:
            results.append(error)
            continue
        with torch.inference_mode():
            batch = torch.from_numpy(pixels[None].copy()).permute(0, 3, 1, 2)
            scores = network(network.normalise(batch)).numpy()
        results += predictions(scores, classes, calibration)
    return results


def open_network(content: dict[str, Any], classes: int) -> Network:
    """The network of a bundle's checkpoint, with its weights. Raises ModelError."""
    try:
        config = json.loads(content["config"])
        outputs = len(content["model"]["head.bias"])
        if outputs not in (classes, classes + 1):
            raise ModelError(f"the checkpoint has {outputs} scores for {classes} classes")
        network = build(
            content["network"], outputs, size_px=content["size_px"], pool=config["pool"]
        )
        network.load_state_dict(content["model"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise ModelError(f"not a checkpoint of a released network: {error}") from error
    return network


def _read_finished(source: Path) -> tuple[Path, dict[str, Any]]:
    """The checkpoint that `source` is or holds, and its content. Raises ModelError."""
    file = source / "final.pt" if source.is_dir() else source
    content = checkpoint.load(file)
    if "calibration" not in content:
        raise ModelError(f"{file}: not calibrated yet; finish the run with sorter train --resume")
    return file, content


def _run_data(file: Path) -> Path | None:
    """The pictures of the run that `file`, or the bundle it is in, belongs to."""
    for folder in (file.parent, file.parent.parent):
        with contextlib.suppress(OSError, ValueError, KeyError):
            text = (folder / "config.json").read_text(encoding="utf-8")
            return Path(json.loads(text)["data"])
    return None
