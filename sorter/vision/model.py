"""A bundle's network compiled for this CPU: pixels in, scores out; with its policy, bytes in, a
decision out.

Owns the openvino runtime's settings, and what a station or a script needs as one object; batches of
files are `batch`'s. Must not touch files of pictures.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sorter.domain import Decision, Policy, Prediction, Taxonomy
from sorter.errors import BundleError, ModelError
from sorter.files import signature
from sorter.vision import engine, images
from sorter.vision.bundle import MODEL_FILES, Bundle, default_bundle, model_file, open_bundle
from sorter.vision.decide import average, decide, with_min_confidence

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


class LoadedModel:
    """A model ready to classify. `digest` names the weights; safe to share between threads."""

    def __init__(
        self,
        bundle: Bundle,
        classifier: Classifier,
        policy: Policy,
        *,
        max_pixels: int = images.MAX_PIXELS,
    ) -> None:
        self.bundle = bundle
        self.digest = bundle.digest
        self.taxonomy: Taxonomy = bundle.taxonomy
        self.policy = policy
        self.classifier = classifier
        self._max_pixels = max_pixels

    def predict(self, data: bytes) -> Prediction:
        """What the network says of one picture's bytes; ImageError if they are not a whole one."""
        picture = images.decode(data, self.bundle.size_px, max_pixels=self._max_pixels)
        scores = self.classifier.predict(picture.pixels[None])
        return Prediction(
            tuple(scores.probabilities[0].tolist()),
            float(scores.unknown[0]),
            float(scores.empty[0]),
        )

    def decide(self, predictions: Sequence[Prediction]) -> Decision:
        """The decision for one item from one or more pictures of it. ValueError for none."""
        return decide(average(predictions), self.taxonomy, self.policy)


def open_model(
    path: Path | None = None,
    *,
    precision: str = "int8",
    min_confidence: float | None = None,
    max_pixels: int = images.MAX_PIXELS,
    threads: int | None = None,
    streams: int = 1,
) -> LoadedModel:
    """Open a bundle folder (default: the one that ships with sorter) and compile its network.

    `min_confidence` replaces every bin's threshold; pictures of more than `max_pixels` are refused
    unopened; `threads` and `streams` are the classifier's.
    Raises BundleError, also for a bundle that changes meanwhile (its digest would name other
    weights than those compiled), or UsageError for a confidence outside [0, 1].
    """
    folder = path or default_bundle()
    before = signature(_files(folder))
    bundle = open_bundle(folder)
    policy = bundle.policy
    if min_confidence is not None:
        policy = with_min_confidence(policy, min_confidence)
    classifier = Classifier(
        bundle,
        precision=precision,
        threads=threads,
        streams=streams,
        cache_dir=engine.default_cache_dir(),
    )
    if signature(_files(folder)) != before:
        raise BundleError(f"{folder}: changed while it was being read; try again once it is whole")
    return LoadedModel(bundle, classifier, policy, max_pixels=max_pixels)


def _files(folder: Path) -> list[Path]:
    """The files of a bundle that hold its networks."""
    networks = [folder / xml for xml in MODEL_FILES.values()]
    return [*networks, *(xml.with_suffix(".bin") for xml in networks)]
