"""A folder becomes settled pictures, one at a time, each once; nothing else.

Owns the looking: the listing is the truth, events are a hint that makes it quick. Decodes nothing,
records nothing, never writes. Heals a folder that went away, came back or became another one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sorter.domain import Identity, Picture
from sorter.errors import FolderError
from sorter.files import is_picture_name
from sorter.host.clock import uptime_s
from sorter.host.mounts import place_of
from sorter.station.intake.events import Ears
from sorter.station.intake.pending import Entry, Waiting
from sorter.station.intake.reading import listing, look, read_whole
from sorter.station.wakeup import Bell

RESCAN_S = 2.0
"""Between two listings where events work."""

POLL_S = 0.5
"""Between two listings where they do not."""

OPEN_SETTLE_S = 1.0
"""Quiet window of a file whose writer was never seen to close it."""

REJECT_AFTER_S = 10.0
"""A file that is no picture and does not change for so long stays none."""

LOOK_S = 1.0
"""Between two looks at whether the folder is still the same one and the events still come."""

LISTING_SHARE = 0.2
"""Of the time, at most, that goes into listing a folder that has grown huge."""


class Watcher:
    """Watches one folder, not its sub-folders. Not thread-safe: one loop drives it.

    `recorded(path, identity)` says that the journal knows this very file. `fresh_s` only orders
    the work. `clock` is monotonic, `wall` is Unix time; both in seconds. While `hold_backlog` is
    set, what was found at start waits.
    """

    def __init__(
        self,
        folder: Path,
        *,
        recorded: Callable[[Path, Identity], bool],
        settle_s: float = 0.3,
        rescan_s: float = RESCAN_S,
        reject_after_s: float = REJECT_AFTER_S,
        fresh_s: float = 5.0,
        events: bool = True,
        bell: Bell | None = None,
        clock: Callable[[], float] = uptime_s,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._folder = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay as named.
        self._recorded = recorded
        self._rescan_s = rescan_s
        self._bell = bell or Bell()
        self._own_bell = bell is None
        self._clock, self._wall = clock, wall
        self._ears = Ears(self._bell.ring, wanted=events, clock=clock)
        self._waiting = Waiting(
            settle_s=settle_s,
            open_settle_s=OPEN_SETTLE_S,
            reject_after_s=reject_after_s,
            fresh_s=fresh_s,
        )
        self._known: set[int] = set()
        self._place: tuple[int, int] | None = None
        self._listed: float | None = None
        self._next_listing = 0.0
        self._next_look = 0.0
        self._first = True
        self._begun = clock()
        self.problem = ""
        self.listings = 0
        self.hold_backlog = False

    @property
    def folder(self) -> Path:
        """The folder, absolute, links as named."""
        return self._folder

    @property
    def mode(self) -> str:
        """How the folder is watched, in words for an operator."""
        return self._ears.mode

    def begin(self) -> None:
        """List the folder for the first time: what it holds now is backlog.

        Raises FolderError where there is no folder to watch, so that a misspelt name shows at once.
        """
        try:
            with os.scandir(self._folder):
                pass
        except OSError as error:
            raise FolderError(
                f"{self._folder}: cannot watch: {error.strerror or error}; name the camera's "
                "folder, or make it"
            ) from error
        self._list(self._clock())

    @property
    def pending(self) -> int:
        """Files seen and not yet handed over."""
        return len(self._waiting)

    def pictures(self, idle_s: float = 0.5) -> Iterator[Picture | None]:
        """Settled pictures as they come; None at least every `idle_s` seconds of waiting.

        A picture that is taken without `later` counts as done and is not given again.
        """
        while True:
            now = self._clock()
            self._hear(now)
            if now >= self._next_listing:
                self._list(now)
            entry, wait_s = self._waiting.next_due(self._clock(), backlog=not self.hold_backlog)
            if entry is not None:
                began = self._clock()
                picture = self._read(entry)
                if picture is not None:
                    yield picture
                    self._waiting.took(self._clock() - began)
                continue
            if self._waiting.roomy and self._listed is None and not self.problem:
                # The last listing had more than the table could hold: fetch the rest now.
                self._list(self._clock())
                continue
            self._bell.wait(min(idle_s, wait_s, max(0.0, self._next_listing - self._clock())))
            yield None

    def later(self, picture: Picture, why: str) -> None:
        """Say that `picture` is no picture as it stands: look again when it changes, or finally."""
        self._known.discard(picture.identity.key(picture.path.name))
        self._waiting.put_back(picture, self._clock(), why)

    def close(self) -> None:
        """End the event threads."""
        self._ears.deafen("ended")
        if self._own_bell:
            self._bell.close()

    def _hear(self, now: float) -> None:
        names, doubt = self._ears.heard()
        for name in names:
            if not is_picture_name(name):
                continue
            try:
                status = look(self._folder / name)
            except OSError:
                continue
            if status is not None:
                self._note(name, status, now, hinted=True)
        if doubt:
            self._next_listing = now
        if self._place is not None and now >= self._next_look:
            self._next_look = now + min(LOOK_S, self._rescan_s)
            if place_of(self._folder) != self._place:
                self._next_listing = now
            elif self._ears.failing:
                self._ears.listen(self._folder)
                self._next_listing = now

    def _list(self, now: float) -> None:
        place = place_of(self._folder)
        if place != self._place:
            # Another folder, or none: what was seen before says nothing about its files' age.
            self._listed = None
            self._waiting.clear()
            if place is not None:
                self._place = place
                self._ears.listen(self._folder)
        seen: set[int] = set()
        names: list[str] = []
        complete = True
        try:
            for name, status in listing(self._folder):
                names.append(name)
                seen.add(Identity.of(status).key(name))
                complete &= self._note(name, status, now, hinted=False)
        except OSError as error:
            self._lose(error, now)
            return
        self.problem = ""
        self.listings += 1
        self._known &= seen
        self._waiting.keep_only(names)
        self._listed = now if complete else None
        self._first = self._first and not complete
        pause_s = self._rescan_s if self._ears.trusted else min(POLL_S, self._rescan_s)
        done = self._clock()
        self._next_listing = done + max(pause_s, (done - now) / LISTING_SHARE)

    def _lose(self, error: OSError, now: float) -> None:
        self.problem = f"{self._folder}: {error.strerror or error}"
        self._place = None
        self._listed = None
        self._waiting.clear()
        self._ears.deafen("folder missing")
        self._next_listing = now + POLL_S

    def _note(self, name: str, status: os.stat_result, now: float, *, hinted: bool) -> bool:
        """Take one file in; False where there was no room for it."""
        identity = Identity.of(status)
        key = identity.key(name)
        if key in self._known:
            return True
        waiting = self._waiting.get(name)
        if waiting is None and self._waiting.is_full(hinted=hinted):
            return False  # Before the journal is asked: with 20,000 files that takes a second.
        if waiting is None or waiting.identity != identity:
            if self._recorded(self._folder / name, identity):
                self._known.add(key)
                self._waiting.drop(name)
                return True
        elif not hinted:
            return True
        arrived = self._arrived(status, now)
        old = self._first and not hinted and (self.listings == 0 or arrived <= self._begun)
        return self._waiting.note(
            Entry(
                name=name,
                identity=identity,
                since=now,
                arrived=arrived,
                # A second name of a whole file: nobody will ever close it.
                closed=hinted or status.st_nlink > 1,
                backlog=old,
                hinted=hinted,
            )
        )

    def _arrived(self, status: os.stat_result, now: float) -> float:
        """When the file became what it is, on the monotonic clock.

        Its ctime (the last write, rename or link), but not in the future and not before the last
        listing that did not show it: so neither a server's clock nor a step of ours can make a
        new picture old or an old one new.
        """
        age_s = max(0.0, self._wall() - status.st_ctime_ns / 1e9)
        if self._listed is not None:
            age_s = min(age_s, now - self._listed)
        return now - age_s

    def _read(self, entry: Entry) -> Picture | None:
        path = self._folder / entry.name
        now = self._clock()
        final = self._waiting.is_final(entry, now)
        unreadable = ""
        whole = None
        try:
            status = look(path)
            if status is None:
                self._waiting.drop(entry.name)
                return None
            if Identity.of(status) != entry.identity:
                # Still growing. Its closing, if there was one, belonged to what it was before.
                self._waiting.drop(entry.name)
                self._note(entry.name, status, now, hinted=False)
                return None
            whole = read_whole(path)
        except OverflowError as error:
            unreadable = f"too large: {error}"
        except OSError as error:
            unreadable = f"cannot be read: {error.strerror or error}"
            if not final:
                entry.broken = unreadable
                return None
        if whole is None and not unreadable:
            entry.not_before = now + 0.1
            return None
        if not (entry.hinted or entry.closed or entry.backlog):
            self._ears.missed()
        self._waiting.drop(entry.name)
        self._known.add(entry.identity.key(entry.name))
        return Picture(
            path=path,
            data=whole.data if whole else b"",
            sha256=whole.sha256 if whole else "",
            identity=entry.identity,
            arrived=entry.arrived,
            arrived_at=self._wall() - (self._clock() - entry.arrived),
            backlog=entry.backlog,
            final=final or bool(unreadable),
            unreadable=unreadable,
        )
