"""From taught pictures to what is added to the network: a small move of the head, and new keys.

Adding to the scores begins at what the release says. The move is the likeliest one under a prior
that is wide where the features of the release's own photographs have little length and narrow where
they have much (their second moment, as in Deep SLDA, Hayes and Kanan, 2020), and it pays for every
change of what the network says of photographs that it knew (replay, as a divergence). Both together
were the best of what was compared: see README.md here. Numpy alone; the same input gives the same
output. Must not open files or networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sorter.teach.prior import Prior
from sorter.teach.site import FLOOR, NONE_ODDS, SHARPNESS, Array, Site
from sorter.teach.tail import Added, Seen

Doubles = NDArray[np.float64]

FREEDOM = 40.0
"""The prior's variance of a score at a taught picture, in squared nats."""
NEW_FREEDOM = 10.0
"""How much more of it a new class has, of which nothing is known before."""
UNKNOWN_FREEDOM = 30.0
"""The same of the unknown score."""
REPLAY = 45.0
"""What old photographs count together, for each taught picture."""
NEW_REPLAY = 0.1
"""How much of that for a picture of a new class, which no old photograph shows."""
NEW_ODDS = 4.0
"""What the shortest step takes from the logarithm of a new class's odds."""
MANY = 20
"""Beyond so many taught pictures, old photographs count more for each of them, and keys less."""
MOST_REPLAY = 8.0
KEY_SHARE = 0.0015
"""What a taught key counts, as a share of the whole memory."""
STEPS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What to learn from: taught pictures and old ones.

    `labels` (n,) are positions in the C' classes, −1 for pictures of none. `own` (N, C') is what
    to add to an old picture's scores so that its own key does not answer for it.
    """

    taught: Seen
    labels: NDArray[np.int64]
    old: Seen
    own: Array
    width: int


def learn_move(task: Task, prior: Prior) -> Site:
    """The site's move of the scores, its keys included; nothing of unknown score yet."""
    items = task.labels >= 0
    taught, labels = task.taught.rows(items), task.labels[items]
    classes, count = taught.scores.shape[1], len(labels)
    bias = np.zeros(task.width, np.float32)
    bias[classes:] = NONE_ODDS
    keys, values = _keys(taught, labels, classes)
    width = taught.unit.shape[1]
    site = Site(
        move=np.zeros((task.width, width), np.float32),
        bias=bias,
        unknown=np.zeros(width, np.float32),
        keys=keys,
        values=values,
    )
    if not count:
        return site
    scale = _scale(taught, FREEDOM)
    here, there = taught.free * scale, task.old.free * scale
    # A taught picture's own key would answer for it, and nothing else be learnt from it.
    base = np.concatenate([taught.scores, np.zeros((count, task.width - classes))], 1) + bias
    far = np.concatenate([task.old.scores, np.zeros((len(task.old), task.width - classes))], 1) + (
        bias + task.own + _key_gain(task.old, site, task.width)
    )
    before = _softmax((task.old.scores + task.own[:, :classes]) / task.old.heat[:, None])
    before = np.concatenate([before, np.zeros((len(before), task.width - classes))], 1)
    many = min(max(1.0, count / MANY) ** 2, MOST_REPLAY)
    counts = count - (1.0 - NEW_REPLAY) * int((labels >= classes).sum())
    weight = REPLAY * counts * many / max(1, len(task.old))
    rows, wanted = np.arange(count), np.eye(task.width)[labels]
    column = np.where(np.arange(task.width) < classes, 1.0, NEW_FREEDOM**0.5)

    def cost(flat: Doubles) -> tuple[float, Doubles]:
        b = (flat * column).astype(np.float32)
        now, back_now = _with_new(base + here @ b, classes)
        then, back_then = _with_new(far + there @ b, classes)
        p, q = _softmax(now / taught.heat[:, None]), _softmax(then / task.old.heat[:, None])
        value = -np.log(p[rows, labels] + 1e-12).sum() + 0.5 * float((flat * flat).sum())
        value -= weight * float((before * np.log(q + 1e-12)).sum())
        slope = back_now((p - wanted) / taught.heat[:, None])
        slope_old = back_then(weight * (q - before) / task.old.heat[:, None])
        gradient = here.T @ slope.astype(np.float32) + there.T @ slope_old.astype(np.float32)
        return value, gradient.astype(np.float64) * column + flat

    best = minimise(cost, np.zeros((width, task.width)))
    return replace(site, move=prior.on_features(best * column * scale))


def shortened(site: Site, step: float) -> Site:
    """`site` with the share `step` of its move and of what its keys say; 1: all of it.

    A new class, whose row says all that is known of it, keeps that, and loses odds instead.
    """
    classes = len(site.values)
    move, bias = site.move.copy(), site.bias.copy()
    move[:classes] *= np.float32(step)
    bias[classes:] -= np.float32(NEW_ODDS * (1.0 - step))
    return replace(site, move=move, bias=bias, weight=site.weight * step)


def learn_unknown_score(
    task: Task,
    prior: Prior,
    *,
    now: Doubles,
    then: Doubles,
    limit: float,
) -> Array:
    """What to add to the unknown score, (F,) on unit features.

    `now` (n,) and `then` (N,) are the unknown score of the taught and the old pictures before its
    sigmoid, with the move; items are to come below `limit`, pictures of none above it, and the
    old ones are to stay.
    """
    if not len(task.labels):
        return np.zeros(task.taught.unit.shape[1], np.float32)
    scale = _scale(task.taught, UNKNOWN_FREEDOM)
    here, there = task.taught.free * scale, task.old.free * scale
    sign = np.where(task.labels >= 0, 1.0, -1.0)
    stay = _sigmoid(then)
    weight = len(task.labels) / max(1, len(then))

    def cost(flat: Doubles) -> tuple[float, Doubles]:
        c = flat[:, 0].astype(np.float32)
        over, old = sign * (now + here @ c - limit), then + there @ c
        value = np.logaddexp(0.0, over).sum() + 0.5 * float((flat * flat).sum())
        value += weight * float((np.logaddexp(0.0, old) - stay * old).sum())
        slope = (sign * _sigmoid(over)).astype(np.float32)
        slope_old = (weight * (_sigmoid(old) - stay)).astype(np.float32)
        gradient = (here.T @ slope + there.T @ slope_old).astype(np.float64)
        return value, gradient[:, None] + flat

    best = minimise(cost, np.zeros((task.taught.unit.shape[1], 1)))
    return cast(Array, prior.on_features(best * scale)[0])


def learn_empty(task: Task, prior: Prior, empty: NDArray[np.bool_]) -> Array | None:
    """What makes a picture an empty tray, (F,) on unit features; None where none was shown.

    `empty` (n,) says which taught pictures show one.
    """
    if not empty.any():
        return None
    scale = _scale(task.taught, UNKNOWN_FREEDOM)
    here, there = task.taught.free * scale, task.old.free * scale
    sign = np.where(empty, -1.0, 1.0)
    weight = len(empty) / max(1, len(task.old))

    def cost(flat: Doubles) -> tuple[float, Doubles]:
        c = flat[:, 0].astype(np.float32)
        over, old = sign * (NONE_ODDS + here @ c), NONE_ODDS + there @ c
        value = np.logaddexp(0.0, over).sum() + 0.5 * float((flat * flat).sum())
        value += weight * float(np.logaddexp(0.0, old).sum())
        slope = (sign * _sigmoid(over)).astype(np.float32)
        slope_old = (weight * _sigmoid(old)).astype(np.float32)
        gradient = (here.T @ slope + there.T @ slope_old).astype(np.float64)
        return value, gradient[:, None] + flat

    best = minimise(cost, np.zeros((task.taught.unit.shape[1], 1)))
    return cast(Array, prior.on_features(best * scale)[0])


def added(seen: Seen, site: Site) -> Added:
    """What `site` adds to pictures' scores: what `graph.join` does."""
    move = seen.unit @ site.move.T + site.bias + _key_gain(seen, site, len(site.move))
    empty = None if site.empty is None else _sigmoid(seen.unit @ site.empty + NONE_ODDS)
    return Added(move.astype(np.float32), seen.unit @ site.unknown, empty)


def minimise(
    function: Callable[[Doubles], tuple[float, Doubles]], start: Doubles, *, steps: int = STEPS
) -> Doubles:
    """The least of a smooth convex function by L-BFGS (Nocedal, 1980), with backtracking."""
    x = start
    value, slope = function(x)
    pairs: list[tuple[Doubles, Doubles, float]] = []
    for _ in range(steps):
        way = slope.copy()
        weights = []
        for s, y, product in reversed(pairs):
            weights.append(float((s * way).sum()) / product)
            way -= weights[-1] * y
        if pairs:
            s, y, product = pairs[-1]
            way *= product / float((y * y).sum())
        else:
            way /= max(1.0, float(np.abs(way).sum()))
        for (s, y, product), weight in zip(pairs, reversed(weights), strict=True):
            way += s * (weight - float((y * way).sum()) / product)
        fall = -float((slope * way).sum())
        if fall > -1e-12:
            break
        length = 1.0
        for _ in range(25):
            new = x - length * way
            new_value, new_slope = function(new)
            if new_value <= value + 1e-4 * length * fall:
                break
            length /= 2
        s, y = new - x, new_slope - slope
        product = float((s * y).sum())
        if product > 1e-12:
            pairs = [*pairs, (s, y, product)][-8:]
        settled = abs(value - new_value) < 1e-5 * max(1.0, abs(value))
        x, value, slope = new, new_value, new_slope
        if settled:
            break
    return x


def _scale(taught: Seen, freedom: float) -> np.float32:
    """Gives a score at a usual taught picture this variance."""
    length = float(np.square(taught.free).sum(1).mean())
    return np.float32((freedom / max(length, 1e-12)) ** 0.5)


def _keys(taught: Seen, labels: NDArray[np.int64], classes: int) -> tuple[Array, Array]:
    """A key for each taught picture of a class that the release has."""
    known = labels < classes
    keys = np.ascontiguousarray(taught.near[known])
    share = KEY_SHARE * min(1.0, MANY / max(1, int(known.sum())))
    values = np.zeros((classes, len(keys)), np.float32)
    values[labels[known], np.arange(len(keys))] = share
    return keys, values


def _key_gain(seen: Seen, site: Site, width: int) -> Array:
    """What the taught keys alone add to the scores, (N, C')."""
    gain = np.zeros((len(seen), width), np.float32)
    if len(site.keys):
        kernel = np.exp((seen.near @ site.keys.T - 1.0) * SHARPNESS)
        more = np.log(seen.found + kernel @ site.values.T + FLOOR) - np.log(seen.found + FLOOR)
        gain[:, : more.shape[1]] = site.weight * more
    return gain


def _with_new(scores: Doubles, classes: int) -> tuple[Doubles, Callable[[Doubles], Doubles]]:
    """Scores with each new class's odds against all the others, and the way back of a gradient."""
    if scores.shape[1] == classes:
        return scores, lambda slope: slope
    known = scores[:, :classes]
    top = known.max(1, keepdims=True)
    whole = np.log(np.exp(known - top).sum(1, keepdims=True)) + top
    share = np.exp(known - whole)

    def back(slope: Doubles) -> Doubles:
        result = slope.copy()
        result[:, :classes] += share * slope[:, classes:].sum(1, keepdims=True)
        return result

    return np.concatenate([known, scores[:, classes:] + whole], 1), back


def _softmax(scores: NDArray[np.floating[Any]]) -> Doubles:
    exact = np.asarray(scores, np.float64)
    shifted: Doubles = np.exp(exact - exact.max(1, keepdims=True))
    shifted /= shifted.sum(1, keepdims=True)
    return shifted


def _sigmoid(values: NDArray[np.floating[Any]]) -> Doubles:
    result: Doubles = 0.5 * (1.0 + np.tanh(np.asarray(values, np.float64) / 2.0))
    return result
