"""A trained network becomes a bundle: IR in FP16 and INT8, measured against torch before release.

Owns the gate; the conversion belongs to `ir` and `quantize`. A bundle is written beside its place
and moved there only after the edge's own classifier has run it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sorter.domain import Taxonomy
from sorter.errors import ExportError
from sorter.taxonomy import taxonomy_to_dict
from sorter.text import counted
from sorter.vision.bundle import MODEL_FILES, open_bundle, refuse_foreign, written_bundle
from sorter.vision.model import Classifier
from train import checkpoint
from train.config import Config, to_dict
from train.data.corpus import Corpus, Pixels
from train.judge.calibrate import Calibration, to_json
from train.judge.figures import Conversion, conversion_document
from train.networks import Network
from train.networks.memory import PREFIX
from train.release.ir import Released, convert, save_ir
from train.release.quantize import post_training, with_accuracy_control
from train.release.reference import add_reference, reference_rows
from train.run_folder import write_json

MAX_DELTA = 0.01
"""The largest difference of a probability, FP16 against torch, that may be released."""

_CHANCE = 0.05
"""How likely a loss may be by chance and still count as one: one in twenty, as is usual."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Proof:
    """Pictures (N, side, side, 3) and labels (N,) that a conversion is measured on.

    `calibration` are the pictures that INT8 ranges are taken from, a class as often as another.
    `reference` are pictures and labels whose features the bundle takes along for `sorter teach`.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    calibration: NDArray[np.uint8]
    reference: tuple[NDArray[np.uint8], NDArray[np.int64]] | None = None

    @classmethod
    def of(cls, corpus: Corpus, pixels: Pixels, ranges: NDArray[np.int64], *, seed: int) -> Proof:
        """Of a corpus: its validation pictures, or some of the training's where it has none."""
        rows = corpus.rows("val")
        rows = rows if len(rows) else corpus.rows("train")[:200]
        old = reference_rows(corpus, seed)
        labels = corpus.labels
        reference = pixels.take(old), labels[old]
        return cls(pixels.take(rows), labels[rows], pixels.take(ranges), reference)


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
) -> Conversion:
    """Write the bundle `folder`; the figures of the conversion come back and go on its card.

    Raises ExportError, and leaves any previous bundle as it was, where torch and FP16 disagree or
    INT8 loses more than `config.max_drop` points.
    """
    network = network.cpu().eval()
    classes = len(taxonomy.categories)
    released = Released(network, classes, calibration).eval()
    expected = _run_torch(released, proof.pixels)
    metrics = dict(card.get("figures", {}))
    refuse_foreign(folder)
    with written_bundle(folder, advice="make room, then sorter export RUN") as part:
        model = convert(released)
        notes = {
            "taxonomy": taxonomy,
            "policy": calibration.policy,
            "temperature": calibration.temperature,
            "data_digest": str(card.get("data_digest", "")),
            "metrics": metrics,
        }
        save_ir(model, part / MODEL_FILES["fp16"], notes)
        figures = _check_fp16(part, proof, expected)
        say(
            f"FP16 agrees with torch on {counted(figures.pictures, 'picture')}, largest "
            f"difference of a probability {figures.fp16_max_delta:.5f}"
        )
        if config.int8:
            figures = _check_int8(figures, model, part, proof, expected, config, notes, say=say)
        if proof.reference is not None:
            count = add_reference(part, *proof.reference, classes=classes)
            say(f"reference: features of {count} photographs, for sorter teach")
        save_checkpoint(part / "checkpoint.pt", network, calibration, taxonomy, config, card)
        document = {**card, "conversion": conversion_document(figures)}
        write_json(part / "card.json", document, sort_keys=True)
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


def _classify(folder: Path, precision: str, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return Classifier(open_bundle(folder), precision=precision).predict(pixels)[0]


def _check_fp16(folder: Path, proof: Proof, expected: NDArray[np.float32]) -> Conversion:
    got = _classify(folder, "fp16", proof.pixels)
    delta = float(np.abs(got - expected).max())
    differ = int((got.argmax(1) != expected.argmax(1)).sum())
    if differ or delta > MAX_DELTA:
        raise ExportError(
            f"FP16 and torch disagree: {differ} of {len(got)} labels differ, largest difference of "
            f"a probability {delta:.4f} (at most {MAX_DELTA}); not released"
        )
    return Conversion(
        pictures=len(got),
        torch_label_accuracy=label_accuracy(expected, proof.labels),
        fp16_label_accuracy=label_accuracy(got, proof.labels),
        fp16_max_delta=delta,
    )


def _check_int8(
    figures: Conversion,
    model: Any,
    folder: Path,
    proof: Proof,
    expected: NDArray[np.float32],
    config: Config,
    notes: Mapping[str, Any],
    *,
    say: Say,
) -> Conversion:
    """Write INT8 and measure it; once more with accuracy control where it loses too much."""
    file = folder / MODEL_FILES["int8"]
    reference = figures.torch_label_accuracy

    def measure(small: Any) -> tuple[NDArray[np.float32], float, bool]:
        save_ir(small, file, notes)
        got = _classify(folder, "int8", proof.pixels)
        drop = 100 * (reference - label_accuracy(got, proof.labels))
        return got, drop, loses_more(drop, len(proof.labels), config.max_drop)

    method = "post-training"
    got, drop, too_much = measure(post_training(model, proof.calibration, config))
    if too_much:
        say(f"INT8 loses {drop:.2f} points, more than {config.max_drop}: with accuracy control")
        method = "post-training with accuracy control"
        check = (proof.pixels, proof.labels)
        got, drop, too_much = measure(
            with_accuracy_control(model, proof.calibration, check, config)
        )
    if too_much:
        raise ExportError(
            f"INT8 loses {drop:.2f} points of label accuracy, more than --max-drop "
            f"{config.max_drop}; raise it, or release without: sorter export RUN --no-int8"
        )
    say(f"INT8 ({method}) loses {drop:.2f} points of label accuracy")
    if drop > config.max_drop:
        say(
            f"warning: that is more than {config.max_drop}, but on "
            f"{counted(len(proof.labels), 'picture')} may be chance; judge INT8 on "
            "more: sorter evaluate"
        )
    return replace(
        figures,
        int8_method=method,
        int8_label_accuracy=label_accuracy(got, proof.labels),
        int8_drop_points=drop,
        int8_max_delta=float(np.abs(got - expected).max()),
    )


def loses_more(drop: float, pictures: int, max_drop: float) -> bool:
    """True where a loss of `drop` points on so many `pictures` shows a real one above `max_drop`.

    Of a few pictures one weighs several points. A network that loses `max_drop` points must be
    unlikely (`_CHANCE`) to lose as many pictures as this one did, or more, by chance.
    """
    lost, share = round(drop * pictures / 100), max_drop / 100
    if drop <= max_drop or not share:
        return drop > max_drop
    ways = math.lgamma(pictures + 1)
    fewer = sum(  # the binomial distribution, in logarithms: there are very many ways
        math.exp(
            (ways - math.lgamma(k + 1) - math.lgamma(pictures - k + 1))
            + (k * math.log(share) + (pictures - k) * math.log1p(-share))
        )
        for k in range(lost)
    )
    return 1 - fewer < _CHANCE


def save_checkpoint(
    file: Path,
    network: Network,
    calibration: Calibration,
    taxonomy: Taxonomy,
    config: Config,
    card: Mapping[str, Any],
) -> None:
    """Write what `sorter export` needs to convert the network again."""
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
            "model": {k: _stored(k, v) for k, v in network.state_dict().items()},
        },
    )


def _stored(name: str, tensor: Tensor) -> Tensor:
    """As a file keeps it: of a memory no more than `remember` left in it."""
    half = name.startswith(PREFIX) and not name.endswith("settings")
    return (tensor.half() if half else tensor).contiguous()
