"""Real, tiny models for tests: a bundle of three or 26 classes written in a tenth of a second.

The network is the nearest of one colour a class to the picture's mean colour: a picture painted in
`colour_of(taxonomy, i)` is class i with near certainty, and a grey one is `unknown`. It is built
from openvino's operations alone (no torch) and saved the way a release is.
"""

from __future__ import annotations

import colorsys
import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops
from PIL import Image

from sorter.domain import Policy, Taxonomy
from sorter.taxonomy import default_taxonomy, taxonomy_from_dict
from sorter.vision.bundle import MODEL_FILES
from sorter.vision.metadata import write_metadata

SHARPNESS = 300.0
"""Logits a squared unit of colour distance; high, so that a painted class scores about 1."""


def taxonomy3() -> Taxonomy:
    """Three classes, two bins: `can` and `peel` go to bins 1 and 2, `pill` to bin 2."""
    return taxonomy_from_dict(
        {
            "name": "tiny",
            "bins": [
                {"key": "metal", "code": "00", "name": "Metal", "name_zh": "金属"},
                {"key": "rest", "code": "01", "name": "Rest", "name_zh": "其他"},
            ],
            "items": [
                {"code": "0001", "name": "can", "name_zh": "罐", "bin": "metal"},
                {"code": "0101", "name": "peel", "name_zh": "皮", "bin": "rest"},
                {"code": "0102", "name": "pill", "name_zh": "药", "bin": "rest"},
            ],
        },
        source="tiny",
    )


def colour_of(taxonomy: Taxonomy, index: int) -> tuple[int, int, int]:
    """The colour (R, G, B) that class `index` is painted in: evenly spaced, fully saturated."""
    r, g, b = colorsys.hsv_to_rgb(index / len(taxonomy.categories), 1.0, 1.0)
    return round(r * 255), round(g * 255), round(b * 255)


def paint(
    path: Path, colour: tuple[int, int, int], *, size: tuple[int, int] = (64, 48), **options: Any
) -> Path:
    """Save a picture of one colour; the suffix picks the format. Returns `path`."""
    Image.new("RGB", size, colour).save(path, **options)
    return path


def build_model(
    taxonomy: Taxonomy,
    *,
    size_px: int = 32,
    quantized: bool = False,
    with_unknown: bool = True,
    with_empty: bool = False,
    turned: int = 0,
) -> Any:
    """The `openvino.Model`: u8 [1, side, side, 3] → probabilities [1, C], unknown and empty [1].

    To `with_empty` a black picture is an empty tray. With `turned`, class i is known by the colour
    of class i + turned: other weights, other answers.
    """
    image = ops.parameter([1, size_px, size_px, 3], np.uint8, name="image")
    image.output(0).set_names({"image"})
    scaled = ops.divide(ops.convert(image, "f32"), np.float32(255.0))
    mean = ops.reduce_mean(scaled, np.array([1, 2]), keep_dims=False)
    if quantized:
        low, high = np.float32(0.0), np.float32(1.0)
        mean = ops.fake_quantize(mean, low, high, low, high, levels=256)
    colours = np.array(
        [colour_of(taxonomy, i + turned) for i in range(len(taxonomy.categories))], dtype=np.float32
    )
    colours /= 255.0
    weights = (2 * SHARPNESS * colours).T.copy()
    bias = (-SHARPNESS * (colours**2).sum(axis=1, keepdims=True)).T.copy()
    probabilities = ops.softmax(ops.add(ops.matmul(mean, weights, False, False), bias), axis=1)
    probabilities.output(0).set_names({"probabilities"})
    outputs = [probabilities]
    if with_unknown:
        axis = np.array([1])
        spread = ops.subtract(ops.reduce_max(mean, axis), ops.reduce_min(mean, axis))
        unknown = ops.subtract(np.float32(1.0), spread)
        unknown.output(0).set_names({"unknown"})
        outputs.append(unknown)
    if with_empty:
        brightest = ops.reduce_max(mean, np.array([1]))
        empty = ops.subtract(np.float32(1.0), brightest)
        empty.output(0).set_names({"empty"})
        outputs.append(empty)
    return openvino.Model(outputs, [image], "tiny")


def write_bundle(
    folder: Path,
    taxonomy: Taxonomy | None = None,
    *,
    size_px: int = 32,
    bin_threshold: float = 0.5,
    unknown_threshold: float = 0.8,
    precisions: tuple[str, ...] = ("fp16", "int8"),
    with_unknown: bool = True,
    with_empty: bool = False,
    turned: int = 0,
) -> Path:
    """Write a bundle that `open_bundle` accepts and return its folder (made if missing)."""
    taxonomy = taxonomy or taxonomy3()
    folder.mkdir(parents=True, exist_ok=True)
    limits = (unknown_threshold, 0.9 if with_empty else 1.0)
    policy = Policy((bin_threshold,) * len(taxonomy.bins), *limits)
    for precision in precisions:
        model = build_model(
            taxonomy,
            size_px=size_px,
            quantized=precision == "int8",
            with_unknown=with_unknown,
            with_empty=with_empty,
            turned=turned,
        )
        write_metadata(model, taxonomy=taxonomy, policy=policy, temperature=1.0, data_digest="tiny")
        openvino.save_model(model, folder / MODEL_FILES[precision], compress_to_fp16=True)
    card = {"name": "tiny", "network": "nearest colour"}
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def write_bundle26(folder: Path, **options: Any) -> Path:
    """`write_bundle` with the default taxonomy of 26 items and four bins."""
    return write_bundle(folder, default_taxonomy(), **options)
