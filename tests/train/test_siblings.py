"""Folds without a groups file keep a photograph's crops together, and a leak is said."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from sorter.taxonomy import default_taxonomy  # noqa: E402
from tests.support.scenes import save, scene  # noqa: E402
from train.config import Config  # noqa: E402
from train.data.corpus import Sources, gather  # noqa: E402
from train.data.siblings import know_siblings  # noqa: E402


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for start, code in ((0, "00_02"), (20, "02_03")):
        for number in range(4):
            save(scene(start + number), root / "train" / code / f"{number}.jpg")
        crop = scene(start).crop((30, 30, 290, 290))
        save(crop, root / "val" / code / "crop.jpg")
    return root


@pytest.mark.parametrize(("folds", "leaked"), [(2, 2), (0, 0)])
def test_crops_are_found_where_folds_need_them(
    folds: int, leaked: int, data: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    plain = gather(Sources(data), default_taxonomy(), say=said.append)
    config = Config(folds=folds)
    for _ in range(2):  # The second time from the cache.
        corpus = know_siblings(plain, config, tmp_path / "cache", given=False, say=said.append)
        groups = {e.path.name + str(e.label): e.group for e in corpus.examples}
        assert (groups["crop.jpg2"] == groups["0.jpg2"]) is bool(folds)
        assert groups["1.jpg2"] != groups["0.jpg2"]
    warnings = [line for line in said if f"warning: {leaked} of 2" in line]
    assert len(warnings) == (2 if leaked else 0)


def test_given_groups_are_believed_and_their_leak_is_said(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "groups.csv"
    file.write_text("path,group\ndata/train/00_02/3.jpg,g\ndata/val/00_02/crop.jpg,g\n")
    said: list[str] = []
    plain = gather(Sources(data, groups=file), default_taxonomy(), say=said.append)
    corpus = know_siblings(plain, Config(), tmp_path / "cache", given=True, say=said.append)
    assert corpus is plain
    assert any("warning: 1 of 2 validation pictures" in line for line in said)
