"""The data folder that labelled pictures are put into: which file, under which name, once.

Owns every write below DATA but the log. A picture that DATA already has, whatever its name, split
or class, is never put there a second time: it would leak from `val` into `train`. Which pictures
are held out is `sorter train`'s to decide, from content alone, so a name or an order here changes
nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from sorter.dataset import layout
from sorter.domain import Category, Taxonomy
from sorter.errors import FolderError, ImageError
from sorter.files import write_whole
from sorter.review.words import PlaceError
from sorter.vision import images

NAME_LENGTH = 80


class Shelf:
    """`root/<class>/`, or `root/train/<class>/` where DATA is divided into splits.

    A class keeps the folder that it has, however it is called; a new one is named by code. Raises
    DataError for folders that `sorter train` would refuse, FolderError where DATA cannot be made.
    """

    def __init__(self, root: Path, taxonomy: Taxonomy) -> None:
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
            splits = layout.split_folders(root, taxonomy)
        except OSError as error:
            raise FolderError(
                f"{root}: cannot be made: {error.strerror}; choose another --into"
            ) from error
        self._base = splits.get("train", root / "train") if splits else root
        self._folders: dict[str, Path] = {}
        self._by_size: defaultdict[int, list[Path]] = defaultdict(list)
        for sample in self._have(taxonomy):
            with suppress(OSError):
                self._by_size[sample.path.stat().st_size].append(sample.path)
            if sample.path.is_relative_to(self._base):
                folder = self._base / sample.path.relative_to(self._base).parts[0]
                none = sample.index == layout.UNKNOWN
                code = sample.source if none else taxonomy.categories[sample.index].code
                self._folders.setdefault(code, folder)

    def find(self, data: bytes) -> Path | None:
        """The picture of this content, if DATA has it. Only files of its size are read."""
        for path in self._by_size.get(len(data), ()):
            with suppress(ImageError):
                if images.read(path) == data:
                    return path
        return None

    def put(self, data: bytes, item: Category, name: str) -> Path:
        """Write a picture, whole and synced; its path. FolderError where that fails.

        The name begins with the content's hash, so that two cameras' `0001.jpg` do not meet.
        """
        digest = hashlib.sha256(data).hexdigest()
        folder = self._folders.get(item.code, self._base / item.code)
        target = folder / f"{digest[:16]}-{_plain(name)}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if target.exists():
                return self._same(target, data)
        except OSError as error:
            raise FolderError(f"{target}: cannot be written: {error.strerror}") from error
        write_whole(target, data)
        self._folders.setdefault(item.code, folder)
        self._by_size[len(data)].append(target)
        return target

    def take_back(self, path: Path, digest: str) -> bytes | None:
        """Remove a picture that was put; its content. None if it is gone or another by now.

        A path that leads out of DATA, as a damaged log may name, was never put there.
        """
        if ".." in path.parts or not path.resolve().is_relative_to(self.root.resolve()):
            return None
        try:
            data = images.read(path)
        except ImageError:
            return None
        if hashlib.sha256(data).hexdigest() != digest:
            return None
        try:
            path.unlink()
        except OSError as error:
            raise FolderError(f"{path}: cannot be removed: {error.strerror}") from error
        with suppress(ValueError):
            self._by_size[len(data)].remove(path)
        return data

    def _same(self, target: Path, data: bytes) -> Path:
        """`target` where an answer was filed but could not be logged, and is given once more."""
        try:
            if images.read(target) == data:
                return target
        except ImageError as error:
            raise FolderError(f"{target}: is there already and cannot be read: {error}") from error
        raise PlaceError("taken", file=str(target))

    def _have(self, taxonomy: Taxonomy) -> list[layout.Sample]:
        if next(images.find([self.root]), None) is None:
            return []
        return layout.read_answered(self.root, taxonomy)


def _plain(name: str) -> str:
    """A file name of letters, digits, dot, dash and underscore, with its suffix in small letters.

    Names come from cameras and from other people; this one goes to other tools and other machines.
    """
    path = Path(name)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", path.stem).strip("._")[:NAME_LENGTH]
    return (stem or "picture") + path.suffix.lower()
