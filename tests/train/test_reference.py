"""What a release takes along for `sorter teach`: which photographs, and that they come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from sorter.errors import BundleError
from sorter.taxonomy import default_taxonomy
from sorter.teach.reference import FILE, read_reference, write_reference
from train.data.corpus import UNKNOWN, Corpus, Example
from train.release.reference import OF_KNOWN, OF_UNKNOWN, reference_rows


def _example(i: int, role: str, group: str, label: int = 0, source: str = "") -> Example:
    return Example(Path(f"{i}.jpg"), f"{i:064d}", label, source, group, role)


def test_a_photograph_comes_once_and_no_unknown_source_fills_the_reference() -> None:
    examples = [_example(i, "train", f"g{i % 40}") for i in range(200)]
    examples += [_example(200 + i, "val", f"g{i}") for i in range(5)]
    examples += [_example(300 + i, "extra", "", source="s") for i in range(2 * OF_KNOWN)]
    examples += [
        _example(9000 + i, "unknown", "", UNKNOWN, "big" if i < 900 else f"u{i % 9}")
        for i in range(1000)
    ]
    corpus = Corpus(tuple(examples), (), default_taxonomy())
    rows = reference_rows(corpus, 0)
    chosen = [examples[r] for r in rows]
    old = [e for e in chosen if e.group]
    assert len(old) == len({e.group for e in old}) == 40
    assert {e.group for e in old if e.role == "val"} == {f"g{i}" for i in range(5)}
    assert sum(e.label != UNKNOWN for e in chosen) == OF_KNOWN
    unknown = [e for e in chosen if e.label == UNKNOWN]
    assert 0 < len(unknown) <= OF_UNKNOWN
    assert sum(e.source == "big" for e in unknown) <= -(-OF_UNKNOWN // 10)
    assert (rows == reference_rows(corpus, 0)).all()


def test_features_come_back_within_a_hundredth_of_the_largest(tmp_path: Path) -> None:
    features = np.random.default_rng(0).gamma(0.5, 1.0, (1200, 1280)).astype(np.float32)
    labels = np.arange(1200) % 27 - 1
    write_reference(tmp_path, features, labels)
    assert (tmp_path / FILE).stat().st_size < 1.6e6
    again = read_reference(tmp_path, width=1280, classes=26)
    assert again is not None
    assert again.stored
    assert (again.labels == labels).all()
    assert np.abs(again.features - features).max() < 0.01 * features.max()
    for wrong in ({"width": 64, "classes": 26}, {"width": 1280, "classes": 25}):
        with pytest.raises(BundleError, match="does not fit"):
            read_reference(tmp_path, **wrong)
    assert read_reference(tmp_path / "nowhere", width=1, classes=1) is None
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match="copy the bundle again"):
        read_reference(tmp_path, width=1280, classes=26)
