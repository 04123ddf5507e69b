"""A frozen network's view of each picture, kept by content, so that a head trains in seconds.

Owns the cache of features: the key holds the network's weights and how pictures were prepared, the
entries go by picture content, so an edited picture is computed again and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sorter.errors import FolderError
from sorter.files import whole_file
from sorter.text import counted
from sorter.vision import engine
from train.data.corpus import Corpus, Pixels
from train.machine import Machine
from train.networks import Network
from train.progress import Steps

_BATCH = 64
_PREPARATION = "2"
"""Raised when the same picture would reach the network, or come out of it, otherwise."""


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
        pictures = counted(len(missing), "picture")
        say(f"features: {pictures} to compute, {len(rows) - len(missing)} kept")
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
    view = OnCpu(network) if machine.device.type == "cpu" else network.features
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), _BATCH):
            batch = pixels.batch(rows[start : start + _BATCH], machine.device)
            pictures = network.normalise(batch.permute(0, 3, 1, 2))
            both = torch.stack([view(pictures), view(pictures.flip(3))], 1)
            parts.append(both.float().cpu().numpy())
            steps.show(start + len(batch), len(rows))
    return np.concatenate(parts)


class OnCpu:
    """A network's features by openvino: several times torch's speed on the same cores."""

    def __init__(self, network: Network) -> None:
        import openvino
        from openvino.tools import ovc

        shape = (1, 3, network.size_px, network.size_px)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer, whose constants are meant
            model = ovc.convert_model(
                _Features(network), example_input=torch.zeros(shape), input=list(shape)
            )
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._width = network.head.in_features
        self._queue = openvino.AsyncInferQueue(engine.core().compile_model(model, "CPU", settings))

    def __call__(self, pictures: Tensor) -> Tensor:
        """As the network's own, within rounding."""
        out = np.empty((len(pictures), self._width), np.float32)

        def keep(request: Any, place: int) -> None:
            out[place] = request.get_output_tensor(0).data[0]

        self._queue.set_callback(keep)
        for place, picture in enumerate(pictures.contiguous().numpy()):
            self._queue.start_async([picture[None]], place)
        self._queue.wait_all()
        return torch.from_numpy(out)


class _Features(nn.Module):
    """`features` as the forward pass, for a converter."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        return self.network.features(pictures)


def _read(file: Path) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(file, allow_pickle=False) as content:
            return dict(zip(content["digests"].tolist(), content["features"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}


def _write(file: Path, stored: dict[str, NDArray[np.float32]]) -> None:
    """A cache that cannot be written costs time, not the run."""
    with contextlib.suppress(OSError, FolderError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file, sync=False) as stream:
            np.savez(
                stream, digests=np.array(list(stored)), features=np.stack(list(stored.values()))
            )
