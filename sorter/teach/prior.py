"""Where a head may move: far along what is rare in the release's own photographs, little else.

Owns the second moment of the memory's keys and its root. Numpy alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sorter.teach.site import Array

FLAT = 1e-2
"""Added to the second moment's eigenvalues, which sum to 1: how free the rarest direction is."""


@dataclass(frozen=True, slots=True, eq=False)
class MemoryArrays:
    """A released memory as numbers: `basis` (D, F), `keys` (K, D), `values` (C + 1, K)."""

    basis: Array
    keys: Array
    values: Array


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """Features as the prior sees them: long where old ones are short. Linear in unit features."""

    basis: Array
    turn: Array
    rest: float

    @classmethod
    def of(cls, memory: MemoryArrays) -> Prior:
        """From the second moment of the memory's keys."""
        moment = memory.keys.T.astype(np.float64) @ memory.keys / len(memory.keys)
        values, vectors = np.linalg.eigh(moment)
        rest = FLAT**-0.5
        root = (vectors / np.sqrt(np.maximum(values, 0.0) + FLAT)) @ vectors.T
        return cls(memory.basis, (root - rest * np.eye(len(root))).astype(np.float32), rest)

    def apply(self, unit: Array, near: Array) -> Array:
        """(N, F) of unit features (N, F) that are `near` (N, D) in the memory's space."""
        return cast(Array, self.rest * unit + (near @ self.turn) @ self.basis)

    def on_features(self, weights: NDArray[np.float64]) -> Array:
        """Weights (F, K) on what `apply` gives, as (K, F) on unit features."""
        inside = self.basis.T @ (self.turn.T @ (self.basis @ weights))
        return np.ascontiguousarray((self.rest * weights + inside).T, np.float32)
