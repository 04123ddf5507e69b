"""A real, tiny network that can be taught: features, a linear head and a memory, as a release's.

Classes are colours, as in `tiny`. The features are a picture's colours in four quarters, so that a
site's pictures (one colour with a stripe of another) can differ from all that the memory holds. No
torch; the graph is what `train.release.ir` exports, in small.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops
from PIL import Image

from sorter.domain import Policy, Taxonomy
from sorter.teach.graph import name_places
from sorter.teach.reference import write_reference
from sorter.vision.bundle import MODEL_FILES
from sorter.vision.metadata import write_metadata
from tests.support.tiny import colour_of, taxonomy3

SIDE_PX = 32
WIDTH = 12
"""Four quarters of three colours."""


def features_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network's features are, of pictures (N, side, side, 3)."""
    half = pixels.shape[1] // 2
    parts = [
        pixels[:, y : y + half, x : x + half].reshape(len(pixels), -1, 3).mean(1) / 255.0
        for y in (0, half)
        for x in (0, half)
    ]
    return np.concatenate(parts, 1).astype(np.float32)


def pictures_of(
    colour: tuple[int, int, int],
    count: int,
    seed: int,
    *,
    corner: tuple[int, int, int] | None = None,
) -> NDArray[np.uint8]:
    """Pictures of one colour, each quarter a little off; `corner` paints the lower right one."""
    stream = np.random.default_rng(seed)
    pixels = np.empty((count, SIDE_PX, SIDE_PX, 3))
    pixels[:] = colour
    if corner is not None:
        pixels[:, SIDE_PX // 2 :, SIDE_PX // 2 :] = corner
    quarters = stream.normal(0, 28, (count, 2, 2, 3))
    pixels += quarters.repeat(SIDE_PX // 2, 1).repeat(SIDE_PX // 2, 2)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def save_pictures(folder: Path, pixels: NDArray[np.uint8], stem: str = "p") -> list[Path]:
    """Write pictures as PNG into `folder`, made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}{i:03d}.png" for i in range(len(pixels))]
    for path, one in zip(paths, pixels, strict=True):
        Image.fromarray(one).save(path)
    return paths


def write_schooled(
    folder: Path,
    taxonomy: Taxonomy | None = None,
    *,
    memory: bool = True,
    reference: bool = True,
    named: bool = True,
) -> Path:
    """Write a bundle that can be taught and return its folder (made if missing)."""
    taxonomy = taxonomy or taxonomy3()
    folder.mkdir(parents=True, exist_ok=True)
    policy = Policy((0.7,) * len(taxonomy.bins), 0.6)
    for file in MODEL_FILES.values():
        model = _build(taxonomy, memory=memory)
        if named:
            name_places(model, len(taxonomy.categories))
        write_metadata(model, taxonomy=taxonomy, policy=policy, temperature=1.0)
        openvino.save_model(model, folder / file, compress_to_fp16=False)
    if reference:
        pixels, labels = old_pictures(taxonomy, 20, seed=900)
        write_reference(folder, features_of(pixels), labels)
    (folder / "card.json").write_text(json.dumps({"name": "schooled"}), encoding="utf-8")
    return folder


def old_pictures(
    taxonomy: Taxonomy, count: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`count` pictures of each class, and of grey, which is none; labels −1 for those."""
    classes = len(taxonomy.categories)
    parts = [pictures_of(colour_of(taxonomy, i), count, seed + i) for i in range(classes)]
    parts.append(pictures_of((128, 128, 128), count, seed + classes))
    labels = np.repeat([*range(classes), -1], count)
    return np.concatenate(parts), labels


def _build(taxonomy: Taxonomy, *, memory: bool) -> Any:
    classes = len(taxonomy.categories)
    pixels, labels = old_pictures(taxonomy, 30, seed=1)
    learnt = features_of(pixels)
    unit = learnt / np.linalg.norm(learnt, axis=1, keepdims=True)
    middle = np.stack([learnt[labels == i].mean(0) for i in range(classes)])
    weight = (8.0 * middle).astype(np.float32)
    bias = (-4.0 * np.square(middle).sum(1)).astype(np.float32)

    image = ops.parameter([1, SIDE_PX, SIDE_PX, 3], np.uint8, name="image")
    image.output(0).set_names({"image"})
    light = ops.divide(ops.convert(image, "f32"), np.float32(255.0))
    half = SIDE_PX // 2
    cut = ops.reshape(light, np.array([1, 2, half, 2, half, 3], np.int64), False)
    quarters = ops.reduce_mean(cut, np.array([2, 4], np.int64), False)
    features = ops.reshape(quarters, np.array([1, WIDTH], np.int64), False)
    head = ops.add(ops.matmul(features, ops.constant(weight), False, True), bias[None])
    scores, unknown = head, None
    if memory:
        length = ops.reduce_l2(features, np.array([1], np.int64), True)
        seen = ops.matmul(
            ops.divide(features, length), ops.constant(np.eye(WIDTH, dtype=np.float32)), False, True
        )
        cosine = ops.matmul(seen, ops.constant(unit.astype(np.float32)), False, True)
        near = ops.exp(ops.multiply(ops.subtract(cosine, np.float32(1.0)), np.float32(40.0)))
        values = np.zeros((classes + 1, len(labels)), np.float32)
        values[labels, np.arange(len(labels))] = 1.0  # −1 is the last row
        values[:classes] /= values[:classes].sum()
        values[classes] /= values[classes].sum()
        found = ops.matmul(near, ops.constant(values), False, True)
        evidence = ops.log(ops.add(found, np.float32(1e-15)))
        parts = ops.variadic_split(evidence, 1, [classes, 1])
        scores = ops.add(head, ops.multiply(parts.output(0), np.float32(0.5)))
        unknown = ops.subtract(
            parts.output(1), ops.reduce_max(parts.output(0), np.array([1], np.int64), True)
        )
    heat = ops.constant(np.array([[1.2]], np.float32))
    probabilities = ops.softmax(ops.divide(scores, heat), 1)
    probabilities.output(0).set_names({"probabilities"})
    outputs = [probabilities]
    if unknown is not None:
        unknown = ops.sigmoid(unknown)
        unknown.output(0).set_names({"unknown"})
        outputs.append(unknown)
    return openvino.Model(outputs, [image], "schooled")
