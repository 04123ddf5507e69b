"""A bundle, its compiled network and its policy as one object: bytes in, a decision out.

What a station or a script needs; batches of files are `batch`'s. Must not touch files of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sorter.domain import Decision, Policy, Prediction, Taxonomy
from sorter.vision import images
from sorter.vision.bundle import Bundle, default_bundle, open_bundle
from sorter.vision.classifier import Classifier
from sorter.vision.compiled import default_cache_dir
from sorter.vision.decide import average, decide, with_min_confidence


class Model:
    """A model ready to classify. `digest` names the weights; safe to share between threads."""

    def __init__(self, bundle: Bundle, classifier: Classifier, policy: Policy) -> None:
        self.bundle = bundle
        self.digest = bundle.digest
        self.taxonomy: Taxonomy = bundle.taxonomy
        self.policy = policy
        self._classifier = classifier

    def predict(self, data: bytes) -> Prediction:
        """What the network says of one picture's bytes; ImageError if they are not a whole one."""
        picture = images.decode(data, self.bundle.size_px)
        probabilities, unknown = self._classifier.predict(picture.pixels[None])
        return Prediction(tuple(probabilities[0].tolist()), float(unknown[0]))

    def decide(self, predictions: Sequence[Prediction]) -> Decision:
        """The decision for one item from one or more pictures of it. ValueError for none."""
        return decide(average(predictions), self.taxonomy, self.policy)


def open_model(
    path: Path | None = None,
    *,
    precision: str = "int8",
    min_confidence: float | None = None,
    threads: int | None = None,
) -> Model:
    """Open a bundle folder (default: the one that ships with sorter) and compile its network.

    `min_confidence` replaces every bin's threshold. Raises BundleError, or UsageError for a
    confidence outside [0, 1].
    """
    bundle = open_bundle(path or default_bundle())
    policy = bundle.policy
    if min_confidence is not None:
        policy = with_min_confidence(policy, min_confidence)
    classifier = Classifier(
        bundle, precision=precision, threads=threads, cache_dir=default_cache_dir()
    )
    return Model(bundle, classifier, policy)
