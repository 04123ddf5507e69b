"""What a batch should be answered with: soft labels, their smoothing and mixing, a teacher's view.

Owns targets and the loss on them. Must not touch the network or choose pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # torch's own convention
from numpy.typing import NDArray
from torch import Tensor

from sorter.errors import DataError
from train.config import Config
from train.data.corpus import UNKNOWN, Example
from train.data.transfer import send

_UNKNOWN_WEIGHT = 0.5
"""Of the question whether it is of any class, beside the question which."""


@dataclass(frozen=True, slots=True)
class Targets:
    """`classes` (N, C): rows sum to a picture's weight. `unknown` (N,): 1 for no known class."""

    classes: Tensor
    unknown: Tensor

    def part(self, where: slice) -> Targets:
        """The targets of some of the rows."""
        return Targets(self.classes[where], self.unknown[where])

    def send(self, device: torch.device) -> Targets:
        """The same on another device; the host does not wait for the copy."""
        return Targets(send(self.classes, device), send(self.unknown, device))


@dataclass(frozen=True, slots=True)
class Teacher:
    """Another model's class probabilities: `known` (N,) bool and `values` (N, C) by example."""

    known: NDArray[np.bool_]
    values: NDArray[np.float32]

    @classmethod
    def from_file(cls, file: Path, examples: Sequence[Example], classes: int) -> Teacher:
        """From an `.npz` of `digests` (N,) SHA-256 texts and `probabilities` (N, C).

        Raises DataError.
        """
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                digests, values = stored["digests"], stored["probabilities"]
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise DataError(
                f"{file}: not a teacher's file of digests and probabilities; name another --teacher"
            ) from error
        if values.ndim != 2 or values.shape != (len(digests), classes):
            raise DataError(
                f"{file}: shape {values.shape} does not give {classes} classes a picture"
            )
        place = {str(d): i for i, d in enumerate(digests)}
        rows = np.array([place.get(e.digest, -1) for e in examples])
        return cls(rows >= 0, values.astype(np.float32)[np.maximum(rows, 0)])

    def teach(self, _seen: NDArray[np.int64], _config: Config) -> Teacher:
        """Itself: a given opinion does not depend on what is trained on."""
        return self

    def view(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Whether the teacher saw each picture, and its probabilities."""
        return self.known[rows], self.values[rows]


def make_targets(
    labels: NDArray[np.int64],
    classes: int,
    config: Config,
    taught: tuple[NDArray[np.bool_], NDArray[np.float32]] | None = None,
) -> Targets:
    """Targets of pictures with these labels (`UNKNOWN` for none of the classes)."""
    unknown = labels == UNKNOWN
    hard = np.full((len(labels), classes), config.label_smoothing / classes, np.float32)
    hard[np.arange(len(labels)), np.maximum(labels, 0)] += 1.0 - config.label_smoothing
    hard[unknown] = 1.0 / classes
    if taught is not None:
        seen, view = taught
        weight = np.where(seen, config.teacher_weight, 0.0).astype(np.float32)[:, None]
        hard = (1.0 - weight) * hard + weight * view
    hard[unknown] *= config.exposure
    return Targets(torch.from_numpy(hard), torch.from_numpy(unknown.astype(np.float32)))


def mix(
    batch: Tensor, targets: Targets, config: Config, stream: np.random.Generator
) -> tuple[Tensor, Targets]:
    """Mixup (Zhang et al., 2018) within the batch, where it is asked for."""
    if not config.mixup:
        return batch, targets
    share = float(stream.beta(config.mixup, config.mixup))
    partner = send(stream.permutation(len(batch)), batch.device)
    return batch * share + batch[partner] * (1.0 - share), Targets(
        targets.classes * share + targets.classes[partner] * (1.0 - share),
        targets.unknown * share + targets.unknown[partner] * (1.0 - share),
    )


def loss(scores: Tensor, targets: Targets, config: Config, view: Tensor | None = None) -> Tensor:
    """Mean over pictures of cross-entropy, plus, where there is such a score, of unknown score.

    `view` (N, C), a teacher's scores of the same pictures, takes `teacher_weight` of the first: the
    divergence from it at a temperature (Hinton et al., 2015), of pictures of no class as well.
    """
    classes = targets.classes.shape[1]
    scores = scores.float()
    entropy = -(targets.classes * F.log_softmax(scores[:, :classes], 1)).sum(1)
    if view is not None:
        heat = config.teacher_temperature
        ours, theirs = (F.log_softmax(s[:, :classes].float() / heat, 1) for s in (scores, view))
        apart = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1) * heat**2
        entropy = torch.lerp(entropy, apart, config.teacher_weight)
    if scores.shape[1] > classes:
        unknown = F.binary_cross_entropy_with_logits(
            scores[:, classes], targets.unknown, reduction="none"
        )
        entropy = entropy + _UNKNOWN_WEIGHT * unknown
    return entropy.mean()
