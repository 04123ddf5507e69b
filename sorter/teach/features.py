"""Pictures become features: what the released network sees of each, before its head.

Owns one compiled network, cut off behind the features. Must not know classes or list folders.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sorter.errors import ImageError
from sorter.host.cores import usable_cores
from sorter.teach import graph
from sorter.teach.site import Array
from sorter.teach.tail import read_ir
from sorter.vision import engine, images
from sorter.vision.quality import blur_of

AHEAD = 256
"""Pictures begun at once, so that a hundred thousand need no more memory than a few."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureFeatures:
    """One picture's content as SHA-256, and its features (F,), or why it has none.

    `blur` goes from 0 to 1, see `blur_of`.
    """

    path: Path
    sha256: str
    features: Array | None
    error: str = ""
    blur: float = 0.0


class FeatureReader:
    """The network of an IR with `classes` classes up to its features; safe to share by threads.

    Raises BundleError for a network that has no features to read.
    """

    def __init__(self, xml: Path, classes: int) -> None:
        model = read_ir(xml)
        places = graph.find_places(model, classes, source=xml)
        self.size_px = int(model.inputs[0].shape[1])
        self.width = int(places.features.shape[-1])
        cut = engine.openvino().Model([places.features], model.get_parameters(), "features")
        cores = usable_cores()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_NUM_THREADS": cores,
            "NUM_STREAMS": cores,
        }
        self._workers = cores
        self._network = engine.core().compile_model(cut, "CPU", settings)
        self._local = threading.local()
        # openvino's binding sets itself up on the first array it takes; see `vision.model`.
        self.of_pixels(np.zeros((self.size_px, self.size_px, 3), np.uint8))

    def of_pixels(self, pixels: NDArray[np.uint8]) -> Array:
        """The features (F,) of one picture (side, side, 3), upright and at the network's size."""
        request: Any = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._network.create_infer_request()
        request.infer([np.ascontiguousarray(pixels[None])])
        features: Array = request.get_output_tensor(0).data.reshape(-1).copy()
        return features

    def of_file(self, path: Path) -> PictureFeatures:
        """Read one file; what cannot be read says so."""
        digest = ""
        try:
            data = images.read(path)
            digest = hashlib.sha256(data).hexdigest()
            pixels = images.decode(data, self.size_px).pixels
            return PictureFeatures(path, digest, self.of_pixels(pixels), blur=blur_of(pixels))
        except ImageError as error:
            return PictureFeatures(path, digest, None, str(error))

    def of_files(self, paths: Iterable[Path]) -> Iterator[PictureFeatures]:
        """The same of many, in order, by as many threads as there are cores."""
        waiting = iter(paths)
        with ThreadPoolExecutor(self._workers) as pool:
            while part := list(islice(waiting, AHEAD)):
                yield from pool.map(self.of_file, part)
