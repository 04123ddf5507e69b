"""The places inside a released network where a site's knowledge is read and joins.

Owns their names and how they are found. An export names them (`name_places`); a network that was
exported before they had names is searched by its shape alone, never by what a tracer called a node.
Must not learn (`learn`) and must not open pictures.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sorter.errors import BundleError
from sorter.teach.site import FLOOR, NONE_ODDS, SHARPNESS, Site
from sorter.vision import engine

FEATURES = "features"
"""(1, F): the pooled features that the head and the memory are applied to."""
SCORES = "scores"
"""(1, C): the classes' scores, memory included, before temperature and softmax."""
UNKNOWN_SCORE = "strangeness"
"""(1, 1): the out-of-distribution score before its sigmoid."""
HEAD, BASIS, KEYS, VALUES = "head.weight", "memory.basis", "memory.keys", "memory.values"
"""Constants: the linear head (C or C + 1, F), the memory's basis (D, F), its keys (K, D) and what
they count (C + 1, K)."""


_SHAPES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Convert"})
_STORAGE = frozenset({"Convert", "Multiply", "Subtract", "FakeQuantize", "Reshape"})


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where a network can be taught: outputs of nodes, and the constants behind them.

    `heat` is what the scores are divided by before the softmax, None where nothing is;
    `unknown score` is None for a network without an out-of-distribution score. `memory` is None for
    one without a memory. All are openvino's own objects.
    """

    features: Any
    scores: Any
    heat: Any | None
    unknown_score: Any | None
    head: Any
    memory: MemoryPlaces | None


@dataclass(frozen=True, slots=True, eq=False)
class MemoryPlaces:
    """A memory's constants, and what it computes: `seen` (1, D), the unit features in the keys'
    space, and `found` (1, C + 1), the sum over the keys for each class and for none."""

    basis: Any
    keys: Any
    values: Any
    seen: Any
    found: Any


def find_places(model: Any, classes: int, *, source: Path | str = "this network") -> Places:
    """The places of an `openvino.Model` whose first output is `classes` probabilities.

    Raises BundleError, naming `source`, for a network that has no linear head under a softmax.
    """
    scores, heat = _before_softmax(_behind(model.outputs[0]), source)
    heads = [
        node
        for node in _upstream(scores.get_node())
        if node.get_type_name() == "MatMul" and _count(node) in (classes, classes + 1)
    ]
    # The memory too has a row per class. It is computed from what the head reads.
    behind = [{n.get_name() for n in _upstream(_data(head).get_node())} for head in heads]
    head = next(
        (
            node
            for node in heads
            if all(_data(node).get_node().get_name() in names for names in behind)
        ),
        None,
    )
    if head is None:
        raise BundleError(
            f"{source}: has no linear head under its softmax, so it cannot be taught; train one "
            "with sorter train"
        )
    features = _data(head)
    unknown_score = None
    if len(model.outputs) > 1:
        last = _behind(model.outputs[1])
        if last.get_type_name() == "Sigmoid":
            unknown_score = last.input_value(0)
    memory = _memory(features, heads, head)
    return Places(features, scores, heat, unknown_score, _weight(head), memory)


def name_places(model: Any, classes: int) -> None:
    """Give the places of `model` their names, in place; a network without any is left alone."""
    try:
        places = find_places(model, classes)
    except BundleError:
        return
    for name, output in (
        (FEATURES, places.features),
        (SCORES, places.scores),
        (UNKNOWN_SCORE, places.unknown_score),
    ):
        if output is not None:
            output.get_node().set_friendly_name(name)
    places.head.set_friendly_name(HEAD)
    if places.memory is not None:
        places.memory.basis.set_friendly_name(BASIS)
        places.memory.keys.set_friendly_name(KEYS)
        places.memory.values.set_friendly_name(VALUES)


def numbers(node: Any) -> NDArray[np.float32]:
    """A product's constant as (outputs, inputs) numbers, scales applied, whatever it is stored as.

    `node` is one of the constants of `Places`.
    """
    values, scale = node, node.get_data().astype(np.float32)
    while True:
        (reader,) = values.output(0).get_target_inputs()
        op = reader.get_node()
        kind = op.get_type_name()
        if kind == "MatMul":
            turned = op.get_attributes().get("transpose_b", False)
            return np.ascontiguousarray(scale if turned else scale.T, np.float32)
        other = op.input_value(1 - reader.get_index()) if kind in ("Multiply", "Subtract") else None
        if other is not None:
            by = _behind_storage(other.get_node()).get_data().astype(np.float32)
            scale = scale * by if kind == "Multiply" else scale - by
        elif kind not in ("Convert", "Reshape"):
            raise BundleError(f"a constant behind {kind}; export the model again")
        values = op


def keys_of(memory: MemoryPlaces) -> NDArray[np.float32]:
    """The keys (K, D) where they lie: a graph that subtracts their mean first stores what is left.

    See `train.networks.memory` for why it does.
    """
    (keys,) = [
        reader.get_node()
        for reader in _past_storage(memory.keys).get_target_inputs()
        if reader.get_node().get_type_name() == "MatMul"
    ]
    node = _data(keys).get_node()
    while node.get_type_name() == "FakeQuantize":
        node = node.input_value(0).get_node()
    stored = numbers(memory.keys)
    if node.get_type_name() not in ("Add", "Subtract"):
        return stored
    for value in node.input_values():
        constant = _behind_storage(value.get_node())
        if constant.get_type_name() == "Constant":
            middle: NDArray[np.float32] = constant.get_data().astype(np.float32).reshape(1, -1)
            return stored - middle if node.get_type_name() == "Add" else stored + middle
    return stored


def join(model: Any, places: Places, site: Site) -> None:
    """Let what a site taught add to the scores and the unknown score of `model`, in place.

    An empty tray that was shown becomes a third output.
    """
    ops = _operations()
    there = {node.get_friendly_name() for node in model.get_ops()}
    unit = _unit(places.features)
    move = ops.matmul(unit, _constant("site.move", site.move), False, True)
    move = ops.add(move, _constant("site.bias", site.bias[None]))
    if places.memory is not None and len(site.keys):
        move = ops.add(move, _evidence(places.memory, site))
    _add_to_scores(places.scores, move.output(0))
    if places.unknown_score is not None:
        unknown = ops.matmul(unit, _constant("site.strange", site.unknown[None]), False, True)
        _add(places.unknown_score, unknown.output(0))
        if site.empty is not None:
            empty = ops.matmul(unit, _constant("site.empty", site.empty[None]), False, True)
            empty = ops.sigmoid(ops.add(empty, np.float32(NONE_ODDS)))
            empty.output(0).set_names({"empty"})
            model.add_results([ops.result(empty)])
    model.validate_nodes_and_infer_types()
    # openvino counts its own names up over a process: the same lessons would give other files.
    new = [n for n in model.get_ordered_ops() if n.get_friendly_name() not in there]
    for number, node in enumerate(new):
        if not node.get_friendly_name().startswith("site."):
            node.set_friendly_name(f"site.{number}")


def cut_tail(model: Any, places: Places, *, width: int) -> Any:
    """What follows the features, as a model of its own.

    Inputs: features (1, F), what to add to the scores (1, `width`), what to add to the
    unknown score (1, 1). Outputs: those of `model`, then the scores with what was added, what they
    are divided by, and what the memory found, as far as there are such.
    """
    openvino, ops = engine.openvino(), _operations()
    features = ops.parameter(list(places.features.shape), np.float32, name="features")
    scores = ops.parameter([1, width], np.float32, name="to_scores")
    unknown = ops.parameter([1, 1], np.float32, name="to_strangeness")
    for reader in places.features.get_target_inputs():
        reader.replace_source_output(features.output(0))
    more = [places.heat, places.memory.found if places.memory is not None else None]
    sums = _add_to_scores(places.scores, scores.output(0))
    if places.unknown_score is not None:
        _add(places.unknown_score, unknown.output(0))
    inputs = [features, scores] + ([unknown] if places.unknown_score is not None else [])
    outputs = [output.get_node().input_value(0) for output in model.outputs]
    outputs += [sums, *(output for output in more if output is not None)]
    return openvino.Model(outputs, inputs, "tail")


def cut_behind(model: Any, name: str) -> Any:
    """What follows the node called `name`, as a model of its own: the same outputs, one input."""
    node = next(n for n in model.get_ops() if n.get_friendly_name() == name)
    output = node.output(0)
    given = _operations().parameter(list(output.shape), np.float32, name="given")
    for reader in output.get_target_inputs():
        reader.replace_source_output(given.output(0))
    outputs = [port.get_node().input_value(0) for port in model.outputs]
    return engine.openvino().Model(outputs, [given], "behind")


def _add_to_scores(scores: Any, by: Any) -> Any:
    """Add (1, C) or, where there are new classes, (1, C + n) to the scores; the new scores.

    A new class is scored against all the others together: what is added to it is the logarithm of
    its odds, so that below 0 it takes little from any of them.
    """
    ops = _operations()
    classes, width = int(scores.shape[1]), int(by.shape[1])
    readers = scores.get_target_inputs()
    if width == classes:
        sums = ops.add(scores, by).output(0)
    else:
        parts = ops.variadic_split(by, 1, [classes, width - classes])
        known = ops.add(scores, parts.output(0))
        top = ops.reduce_max(known, [1], True)
        whole = ops.log(ops.reduce_sum(ops.exp(ops.subtract(known, top)), [1], True))
        new = ops.add(parts.output(1), ops.add(whole, top))
        sums = ops.concat([known, new], 1).output(0)
    for reader in readers:
        reader.replace_source_output(sums)
    return sums


def _add(output: Any, by: Any) -> None:
    ops = _operations()
    readers = output.get_target_inputs()
    total = ops.add(output, by).output(0)
    for reader in readers:
        reader.replace_source_output(total)


def _unit(features: Any) -> Any:
    ops = _operations()
    length = ops.reduce_l2(features, [1], True)
    return ops.divide(features, ops.maximum(length, np.float32(1e-12)))


def _evidence(memory: MemoryPlaces, site: Site) -> Any:
    """What the taught keys add to the logarithm of what the memory found for each class."""
    ops = _operations()
    width = len(site.move)
    cosine = ops.matmul(memory.seen, _constant("site.keys", site.keys), False, True)
    near = ops.exp(ops.multiply(ops.subtract(cosine, np.float32(1.0)), np.float32(SHARPNESS)))
    more = ops.matmul(near, _constant("site.values", site.values), False, True)
    found = ops.slice(memory.found, [0], [site.values.shape[0]], [1], [1])
    floor = np.float32(FLOOR)
    before = ops.log(ops.add(found, floor))
    after = ops.log(ops.add(ops.add(found, more), floor))
    gain = ops.multiply(ops.subtract(after, before), np.float32(site.weight))
    missing = width - site.values.shape[0]
    return ops.pad(gain, [0, 0], [0, missing], "constant", np.float32(0.0)) if missing else gain


def _constant(name: str, values: NDArray[np.float32]) -> Any:
    node = _operations().constant(np.ascontiguousarray(values, np.float32))
    node.set_friendly_name(name)
    return node


def _operations() -> Any:
    engine.openvino()
    from openvino import opset13

    return opset13


def _behind(result: Any) -> Any:
    """The node that gives one of the model's outputs, reshapes left out."""
    node = result.get_node().input_value(0).get_node()
    while node.get_type_name() in _SHAPES:
        node = node.input_value(0).get_node()
    return node


def _before_softmax(softmax: Any, source: Path | str) -> tuple[Any, Any | None]:
    """The classes' scores before the temperature, and what they are divided by."""
    if softmax.get_type_name() != "Softmax":
        raise BundleError(
            f"{source}: does not end in a softmax, so it cannot be taught; export it again"
        )
    scores = softmax.input_value(0)
    if scores.get_node().get_type_name() != "Divide":
        return scores, None
    return scores.get_node().input_value(0), scores.get_node().input_value(1)


def _memory(features: Any, heads: list[Any], head: Any) -> MemoryPlaces | None:
    """The memory under the scores, if there is one."""
    width = int(features.shape[-1])
    before = {n.get_name() for n in _upstream(features.get_node())}
    for values in heads:
        if values is head:
            continue
        after = [n for n in _upstream(values) if n.get_name() not in before]
        products = [n for n in after if n.get_type_name() == "MatMul" and n is not values]
        # Nearest first: the basis is the last product on the way up, the keys one before it.
        basis = next((n for n in reversed(products) if _columns(n) == width), None)
        if basis is None:
            continue
        found = (n for n in products if n is not basis and _columns(n) == _count(basis))
        keys = next((n for n in found if _count(n) > 1), None)
        if keys is not None:
            parts = (_weight(basis), _weight(keys), _weight(values))
            return MemoryPlaces(*parts, basis.output(0), values.output(0))
    return None


def _data(product: Any) -> Any:
    """The output that a product multiplies by its constant."""
    return product.input_value(0)


def _weight(product: Any) -> Any | None:
    """The constant behind a product's second input, whatever precision it is stored in."""
    node = _behind_storage(product.input_value(1).get_node())
    return node if node.get_type_name() == "Constant" else None


def _past_storage(node: Any) -> Any:
    """The output through which a product reads this constant."""
    while True:
        (reader,) = node.output(0).get_target_inputs()
        if reader.get_node().get_type_name() not in _STORAGE:
            return node.output(0)
        node = reader.get_node()


def _behind_storage(node: Any) -> Any:
    while node.get_type_name() in _STORAGE:
        node = node.input_value(0).get_node()
    return node


def _matrix(product: Any) -> tuple[int, int]:
    """Rows and columns of the constant as (outputs, inputs); (0, 0) for anything else."""
    shape = product.input_value(1).partial_shape
    if shape.is_dynamic or len(shape) != 2 or _weight(product) is None:
        return 0, 0
    first, second = (int(n.get_length()) for n in shape)
    turned = product.get_attributes().get("transpose_b", False)
    return (first, second) if turned else (second, first)


def _count(product: Any) -> int:
    return _matrix(product)[0]


def _columns(product: Any) -> int:
    return _matrix(product)[1]


def _upstream(node: Any) -> list[Any]:
    """`node` and every node that it depends on, nearest first."""
    seen: dict[str, Any] = {node.get_name(): node}
    queue = deque([node])
    while queue:
        for source in queue.popleft().input_values():
            parent = source.get_node()
            if parent.get_name() not in seen:
                seen[parent.get_name()] = parent
                queue.append(parent)
    return list(seen.values())
