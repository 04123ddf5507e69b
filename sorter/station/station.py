"""The station: watcher → model → decision → journal → actuator → journal, for years.

Owns the order of things and the pulse. The parts come in ready-made; what each promises is its
own. Only bugs end `run` early; a missing device, folder or disk does not.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from sorter.domain import Bin, Decision, ItemState, Prediction
from sorter.errors import ImageError, JournalError
from sorter.host.clock import uptime_s
from sorter.station.burst import Burst, Shot
from sorter.station.dispatch import Dispatcher, Job, StoppedError
from sorter.station.health.status import look_at
from sorter.station.intake.reading import Picture
from sorter.station.journal.retention import Retention
from sorter.station.parts import Parts
from sorter.station.record import Record
from sorter.station.reload import self_test
from sorter.station.settings import Settings

log = logging.getLogger(__name__)

RESOLVE_WAIT_S = 15.0
"""How long a start waits for the device to say what became of interrupted items."""

PRUNE_EVERY_S = 60.0


class Station:
    """Runs until `stop`. `clock` is monotonic and the actuator's own; `wall` is Unix time."""

    def __init__(
        self,
        parts: Parts,
        settings: Settings,
        *,
        settle_s: float = 0.3,
        clock: Callable[[], float] = uptime_s,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        settings.check(parts.model.taxonomy)
        self._parts = parts
        self._settings = settings
        self._settle_s = settle_s
        self._clock, self._wall, self._sleep = clock, wall, sleep
        self._model = parts.model
        self._burst = Burst(settings.burst_s)
        self._stopping = False
        self._retention = Retention(parts.journal)
        self._next_prune = 0.0
        self._dispatcher = Dispatcher(
            parts.journal,
            parts.actuator,
            pause=self._pause,
            stopping=lambda: self._stopping,
            meter=parts.meter,
            clock=clock,
        )

    def stop(self) -> None:
        """Finish the movement under way and return from `run`. Safe in a signal handler."""
        self._stopping = True
        self._parts.bell.ring()

    def reload(self) -> None:
        """Try the bundle's weights again. Safe in a signal handler."""
        if self._parts.swapper is not None:
            self._parts.swapper.request()

    def run(self) -> None:
        """Recover, say READY, then work until `stop`."""
        parts = self._parts
        try:
            for warning in parts.journal.warnings:
                log.error("%s", warning)
            self_test(self._model)
            # What is in the folder now was there before us; what comes after READY was not.
            parts.watcher.begin()
            self._recover()
            if parts.swapper is not None:
                parts.swapper.start()
            self._beat()
            parts.voice.ready()
            self._work()
        except StoppedError:
            log.error("stopped while the journal takes no records; the next start completes it")
        finally:
            parts.voice.stopping()
            parts.pulse.end()

    def _recover(self) -> None:
        parts = self._parts
        left = self._dispatcher.recover()
        if parts.actuator is not None:
            parts.actuator.start(parts.journal.sid, parts.journal.next_n)
        if left:
            log.warning("%d items were interrupted by the last stop", left)
        until = self._clock() + RESOLVE_WAIT_S
        while self._dispatcher.unresolved and not self._stopping and self._clock() < until:
            self._dispatcher.resolve()
            self._pause(0.05)

    def _work(self) -> None:
        parts = self._parts
        for picture in parts.watcher.pictures():
            if self._stopping:
                break
            if picture is not None:
                self._take(picture)
            if self._burst and self._burst.is_over(self._clock(), self._settle_s):
                self._settle_burst()
            if self._stopping:
                break
            if not self._burst:
                self._swap()
            # A group under way has its number; a larger one that moved first would void it.
            parts.watcher.hold_backlog = bool(self._burst)
            self._dispatcher.resolve()
            self._prune(idle=picture is None)
            self._beat()
        if self._burst:
            for shot in self._burst.take():
                self._dispatcher.finish(shot.n, ItemState.EXPIRED, "stopped", moved=False)
                self._tell(shot.n, shot.picture, ItemState.EXPIRED, None, None, "stopped")

    def _take(self, picture: Picture) -> None:
        """Give one settled picture its record, or send it back to grow."""
        began = self._clock()
        if picture.unreadable:
            self._record(picture, ItemState.REJECTED, reason=picture.unreadable)
            return
        journal, sha256 = self._parts.journal, picture.sha256
        again = self._dispatcher.insist(lambda: journal.same(picture.path, sha256))
        if again is not None:
            log.info("n=%d seen again, nothing to do", again)
            return
        try:
            prediction = self._model.predict(picture.data)
        except ImageError as error:
            if not picture.final:
                self._parts.watcher.later(picture, str(error))
                return
            self._record(picture, ItemState.REJECTED, reason=str(error))
            return
        twin = self._dispatcher.insist(lambda: journal.twin(sha256))
        if twin is not None:
            self._record(picture, ItemState.DUPLICATE, reason=f"same bytes as n={twin}")
            return
        if self._settings.burst_s > 0 and not picture.backlog:
            self._gather(picture, prediction)
            return
        decision = self._model.decide([prediction])
        self._parts.meter.observe("sorter_decide_seconds", self._clock() - began)
        self._act(picture, decision)

    def _gather(self, picture: Picture, prediction: Prediction) -> None:
        if not self._burst.admits(picture):
            self._settle_burst()
        n = self._dispatcher.add(picture, ItemState.ARRIVED, model=self._model.digest)
        self._burst.add(Shot(n, replace(picture, data=b""), prediction))

    def _settle_burst(self) -> None:
        """Decide the group as one item: its first picture moves, the others point at it."""
        shots = self._burst.take()
        first = shots[0]
        decision = self._model.decide([shot.prediction for shot in shots])
        for shot in shots[1:]:
            reason = f"burst of n={first.n}"
            self._dispatcher.finish(shot.n, ItemState.DUPLICATE, reason, moved=False)
            self._tell(shot.n, shot.picture, ItemState.DUPLICATE, None, None, reason)
        self._act(first.picture, decision, n=first.n)

    def _act(self, picture: Picture, decision: Decision, *, n: int | None = None) -> None:
        """Carry out a decision: move, hold, or record that it is too late."""
        taxonomy = self._model.taxonomy
        bin_ = self._settings.route(decision, taxonomy)
        self._parts.meter.count(
            "sorter_decisions_total", bin=decision.bin.key, status=decision.status.value
        )
        if n is not None:
            self._dispatcher.decided(n, decision, bin_=bin_ or decision.bin, model=self._digest)
        reason = decision.reason.value
        late = picture.backlog and not self._settings.act_on_backlog
        if late or bin_ is None:
            state = ItemState.EXPIRED if late else ItemState.UNSURE_HELD
            if late:
                reason = "found at start"
            if n is None:
                self._record(picture, state, decision=decision, bin_=bin_, reason=reason)
            else:
                self._dispatcher.finish(n, state, reason, moved=False)
                self._tell(n, picture, state, decision, bin_, reason)
            return
        # A picture that may move although it was found at start arrives when its turn comes.
        arrived = self._clock() if picture.backlog else picture.arrived
        job = Job(
            picture=picture,
            decision=decision,
            bin=bin_,
            model=self._digest,
            deadline=arrived + self._settings.max_age_s,
            reason=reason,
            n=n,
        )
        number, state, reason = self._dispatcher.carry_out(job)
        self._tell(number, picture, state, decision, bin_, reason)

    @property
    def _digest(self) -> str:
        return self._model.digest

    def _record(
        self,
        picture: Picture,
        state: ItemState,
        *,
        decision: Decision | None = None,
        bin_: Bin | None = None,
        reason: str = "",
    ) -> None:
        n = self._dispatcher.add(
            picture, state, decision=decision, bin_=bin_, reason=reason, model=self._digest
        )
        self._tell(n, picture, state, decision, bin_, reason)

    def _tell(
        self,
        n: int,
        picture: Picture,
        state: ItemState,
        decision: Decision | None,
        bin_: Bin | None,
        reason: str,
    ) -> None:
        meter = self._parts.meter
        meter.count("sorter_items_total", state=state.value)
        meter.gauge("sorter_last_item_time_seconds", picture.arrived_at)
        age_s = self._clock() - picture.arrived
        record = Record(n, picture, state, decision, bin_, reason, age_s, self._digest)
        for sink in self._parts.sinks:
            sink(record)

    def _swap(self) -> None:
        """Between two items: take new weights, if they passed their test."""
        model = self._parts.swapper.take() if self._parts.swapper is not None else None
        if model is not None:
            log.warning("new weights %s in place of %s", model.digest[:12], self._digest[:12])
            self._model = model

    def _prune(self, *, idle: bool) -> None:
        """Let old records go, a few at a time and only while nothing else is to do."""
        now = self._clock()
        trouble = self._dispatcher.journal_problem or self._parts.watcher.problem
        # While the folder is away its pictures only seem to be gone.
        if not idle or now < self._next_prune or trouble:
            return
        more = False
        with contextlib.suppress(JournalError):
            more = self._retention.step(self._wall() - self._settings.keep_s)
        self._next_prune = now + (1.0 if more else PRUNE_EVERY_S)

    def _pause(self, seconds: float) -> None:
        """Wait inside an item without losing the pulse; a stop cuts it short."""
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
        self._parts.pulse.beat(lambda: look_at(self._parts, self._dispatcher, model=self._digest))
