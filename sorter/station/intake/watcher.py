"""A folder becomes settled pictures, one at a time, each once; nothing else.

Owns the looking: the listing is the truth, events are a hint that makes it quick. Decodes nothing,
records nothing, never writes. Heals a folder that went away, came back or became another one.

When did a picture arrive? Its stamps are its writer's or a server's word, and a clock may be set,
so they decide nothing alone. The station's own clock (of the boot: it goes on in suspend and is
never set) bounds the moment from both sides: not before the last listing that did not show the
file, not after the event or the listing that first did. Within those bounds, some seconds at most,
the ctime may say when. Where they lie further apart than a picture stays fresh, it arrived at the
earlier one. What such a picture may have been before that is `backlog`'s question.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sorter.domain import Identity, Picture
from sorter.errors import FolderError
from sorter.host.clock import uptime_s
from sorter.host.mounts import place_of
from sorter.host.wakeup import Wakeup
from sorter.station.intake.backlog import Backlog
from sorter.station.intake.events import FolderEvents
from sorter.station.intake.overlooked import Overlooked
from sorter.station.intake.pending import Entry, Pending
from sorter.station.intake.reading import (
    Whole,
    is_taken,
    listing,
    look,
    read_whole,
    shows_its_end,
)

RESCAN_S = 2.0
"""Between two listings where events work."""

POLL_S = 0.5
"""Between two listings where they do not."""

OPEN_SETTLE_S = 1.0
"""Quiet window of a file whose writer was never seen to close it."""

BLIND_SETTLE_S = 1.0
"""Between two readings that must agree, of a format that cannot show that it is whole."""

BLIND_OPEN_SETTLE_S = 10.0
"""Likewise where events work and its writer was never seen to close it."""

REJECT_AFTER_S = 20.0
"""A closed file that is not a picture and does not change for so long will not become one."""

LOOK_S = 1.0
"""Between two looks at whether the folder is still the same one and the events still come."""

LISTING_SHARE = 0.2
"""Of the time, at most, that goes into listing a folder that has grown huge."""

CLOCK_STEP_S = 0.5
"""By more than this the wall clock does not drift between two listings: it was set."""


class Watcher:
    """Watches one folder, its sub-folders only if `recursive`. Not thread-safe: one loop drives it.

    `recorded(path, identity)` says that the journal knows this very file. What arrived longer than
    `fresh_s` ago is handed over last. `clock` is that of the boot, `wall` is Unix time; both in
    seconds. While `hold_backlog` is set, what was found at start waits.
    """

    def __init__(
        self,
        folder: Path,
        *,
        recorded: Callable[[Path, Identity], bool],
        recursive: bool = False,
        settle_s: float = 0.3,
        rescan_s: float = RESCAN_S,
        reject_after_s: float = REJECT_AFTER_S,
        fresh_s: float = 5.0,
        events: bool = True,
        wakeup: Wakeup | None = None,
        clock: Callable[[], float] = uptime_s,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._folder = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay as named.
        self._recorded = recorded
        self._recursive = recursive
        self._rescan_s = rescan_s
        self._fresh_s = fresh_s
        self._wakeup = wakeup or Wakeup()
        self._own_wakeup = wakeup is None
        self._clock, self._wall = clock, wall
        self._events = FolderEvents(
            self._wakeup.wake, wanted=events, recursive=recursive, clock=clock
        )
        self._pending = Pending(
            settle_s=settle_s,
            open_settle_s=OPEN_SETTLE_S,
            reject_after_s=reject_after_s,
            fresh_s=fresh_s,
        )
        self._backlog = Backlog(self._folder, clock=clock)
        self._overlooked = Overlooked(recursive=recursive)
        self._in_hand: Entry | None = None
        self._known: set[int] = set()
        self._arrivals: dict[int, float] = {}
        """When each file that was not read yet arrived, by `Identity.bytes_key`."""
        self._place: tuple[int, int] | None = None
        self._listed: float | None = None
        """When the last listing began that showed everything."""
        self._wall_offset_s = 0.0
        self._more = False
        self._next_listing = 0.0
        self._next_look = 0.0
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
        return self._events.mode

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
        """Files that wait to be handed over."""
        return len(self._pending)

    def pictures(self, idle_s: float = 0.5) -> Iterator[Picture | None]:
        """Settled pictures as they come; None at least every `idle_s` seconds of waiting.

        A picture that is taken without `later` counts as done and is not given again.
        """
        while True:
            now = self._clock()
            self._hear(now)
            if now >= self._next_listing:
                self._list(now)
            entry, wait_s = self._pending.next_due(self._clock(), backlog=not self.hold_backlog)
            if entry is not None:
                began = self._clock()
                picture = self._read(entry)
                if picture is not None:
                    yield picture
                    self._pending.took(self._clock() - began)
                continue
            if self._pending.roomy and self._more and not self.problem:
                # The last listing had more than the table could hold: fetch the rest now.
                self._list(self._clock())
                continue
            self._wakeup.wait(min(idle_s, wait_s, max(0.0, self._next_listing - self._clock())))
            yield None

    def later(self, picture: Picture, why: str) -> None:
        """Say that `picture`, just given, is not a whole picture: look again when it changes.

        It is given once more, as final, where it does not change for long enough.
        """
        entry = self._in_hand
        assert entry is not None and self._folder / entry.name == picture.path
        self._known.discard(entry.identity.key(entry.name))
        self._arrivals[entry.identity.bytes_key()] = entry.arrived
        self._pending.put_back(entry, why)

    def close(self) -> None:
        """End the event threads."""
        self._events.deafen("ended")
        if self._own_wakeup:
            self._wakeup.close()

    def _hear(self, now: float) -> None:
        names, doubt = self._events.heard()
        if (names or now >= self._next_look) and self._place is not None:
            self._next_look = now + min(LOOK_S, self._rescan_s)
            if place_of(self._folder) != self._place:
                # What was heard belongs to the folder that was here before.
                self._next_listing = now
                return
            if self._events.failing:
                self._events.listen(self._folder)
                doubt = True
        for name, heard in names.items():
            if not is_taken(name):
                continue
            try:
                status = look(self._folder / name)
            except OSError:
                continue
            if status is not None:
                self._note(name, status, now, heard=heard)
        if doubt:
            self._next_listing = now

    def _list(self, now: float) -> None:
        place = place_of(self._folder)
        elsewhere = place != self._place
        if elsewhere:
            self._pending.clear()
            if place is not None:
                self._place = place
                self._events.listen(self._folder)
        known: set[int] = set()
        arrivals: set[int] = set()
        names: list[str] = []
        complete = True
        self._overlooked.begin(now)
        try:
            for name, status in listing(
                self._folder, recursive=self._recursive, other=self._overlooked
            ):
                identity = Identity.of(status)
                key = identity.key(name)
                names.append(name)
                known.add(key)
                arrivals.add(identity.bytes_key())
                if elsewhere and key not in self._known and not self._is_surely_new(identity, now):
                    self._backlog.add(name, identity)
                complete &= self._note(name, status, now)
        except OSError as error:
            self._lose(error, now)
            return
        if elsewhere:
            self._backlog.prepare()
        self.problem = ""
        self.listings += 1
        self._known &= known
        for gone in self._arrivals.keys() - arrivals:
            del self._arrivals[gone]
        self._pending.keep_only(names)
        self._listed = now
        self._wall_offset_s = self._wall() - self._clock()
        self._more = not complete
        pause_s = self._rescan_s if self._events.trusted else min(POLL_S, self._rescan_s)
        done = self._clock()
        self._next_listing = done + max(pause_s, (done - now) / LISTING_SHARE)

    def _is_surely_new(self, identity: Identity, now: float) -> bool:
        """Whether a file in a folder that was not here before arrived since we last looked.

        Somebody else may have filled it. So the folder was away for less than a picture stays
        fresh, the wall clock was not set meanwhile, and the file's stamp lies in between.
        """
        if self._listed is None or now - self._listed > self._fresh_s:
            return False
        wall = self._wall()
        if abs(wall - self._clock() - self._wall_offset_s) > CLOCK_STEP_S:
            return False
        # The kernel's stamps lag by a tick.
        return now - self._listed + CLOCK_STEP_S / 10 >= wall - identity.ctime_ns / 1e9 >= -0.1

    def _lose(self, error: OSError, now: float) -> None:
        self.problem = f"{self._folder}: {error.strerror or error}"
        self._place = None
        self._pending.clear()
        self._events.deafen("folder missing")
        self._next_listing = now + POLL_S

    def _note(
        self, name: str, status: os.stat_result, now: float, *, heard: float | None = None
    ) -> bool:
        """Take one file in, `heard` of by an event or listed; False where there was no room."""
        identity = Identity.of(status)
        key = identity.key(name)
        if key in self._known:
            return True
        arrived = self._arrivals.get(identity.bytes_key())
        if arrived is None:
            arrived = self._arrived(identity, now, heard)
            self._arrivals[identity.bytes_key()] = arrived
        hinted = heard is not None
        waiting = self._pending.get(name)
        if waiting is None and self._pending.is_full(hinted=hinted):
            return False  # Before the journal is asked: with 20,000 files that takes a second.
        if waiting is None or waiting.identity != identity:
            if self._recorded(self._folder / name, identity):
                self._taken(name, identity)
                return True
        elif not hinted:
            return True
        return self._pending.note(
            Entry(
                name=name,
                identity=identity,
                since=now,
                arrived=arrived,
                # A second name of a whole file: no writer will ever close it.
                closed=hinted or status.st_nlink > 1,
                backlog=self._backlog.has(name, identity),
                hinted=hinted,
            )
        )

    def _arrived(self, identity: Identity, now: float, heard: float | None) -> float:
        """When a file that is met for the first time arrived; the module says how that is told."""
        age_s = max(0.0, self._wall() - identity.ctime_ns / 1e9)
        if self._listed is None:
            return now - age_s  # Backlog; only the order of work and the record's time go by it.
        latest = now if heard is None else heard
        if heard is None and latest - self._listed > self._fresh_s:
            return self._listed
        return min(max(now - age_s, self._listed), latest)

    def _taken(self, name: str, identity: Identity) -> None:
        """These bytes have their record, or will have it next."""
        self._pending.drop(name)
        self._known.add(identity.key(name))
        self._arrivals.pop(identity.bytes_key(), None)
        self._backlog.forget(name, identity)

    def _read(self, entry: Entry) -> Picture | None:
        now = self._clock()
        final = self._pending.is_final(entry, now)
        whole: Whole | None = None
        try:
            whole = self._settled(entry, now)
            if whole is None:
                return None
        except OverflowError as error:
            unreadable = f"too large: {error}"
        except OSError as error:
            unreadable = f"cannot be read: {error.strerror or error}"
            if not final:
                entry.broken = unreadable
                return None
        else:
            unreadable = ""
        if whole is None:
            backlog = entry.backlog
        else:
            backlog = entry.is_old or self._backlog.claims(entry.name, entry.identity, whole.data)
        if backlog and not entry.backlog and self.hold_backlog:
            entry.backlog = True
            self._backlog.add(entry.name, entry.identity)
            return None
        if not (entry.hinted or entry.closed or backlog):
            self._events.missed()
        entry.is_old = backlog
        self._in_hand = entry
        if unreadable:
            # Its bytes stay unknown, so its age and what it may be are kept in mind.
            self._pending.drop(entry.name)
            self._known.add(entry.identity.key(entry.name))
        else:
            self._taken(entry.name, entry.identity)
        return Picture(
            path=self._folder / entry.name,
            data=whole.data if whole else b"",
            sha256=whole.sha256 if whole else "",
            identity=entry.identity,
            arrived=entry.arrived,
            arrived_at=self._wall() - (self._clock() - entry.arrived),
            backlog=backlog,
            final=final or bool(unreadable),
            unreadable=unreadable,
        )

    def _settled(self, entry: Entry, now: float) -> Whole | None:
        """The bytes, if they held still long enough; None where they are to be read later.

        Raises as `read_whole`.
        """
        path = self._folder / entry.name
        status = look(path)
        if status is None:
            self._pending.drop(entry.name)
            return None
        if Identity.of(status) != entry.identity:
            # Still growing. Its closing, if there was one, belonged to what it was before.
            self._pending.drop(entry.name)
            self._note(entry.name, status, now)
            return None
        whole = read_whole(path)
        if whole is None:
            entry.not_before = now + 0.1
        elif entry.sha256 != whole.sha256 and not shows_its_end(whole.data):
            entry.sha256 = whole.sha256
            waits_for_close = self._events.trusted and not entry.closed
            entry.not_before = now + (BLIND_OPEN_SETTLE_S if waits_for_close else BLIND_SETTLE_S)
            return None
        return whole
