"""What the head remembers of single photographs, beside one direction a class.

A linear head sees a class as one side of a plane. A new object is often like one of the
photographs that were learnt from and unlike their mean, so the features of those are kept as keys:
a kernel sum over them is evidence for each class, and for none of them. A key-value cache as in
Tip-Adapter (Zhang et al., 2022), with its logarithm taken, as of a density. Owns the keys and the
sum; must not open pictures or train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # torch's own convention
from numpy.typing import NDArray
from torch import Tensor, nn

from sorter.errors import ModelError
from train.config import Config
from train.data.corpus import UNKNOWN

PREFIX = "memory."
"""Before the names of its tensors in a network's state dict."""

_FLOOR = 1e-15
"""Keeps the logarithm finite where no key is near; far below what an ordinary picture finds."""


_SAME = 0.98
"""The cosine of two keys from which on they are one photograph."""


class Memory(nn.Module):
    """Keys on the unit sphere of features, their classes, and how their sum counts.

    `basis` (F, D) takes unit features to the keys' space; `keys` (K, D); `values` (K, C + 1) holds
    a key's weight in the column of its class, the last for pictures of no class: evidence is a
    mean over them, so that more keys alone do not make a picture look more familiar. `settings`
    (2,) are the kernel's sharpness and the weight of the evidence beside the linear scores.
    """

    basis: Tensor
    keys: Tensor
    values: Tensor
    settings: Tensor

    def __init__(self, basis: Tensor, keys: Tensor, values: Tensor, settings: Tensor) -> None:
        super().__init__()
        tensors = {"basis": basis, "keys": keys, "values": values, "settings": settings}
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().float().contiguous())

    def forward(self, features: Tensor, scores: Tensor) -> Tensor:
        """Linear scores (N, C) or (N, C + 1) → (N, C + 3).

        The classes' with their evidence, the head's own of unknown score (0 where it has none), and
        the evidence for any class and for none.
        """
        classes = self.values.shape[1] - 1
        unit = F.normalize(features, dim=1) @ self.basis
        # The cosine, as a product of what differs from the mean key, and the rest: all features
        # have most of their length in common, and eight bits would go to that.
        middle = self.keys.mean(0)
        cosine = (unit - middle) @ (self.keys - middle).T
        cosine = cosine + (self.keys @ middle) + (unit @ middle - middle @ middle)[:, None]
        near = torch.exp((cosine - 1.0) * self.settings[0])
        known, unknown = self.values[:, :classes], self.values[:, classes:]
        mass = torch.cat([known.sum().expand(classes), unknown.sum()[None]])
        found = near @ (self.values / mass.clamp_min(1e-6))
        # Not added: runtimes take away an addition of so little, and log(0) times 0 is not a
        # number.
        evidence = torch.log(found.clamp_min(_FLOOR))
        any_class = torch.log(found[:, :classes].sum(1, keepdim=True).clamp_min(_FLOOR))
        own = scores[:, classes:] if scores.shape[1] > classes else torch.zeros_like(any_class)
        inside = scores[:, :classes] + evidence[:, :classes] * self.settings[1]
        return torch.cat([inside, own, any_class, evidence[:, classes:]], 1)

    def without(self, features: Tensor) -> Memory:
        """The memory less every key that is a photograph of one of `features` (N, F)."""
        unit = F.normalize(F.normalize(features.float(), dim=1) @ self.basis, dim=1)
        near = unit @ F.normalize(self.keys, dim=1).T
        kept = ~(near > _SAME).any(0)
        return Memory(self.basis, self.keys[kept], self.values[kept], self.settings)

    def ordered(self, columns: Sequence[int]) -> Memory:
        """The same for classes in another order: the new class c was class `columns[c]`."""
        order = [*columns, self.values.shape[1] - 1]
        return Memory(self.basis, self.keys, self.values[:, order], self.settings)

    def joined(self, other: Memory) -> Memory:
        """The keys of both, which lie in the same space; `self` says how they count.

        What `self` has in the same class already does not come twice.
        """
        near = F.normalize(other.keys, dim=1) @ F.normalize(self.keys, dim=1).T
        alike = other.values.argmax(1)[:, None] == self.values.argmax(1)
        fresh = ~((near > _SAME) & alike).any(1)
        return Memory(
            self.basis,
            torch.cat([self.keys, other.keys[fresh]]),
            torch.cat([self.values, other.values[fresh]]),
            self.settings,
        )


def remember(
    features: Tensor,
    labels: NDArray[np.int64],
    groups: Sequence[str],
    weight: NDArray[np.float64],
    classes: int,
    config: Config,
    *,
    like: Memory | None = None,
) -> Memory:
    """A key for each photograph group: the mean of its pictures' unit `features` (N, F).

    `labels` (N,) holds `UNKNOWN` for pictures of no class; `weight` (N,) is how much each counts,
    softened by `memory_balance`. With `like`, keys are made in its space. Raises ModelError for
    features that are not numbers.
    """
    if not torch.isfinite(features).all():
        raise ModelError(
            "the training diverged: the network gives no numbers any more; lower --lr, or --amp off"
        )
    unit = F.normalize(features.float(), dim=1)
    # Not centred: the kernel is of the angle between features, which the basis has to keep.
    basis = like.basis.cpu() if like is not None else _basis(unit, config.memory_dim)
    names = [f"{label} {group}" for label, group in zip(labels, groups, strict=True)]
    first, place = np.unique(names, return_index=True, return_inverse=True)[1:]
    where = torch.from_numpy(place)
    keys = torch.zeros(len(first), unit.shape[1]).index_add_(0, where, unit)
    keys = F.normalize(keys, dim=1) @ basis
    mass = torch.zeros(len(first)).index_add_(0, where, torch.from_numpy(weight).float())
    label = torch.from_numpy(labels[first])
    column = torch.where(label == UNKNOWN, classes, label)
    values = torch.zeros(len(first), classes + 1)
    values[torch.arange(len(first)), column] = mass**config.memory_balance
    settings = torch.tensor([config.memory_sharpness, config.memory_weight])
    # What is stored in half precision is what was judged.
    return Memory(basis.half(), keys.half(), values.half(), settings)


def from_tensors(tensors: Mapping[str, Tensor], *, features: int, classes: int) -> Memory | None:
    """The memory in a state dict, None where it has none. Raises ValueError for one that is broken
    or of another network.
    """
    if not any(name.startswith(PREFIX) for name in tensors):
        return None
    names = ("basis", "keys", "values", "settings")
    try:
        basis, keys, values, settings = (tensors[PREFIX + name] for name in names)
    except KeyError as error:
        raise ValueError(f"a memory without {error}") from error
    shapes = tuple(basis.shape), tuple(keys.shape), tuple(values.shape), tuple(settings.shape)
    count, dim = keys.shape if keys.dim() == 2 else (0, 0)
    if shapes != ((features, dim), (count, dim), (count, classes + 1), (2,)):
        raise ValueError(f"a memory whose parts do not fit: {shapes}")
    for tensor in (basis, keys, values, settings):
        numbers = tensor.layout == torch.strided and tensor.is_floating_point()
        if not numbers or not torch.isfinite(tensor).all():
            raise ValueError("a memory that does not hold numbers")
    if (values < 0).any():
        raise ValueError("a memory with keys that count less than nothing")
    return Memory(basis, keys, values, settings)


def _basis(unit: Tensor, dim: int) -> Tensor:
    """(F, D): the directions that keep most of all angles."""
    squares = (unit.T @ unit).double()
    vectors = torch.linalg.eigh(squares).eigenvectors  # by rising eigenvalue
    return cast(Tensor, vectors[:, -min(dim, len(unit), len(squares)) :].flip(1).float())
