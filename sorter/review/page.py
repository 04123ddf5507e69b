"""What the page shows: its files, the picture, and the state as plain values for JSON.

Owns the words between browser and queue, one answer at a time. Knows nothing of HTTP.
"""

from __future__ import annotations

import html
import json
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from threading import Lock
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from sorter.audit import RIGHT, WRONG
from sorter.domain import Category, Taxonomy
from sorter.errors import SorterError, UsageError
from sorter.review import words
from sorter.review.queue import Queue, Shown
from sorter.text import Lang, named
from sorter.vision import images

log = logging.getLogger(__name__)

SIDE_PX = 896
"""The longest side of the picture on the page: large enough to read a label on a can."""

THUMB_PX = 160
"""The same of those that look alike."""

CHOICES = 3
"""Classes offered by a key each."""

NONE = (
    Category("empty", "Empty tray", "空托盘", ""),
    Category("unknown", "None of these", "都不是", ""),
)
"""Answers for pictures of no class; their codes name folders (`dataset.layout.NONE`)."""

Suggest = Callable[[bytes], Sequence[tuple[Category, float]]]
"""A picture's bytes → the likeliest classes with their probabilities, best first."""

ASSETS: Mapping[str, str] = {
    "": "text/html; charset=utf-8",
    "review.js": "text/javascript; charset=utf-8",
    "review.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The page's own files and their types; "" is the page."""


@dataclass(frozen=True, slots=True)
class _Choice:
    digest: str
    items: tuple[tuple[Category, float], ...]


class Page:
    """One sitting: the queue, what the model would say, and the names of the classes.

    Safe to use from several threads; answers are taken one after the other. `said` are its words.
    """

    def __init__(
        self,
        queue: Queue,
        taxonomy: Taxonomy,
        suggest: Suggest,
        *,
        lang: str = "en",
        teach: Callable[[], str] | None = None,
    ) -> None:
        self._queue, self._taxonomy, self._suggest = queue, taxonomy, suggest
        self._lang, self.said = lang, words.of(lang)
        self._lock = Lock()
        self._choice = _Choice("", ())
        self._items = {item.code: item for item in (*NONE, *taxonomy.categories)}
        self._teach = teach
        self._taught = ""
        folder = resources.files("sorter.review") / "assets"
        self._files = {n: (folder / (n or "index.html")).read_bytes() for n in ASSETS}
        self._files[""] = _worded(self._files[""].decode(), self.said).encode()

    def asset(self, name: str) -> tuple[bytes, str] | None:
        """A file of the page and its type; None for any other name."""
        return (self._files[name], ASSETS[name]) if name in self._files else None

    def picture(self, digest: str) -> bytes | None:
        """The current picture as an upright JPEG without metadata; None for any other digest.

        Drawn anew, so that the browser gets nothing of a file of somebody else's but its pixels.
        """
        with self._lock:
            shown = self._queue.current()
        if shown is None or shown.seen.sha256 != digest:
            return None
        return _drawn(shown.data, SIDE_PX)

    def state(self, notice: str = "") -> dict[str, Any]:
        """Everything that the page draws."""
        with self._lock:
            return self._state(notice)

    def thumb(self, digest: str) -> bytes | None:
        """One of the pictures alike the current one, small; None for any other digest."""
        with self._lock:
            path = next((p for p, d in self._queue.alike() if d == digest), None)
        return None if path is None else _drawn(images.read(path), THUMB_PX)

    def act(self, what: str, digest: str, code: str, also: Collection[str] = ()) -> dict[str, Any]:
        """Do `label`, `skip`, `undo` or `teach`, and give the state after it.

        `also` are the contents of pictures alike the current one that get the same label.

        What cannot be done comes back as the state's `notice`: the person at the page must read
        it. Raises UsageError for a word or a class that does not exist.
        """
        if what not in ("label", "skip", "undo", "teach") or (what == "teach" and not self._teach):
            raise UsageError(f"no answer {what!r}; there are label, skip and undo")
        if what == "label" and code not in self._items:
            raise UsageError(f"no class {code!r}")
        with self._lock:
            notice = ""
            try:
                if what == "label":
                    if also:
                        self._queue.label_too(digest, also, self._items[code])
                    self._queue.label(digest, self._items[code], self._verdict(code))
                elif what == "skip":
                    self._queue.skip(digest)
                elif what == "teach" and self._teach is not None:
                    self._taught = self._teach()
                else:
                    self._queue.undo()
            except SorterError as error:
                notice = words.told(error, self._lang)
                log.warning("%s", error)
            return self._state(notice)

    def totals(self) -> dict[str, int]:
        """What this sitting came to: labelled, skipped, broken, left."""
        with self._lock:
            return self._totals()

    def _totals(self) -> dict[str, int]:
        queue = self._queue
        return {
            "labelled": queue.labelled,
            "skipped": queue.skipped,
            "broken": queue.broken,
            "left": queue.left,
        }

    def _state(self, notice: str) -> dict[str, Any]:
        queue = self._queue
        try:
            shown = queue.current()
        except SorterError as error:
            shown, notice = None, words.told(error, self._lang)
        last = queue.last
        return {
            "picture": shown and self._describe(shown),
            "classes": [self._words(item) for item in (*self._taxonomy.categories, *NONE)],
            "can_teach": self._teach is not None,
            "taught": self._taught,
            "counts": self._totals(),
            "last": last and {"name": last.name, "code": last.code, "do": last.do},
            "notice": notice,
        }

    def _describe(self, shown: Shown) -> dict[str, Any]:
        if shown.audited:
            # Whoever saw the station's answer, in the name too, would judge that.
            return {
                "id": shown.seen.sha256,
                "name": self.said["audited"],
                "station": None,
                "choices": [],
                "alike": [],
            }
        station = self._items.get(shown.code)
        return {
            "id": shown.seen.sha256,
            "name": shown.seen.name.encode("utf-8", "replace").decode("utf-8"),
            "station": station and {**self._words(station), "score": shown.score / 100},
            "choices": [{**self._words(i), "score": p} for i, p in self._choices(shown, station)],
            "alike": [digest for _, digest in self._queue.alike()],
        }

    def _choices(
        self, shown: Shown, station: Category | None
    ) -> tuple[tuple[Category, float], ...]:
        """The model's likeliest; what the station said is always among them."""
        if self._choice.digest != shown.seen.sha256:
            found = [(i, p) for i, p in self._suggest(shown.data) if i.code in self._items]
            if station is not None and station not in [i for i, _ in found[:CHOICES]]:
                found.insert(CHOICES - 1, (station, shown.score / 100))
            self._choice = _Choice(shown.seen.sha256, tuple(found[:CHOICES]))
        return self._choice.items

    def _verdict(self, code: str) -> str:
        """Whether the station's bin was right; "" for a picture that is not audited."""
        shown = self._queue.current()
        station = self._items.get(shown.code) if shown is not None and shown.audited else None
        if station is None:
            return ""
        return RIGHT if self._items[code].bin == station.bin else WRONG

    def _words(self, item: Category) -> dict[str, str]:
        bin_ = None if item in NONE else self._taxonomy.bin_of(item)
        other = Lang.EN if self._lang == Lang.ZH else Lang.ZH
        names = named(item, self._lang), named(item, other)
        return {
            "code": item.code,
            "name": names[0],
            "other": names[1],
            "bin": named(bin_, self._lang) if bin_ else "",
            "bin_number": str(bin_.number) if bin_ else "",
        }


def _worded(page: str, said: Mapping[str, str]) -> str:
    """The page with its {words}, and with all of them as JSON for its script."""
    page = re.sub(r"\{(\w+)\}", lambda match: html.escape(said[match[1]]), page)
    return page.replace("WORDS", json.dumps(said).replace("<", "\\u003c"))


def _drawn(data: bytes, side_px: int) -> bytes:
    """A picture anew, as an upright JPEG: nothing of a file of somebody else's but its pixels."""
    picture = images.decode(data, side_px)
    scale = side_px / max(picture.width_px, picture.height_px)
    size = [max(1, round(side * scale)) for side in (picture.width_px, picture.height_px)]
    drawn = Image.fromarray(picture.pixels).resize((size[0], size[1]))
    return bytes(simplejpeg.encode_jpeg(np.asarray(drawn), quality=90, colorspace="RGB"))
