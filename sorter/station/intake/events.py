"""Events of the watched folder: a hint, never the truth, and how far it may be trusted.

Owns the watchdog observer, its life, its deaths and the doubt in it. Only this module imports
watchdog. Lists no folder and reads no file. An event that is lost (a full queue, a dead thread, a
network mount) costs latency and nothing more, since the watcher lists the folder all the same.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from watchdog.events import FileClosedEvent, FileMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers.api import BaseObserver

from sorter.host.clock import uptime_s
from sorter.host.mounts import SILENT, file_system

RETRY_S = 5.0
"""Between two tries to get events back."""

MISSED_LIMIT = 3
"""Finished files that events never told of, before the events are doubted."""

MAX_NAMES = 10_000
"""Names kept between two looks; beyond it only the doubt is kept."""


class FolderEvents:
    """Listens to one folder at a time; `mode` says how, in words for an operator.

    `wanted` False never listens; `recursive` listens to sub-folders too. `ring` is called from
    another thread when something was heard.
    """

    def __init__(
        self,
        ring: Callable[[], None],
        *,
        wanted: bool = True,
        recursive: bool = False,
        clock: Callable[[], float] = uptime_s,
    ) -> None:
        self._inotify = Inotify(ring, recursive=recursive, clock=clock)
        self._wanted = wanted
        self._clock = clock
        self._missed = 0
        self._next_try = 0.0
        self.mode = "not started"

    @property
    def trusted(self) -> bool:
        """True where a rare listing is enough."""
        return self.mode == "inotify"

    def listen(self, folder: Path) -> None:
        """Begin, or begin again, on `folder`; what was heard of another one is forgotten."""
        self._missed = 0
        self._next_try = self._clock() + RETRY_S
        why = self._inotify.watch(folder) if self._wanted else "events switched off"
        kind = file_system(folder)
        if not why and kind in SILENT:
            # Events of local writers still help; those of others never come.
            why = f"{kind} hides other machines' writes"
        self.mode = f"polling ({why})" if why else "inotify"

    def heard(self) -> tuple[dict[str, float], bool]:
        """Names since the last call, each with the moment of its last event; whether more were
        lost than are given."""
        return self._inotify.take()

    def missed(self) -> None:
        """Say that a finished file was met which no event had told of."""
        self._missed += 1

    @property
    def failing(self) -> bool:
        """True where it is time to begin again: they died, or miss what they should hear."""
        if self._clock() < self._next_try:
            return False
        return (self.trusted and not self._inotify.alive) or self._missed > MISSED_LIMIT

    def deafen(self, why: str) -> None:
        """End the threads; `mode` then says why there are no events."""
        self._inotify.stop()
        self.mode = why


class Inotify:
    """Collects names of completed files, relative to the folder.

    `ring` is called (from another thread) on each first name.
    """

    def __init__(
        self,
        ring: Callable[[], None],
        *,
        recursive: bool = False,
        clock: Callable[[], float] = uptime_s,
    ) -> None:
        self._ring, self._recursive, self._clock = ring, recursive, clock
        self._lock = threading.Lock()
        self._names: dict[str, float] = {}
        self._doubt = False
        self._observer: BaseObserver | None = None

    def watch(self, folder: Path) -> str:
        """Begin again on `folder`; "" or one line that says why there are no events."""
        self.stop()
        self.take()
        try:
            from watchdog.observers.inotify import InotifyObserver
        except Exception as error:
            # Not Linux, or a C library without inotify: polling it is.
            return f"no inotify here ({type(error).__name__})"
        observer: BaseObserver | None = None
        try:
            observer = InotifyObserver(generate_full_events=True)
            # A symlinked folder must be watched where it really is.
            real = os.path.realpath(folder)
            observer.schedule(
                _EventHandler(real, self._take),
                real,
                recursive=self._recursive,
                event_filter=[FileClosedEvent, FileMovedEvent],
            )
            observer.start()
        except (OSError, RuntimeError) as error:
            if observer is not None:
                _end(observer)
            return f"inotify refused: {error}"
        self._observer = observer
        return ""

    @property
    def alive(self) -> bool:
        """True while every thread behind the events runs."""
        observer = self._observer
        return (
            observer is not None
            and observer.is_alive()
            and all(emitter.is_alive() for emitter in list(observer.emitters))
            and bool(observer.emitters)
        )

    def take(self) -> tuple[dict[str, float], bool]:
        """As `FolderEvents.heard`."""
        with self._lock:
            names, self._names = self._names, {}
            doubt, self._doubt = self._doubt, False
        return names, doubt

    def stop(self) -> None:
        """End the observer's threads; bounded wait."""
        observer, self._observer = self._observer, None
        if observer is not None:
            _end(observer)

    def _take(self, name: str) -> None:
        # Stamped here: the loop may be busy with a movement for seconds before it asks.
        now = self._clock()
        with self._lock:
            first = not self._names
            if len(self._names) < MAX_NAMES:
                self._names[name] = now
            else:
                self._doubt = True
        if first:
            self._ring()


def _end(observer: BaseObserver) -> None:
    # A half-started observer raises RuntimeError on join; there is nothing left to end then.
    with contextlib.suppress(RuntimeError, OSError, KeyError):
        observer.stop()
        observer.join(2.0)


class _EventHandler(FileSystemEventHandler):
    """An exception out of a handler would end watchdog's dispatcher for good: none gets out."""

    def __init__(self, root: str, take: Callable[[str], None]) -> None:
        self._root, self._take = root, take

    def dispatch(self, event: FileSystemEvent) -> None:
        try:
            path = event.dest_path if isinstance(event, FileMovedEvent) else event.src_path
            if path and not event.is_directory:
                self._take(os.path.relpath(os.fsdecode(path), self._root))
        except Exception:
            # The listing finds what this lost.
            return
