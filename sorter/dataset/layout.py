"""Stop-gap to the contract until the owner's version lands."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from sorter.domain import Taxonomy
from sorter.errors import DataError
from sorter.vision import images


@dataclass(frozen=True, slots=True)
class Sample:
    path: Path
    index: int
    split: str
    source: str
    group: str


def _classes(root: Path, taxonomy: Taxonomy, split: str, source: str) -> list[Sample]:
    place = {item.code: i for i, item in enumerate(taxonomy.items)}
    result = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        item = taxonomy.find(folder.name)
        if item is None:
            raise DataError(f"{folder}: folder that is no class")
        result += [Sample(p, place[item.code], split, source, "") for p in images.find([folder])]
    return result


def read_labelled(root: Path, taxonomy: Taxonomy) -> list[Sample]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    if (root / "train").is_dir():
        result = []
        for split in ("train", "val"):
            if (root / split).is_dir():
                result += _classes(root / split, taxonomy, split, "")
        return result
    return _classes(root, taxonomy, "", "")


def read_extra(root: Path, taxonomy: Taxonomy) -> list[Sample]:
    folders = sorted(p for p in root.iterdir() if p.is_dir())
    if all(taxonomy.find(f.name) for f in folders):
        return _classes(root, taxonomy, "", root.name)
    return [s for f in folders for s in _classes(f, taxonomy, "", f.name)]


def read_unknown(root: Path) -> list[Sample]:
    folders = sorted(p for p in root.iterdir() if p.is_dir())
    return [Sample(p, -1, "", f.name, "") for f in folders or [root] for p in images.find([f])]


def read_groups(file: Path) -> dict[str, str]:
    with file.open(encoding="utf-8", newline="") as stream:
        return {row["path"]: row["group"] for row in csv.DictReader(stream)}
