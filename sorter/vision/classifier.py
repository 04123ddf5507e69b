"""Compile a bundle's network for this CPU and run it: pixels in, calibrated probabilities out.

Owns the openvino runtime's settings. Must not open pictures (`images`) or decide (`decide`).
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sorter.errors import BundleError, ModelError
from sorter.vision import engine
from sorter.vision.bundle import Bundle, model_file

_FIRST = threading.Lock()


class Scores(NamedTuple):
    """What the network says of N pictures: probabilities (N, C) and two scores (N,) in [0, 1].

    `unknown` is the out-of-distribution score, `empty` that of an empty tray; 0 where the network
    has no such output.
    """

    probabilities: NDArray[np.float32]
    unknown: NDArray[np.float32]
    empty: NDArray[np.float32]


class Classifier:
    """A compiled network, safe to call from several threads at once.

    `threads` is how many cores one instance may use, default all this process may use; `streams`
    how many calls run side by side, sharing them. `batch` is the number of pictures a request
    holds; a network that cannot be reshaped keeps its own, and `batch` then says so. `cache_dir`
    keeps the compiled network between starts; None means none.

    Raises BundleError for a precision the bundle does not hold or a network this CPU cannot run.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        precision: str = "int8",
        threads: int | None = None,
        streams: int = 1,
        batch: int = 1,
        cache_dir: Path | None = None,
    ) -> None:
        self.size_px = bundle.size_px
        self.precision = precision
        self.classes = len(bundle.taxonomy.categories)
        file = model_file(bundle, precision)
        self._network = engine.compile_network(
            file,
            threads=threads,
            streams=streams,
            batch=batch,
            cache_dir=cache_dir,
        )
        self.batch = int(self._network.input(0).shape[0])
        self._outputs = len(self._network.outputs)
        self._local = threading.local()
        got = list(self._network.output(0).shape)
        if got != [self.batch, self.classes]:
            raise BundleError(f"{file}: gives {got}, not {self.classes} probabilities a picture")
        # openvino's binding sets itself up on the first array it takes, and two threads that take
        # their first at once wait for each other for ever (seen with 2026.4).
        with _FIRST:
            shape = (self.batch, self.size_px, self.size_px, 3)
            self._request().infer([np.zeros(shape, np.uint8)], share_inputs=True)

    def predict(self, pixels: NDArray[np.uint8]) -> Scores:
        """The scores of N pictures.

        `pixels` is (N, side, side, 3) RGB; N may be any number, 0 included. Raises ModelError
        where the network gives no numbers.
        """
        count = len(pixels)
        probabilities = np.empty((count, self.classes), np.float32)
        others = np.zeros((2, count), np.float32)
        request = self._request()
        for start in range(0, count, self.batch):
            part = pixels[start : start + self.batch]
            size = len(part)
            if size < self.batch:
                padding = np.zeros((self.batch - size, *part.shape[1:]), np.uint8)
                part = np.concatenate([part, padding])
            request.infer([np.ascontiguousarray(part)], share_inputs=True)
            probabilities[start : start + size] = request.get_output_tensor(0).data[:size]
            for output in range(1, self._outputs):
                scores = request.get_output_tensor(output).data.reshape(self.batch)
                others[output - 1, start : start + size] = scores[:size]
        if not (np.isfinite(probabilities).all() and np.isfinite(others).all()):
            raise ModelError(f"the {self.precision} model gave scores that are not numbers")
        return Scores(probabilities, *np.clip(others, 0.0, 1.0))

    def _request(self) -> Any:
        """This thread's own infer request: openvino's are not to be shared."""
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._network.create_infer_request()
        return request
