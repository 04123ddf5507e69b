"""A frozen network's view of each picture, kept by content, so that a head trains in seconds.

Owns the cache of features: the key holds the network's weights and how pictures were prepared, the
entries go by picture content, so an edited picture is computed again and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.data import Corpus, Pixels
from train.machine import Machine
from train.networks import Network
from train.progress import Steps

_BATCH = 64
_PREPARATION = "1"
"""Raised when the same picture would reach the network otherwise."""


def read_features(
    network: Network,
    corpus: Corpus,
    pixels: Pixels,
    rows: NDArray[np.int64],
    machine: Machine,
    cache: Path,
    *,
    say: Callable[[str], None],
) -> Tensor:
    """Features (rows, 2, F) on the CPU: each picture plain and mirrored."""
    file = cache / "features" / f"{_key(network, pixels.size_px)}.npz"
    stored = _read(file)
    digests = [corpus.examples[r].digest for r in rows]
    missing = np.array([r for r, d in zip(rows, digests, strict=True) if d not in stored], np.int64)
    if len(missing):
        say(f"features: {len(missing)} pictures to compute, {len(rows) - len(missing)} kept")
        values = _compute(network, pixels, missing, machine, Steps(say, "features", "pictures"))
        stored |= {corpus.examples[r].digest: v for r, v in zip(missing, values, strict=True)}
        if machine.rank == 0:
            _write(file, stored)
    return torch.from_numpy(np.stack([stored[d] for d in digests]))


def weights_digest(network: Network, *, head: bool = False) -> str:
    """SHA-256 of everything below the head, or of that too."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if head or not name.startswith("head."):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _key(network: Network, size_px: int) -> str:
    pool = getattr(network, "pool", "mean")
    text = f"{_PREPARATION} {type(network).__name__} {pool} {size_px} {weights_digest(network)}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _compute(
    network: Network, pixels: Pixels, rows: NDArray[np.int64], machine: Machine, steps: Steps
) -> NDArray[np.float32]:
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), _BATCH):
            batch = torch.from_numpy(pixels.take(rows[start : start + _BATCH])).to(machine.device)
            pictures = network.normalise(batch.permute(0, 3, 1, 2))
            plain = network.features(pictures)
            mirrored = network.features(pictures.flip(3))
            parts.append(torch.stack([plain, mirrored], 1).float().cpu().numpy())
            steps.show(start + len(batch), len(rows))
    return np.concatenate(parts)


def _read(file: Path) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(file, allow_pickle=False) as content:
            return dict(zip(content["digests"].tolist(), content["features"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}


def _write(file: Path, stored: dict[str, NDArray[np.float32]]) -> None:
    """A cache that cannot be written costs time, not the run."""
    part = file.with_suffix(f".{os.getpid()}.part")
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            np.savez(
                stream, digests=np.array(list(stored)), features=np.stack(list(stored.values()))
            )
        part.replace(file)
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)
