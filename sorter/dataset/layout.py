"""Labelled folders become samples: which picture, which class, which split, source and group.

Owns the folder layouts that sorter understands. Reads names only; opening pictures is for
`vision`, and nothing here ever writes into a data folder.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sorter.domain import Taxonomy
from sorter.errors import DataError
from sorter.files import read_user_text
from sorter.text import counted
from sorter.vision import images

SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}
"""Each split and the names that its folder may have, in any case."""

HELD_OUT = ("val", "test")
"""The splits that no training sees."""

UNKNOWN = -1
"""The class index of a picture of none of the classes."""


NONE = ("empty", "unknown")
"""Folders beside the classes' for pictures of none, as `sorter review` files them; training leaves
them out (`--unknown DATA/unknown` brings them in)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled picture.

    `index` is the class's position in the taxonomy, `UNKNOWN` for none; `split` is "train", "val",
    "test" or "" where the layout has none; `source` names where it came from ("" for DATA itself);
    `group` names the photograph it was made from, "" where nobody said.
    """

    path: Path
    index: int
    split: str = ""
    source: str = ""
    group: str = ""


def split_folders(root: Path, taxonomy: Taxonomy) -> dict[str, Path]:
    """The folders of `root` that are splits, by their split's name; empty where it has none.

    A folder that is named as a class is that class. Raises DataError for two of one split.
    """
    found: dict[str, Path] = {}
    folders = [f for f in _folders(root) if taxonomy.find(f.name) is None]
    for split, names in SPLITS.items():
        for folder in (f for f in folders if f.name.lower() in names):
            if split in found:
                raise DataError(
                    f"{root}: {found[split].name}/ and {folder.name}/ are both the {split} split; "
                    "put their pictures into one folder"
                )
            found[split] = folder
    return found


def read_labelled(root: Path, taxonomy: Taxonomy) -> list[Sample]:
    """Samples of `root/{train,val,test}/<class>/` or `root/<class>/`, split by split in path order.

    A class folder is named by code, English or Chinese name; a split as `SPLITS` says. Raises
    DataError, naming the folder, for a folder that is not a class, for a class that is held out and
    missing in train, and where nothing is found.
    """
    _need_folder(root)
    folders = split_folders(root, taxonomy) or {"": root}
    samples: list[Sample] = []
    for split, folder in folders.items():
        samples += _classes(folder, taxonomy, split, source="")
    if not samples:
        raise DataError(
            f"{root}: no pictures; expected {root.name}/{{train,val}}/<class>/ or "
            f"{root.name}/<class>/ with classes such as {_examples(taxonomy)}"
        )
    _refuse_held_out_alone(samples, root, taxonomy)
    return samples


def read_answered(root: Path, taxonomy: Taxonomy) -> list[Sample]:
    """As `read_labelled`, and the pictures of none of the classes with the folder's name as source.

    Raises DataError as `read_labelled`, but not where all are of none.
    """
    _need_folder(root)
    bases = [root, *split_folders(root, taxonomy).values()]
    none = [
        Sample(path, UNKNOWN, source=name)
        for base in bases
        for name in NONE
        if (base / name).is_dir() and taxonomy.find(name) is None
        for path in images.find([base / name])
    ]
    others = any(taxonomy.find(f.name) or f.name not in NONE for f in _folders(root))
    return none + (read_labelled(root, taxonomy) if others or not none else [])


def read_extra(root: Path, taxonomy: Taxonomy) -> list[Sample]:
    """Samples of `root/<source>/<class>/`, or of `root/<class>/` as one source named as the folder.

    Raises DataError, naming the folder, for one that is neither.
    """
    _need_folder(root)
    folders = _folders(root)
    if folders and all(taxonomy.find(f.name) for f in folders):
        return _classes(root, taxonomy, "", source=root.resolve().name)
    samples = [s for f in folders for s in _classes(f, taxonomy, "", source=f.name)]
    if not samples:
        raise DataError(
            f"{root}: no pictures; expected {root.name}/<source>/<class>/ or {root.name}/<class>/"
        )
    return samples


def read_unknown(root: Path) -> list[Sample]:
    """Pictures of none of the classes: of `root/<source>/`, or of `root` itself as one source."""
    _need_folder(root)
    samples = [
        Sample(path, UNKNOWN, source=folder.name)
        for folder in _folders(root) or [root.resolve()]
        for path in images.find([folder])
    ]
    if not samples:
        raise DataError(f"{root}: no pictures; expected {root.name}/<source>/")
    return samples


def note_loose(root: Path, samples: Sequence[Sample]) -> str:
    """A line on pictures under `root` that no sample of it is: they lie in no class or source.

    "" where there are none.
    """
    loose = sum(1 for _ in images.find([root])) - len(samples)
    if loose <= 0:
        return ""
    pictures = counted(loose, "picture")
    return f"{root}: left out {pictures} outside its class or source folders"


def read_groups(file: Path) -> dict[str, str]:
    """Path → photograph group, as a CSV with the columns `path` and `group` says.

    Paths are as the file spells them, relative to its own folder. Raises DataError.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_user_text(file), newline=""))
        if not {"path", "group"} <= set(reader.fieldnames or ()):
            raise DataError(
                f"{file}: needs a header with the columns path and group; "
                "sorter data check writes such a file"
            )
        groups = {row["path"]: row["group"] for row in reader if row["path"] and row["group"]}
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"{file}: cannot read the groups: {reason}; sorter data check writes such a file"
        ) from error
    if any("\0" in path for path in groups):
        raise DataError(f"{file}: holds zero bytes; sorter data check writes a sound one")
    if not groups:
        raise DataError(f"{file}: names no picture; sorter data check writes such a file")
    return groups


def _classes(root: Path, taxonomy: Taxonomy, split: str, *, source: str) -> list[Sample]:
    place = {item.code: i for i, item in enumerate(taxonomy.categories)}
    samples: list[Sample] = []
    misnamed = []
    for folder in _folders(root):
        item = taxonomy.find(folder.name)
        if item is None:
            if folder.name not in NONE:
                misnamed.append(folder.name)
            continue
        index = place[item.code]
        samples += [Sample(p, index, split, source) for p in images.find([folder])]
    if misnamed:
        raise DataError(
            f"{root}: {_list(misnamed)} is not a class of taxonomy {taxonomy.name!r}; classes are "
            f"named by code or name, such as {_examples(taxonomy)} (of others, "
            "sorter train --taxonomy FILE makes a model)"
        )
    return samples


def _refuse_held_out_alone(samples: list[Sample], root: Path, taxonomy: Taxonomy) -> None:
    classes = {split: {s.index for s in samples if s.split == split} for split in SPLITS}
    if not classes["train"]:
        return
    for split in HELD_OUT:
        names = [
            f"{taxonomy.categories[i].code} ({taxonomy.categories[i].name})"
            for i in sorted(classes[split] - classes["train"])
        ]
        if names:
            raise DataError(
                f"{root}: {_list(names)} is in {split} and missing in train; move some pictures "
                "there"
            )


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise DataError(f"{root}: cannot list the folder: {error.strerror}") from error


def _need_folder(root: Path) -> None:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; name one of pictures")


def _examples(taxonomy: Taxonomy) -> str:
    return ", ".join(f"{i.code!r} or {i.name!r}" for i in taxonomy.categories[:2])


def _list(names: list[str]) -> str:
    shown = ", ".join(ascii(n) if not n.isprintable() else n for n in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
