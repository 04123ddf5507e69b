"""One training from the start weights: the head, the whole net, what is averaged and mixed in.

Owns the order of these stages for one set of pictures; folds call it again and again. The loop over
steps is `fit`'s.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from train import checkpoint
from train.config import Config, Select
from train.data.corpus import UNKNOWN, Corpus, Pixels
from train.data.sampling import even_rows, weights
from train.fit.features import read_features
from train.fit.head import fit_head, mix_in
from train.fit.loop import Job, batches, fit, refuse_no_numbers
from train.fit.rounding import settle
from train.fit.targets import Teacher, make_targets
from train.fit.teacher import Classroom, Onlooker
from train.interrupt import Interrupt
from train.machine import Machine
from train.networks import Network, build
from train.networks.equalise import equalise
from train.networks.memory import Memory, remember
from train.progress import Epoch


@dataclass(frozen=True, slots=True)
class Start:
    """Where every training of a run begins: a network with the start weights, never trained itself.

    Its memory, if it has one, is kept beside it. `origin` says in words which weights these are;
    `knows_classes` is true where they have a head that was trained for all classes.
    """

    network: Network
    origin: str
    knows_classes: bool
    memory: Memory | None = None


@dataclass(frozen=True, slots=True)
class Trainer:
    """What all trainings of one run share."""

    corpus: Corpus
    config: Config
    machine: Machine
    stop: Interrupt
    say: Callable[[str], None]
    start: Start
    pixels: Pixels
    eval_pixels: Pixels
    teacher: Teacher | Classroom | None
    cache: Path
    resume: bool = False
    onlooker: Onlooker | None = None

    def train(
        self,
        seen: NDArray[np.int64],
        val: NDArray[np.int64],
        folder: Path,
        *,
        select: Select | None = None,
    ) -> tuple[Network, list[Epoch]]:
        """Head stage, then the whole net, from the start weights; what it remembers comes last.

        Raises ModelError, as `fit`, where what comes of it are no numbers.
        """
        config = replace(self.config, select=select or self.config.select)
        network = build(
            config.network,
            self.start.network.outputs,
            size_px=config.size_px,
            pool=config.pool,
        )
        network.load_state_dict(self.start.network.state_dict())
        network.to(self.machine.device)
        teacher = self.teacher.teach(seen, config) if self.teacher else None
        if config.stage != "full":
            old = copy.deepcopy(network.head)
            features = self._train_head(network, network.head, seen, teacher)
            if config.stage == "head" and self.start.knows_classes:
                _keep_old(
                    network.head, old, features, len(self.corpus.taxonomy.categories), config.blend
                )
        history: list[Epoch] = []
        if config.stage != "head":
            history = self._tune(network, seen, val, folder, teacher, config)
            if config.rounding_steps:
                self._round(network, seen, config)
            if config.stage == "both" and config.refit:
                fresh = nn.Linear(network.head.in_features, len(self.corpus.taxonomy.categories))
                known = seen[self.corpus.labels[seen] != UNKNOWN]
                # By the labels alone: what the teacher adds is in the network by now.
                features = self._train_head(network, fresh, known, None)
                mix_in(network.head, fresh, features, config.refit)
        # Weights that are numbers still may be too large for what comes after the epochs.
        refuse_no_numbers(0.0, network.state_dict(), config, where="after the last epoch")
        self._remember(network, seen)
        if config.stage == "head" and self.machine.rank == 0:
            content = {"model": network.state_dict(), "epoch": 0}
            for name in ("last.pt", "best.pt"):
                checkpoint.save(folder / name, content)
        return network, history

    def _remember(self, network: Network, seen: NDArray[np.int64]) -> None:
        """Give `network` its memory, if the recipe or the start weights have one."""
        corpus, old = self.corpus, self.start.memory
        if old and self.config.stage != "head":
            # Keys fit as long as nothing below the head was changed.
            old = None
            if not self.config.memory_weight:
                self.say(
                    "warning: the memory of the start weights is left out: a tuned network sees "
                    "otherwise; give it a new one with --set memory_weight=0.5"
                )
        if not (self.config.memory_weight or old):
            return
        if old:
            # What is judged must not be remembered from an earlier training.
            held = np.setdiff1d(corpus.rows("train", "val", "test", "extra", "unknown"), seen)
            old = old.cpu()
            if len(held):
                old = old.without(self._features(network, held)[:, 0])
        features = self._features(network, seen)[:, 0]
        new = remember(
            features,
            corpus.labels[seen],
            [corpus.examples[r].group for r in seen],
            self._weight(seen),
            len(corpus.taxonomy.categories),
            self.config,
            like=old,
        )
        network.memory = (old.joined(new) if old else new).to(self.machine.device)
        self.say(f"memory: {len(network.memory.keys)} photographs")

    def _features(self, network: Network, rows: NDArray[np.int64]) -> Tensor:
        return read_features(
            network,
            self.corpus,
            self.eval_pixels,
            rows,
            self.machine,
            self.cache,
            say=self.say,
        )

    def _weight(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """How much each picture counts for a head, 1 on average among the known and the others."""
        labels, weight = self.corpus.labels[rows], np.ones(len(rows))
        for kind in (labels != UNKNOWN, labels == UNKNOWN):
            if kind.any():
                part = weights([self.corpus.examples[r] for r in rows[kind]], self.config)
                weight[kind] = part / part.mean()
        return weight

    def _tune(
        self,
        network: Network,
        seen: NDArray[np.int64],
        val: NDArray[np.int64],
        folder: Path,
        teacher: Teacher | None,
        config: Config,
    ) -> list[Epoch]:
        """The whole net, from where it stands; its history comes back."""
        viewer = None
        if self.onlooker:
            viewer = self.onlooker.learn(seen, config)
            teacher = None  # one opinion of a picture is enough
        job = Job(self.corpus, self.pixels, self.eval_pixels, seen, val, folder, teacher, viewer)
        with self.stop.hold():
            return fit(
                network,
                job,
                config,
                self.machine,
                stop=self.stop,
                say=self.say,
                resume=self.resume,
            )

    def _round(self, network: Network, seen: NDArray[np.int64], config: Config) -> None:
        """Let `network` learn to give the same answers in INT8, on the pictures of one more epoch.

        In float32: the steps that INT8 makes are no larger than bf16's own rounding.
        """
        begun = time.monotonic()
        job = Job(self.corpus, self.pixels, self.eval_pixels, seen, seen[:0], Path())
        drawn = self.eval_pixels.take(even_rows(self.corpus.labels, seen, config))
        equalise(network, drawn, self.machine.device)
        epochs = (batches(job, config, self.machine, config.epochs + n, 0) for n in count())
        pictures = (pictures for epoch in epochs for pictures, _ in epoch)
        error = settle(network, pictures, config.rounding_steps)
        self.say(
            f"rounding: features within {error:.1%} of their own in eight bits, "
            f"{time.monotonic() - begun:.1f} s"
        )

    def _train_head(
        self,
        network: Network,
        head: nn.Linear,
        seen: NDArray[np.int64],
        teacher: Teacher | None,
    ) -> Tensor:
        """Fit `head` to the network's features of `seen`, which come back."""
        config = replace(self.config, label_smoothing=0.0)
        features = self._features(network, seen)
        begun = time.monotonic()
        labels = self.corpus.labels[seen]
        taught = teacher.view(seen) if teacher else None
        targets = make_targets(labels, len(self.corpus.taxonomy.categories), config, taught)
        fit_head(head, features, targets, self._weight(seen), config)
        self.say(f"head on cached features: {time.monotonic() - begun:.1f} s")
        return features


def _keep_old(
    head: nn.Linear, old: nn.Linear, features: Tensor, classes: int, share: float
) -> None:
    """The class rows of `head` become those of `old`, moved by `share` towards what it was.

    A head refreshed with a few new pictures should keep what it knew.
    """
    fresh = nn.Linear(head.in_features, classes)
    with torch.no_grad():
        fresh.weight.copy_(head.weight[:classes])
        fresh.bias.copy_(head.bias[:classes])
        mix_in(old, fresh, features, share)
        head.weight[:classes] = old.weight[:classes]
        head.bias[:classes] = old.bias[:classes]
