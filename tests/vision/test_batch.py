"""Pictures asked about together: the same rows, in the same order, as one by one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from sorter import samples
from sorter.domain import Outcome, Status
from sorter.errors import ImageError
from sorter.vision import batch, images
from sorter.vision.bundle import Bundle, default_bundle, open_bundle
from sorter.vision.model import Classifier


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(default_bundle())


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Whole pictures, with broken ones before, between and after them; a number no request fits."""
    kinds = sorted((Path(samples.__file__).parent / "pictures").glob("*.jpg"))
    result = []
    for number in range(3 * batch.PICTURES_A_REQUEST + 3):
        path = tmp_path / f"{number:03d}.jpg"
        whole = kinds[number % len(kinds)].read_bytes()
        path.write_bytes(whole[:200] if number % 5 in (0, 3) else whole)
        result.append(path)
    return result


def test_together_is_as_one_by_one(bundle: Bundle, paths: list[Path]) -> None:
    together = batch.open_classifier(bundle, precision="int8", cores=2)
    assert together.batch == batch.PICTURES_A_REQUEST
    alone = Classifier(bundle, threads=1)
    got = list(batch.run(paths, together, bundle, policy=bundle.policy, workers=4))
    assert [outcome.path for outcome in got] == paths
    for outcome in got:
        expected = batch.classify_one(
            outcome.path,
            partial(images.load, outcome.path, bundle.size_px),
            alone,
            bundle,
            bundle.policy,
        )
        assert outcome.decision == expected.decision
        assert outcome.error == expected.error
        assert outcome.width_px == expected.width_px
    assert sum(outcome.status is Status.ERROR for outcome in got) == 6


def test_what_is_no_picture_keeps_its_place(bundle: Bundle, paths: list[Path]) -> None:
    items: list[Path | str] = []
    for number, path in enumerate(paths):
        items += ["kept", path] if number % 2 else [path]
    together = batch.open_classifier(bundle, precision="int8", cores=1)
    got = list(batch.run(items, together, bundle, policy=bundle.policy, workers=2))
    assert [entry.path if isinstance(entry, Outcome) else entry for entry in got] == items


def test_errors_come_as_values_in_their_places(bundle: Bundle, paths: list[Path]) -> None:
    got = list(batch.predict(paths, bundle, jobs=2))
    broken = [isinstance(answer, ImageError) for answer in got]
    assert broken == [number % 5 in (0, 3) for number in range(len(paths))]
