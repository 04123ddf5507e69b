"""Tells a broker what a station does: how it is, and each record once.

Owns the thread that does so and the order of its work. Nothing is queued: the journal is read from
a cursor, which goes on once the broker has confirmed. With each record goes, kept by the broker,
how far all were told, so that a confirmation which never came, or a kill, tells none of them twice.
Nothing here can hold up the station, or end it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from sorter.domain import Record
from sorter.errors import BrokerError, FolderError, JournalError
from sorter.station.health.metrics import Metrics
from sorter.station.health.status import StationStatus
from sorter.station.journal.history import read_ended, read_newest
from sorter.station.mqtt import cursor as cursors
from sorter.station.mqtt.broker import BrokerAddress, Line, Message, open_line
from sorter.station.mqtt.cursor import Cursor
from sorter.station.mqtt.topics import Topics, item_text, last_text, status_text

log = logging.getLogger(__name__)

POLL_S = 0.1
"""Between two looks at what the station says has ended, and at how it is."""

LOOK_S = 5.0
"""Between two looks at the journal without being told: what a crash left open ends unannounced."""

BATCH = 20
"""Records read at once, at most; all that is in memory of a day without a broker."""

CATCH_UP = 100
"""Records a second after such a day: a broker drops what its subscribers do not take in time."""

RETRY_S = (1.0, 30.0)
"""Between two tries to reach the broker: the first pause, doubled up to the last."""

SAVE_S = 1.0
"""Between two writings of the cursor."""

GOODBYE_S = 3.0
"""How long a stop waits for the last records to be told."""


class Publisher:
    """A sink that only notes that there is something; the thread does the rest, until `close`.

    `status` says how the station is, None before it has looked; any thread may ask.
    """

    def __init__(
        self,
        journal: Path,
        address: BrokerAddress,
        topics: Topics,
        *,
        status: Callable[[], StationStatus | None],
        meter: Metrics,
    ) -> None:
        self._journal, self._address, self._topics = journal, address, topics
        self._status, self._meter = status, meter
        self._offline = Message(topics.status, status_text(None), retain=True)
        self._cursor: Cursor | None = None
        self._file = cursors.cursor_path(journal)
        self._newest = 0
        self._next_look = self._next_save = 0.0
        self._saved: Cursor | None = None
        self._complaint = ""
        self._said = ""
        self._closing = threading.Event()
        self._goodbye = 0.0
        meter.gauge("sorter_mqtt_connected", 0.0)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    def __call__(self, record: Record) -> None:
        """Something has ended."""
        self._newest = max(self._newest, record.n)
        self._next_look = 0.0

    def close(self) -> None:
        """Tell the last records if the broker is there, say that the station is offline, end."""
        self._goodbye = time.monotonic() + GOODBYE_S
        self._closing.set()
        self._thread.join(2 * GOODBYE_S)

    def _run(self) -> None:
        pause_s = RETRY_S[0]
        while not self._closing.is_set():
            if self._status() is None:
                # Before its first look the station may still be judging whether this journal is
                # sound.
                self._closing.wait(POLL_S)
                continue
            try:
                with self._connected() as line:
                    pause_s = RETRY_S[0]
                    self._serve(line)
            except (BrokerError, JournalError) as error:
                self._complain(str(error))
            self._count_waiting()
            self._closing.wait(pause_s)
            pause_s = min(2 * pause_s, RETRY_S[1])

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Line]:
        opening = open_line(
            self._address,
            name=self._topics.client,
            will=self._offline,
            stopping=self._closing.is_set,
        )
        try:
            with opening as line:
                self._meter.gauge("sorter_mqtt_connected", 1.0)
                yield line
        finally:
            self._meter.gauge("sorter_mqtt_connected", 0.0)
            self._save(now=True)

    def _serve(self, line: Line) -> None:
        """Everything that is to be told, until the station stops. Raises BrokerError."""
        self._said = ""
        if self._topics.discovery:
            line.publish(Message(*self._topics.discovered(), retain=True))
        self._tell_status(line)
        line.confirm()
        self._find_place(line)
        log.warning("mqtt: telling %s as %s", self._address, self._topics.item.rpartition("/")[0])
        self._complaint = ""
        while True:
            is_over = self._closing.is_set()
            is_all = self._tell_records(line)
            self._tell_status(line)
            self._save()
            if is_over and (is_all or time.monotonic() > self._goodbye):
                break
            if is_all:
                line.idle(POLL_S)
        line.publish(self._offline)
        line.confirm()

    def _find_place(self, line: Line) -> None:
        """Where to go on: what the file says, or the broker where that knows more."""
        sid, newest, still_open = read_newest(self._journal)
        self._newest = max(self._newest, newest)
        at = cursors.further(self._cursor, cursors.load(self._file))
        at = cursors.further(at, cursors.parsed(line.retained(self._topics.last)))
        if at is None:
            # Told to a broker for the first time: from now on.
            at = Cursor(sid, newest, still_open)
        elif at.sid != sid:
            log.warning("mqtt: another journal than the one told before; from its first record")
            at = Cursor(sid)
        elif at.after > newest:
            at = Cursor(sid, newest, still_open)
        self._cursor = at
        self._save(now=True)

    def _tell_records(self, line: Line) -> bool:
        """Some of what has ended, if there is anything; whether that is all for now."""
        began = time.monotonic()
        at = self._cursor
        if at is None or began < self._next_look:
            return True
        self._next_look = began + LOOK_S
        ended = read_ended(self._journal, at.after, waiting=at.waiting, limit=BATCH)
        if ended.sid != at.sid:
            raise JournalError(f"mqtt: {self._journal}: was replaced; looking again")
        for row in ended.rows:
            n = int(row["n"])
            if n > at.after:
                skipped = tuple(m for m in ended.waiting if at.after < m < n)
                at = replace(at, after=n, waiting=at.waiting + skipped)
            else:
                at = replace(at, waiting=tuple(m for m in at.waiting if m != n))
            line.publish(
                Message(self._topics.item, item_text(row, at.sid)),
                Message(self._topics.last, last_text(row, at), retain=True),
            )
            # One after the other: in a full pipe the network would cut a pair in two. The last word
            # on this pair comes with the next one's; waiting for it alone would take 40 ms.
            line.confirm(but=1)
        line.confirm()
        # Rows that are gone wait for nothing.
        self._cursor = Cursor(at.sid, ended.after, ended.waiting)
        self._count_waiting()
        if not ended.is_all:
            self._next_look = 0.0
            line.idle(max(0.0, began + len(ended.rows) / CATCH_UP - time.monotonic()))
        return ended.is_all

    def _tell_status(self, line: Line) -> None:
        text = status_text(self._status())
        if text != self._said:
            line.publish(Message(self._topics.status, text, retain=True))
            self._said = text

    def _count_waiting(self) -> None:
        if self._cursor is not None:
            behind = self._newest - self._cursor.after + len(self._cursor.waiting)
            self._meter.gauge("sorter_mqtt_waiting_items", float(max(0, behind)))

    def _save(self, *, now: bool = False) -> None:
        """Write the cursor, if it moved, and not all the time."""
        moment = time.monotonic()
        if self._cursor is None or self._cursor == self._saved:
            return
        if not now and moment < self._next_save:
            return
        self._next_save = moment + SAVE_S
        try:
            cursors.save(self._file, self._cursor)
        except FolderError as error:
            self._complain(f"mqtt: {error}")
        else:
            self._saved = self._cursor

    def _complain(self, line: str) -> None:
        """Say it once, until something else is wrong or all is well."""
        if line != self._complaint:
            log.error("%s", line)
            self._complaint = line
