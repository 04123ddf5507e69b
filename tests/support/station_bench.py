"""A whole station in one process and no time: its clock is the test's, its folder is a list.

Real: the station, its dispatcher, the journal on SQLite in memory, the reporter, the watchdog and
the counters. Small and of our own: the folder (`Turns`), the model (`Eye`) and the gate (`Gate`),
which keeps its own log of movements and refuses what a real device would refuse.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sorter.domain import (
    Decision,
    Delivery,
    Identity,
    LinkStatus,
    Movement,
    Picture,
    Policy,
    Prediction,
    Record,
    Taxonomy,
)
from sorter.errors import ImageError
from sorter.host.wakeup import Wakeup
from sorter.station.health.metrics import Metrics
from sorter.station.health.reporter import Reporter
from sorter.station.health.status import StationStatus
from sorter.station.health.systemd import Notifier, Watchdog
from sorter.station.interfaces import Model
from sorter.station.journal.journal import Journal
from sorter.station.journal.schema import migrate
from sorter.station.settings import HOLD, Settings
from sorter.station.station import Parts, Station
from sorter.vision.decide import average, decide
from tests.support.tiny import taxonomy3

TOLD_AT = 1_700_000_000.0

Turn = Callable[[], object]
"""Makes a picture that arrives now, or does something while none does."""


class Clock:
    """Seconds that pass only when somebody waits; `at` makes things happen meanwhile."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._plans: list[tuple[float, Callable[[], object]]] = []
        self.watch: Callable[[], object] = lambda: None

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return TOLD_AT + self.now - 1000.0

    def at(self, after_s: float, act: Callable[[], object]) -> None:
        """Do `act` once `after_s` seconds have passed."""
        self._plans.append((self.now + after_s, act))

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        due = [plan for plan in self._plans if plan[0] <= self.now]
        self._plans = [plan for plan in self._plans if plan[0] > self.now]
        for _, act in due:
            act()
        self.watch()


class Turns:
    """The folder: takes its turns one after the other, then asks the station to stop."""

    folder, mode = Path("/camera"), "a list"

    def __init__(
        self, turns: Sequence[Turn], stop: Callable[[], None], rest: Callable[[], None]
    ) -> None:
        self._turns, self._stop, self._rest = turns, stop, rest
        self.problem, self.pending, self.listings = "", 0, 0
        self.hold_backlog = False
        self.begun = False
        self.put_back: list[tuple[str, str]] = []

    def begin(self) -> None:
        """The first listing."""
        self.begun = True

    def pictures(self) -> Iterator[Picture | None]:
        """What each turn makes, if it makes a picture."""
        for turn in self._turns:
            made = turn()
            yield made if isinstance(made, Picture) else None
            self._rest()
        self._stop()
        yield None

    def later(self, picture: Picture, why: str) -> None:
        """Remembered only."""
        self.put_back.append((picture.path.name, why))


class Eye:
    """Knows a picture by the first word of its bytes: metal, rest, unsure, unknown, empty.

    Broken is none.
    """

    def __init__(self, digest: str = "w1", *, absurd: bool = False) -> None:
        self.digest = digest
        self.taxonomy: Taxonomy = taxonomy3()
        self.meanwhile: Callable[[], object] = lambda: None
        self._absurd = absurd

    def predict(self, data: bytes) -> Prediction:
        """What the first word says; `meanwhile` happens first."""
        self.meanwhile()
        if self._absurd:
            return Prediction((0.1, 0.1, 0.1))
        if data.startswith(b"broken"):
            raise ImageError("cut short")
        if data.startswith(b"empty"):
            return Prediction((0.5, 0.3, 0.2), 0.9, 1.0)
        if data.startswith(b"strange"):
            return Prediction((0.98, 0.01, 0.01), 0.9)
        if data.startswith(b"unsure"):
            return Prediction((0.5, 0.3, 0.2))
        return Prediction((0.01, 0.98, 0.01) if data.startswith(b"rest") else (0.98, 0.01, 0.01))

    def decide(self, predictions: Sequence[Prediction]) -> Decision:
        """As the edge decides."""
        return decide(average(predictions), self.taxonomy, Policy((0.9, 0.9), 0.8, 0.8))


class Gate:
    """The device and its link. `moved` is the gate's own log, written when it starts to move."""

    def __init__(self, clock: Clock, db: sqlite3.Connection) -> None:
        self._clock, self._db = clock, db
        self.ready, self.boot, self.move_s = True, "b1", 0.3
        self.moved: list[tuple[int, int, float]] = []
        self.answers: list[Movement] = []
        self.fates: dict[int, Movement] = {}
        self.asked: list[tuple[int, str]] = []
        self.started_as: tuple[str, int] | None = None
        self.beat: Callable[[], None] = lambda: None
        self.meanwhile: Callable[[], object] = lambda: None

    def start(self, sid: str, next_n: int, *, beat: Callable[[], None] = lambda: None) -> None:
        """See Actuator. It has no thread, so it beats whenever the clock goes."""
        self.beat = beat
        self.started_as = (sid, next_n)

    def status(self) -> LinkStatus:
        """See Actuator."""
        return LinkStatus(self.ready, "ready" if self.ready else "closed", boot=self.boot)

    def move(self, n: int, bin_number: int, *, boot: str, deadline: float) -> Movement:
        """As a link does, and a look into the journal: is it SENT there by now?"""
        if not self.ready or boot != self.boot or self._clock() > deadline:
            return Movement(Delivery.NOT_SENT, "not now", self.boot)
        row = self._db.execute("SELECT state, boot FROM items WHERE n = ?", (n,)).fetchone()
        assert row == ("SENT", boot), f"n={n} moves while the journal says {row}"
        assert not self._db.in_transaction
        answer = self.answers.pop(0) if self.answers else Movement(Delivery.DONE, "", boot)
        if answer.delivery is not Delivery.NOT_SENT:
            self.moved.append((n, bin_number, self._clock()))
            self.meanwhile()
            self._clock.sleep(self.move_s)
        return answer

    def resolve(self, n: int, *, boot: str) -> Movement:
        """What became of `n`: as `fates` says."""
        self.asked.append((n, boot))
        return self.fates[n]

    def clear(self) -> Movement:
        """See Actuator."""
        return Movement(Delivery.DONE, "", self.boot)

    def home(self) -> Movement:
        """See Actuator."""
        return Movement(Delivery.DONE, "", self.boot)

    def stop(self) -> None:
        """See Actuator."""

    def close(self) -> None:
        """See Actuator."""


class Voice(Notifier):
    """The service manager's ear: what was said, in order."""

    def __init__(self) -> None:
        super().__init__({})
        self.said: list[str] = []
        self.at_ready: Callable[[], object] = lambda: None

    def ready(self) -> None:
        self.said.append("ready")
        self.at_ready()

    def stopping(self) -> None:
        self.said.append("stopping")


@dataclass
class Offer:
    """Weights that wait to be taken, as `reload` offers them."""

    model: Model | None = None
    refused: str = ""
    requests: int = 0
    started: bool = False

    def start(self) -> None:
        self.started = True

    def request(self) -> None:
        self.requests += 1

    def take(self) -> Model | None:
        model, self.model = self.model, None
        return model


@dataclass
class Row:
    """One row of the journal."""

    n: int
    name: str
    state: str
    bin: str
    reason: str
    boot: str
    model: str
    decided: int
    sent: int
    done: int


@dataclass
class Bench:
    """A station, its parts at hand. `disk_full` is SQLite's own refusal, set from outside."""

    folder: Path
    settings: Settings = field(default_factory=lambda: Settings(unsure=HOLD))
    eye: Eye = field(default_factory=Eye)
    recording_only: bool = False

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.db)
        self.gate = Gate(self.clock, self.db)
        self.voice, self.offer = Voice(), Offer()
        self.meter = Metrics(strict=True)
        self.told: list[Record] = []
        self.late: list[str] = []
        self.seen: list[StationStatus] = []
        self.stop: Callable[[], None] = lambda: None

    def disk_full(self, full: bool = True) -> None:
        """Nothing can be written from now on, or everything again."""
        self.db.execute(f"PRAGMA query_only = {'ON' if full else 'OFF'}")

    def disk_stalls(self, word: str, seconds: float) -> None:
        """The next statement with `word` in it takes so long."""

        def trace(statement: str) -> None:
            if word in statement:
                self.db.set_trace_callback(None)
                self.clock.sleep(seconds)

        self.db.set_trace_callback(trace)

    def left_over(self, state: str, *, boot: str = "b1") -> int:
        """A row that a killed station left open; its number."""
        cursor = self.db.execute(
            "INSERT INTO items (path, sha256, identity, state, arrived_at, boot)"
            " VALUES ('/camera/old.png', 'old', '1:1:1:1', ?, 1.0, ?)",
            (state, boot),
        )
        return int(cursor.lastrowid or 0)

    def picture(
        self, name: str, data: bytes | None = None, *, age_s: float = 0.1, **more: object
    ) -> Callable[[], Picture]:
        """A picture that is `age_s` old when its turn comes."""
        body = data if data is not None else f"metal {name}".encode()

        def arrive() -> Picture:
            arrived = self.clock() - age_s
            return Picture(
                path=Path("/camera") / name,
                data=body,
                sha256=hashlib.sha256(body).hexdigest(),
                identity=Identity(inode=1, size=len(body), mtime_ns=2, ctime_ns=3),
                arrived=arrived,
                arrived_at=self.clock.wall() - age_s,
                **more,  # type: ignore[arg-type]
            )

        return arrive

    def run(self, *turns: Turn, rest_s: float = 0.0) -> list[Record]:
        """Run a station over `turns`, `rest_s` apart, to its end; the records its sink got."""
        before = len(self.told)
        path = self.folder / "journal.sqlite"
        path.touch()
        journal = Journal(
            path,
            self.db,
            os.open(os.devnull, os.O_RDONLY),
            warnings=(),
            wall=self.clock.wall,
            synchronous="OFF",
        )
        watchdog = Watchdog(clock=self.clock)
        reporter = Reporter(
            self.voice, watchdog, self.meter, clock=self.clock, wall=self.clock.wall
        )
        wakeup = Wakeup()
        self.intake = Turns(turns, lambda: self.stop(), lambda: self.clock.sleep(rest_s))
        station = Station(
            Parts(
                intake=self.intake,
                model=self.eye,
                journal=journal,
                actuator=None if self.recording_only else self.gate,
                voice=self.voice,
                meter=self.meter,
                wakeup=wakeup,
                reporter=reporter,
                reload=self.offer,
                sinks=(lambda record: self.told.append(record),),
            ),
            self.settings,
            clock=self.clock,
            wall=self.clock.wall,
            sleep=self.clock.sleep,
        )
        self.stop, self.reload = station.stop, station.reload

        def watch() -> None:
            self.gate.beat()
            self.late += watchdog.late()
            if reporter.seen is not None and (not self.seen or self.seen[-1] != reporter.seen):
                self.seen.append(reporter.seen)

        self.clock.watch = watch
        try:
            station.run()
        finally:
            wakeup.close()
        return self.told[before:]

    def rows(self) -> list[Row]:
        """All records, oldest first."""
        found = self.db.execute(
            "SELECT n, path, state, bin, reason, boot, model, decided_at IS NOT NULL,"
            " sent_at IS NOT NULL, done_at IS NOT NULL FROM items ORDER BY n"
        )
        return [Row(n, Path(path).name, *rest) for n, path, *rest in found]

    def states(self) -> list[tuple[str, str]]:
        """(name, state) of all records, oldest first."""
        return [(row.name, row.state) for row in self.rows()]
