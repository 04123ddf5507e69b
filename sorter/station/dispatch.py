"""One decided item becomes at most one movement and exactly one terminal record.

Owns the order that keeps the station's promises: SENT durable, then the deadline again, then the
move, then the end. Takes no decision about labels and reads no picture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sorter.domain import Bin, Decision, Delivery, ItemState, LinkStatus
from sorter.host.clock import uptime_s
from sorter.station.intake.reading import Picture
from sorter.station.interfaces import Actuator, Meter
from sorter.station.journal.journal import Journal, JournalStuckError, Row

log = logging.getLogger(__name__)

_T = TypeVar("_T")

RETRY_S = 0.5
"""Between two tries of a stuck journal."""

LINK_POLL_S = 0.05
"""Between two looks at a link that is not ready."""

RECORD_ONLY = "record only"

_ENDS = {
    Delivery.DONE: ItemState.DONE,
    Delivery.FAILED: ItemState.FAILED,
    Delivery.REFUSED: ItemState.FAILED,
    Delivery.UNCERTAIN: ItemState.UNCERTAIN,
}


class StoppedError(Exception):
    """The station is stopping and the journal still takes no record; recovery will write it."""


@dataclass(frozen=True, slots=True)
class Job:
    """A decided item: where it goes, and until when (monotonic) it may."""

    picture: Picture
    decision: Decision
    bin: Bin
    model: str
    deadline: float
    reason: str = ""
    n: int | None = None


class Dispatcher:
    """Carries out jobs, one at a time. `pause(seconds)` waits and keeps the station's pulse."""

    def __init__(
        self,
        journal: Journal,
        actuator: Actuator | None,
        *,
        pause: Callable[[float], None],
        stopping: Callable[[], bool],
        meter: Meter,
        clock: Callable[[], float] = uptime_s,
    ) -> None:
        self._journal = journal
        self._actuator = actuator
        self._pause = pause
        self._stopping = stopping
        self._meter = meter
        self._clock = clock
        self._open: list[Row] = []
        self.journal_problem = ""

    @property
    def unresolved(self) -> int:
        """Items sent before a crash whose end is still to be asked of the device."""
        return len(self._open)

    def link(self) -> LinkStatus:
        """The link now, or a ready one that is none where the station only records."""
        if self._actuator is None:
            return LinkStatus(ready=False, state=RECORD_ONLY)
        return self._actuator.status()

    def recover(self) -> int:
        """Give every row that a crash left open its end, or its place in `resolve`; how many."""
        rows = self._journal.unfinished()
        for row in rows:
            if row.state is ItemState.SENT and self._actuator is not None:
                self._open.append(row)
            elif row.state is ItemState.SENT:
                self._finish(row.n, ItemState.UNCERTAIN, "interrupted; no device to ask")
            else:
                self._finish(row.n, ItemState.EXPIRED, "interrupted before it was sent")
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

    def add(
        self,
        picture: Picture,
        state: ItemState,
        *,
        decision: Decision | None = None,
        bin_: Bin | None = None,
        reason: str = "",
        boot: str = "",
        model: str = "",
    ) -> int:
        """`Journal.add`, tried until the disk takes it. StoppedError where we stop before that."""
        return self.insist(
            lambda: self._journal.add(
                picture,
                state,
                decision=decision,
                bin_=bin_,
                reason=reason,
                boot=boot,
                model=model,
            )
        )

    def decided(self, n: int, decision: Decision, *, bin_: Bin, model: str) -> None:
        """`Journal.decide`, tried until the disk takes it."""
        self.insist(lambda: self._journal.decide(n, decision, bin_=bin_, model=model))

    def finish(self, n: int, state: ItemState, reason: str, *, moved: bool = True) -> None:
        """`Journal.finish`, tried until the disk takes it."""
        self._finish(n, state, reason, moved=moved)

    def carry_out(self, job: Job) -> tuple[int, ItemState, str]:
        """Move for `job` if that may still be; its number, its terminal state and the reason."""
        n = job.n
        if self._actuator is None:
            reason = job.reason or RECORD_ONLY
            return self._end(job, n, ItemState.DONE, reason, moved=False)
        why = ""
        while True:
            if self._clock() > job.deadline:
                return self._end(job, n, ItemState.EXPIRED, why or "too old", moved=False)
            if self._open:
                # One at a time on the wire, the old ones first.
                self.resolve()
            link = self._actuator.status()
            if not link.ready or self._open:
                why = f"device not ready: {link.state}"
                if n is None:
                    n = self._add(job, ItemState.DECIDED)
                if self._stopping():
                    return self._end(job, n, ItemState.EXPIRED, f"{why}; stopped", moved=False)
                self._pause(min(LINK_POLL_S, max(0.0, job.deadline - self._clock()) + 0.001))
                continue
            n = self._mark_sent(job, n, link.boot)
            now = self._clock()
            if now > job.deadline:
                why = "too old once the journal had it"
                return self._end(job, n, ItemState.EXPIRED, why, moved=False)
            self._meter.observe("sorter_respond_seconds", now - job.picture.arrived)
            movement = self._actuator.move(n, job.bin.number, boot=link.boot, deadline=job.deadline)
            self._meter.count("sorter_movements_total", delivery=movement.delivery.value)
            self._meter.observe("sorter_move_seconds", self._clock() - now)
            if movement.delivery is Delivery.NOT_SENT:
                why = f"not sent: {movement.detail}"
                if self._stopping():
                    return self._end(job, n, ItemState.EXPIRED, f"{why}; stopped", moved=False)
                self._pause(LINK_POLL_S)
                continue
            state = _ENDS[movement.delivery]
            # A reason that belongs to the decision (why unsure) stays on a clean DONE.
            reason = job.reason if state is ItemState.DONE else movement.detail
            return self._end(job, n, state, reason, moved=True)

    def _mark_sent(self, job: Job, n: int | None, boot: str) -> int:
        began = self._clock()
        if n is None:
            n = self._add(job, ItemState.SENT, boot=boot)
        else:
            number = n
            self.insist(lambda: self._journal.sent(number, boot))
        self._meter.observe("sorter_commit_seconds", self._clock() - began)
        return n

    def _add(self, job: Job, state: ItemState, *, boot: str = "", reason: str = "") -> int:
        return self.add(
            job.picture,
            state,
            decision=job.decision,
            bin_=job.bin,
            reason=reason or job.reason,
            boot=boot,
            model=job.model,
        )

    def _end(
        self, job: Job, n: int | None, state: ItemState, reason: str, *, moved: bool
    ) -> tuple[int, ItemState, str]:
        if n is None:
            n = self._add(job, state, reason=reason)
        else:
            self._finish(n, state, reason, moved=moved)
        return n, state, reason

    def _finish(self, n: int, state: ItemState, reason: str, *, moved: bool = True) -> None:
        self.insist(lambda: self._journal.finish(n, state, reason, moved=moved))

    def insist(self, act: Callable[[], _T]) -> _T:
        """Read or write the journal, tried until the disk answers. StoppedError as in `add`."""
        while True:
            try:
                result = act()
            except JournalStuckError as error:
                if not self.journal_problem:
                    log.error("%s", error)
                    self._meter.count("sorter_faults_total", part="journal")
                self.journal_problem = str(error)
                if self._stopping():
                    raise StoppedError from error
                self._pause(RETRY_S)
                continue
            if self.journal_problem:
                log.warning("the journal takes records again")
                self.journal_problem = ""
            return result
