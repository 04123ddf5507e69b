"""Export a finished checkpoint again, for example after a newer openvino.

Owns reading a bundle's own checkpoint back; the conversion is `export`'s.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sorter.domain import Prediction, Taxonomy
from sorter.errors import ImageError, ModelError, SorterError, UsageError
from sorter.taxonomy import taxonomy_from_dict
from sorter.text import first_line
from sorter.vision import images
from sorter.vision.bundle import refuse_foreign
from train import checkpoint
from train.config import MAX_SIDE_PX, Config, read_config
from train.data.corpus import Pixels, Sources, default_cache, gather
from train.judge.calibrate import Calibration, from_json
from train.judge.figures import Conversion, predictions
from train.networks import Network, build
from train.networks.memory import from_tensors
from train.release.export import Proof, export
from train.release.onnx_file import save_onnx


def export_again(
    source: Path, data: Path | None, out: Path, *, int8: bool, max_drop: float
) -> Conversion:
    """Write the bundle `out` from `source`: a `checkpoint.pt` or a run folder.

    Raises ModelError, UsageError where there are no pictures to measure on, ExportError.
    """
    finished = _read_finished(source)
    pictures = data or _run_data(finished.file)
    if pictures is None:
        raise UsageError(f"{finished.file}: name the pictures to measure on with --data DATA")
    config = replace(finished.config, int8=int8, max_drop=max_drop)
    refuse_foreign(out)

    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    corpus = gather(Sources(pictures), finished.taxonomy, say=say)
    pixels = Pixels(corpus, finished.network.size_px, default_cache())
    ranges = corpus.rows("train")
    ranges = ranges[:: max(1, len(ranges) // config.calibration_size)]
    return export(
        finished.network,
        finished.calibration,
        finished.taxonomy,
        config,
        Proof.of(corpus, pixels, ranges, seed=config.seed),
        out,
        card=finished.card,
        say=say,
    )


def export_onnx(source: Path, file: Path) -> float:
    """Write the ONNX `file` from `source`: a `checkpoint.pt` or a run folder.

    The largest difference of a score from torch's comes back, measured on drawn pictures, so that
    none need be named. Raises ModelError, ExportError, MissingExtraError, FolderError.
    """
    finished = _read_finished(source)
    network, digest = finished.network.eval(), str(finished.card.get("data_digest", ""))
    return save_onnx(network, finished.calibration, finished.taxonomy, file, data_digest=digest)


def predict_again(file: Path, pictures: Sequence[Path]) -> list[Prediction | ImageError]:
    """Predictions of the network in `file`, float32 on the CPU, as the edge would get them."""
    finished = _read_finished(file)
    network, classes = finished.network.eval(), len(finished.taxonomy.categories)
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
        results += predictions(scores, classes, finished.calibration)
    return results


@dataclass(frozen=True, slots=True)
class _Finished:
    """What a released checkpoint holds, each part read and checked."""

    file: Path
    network: Network
    calibration: Calibration
    taxonomy: Taxonomy
    config: Config
    card: Mapping[str, Any]


def _read_finished(source: Path) -> _Finished:
    """The checkpoint that `source` is or holds. Raises ModelError, naming the file."""
    file = source / "final.pt" if source.is_dir() else source
    content = checkpoint.load(file)
    if "calibration" not in content:
        raise ModelError(f"{file}: not calibrated yet; finish the run with sorter train --resume")
    try:
        taxonomy = taxonomy_from_dict(dict(json.loads(content["taxonomy"])), source=str(file))
        return _Finished(
            file,
            _open_network(content, len(taxonomy.categories)),
            from_json(content["calibration"]),
            taxonomy,
            read_config(content["config"]),
            dict(json.loads(content["card"])),
        )
    except (SorterError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        why = first_line(error, limit=160)
        raise ModelError(
            f"{file}: not a checkpoint of a released network ({why}); name the checkpoint.pt of a "
            "bundle"
        ) from error


def _open_network(content: Mapping[str, Any], classes: int) -> Network:
    """The network with its weights. Raises ValueError and torch's RuntimeError, among others."""
    size_px = int(content["size_px"])
    if not 16 <= size_px <= MAX_SIDE_PX:
        raise ValueError(f"{size_px} pixels")
    outputs = len(content["model"]["head.bias"])
    if outputs not in (classes, classes + 1):
        raise ValueError(f"{outputs} scores for {classes} classes")
    pool = json.loads(content["config"])["pool"]
    network = build(content["network"], outputs, size_px=size_px, pool=pool)
    network.memory = from_tensors(
        content["model"], features=network.head.in_features, classes=classes
    )
    network.load_state_dict(content["model"])
    return network


def _run_data(file: Path) -> Path | None:
    """The pictures of the run that `file`, or the bundle it is in, belongs to."""
    for folder in (file.parent, file.parent.parent):
        with contextlib.suppress(OSError, ValueError, KeyError):
            text = (folder / "config.json").read_text(encoding="utf-8")
            return Path(json.loads(text)["data"])
    return None
