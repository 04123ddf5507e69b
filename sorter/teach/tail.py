"""What a released network makes of features: run alone, by the thousand, without pictures.

Owns one compiled network, made of the part behind the features. What is added to its scores comes
in as numbers, so that a head can be judged before any file is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sorter.domain import Prediction
from sorter.errors import BundleError
from sorter.teach import graph
from sorter.teach.prior import MemoryArrays, Prior
from sorter.teach.site import FLOOR, SHARPNESS, WEIGHT, Array
from sorter.vision import engine
from sorter.vision.metadata import MAX_BIN_BYTES, MAX_XML_BYTES, read_file

BATCH = 64
"""Rows per request, where the network allows it."""
F32 = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
"""How parts of a network are compiled, so that they answer alike on every machine."""
SAME = 0.98
"""The cosine in the memory's space from which on two pictures are of one photograph."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a network makes of features (N, F) before anything is taught.

    `unit` (N, F) and `near` (N, D) are the unit features, themselves and in the memory's space;
    `free` (N, F) the same as `prior` stretches them;
    `scores` (N, C), `heat` (N,) what they are divided by, `found` (N, C) what the memory found.
    """

    features: Array
    unit: Array
    near: Array
    free: Array
    scores: Array
    heat: Array
    found: Array

    def __len__(self) -> int:
        return len(self.features)

    @property
    def nothing(self) -> Array:
        """Zeros (N, C): nothing to add to the scores."""
        return np.zeros_like(self.scores)

    def rows(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Seen:
        """Some of the pictures."""
        parts = (self.features, self.unit, self.near, self.free)
        return Seen(*(p[rows] for p in (*parts, self.scores, self.heat, self.found)))


@dataclass(frozen=True, slots=True, eq=False)
class Added:
    """What to add to the scores (N, C') and to the unknown score (N,) of N pictures, and how much
    they look like an empty tray (N,); None: nothing."""

    scores: Array
    unknown_score: Array | None = None
    empty: NDArray[np.floating[Any]] | None = None


class Tail:
    """The network behind the features of an IR with `classes` classes and `new` ones added.

    Raises BundleError for a network that cannot be taught, one without a memory among them.
    """

    def __init__(self, xml: Path, classes: int, *, new: int = 0) -> None:
        self.classes, self.width = classes, classes + new
        model = read_ir(xml)
        places = graph.find_places(model, classes, source=xml)
        if places.memory is None:
            raise BundleError(
                f"{xml}: was trained without a memory (memory_weight=0), so that what it knows "
                "cannot be kept while it learns; teach a bundle that has one"
            )
        self.memory = MemoryArrays(
            graph.numbers(places.memory.basis),
            graph.keys_of(places.memory),
            graph.numbers(places.memory.values),
        )
        self.prior = Prior.of(self.memory)
        self.features = int(places.features.shape[-1])
        self._has_heat = places.heat is not None
        self._outputs = len(model.outputs)
        self.has_unknown_score = places.unknown_score is not None
        tail = graph.cut_tail(model, places, width=self.width)
        self._inputs = len(tail.inputs)
        self._request, self._batch = _compile(tail)

    def see(self, features: Array) -> Seen:
        """What the network makes of `features` (N, F) as it is."""
        outputs = self._run(features, np.zeros((len(features), self.width), np.float32), None)
        scores, rest = outputs[self._outputs], outputs[self._outputs + 1 :]
        heat = rest[0][:, 0] if self._has_heat else np.ones(len(features), np.float32)
        unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
        near = unit @ self.memory.basis.T
        free = self.prior.apply(unit, near)
        known, found = scores[:, : self.classes], rest[-1][:, : self.classes]
        return Seen(features, unit, near, free, known, heat, found)

    def answers(self, seen: Seen, added: Added) -> list[Prediction]:
        """The edge's answers with `added`."""
        outputs = self._run(seen.features, added.scores, added.unknown_score)
        none = np.zeros(len(seen), np.float32)
        score = outputs[1][:, 0] if self.has_unknown_score else none
        empty = none if added.empty is None else added.empty
        return [
            Prediction(tuple(row), unknown, one)
            for row, unknown, one in zip(
                outputs[0].tolist(), score.tolist(), empty.tolist(), strict=True
            )
        ]

    def without_own_key(self, seen: Seen) -> Array:
        """What to add to the scores (N, C') so that no picture is helped by a key of its own.

        The reference is of photographs that the memory holds; what it says of a photograph that
        it does not hold is what counts.
        """
        keys, values = self.memory.keys, self.memory.values[: self.classes]
        length = np.linalg.norm(keys, axis=1)
        result = np.zeros((len(seen), self.width), np.float32)
        for start in range(0, len(seen), BATCH):
            near = seen.near[start : start + BATCH]
            product = near @ keys.T
            own = product > SAME * length * np.linalg.norm(near, axis=1, keepdims=True)
            row, key = np.nonzero(own)  # a few of millions
            kernel = np.exp((product[row, key] - 1.0) * SHARPNESS)
            found = seen.found[start : start + BATCH]
            left = found.copy()
            np.subtract.at(left, row, kernel[:, None] * values[:, key].T)
            left = np.maximum(left, 0.0)
            result[start : start + BATCH, : self.classes] = WEIGHT * (
                np.log(left + FLOOR) - np.log(found + FLOOR)
            )
        return result

    def _run(self, features: Array, to_scores: Array, to_unknown: Array | None) -> list[Array]:
        score = np.zeros(len(features), np.float32)
        if to_unknown is not None:
            score = to_unknown
        given = [features, to_scores, score[:, None]][: self._inputs]
        parts: list[list[Array]] = []
        for start in range(0, len(features), self._batch):
            rows = [np.asarray(g[start : start + self._batch], np.float32) for g in given]
            size = len(rows[0])
            self._request.infer([_filled(row, self._batch) for row in rows])
            count = len(self._request.output_tensors)
            parts.append(
                [
                    self._request.get_output_tensor(i).data.reshape(self._batch, -1)[:size].copy()
                    for i in range(count)
                ]
            )
        return [np.concatenate(column) for column in zip(*parts, strict=True)]


def read_ir(xml: Path) -> Any:
    """The `openvino.Model` of one IR. Raises BundleError."""
    parts = read_file(xml, MAX_XML_BYTES), read_file(xml.with_suffix(".bin"), MAX_BIN_BYTES)
    try:
        return engine.core().read_model(*parts)
    except Exception as error:  # openvino raises RuntimeError and its own kinds
        raise BundleError(f"{xml}: not a readable OpenVINO model; copy it again") from error


def _compile(tail: Any) -> tuple[Any, int]:
    """A request, and how many rows it takes."""
    shapes = [list(port.shape) for port in tail.inputs]
    for batch in (BATCH, 1):
        try:
            tail.reshape({i: [batch, *shape[1:]] for i, shape in enumerate(shapes)})
            if all(output.shape[0] == batch for output in tail.outputs):
                compiled = engine.core().compile_model(tail, "CPU", F32)
                return compiled.create_infer_request(), batch
        except RuntimeError:  # a graph with its batch written into it
            continue
    raise BundleError("the network behind the features cannot be run alone; export it again")


def _filled(rows: Array, count: int) -> Array:
    if len(rows) == count:
        return np.ascontiguousarray(rows)
    return np.concatenate([rows, np.zeros((count - len(rows), *rows.shape[1:]), np.float32)])


def rows_of(sequence: Sequence[Array], width: int) -> Array:
    """Features (N, F) of a sequence of (F,); (0, F) of none."""
    return np.stack(list(sequence)) if len(sequence) else np.zeros((0, width), np.float32)
