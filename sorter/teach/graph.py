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

from sorter.errors import BundleError

FEATURES = "features"
"""(1, F): the pooled features that the head and the memory are applied to."""
SCORES = "scores"
"""(1, C): the classes' scores, memory included, before temperature and softmax."""
STRANGENESS = "strangeness"
"""(1, 1): the out-of-distribution score before its sigmoid."""
HEAD, BASIS, KEYS, VALUES = "head.weight", "memory.basis", "memory.keys", "memory.values"
"""Constants: the linear head (C or C + 1, F), the memory's basis (D, F), its keys (K, D) and what
they count (C + 1, K)."""


_SHAPES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Convert"})
_STORAGE = frozenset({"Convert", "Multiply", "Subtract", "FakeQuantize", "Reshape"})


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where a network can be taught: outputs of nodes, and the constants behind them.

    `strangeness` is None for a network without an out-of-distribution score; `basis`, `keys` and
    `values` are None for one without a memory. All are openvino's own objects.
    """

    features: Any
    scores: Any
    strangeness: Any | None
    head: Any
    basis: Any | None = None
    keys: Any | None = None
    values: Any | None = None


def find_places(model: Any, classes: int, *, source: Path | str = "this network") -> Places:
    """The places of an `openvino.Model` whose first output is `classes` probabilities.

    Raises BundleError, naming `source`, for a network that has no linear head under a softmax.
    """
    softmax = _behind(model.outputs[0])
    scores = _before_softmax(softmax, source)
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
    strangeness = None
    if len(model.outputs) > 1:
        last = _behind(model.outputs[1])
        if last.get_type_name() == "Sigmoid":
            strangeness = last.input_value(0)
    basis, keys, values = _memory(features, heads, head)
    return Places(features, scores, strangeness, _weight(head), basis, keys, values)


def name_places(model: Any, classes: int) -> None:
    """Give the places of `model` their names, in place; a network without any is left alone."""
    try:
        places = find_places(model, classes)
    except BundleError:
        return
    for name, output in (
        (FEATURES, places.features),
        (SCORES, places.scores),
        (STRANGENESS, places.strangeness),
    ):
        if output is not None:
            output.get_node().set_friendly_name(name)
    for name, node in (
        (HEAD, places.head),
        (BASIS, places.basis),
        (KEYS, places.keys),
        (VALUES, places.values),
    ):
        if node is not None:
            node.set_friendly_name(name)


def _behind(result: Any) -> Any:
    """The node that gives one of the model's outputs, reshapes left out."""
    node = result.get_node().input_value(0).get_node()
    while node.get_type_name() in _SHAPES:
        node = node.input_value(0).get_node()
    return node


def _before_softmax(softmax: Any, source: Path | str) -> Any:
    """The classes' scores before the temperature."""
    if softmax.get_type_name() != "Softmax":
        raise BundleError(
            f"{source}: does not end in a softmax, so it cannot be taught; export it again"
        )
    scores = softmax.input_value(0)
    if scores.get_node().get_type_name() == "Divide":
        scores = scores.get_node().input_value(0)
    return scores


def _memory(
    features: Any, heads: list[Any], head: Any
) -> tuple[Any | None, Any | None, Any | None]:
    """The constants of basis, keys and values, where there is a memory under the scores."""
    width = int(features.shape[-1])
    for values in heads:
        if values is head:
            continue
        products = [n for n in _upstream(values) if n.get_type_name() == "MatMul" and _weight(n)]
        basis = next((n for n in products if _columns(n) == width and n is not head), None)
        if basis is None:
            continue
        depth = _count(basis)
        keys = next((n for n in products if _columns(n) == depth and _count(n) > 1), None)
        if keys is not None:
            return _weight(basis), _weight(keys), _weight(values)
    return None, None, None


def _data(product: Any) -> Any:
    """The output that a product multiplies by its constant."""
    return product.input_value(0)


def _weight(product: Any) -> Any | None:
    """The constant behind a product's second input, whatever precision it is stored in."""
    node = product.input_value(1).get_node()
    while node.get_type_name() in _STORAGE:
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Constant" else None


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
