"""Which picture is next, and what an answer does: labelled, skipped, or taken back.

Owns the order and the progress. Only reads the folder of pictures: what is shown is held in
memory, so that a ring that drops its oldest meanwhile loses nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from sorter.domain import Category
from sorter.errors import ImageError
from sorter.review.log import Labelling, ReviewLog
from sorter.review.looks import Looks
from sorter.review.shelf import Shelf
from sorter.review.words import PlaceError, RefusedError
from sorter.station.sinks.unsure import UnsureName
from sorter.text import escape
from sorter.vision import images

log = logging.getLogger(__name__)

_Key = tuple[str, int, int]
_OTHERS, _AUDIT, _DOUBTED = range(3)
"""Kinds of waiting pictures, in the order in which they are shown."""

Tell = Callable[[int, str, str], object]


@dataclass(frozen=True, slots=True)
class Shown:
    """The picture in front of the person; `code`, `score` and `n` are the station's, if the name
    has them (`score` in per cent). `audited`: the person is to judge without knowing them."""

    data: bytes
    seen: Labelling
    code: str = ""
    score: int = 0
    n: int = 0
    audited: bool = False


class Queue:
    """The pictures of `folder` without an answer yet.

    Those to audit come first, then what teaches most: with `looks` what is doubted and like many
    others, without the least sure. Before both, in path order, pictures whose names the station did
    not give. `tell(n, sha256, verdict)` hears what was found of an audited one, "" where that is
    taken back.

    With `again`, those skipped in earlier sittings come once more. Raises FolderError for a folder
    that is none.
    """

    def __init__(
        self,
        folder: Path,
        shelf: Shelf,
        book: ReviewLog,
        *,
        again: bool = False,
        looks: Looks | None = None,
        tell: Tell | None = None,
    ) -> None:
        self._folder, self._shelf, self._log = folder, shelf, book
        self._looks, self._tell = looks, tell
        self._home = os.fsdecode(folder.resolve())
        self._waiting: deque[Path] = deque()
        self._history: list[Labelling] = []
        self._current: Shown | None = None
        self._broken: dict[_Key, str] = {}
        self.labelled = self.skipped = 0
        for answer in book.answers:
            self._remember(answer)
        if again:
            self._history = [a for a in self._history if a.do == "label"]
        self._done = {_key(a) for a in self._history}
        self._look()

    @property
    def broken(self) -> int:
        """Pictures that cannot be shown."""
        return len(self._broken)

    @property
    def left(self) -> int:
        """Pictures still to answer for, as far as they have been listed."""
        return len(self._waiting) + (self._current is not None)

    @property
    def last(self) -> Labelling | None:
        """What `undo` would take back."""
        return self._history[-1] if self._history else None

    def current(self) -> Shown | None:
        """The picture to answer for; None when there is none. New ones are looked for then."""
        if self._current is None:
            if not self._waiting:
                self._look()
            while self._waiting and self._current is None:
                self._current = self._open(self._next())
        return self._current

    def alike(self) -> list[tuple[Path, str]]:
        """Waiting pictures that look like the current one, with each one's SHA-256; not those to
        audit, each of which is judged by itself."""
        shown = self._current
        if self._looks is None or shown is None or shown.audited:
            return []
        others = [path for path in self._waiting if _urgency(path)[0] != _AUDIT]
        return self._looks.alike(self._folder / shown.seen.name, others)

    def label(self, digest: str, item: Category, verdict: str = "") -> None:
        """File the current picture as `item`. RefusedError if `digest` is not the current one's."""
        shown = self._need(digest)
        target = self._shelf.put(shown.data, item, shown.seen.name)
        file = os.fsdecode(target.relative_to(self._shelf.root))
        self._answer(replace(shown.seen, do="label", code=item.code, file=file, verdict=verdict))
        self.labelled += 1
        if verdict and self._tell is not None:
            self._tell(shown.n, digest, verdict)

    def label_too(self, digest: str, others: Collection[str], item: Category) -> None:
        """File those alike the current picture whose contents are among `others` as `item`, too.

        One that went or was changed meanwhile stays without an answer. RefusedError as for `label`.
        """
        self._need(digest)
        for path, content in self.alike():
            shown = self._open(path) if content in others else None
            if shown is not None and shown.seen.sha256 == content:
                before, self._current = self._current, shown
                self.label(content, item)
                self._current = before
                self._waiting.remove(path)

    def skip(self, digest: str) -> None:
        """Leave the current picture without a label. RefusedError as for `label`."""
        self._answer(replace(self._need(digest).seen, do="skip"))
        self.skipped += 1

    def undo(self) -> None:
        """Take the last answer back and show its picture again, if it can still be had."""
        answer = self.last
        if answer is None:
            raise RefusedError("nothing back")
        data: bytes | None
        if answer.do == "label":
            data = self._shelf.take_back(self._shelf.root / answer.file, answer.sha256)
            if data is None:
                raise RefusedError("changed", file=answer.file)
            self.labelled = max(0, self.labelled - 1)
            name = UnsureName.read(Path(answer.name).name)
            if answer.verdict and name is not None and self._tell is not None:
                self._tell(name.n, answer.sha256, "")
        else:
            data = self._again(answer)
            self.skipped = max(0, self.skipped - 1)
        self._log.append(replace(answer, do="undo"))
        self._history.pop()
        self._done.discard(_key(answer))
        if self._current is not None:
            self._waiting.appendleft(self._folder / self._current.seen.name)
        self._current = None
        if data is not None:
            self._current = _shown(data, replace(answer, do="", code="", file="", verdict=""))

    def _remember(self, answer: Labelling) -> None:
        if answer.folder != self._home:
            return
        if answer.do == "undo":
            self._history = self._history[:-1]
        else:
            self._history.append(answer)

    def _look(self) -> None:
        if not self._folder.is_dir():
            raise PlaceError("no folder", folder=str(self._folder))
        found = [p for p in images.find([self._folder]) if self._is_new(p)]
        self._waiting.extend(sorted(found, key=_urgency))
        if self._looks is not None:
            self._looks.add(self._waiting)

    def _next(self) -> Path:
        """The most urgent; among those that only doubt parts, what teaches most."""
        if self._looks is not None and _urgency(self._waiting[0])[0] == _DOUBTED:
            doubts = [1.0 - _urgency(path)[1] / 100 for path in self._waiting]
            best = self._looks.best(self._waiting, doubts)
            if best is not None:
                path = self._waiting[best]
                del self._waiting[best]
                return path
        return self._waiting.popleft()

    def _is_new(self, path: Path) -> bool:
        try:
            key = self._key_of(path)
        except OSError:
            return False
        return key not in self._done and key not in self._broken

    def _key_of(self, path: Path) -> _Key:
        status = path.stat()
        return os.fsdecode(path.relative_to(self._folder)), status.st_size, status.st_mtime_ns

    def _open(self, path: Path) -> Shown | None:
        """None for a picture that went, that is broken, or that DATA has already."""
        try:
            key = self._key_of(path)
        except OSError:
            return None
        try:
            data = images.read(path)
            images.decode(data, 32)
        except ImageError as error:
            self._broken[key] = str(error)
            log.warning("cannot be shown: %s: %s", escape(key[0]), error)
            return None
        if self._shelf.find(data) is not None:
            self._done.add(key)
            return None
        name, _, mtime_ns = key
        digest = hashlib.sha256(data).hexdigest()
        return _shown(data, Labelling("", digest, self._home, name, len(data), mtime_ns))

    def _need(self, digest: str) -> Shown:
        if self._current is None or self._current.seen.sha256 != digest:
            raise RefusedError("answered")
        return self._current

    def _answer(self, answer: Labelling) -> None:
        self._log.append(answer)
        self._history.append(answer)
        self._done.add(_key(answer))
        self._current = None
        if self._looks is not None and answer.do == "label":
            self._looks.answered(self._folder / answer.name)

    def _again(self, answer: Labelling) -> bytes | None:
        """A skipped picture's content, if the ring still has it."""
        try:
            data = images.read(self._folder / answer.name)
        except ImageError:
            return None
        return data if hashlib.sha256(data).hexdigest() == answer.sha256 else None


def _key(answer: Labelling) -> _Key:
    return answer.name, answer.size, answer.mtime_ns


def _shown(data: bytes, seen: Labelling) -> Shown:
    name = UnsureName.read(Path(seen.name).name)
    return (
        Shown(data, seen, name.code, name.score, name.n, name.audited)
        if name
        else Shown(data, seen)
    )


def _urgency(path: Path) -> tuple[int, int]:
    """Others' pictures, then what a site's figure needs, then what the model knew least of."""
    name = UnsureName.read(path.name)
    if name is None:
        return _OTHERS, 0
    return (_AUDIT, 0) if name.audited else (_DOUBTED, name.score)
