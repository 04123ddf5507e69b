"""A bundle, its compiled network and its policy as one object: bytes in, a decision out.

What a station or a script needs; batches of files are `batch`'s. Must not touch files of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sorter.domain import Decision, Policy, Prediction, Taxonomy
from sorter.errors import BundleError
from sorter.files import signature
from sorter.vision import images
from sorter.vision.bundle import MODEL_FILES, Bundle, default_bundle, open_bundle
from sorter.vision.classifier import Classifier
from sorter.vision.decide import average, decide, with_min_confidence
from sorter.vision.engine import default_cache_dir


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
        cache_dir=default_cache_dir(),
    )
    if signature(_files(folder)) != before:
        raise BundleError(f"{folder}: changed while it was being read; try again once it is whole")
    return LoadedModel(bundle, classifier, policy, max_pixels=max_pixels)


def _files(folder: Path) -> list[Path]:
    """The files of a bundle that hold its networks."""
    networks = [folder / xml for xml in MODEL_FILES.values()]
    return [*networks, *(xml.with_suffix(".bin") for xml in networks)]
