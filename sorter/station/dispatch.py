"""One decided item becomes at most one movement and exactly one terminal record.

Owns the order that keeps the station's promises: SENT durable, then the deadline again, then the
move, then the end. Takes no decision about labels and reads no picture.

The states of an item, as its row in the journal goes through them:

    state      why                                     what may come next
    (no row)   a settled picture is in hand            ARRIVED, DECIDED, SENT, any end
    ARRIVED    its group (`--burst`) is not complete   DECIDED, any end that moves nothing
    DECIDED    it waits for its device                 SENT, EXPIRED
    SENT       the row is durable, then the bytes go   SENT (nothing had left), any end below

    end          meaning                                                        moved
    DONE         the device says so; "record only" without a device             once
    FAILED       the device says that it failed, or that it refused             once or not
    UNCERTAIN    nobody can say, and nothing moves again for it                 once or not
    EXPIRED      too old, found at start, or stopped before it was sent         no
    UNSURE_HELD  unsure, and the route is hold                                  no
    REJECTED     not a whole picture                                            no
    DUPLICATE    the same bytes as another, or another shot of one item         no

After a crash ARRIVED and DECIDED become EXPIRED. SENT is asked of the device and never sent again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from sorter.domain import Delivery, ItemState, Record
from sorter.host.clock import uptime_s
from sorter.station.health.metrics import Metrics
from sorter.station.interfaces import Actuator
from sorter.station.journal.journal import Journal, Row

log = logging.getLogger(__name__)

LINK_POLL_S = 0.05
"""Between two looks at a link that is not ready."""

RECORD_ONLY = "record only"

_ENDS = {
    Delivery.DONE: ItemState.DONE,
    Delivery.FAILED: ItemState.FAILED,
    Delivery.REFUSED: ItemState.FAILED,
    Delivery.UNCERTAIN: ItemState.UNCERTAIN,
}


class Dispatcher:
    """Moves for decided items, one at a time. `pause(seconds)` waits and stays alive meanwhile."""

    def __init__(
        self,
        journal: Journal,
        actuator: Actuator | None,
        *,
        pause: Callable[[float], None],
        stopping: Callable[[], bool],
        meter: Metrics,
        clock: Callable[[], float] = uptime_s,
    ) -> None:
        self._journal = journal
        self._actuator = actuator
        self._pause = pause
        self._stopping = stopping
        self._meter = meter
        self._clock = clock
        self._open: list[Row] = []

    @property
    def unresolved(self) -> int:
        """Items sent before a crash whose end is still to be asked of the device."""
        return len(self._open)

    def recover(self) -> int:
        """Give every row that a crash left open its end, or its place in `resolve`; how many."""
        rows = self._journal.unfinished()
        for row in rows:
            if row.state is not ItemState.SENT:
                why = "interrupted before it was sent"
                self._finish(row.n, ItemState.EXPIRED, why)
            elif self._actuator is None:
                why = "interrupted; no device to ask"
                self._finish(row.n, ItemState.UNCERTAIN, why)
            else:
                self._open.append(row)
        return len(rows)

    def resolve(self) -> None:
        """Ask the device about items sent before a crash, as soon as there is one to ask."""
        while self._open and self._actuator is not None and self._actuator.status().ready:
            row = self._open[0]
            movement = self._actuator.resolve(row.n, boot=row.boot)
            if movement.delivery is Delivery.NOT_SENT:
                return
            if movement.delivery is Delivery.REFUSED:
                state, why = ItemState.EXPIRED, "interrupted; the device never started it"
            else:
                state, why = _ENDS[movement.delivery], f"interrupted; {movement.detail}"
            self._finish(row.n, state, why, moved=state is not ItemState.EXPIRED)
            self._open.pop(0)
            log.warning("n=%d, sent before the last stop: %s (%s)", row.n, state.value, why)

    def carry_out(self, record: Record, *, deadline: float) -> Record:
        """Move for the decided `record` if that may still be, until `deadline`; how it ended."""
        actuator = self._actuator
        if actuator is None:
            reason = record.reason or RECORD_ONLY
            return self._journal.end(replace(record, state=ItemState.DONE, reason=reason))
        why = "too old"
        while self._clock() <= deadline:
            self.resolve()  # One at a time on the wire, the old ones first.
            link = actuator.status()
            if not link.ready or self._open:
                why = f"device not ready: {link.state}"
                if not record.n:
                    record = replace(record, state=ItemState.DECIDED)
                    record = replace(record, n=self._journal.add(record))
            else:
                record = self._mark_sent(record, link.boot)
                now = self._clock()
                if now > deadline:
                    why = "too old once the journal had it"
                    break
                self._meter.observe("sorter_respond_seconds", now - record.picture.arrived)
                movement = actuator.move(
                    record.n, _number(record), boot=link.boot, deadline=deadline
                )
                self._meter.count("sorter_movements_total", delivery=movement.delivery.value)
                self._meter.observe("sorter_move_seconds", self._clock() - now)
                if movement.delivery is not Delivery.NOT_SENT:
                    state = _ENDS[movement.delivery]
                    # A reason of the decision (why unsure) stays on a clean DONE.
                    reason = record.reason if state is ItemState.DONE else movement.detail
                    record = replace(record, state=state, reason=reason)
                    return self._journal.end(record, moved=True)
                why = f"not sent: {movement.detail}"
            if self._stopping():
                why += "; stopped"
                break
            self._pause(min(LINK_POLL_S, max(0.0, deadline - self._clock()) + 0.001))
        return self._journal.end(replace(record, state=ItemState.EXPIRED, reason=why))

    def _finish(self, n: int, state: ItemState, why: str, *, moved: bool = True) -> None:
        """The end of an item of an earlier run, which no sink is told of."""
        self._journal.finish(n, state, why, moved=moved)
        self._meter.count("sorter_items_total", state=state.value)

    def _mark_sent(self, record: Record, boot: str) -> Record:
        began = self._clock()
        record = replace(record, state=ItemState.SENT, boot=boot)
        if record.n:
            self._journal.sent(record.n, boot)
        else:
            record = replace(record, n=self._journal.add(record))
        self._meter.observe("sorter_commit_seconds", self._clock() - began)
        return record


def _number(record: Record) -> int:
    assert record.bin is not None  # The station holds what has no bin.
    return record.bin.number
