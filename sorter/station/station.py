"""The station: folder → model → decision → journal → actuator → journal, for years.

Owns the order of things and the sign of life. The parts come in ready-made; what each promises is
its own. Only bugs end `run` early; a missing device, folder or disk does not.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sorter.audit import AUDITED
from sorter.domain import (
    Decision,
    ItemState,
    LinkStatus,
    Picture,
    Prediction,
    Record,
    Status,
)
from sorter.errors import ImageError, JournalError
from sorter.host.clock import uptime_s
from sorter.host.wakeup import Wakeup
from sorter.station.burst import Burst, Shot
from sorter.station.dispatch import RECORD_ONLY, Dispatcher
from sorter.station.health.metrics import Metrics
from sorter.station.health.reporter import Reporter
from sorter.station.health.status import StationStatus
from sorter.station.health.systemd import Notifier
from sorter.station.interfaces import Actuator, Intake, Model, Opening, Reload, Sink
from sorter.station.journal.journal import Journal, Patience, StoppedError
from sorter.station.journal.retention import Retention
from sorter.station.reload import self_test
from sorter.station.settings import Settings

log = logging.getLogger(__name__)

RESOLVE_WAIT_S = 15.0
"""How long a start waits for the device to say what became of interrupted items."""

PRUNE_EVERY_S = 60.0

LINK = "link"
LINK_LIMIT_S = 60.0
"""Opening a port may wait for a name server; longer than this, something holds the thread."""


@dataclass(frozen=True)
class Parts:
    """What a station is made of (see `compose`), opened and closed by whoever brings it."""

    intake: Intake
    model: Model
    journal: Journal
    actuator: Actuator | None
    voice: Notifier
    meter: Metrics
    wakeup: Wakeup
    reporter: Reporter
    reload: Reload | None = None
    in_hand: Opening | None = None
    sinks: Sequence[Sink] = ()


class Station:
    """Runs until `stop`. `clock` is monotonic and the actuator's own; `wall` is Unix time."""

    def __init__(
        self,
        parts: Parts,
        settings: Settings,
        *,
        clock: Callable[[], float] = uptime_s,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        settings.check(parts.model.taxonomy)
        # Shown as 0 before the first, so that a rate over them has a beginning.
        for bin_ in parts.model.taxonomy.bins:
            parts.meter.count("sorter_moved_total", 0, bin=bin_.key)
        for label in parts.model.taxonomy.categories:
            parts.meter.count("sorter_classes_total", 0, **{"class": label.name})
        self._parts = parts
        self._settings = settings
        self._clock, self._wall, self._sleep = clock, wall, sleep
        self._model = parts.model
        # What a lost journal knew may have moved already.
        self._acts_on_backlog = settings.act_on_backlog and not parts.journal.predecessor
        self._burst = Burst(settings.burst_s) if settings.burst_s > 0 else None
        self._stopping = False
        self._retention = Retention(parts.journal)
        self._next_prune = 0.0
        self._jam = ""
        self._last_picture = clock()
        # From here on a disk that does not answer is waited for, and the station stays alive.
        parts.journal.patience = Patience(self._pause, lambda: self._stopping, parts.meter)
        self._dispatcher = Dispatcher(
            parts.journal,
            parts.actuator,
            pause=self._pause,
            stopping=lambda: self._stopping,
            meter=parts.meter,
            clock=clock,
        )

    @property
    def seen(self) -> StationStatus | None:
        """How it was when it last looked; any thread may ask."""
        return self._parts.reporter.seen

    def stop(self) -> None:
        """Finish the movement under way and return from `run`. Safe in a signal handler."""
        self._stopping = True
        self._parts.wakeup.wake()

    def reload(self) -> None:
        """Try the bundle's weights again. Safe in a signal handler."""
        if self._parts.reload is not None:
            self._parts.reload.request()

    def run(self) -> None:
        """Recover, say READY, then work until `stop`."""
        parts = self._parts
        try:
            for warning in parts.journal.warnings:
                log.error("%s", warning)
            if self._settings.act_on_backlog and not self._acts_on_backlog:
                log.error(
                    "pictures found at start are only recorded, not acted on: they may have moved "
                    "under %s, which was set aside; move that file away to act on them",
                    parts.journal.predecessor,
                )
            self_test(self._model)
            self._recover()
            if parts.reload is not None:
                parts.reload.start()
            # What is in the folder now was there before us; what comes after READY was not.
            parts.intake.begin()
            self._beat()
            parts.voice.ready()
            self._work()
        except StoppedError:
            log.error("stopped while the journal takes no records; the next start completes it")
        finally:
            parts.voice.stopping()
            parts.reporter.end()

    def _recover(self) -> None:
        parts = self._parts
        left = self._dispatcher.recover()
        if parts.actuator is not None:
            beat = parts.reporter.enlist(LINK, LINK_LIMIT_S)
            parts.actuator.start(parts.journal.sid, parts.journal.next_n, beat=beat)
        if left:
            log.warning("%d items were interrupted by the last stop", left)
        until = self._clock() + RESOLVE_WAIT_S
        while self._dispatcher.unresolved and not self._stopping and self._clock() < until:
            self._dispatcher.resolve()
            self._pause(0.05)

    def _work(self) -> None:
        parts = self._parts
        for picture in parts.intake.pictures():
            if self._stopping:
                break
            if picture is not None:
                self._last_picture = self._clock()
                self._take(picture)
            if self._burst and self._burst.is_over(self._clock(), self._settings.settle_s):
                self._settle_burst(self._burst)
            if self._stopping:
                break
            if not self._burst:
                self._swap()
            # A burst under way has its number. The device would refuse that one after a larger
            # number.
            parts.intake.hold_backlog = bool(self._burst)
            self._dispatcher.resolve()
            self._prune(idle=picture is None)
            self._beat()
        for shot in self._burst.take() if self._burst else ():
            self._end(replace(shot.record, state=ItemState.EXPIRED, reason="stopped"))

    def _take(self, picture: Picture) -> None:
        """Give one settled picture its record, or send it back to grow."""
        began = self._clock()
        journal = self._parts.journal
        record = Record(picture, model=self._model.digest)
        rejected = replace(record, state=ItemState.REJECTED)
        if picture.unreadable:
            self._end(replace(rejected, reason=picture.unreadable))
            return
        again = journal.same(picture.path, picture.sha256)
        if again is not None:
            log.info("n=%d seen again, nothing to do", again)
            return
        try:
            prediction = self._predict(picture)
        except ImageError as error:
            if picture.final:
                self._end(replace(rejected, reason=str(error)))
            else:
                self._parts.intake.later(picture, str(error))
            return
        twin = journal.twin(picture.sha256)
        if twin is not None:
            why = f"same bytes as n={twin}"
            self._end(replace(record, state=ItemState.DUPLICATE, reason=why))
        elif self._burst is not None and not picture.backlog:
            self._gather(self._burst, record, prediction)
        else:
            decision = self._model.decide([prediction])
            self._parts.meter.observe("sorter_decide_seconds", self._clock() - began)
            self._act(record, decision)

    def _predict(self, picture: Picture) -> Prediction:
        """Open and judge one picture, noted as being in hand. Raises ImageError."""
        if self._parts.in_hand is None:
            return self._model.predict(picture.data)
        with self._parts.in_hand.holding(picture.sha256):
            return self._model.predict(picture.data)

    def _gather(self, burst: Burst, record: Record, prediction: Prediction) -> None:
        if not burst.admits(record.picture):
            self._settle_burst(burst)
        record = replace(record, n=self._parts.journal.add(record))
        # Its bytes are not needed any more, and a group may be large.
        record = replace(record, picture=replace(record.picture, data=b""))
        burst.add(Shot(record, prediction))

    def _settle_burst(self, burst: Burst) -> None:
        """Decide the group as one item: its first picture moves, the others point at it."""
        first, *others = shots = burst.take()
        decision = self._model.decide([shot.prediction for shot in shots])
        for shot in others:
            why = f"burst of n={first.record.n}"
            self._end(replace(shot.record, state=ItemState.DUPLICATE, reason=why))
        self._act(first.record, decision)

    def _act(self, record: Record, decision: Decision) -> None:
        """Carry out a decision: move, hold, or record that it is too late."""
        record = replace(
            record,
            decision=decision,
            bin=self._settings.route(decision, self._model.taxonomy),
            reason=decision.reason.value,
        )
        if self._settings.audits(record.picture.sha256, decision):
            record = replace(record, reason=AUDITED)
        self._count(decision)
        if record.n:
            self._parts.journal.decide(record)
        backlog = record.picture.backlog
        if backlog and not self._acts_on_backlog:
            self._end(replace(record, state=ItemState.EXPIRED, reason="found at start"))
        elif record.bin is None:
            self._end(replace(record, state=ItemState.UNSURE_HELD))
        else:
            # One that may move although it was found at start arrives when its turn comes.
            arrived = self._clock() if backlog else record.picture.arrived
            deadline = arrived + self._settings.max_age_s
            self._tell(self._dispatcher.carry_out(record, deadline=deadline))

    def _count(self, decision: Decision) -> None:
        meter = self._parts.meter
        meter.count("sorter_decisions_total", reason=decision.reason.value or decision.status.value)
        if decision.status is Status.SORTED:
            meter.count("sorter_classes_total", **{"class": decision.label.name})

    def _end(self, record: Record) -> None:
        """The end of an item for which nothing moves."""
        self._tell(self._parts.journal.end(record))

    def _tell(self, record: Record) -> None:
        """Hand on what is durable by now."""
        meter, picture = self._parts.meter, record.picture
        if record.state is ItemState.FAILED:
            self._jam = f"n={record.n}: {record.reason}"
        elif record.state is ItemState.DONE:
            self._jam = ""
        meter.count("sorter_items_total", state=record.state.value)
        if record.state is ItemState.DONE and record.bin and self._parts.actuator is not None:
            meter.count("sorter_moved_total", bin=record.bin.key)
        meter.gauge("sorter_last_item_time_seconds", picture.arrived_at)
        record = replace(record, age_s=self._clock() - picture.arrived)
        for sink in self._parts.sinks:
            sink(record)

    def _swap(self) -> None:
        """Between two items: take new weights, if they passed their test."""
        model = self._parts.reload.take() if self._parts.reload is not None else None
        if model is not None:
            old, self._model = self._model, model
            log.warning("new weights %s in place of %s", model.digest[:12], old.digest[:12])

    def _prune(self, *, idle: bool) -> None:
        """Let old records go, a few at a time and only while nothing else is to do."""
        now = self._clock()
        trouble = self._parts.journal.problem or self._parts.intake.problem
        # While the folder is away its pictures only seem to be gone.
        if not idle or now < self._next_prune or trouble:
            return
        more = False
        with contextlib.suppress(JournalError):
            more = self._retention.step(self._wall() - self._settings.keep_s)
        self._next_prune = now + (1.0 if more else PRUNE_EVERY_S)

    def _pause(self, seconds: float) -> None:
        """Wait inside an item and stay alive; a stop cuts it short."""
        until = self._clock() + seconds
        while True:
            self._beat()
            left_s = until - self._clock()
            if left_s <= 0:
                return
            self._sleep(min(left_s, 0.1))
            if self._stopping:
                return

    def _beat(self) -> None:
        self._parts.reporter.beat(self._status)

    def _status(self) -> StationStatus:
        """How the station is now."""
        parts = self._parts
        link = LinkStatus(ready=False, state=RECORD_ONLY)
        if parts.actuator is not None:
            link = parts.actuator.status()
        return StationStatus(
            folder=str(parts.intake.folder),
            mode=parts.intake.mode,
            folder_problem=parts.intake.problem,
            link=link.state,
            link_ready=link.ready,
            link_wanted=parts.actuator is not None,
            link_detail=link.detail,
            journal_problem=parts.journal.problem,
            model=self._model.digest,
            model_refused=parts.reload.refused if parts.reload is not None else "",
            pending=parts.intake.pending,
            unresolved=self._dispatcher.unresolved,
            starts=parts.journal.starts,
            link_boot=link.boot,
            listings=parts.intake.listings,
            jam=self._jam,
            camera_problem=self._camera_problem(),
            set_aside=self._set_aside(),
        )

    def _set_aside(self) -> str:
        """The damaged journal that still lies beside this one, if there is one."""
        journal = self._parts.journal
        there = journal.predecessor and journal.path.with_name(journal.predecessor).exists()
        return journal.predecessor if there else ""

    def _camera_problem(self) -> str:
        limit_s = self._settings.expect_every_s
        if not limit_s or self._clock() - self._last_picture <= limit_s:
            return ""
        return f"no picture for more than {limit_s:g} s"
