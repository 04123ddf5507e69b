"""Induced troubles at a station at work: each told once, each cleared once, nothing held up.

In turn: a jam, a device that is lost, a journal that takes no record, a folder that is gone, a
silent camera, a damaged journal that was set aside. One command in five hangs until it is killed.
Beside it works a station without commands, under the same pictures: the times from a picture's
closing to its record are compared with those of the same moments there.

    python -m tests.soak.alarms --troubles 200
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from sorter.domain import Delivery, LinkStatus, Movement, Record
from sorter.station.health.alarms import Orders
from sorter.station.health.status import Trouble
from sorter.station.settings import Settings
from tests.soak.in_process import Running, running, wait
from tests.support.counting_gate import CountingGate
from tests.support.tiny import paint

PICTURES = 4
"""In peace before each trouble, and beside each that lets items move, one after the other."""

PATIENCE_S = 60.0

SILENT_S = 4.0
"""Longer than any other trouble keeps pictures away, where the machine has nothing else to do."""

LIMIT_S = 3.0
"""A command that hangs is killed after it; one that does not must get a processor within it."""

BUSY_MS = 100
"""How long a station waits for a locked journal before it counts as one that does not answer."""


class TroubledGate(CountingGate):
    """One whose cable can be pulled, and that can get stuck."""

    lost = stuck = False

    def __init__(self) -> None:
        super().__init__()
        self.run: Running | None = None
        self._is_impatient = False

    def status(self) -> LinkStatus:
        """Ready, unless it is lost."""
        if not self._is_impatient and self.run is not None and self.run.stations:
            # Here we are in the station's own thread, which alone may use its connection.
            db = self.run.stations[0]._parts.journal._db
            db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
            self._is_impatient = True
        there = super().status()
        return LinkStatus(False, "closed", "no such port") if self.lost else there

    def move(self, n: int, bin_number: int, *, boot: str, deadline: float) -> Movement:
        """Remembered, done or not."""
        moved = super().move(n, bin_number, boot=boot, deadline=deadline)
        return Movement(Delivery.FAILED, "stuck", boot) if self.stuck else moved


class At:
    """A station at work, and when each picture's record came."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.recorded: dict[str, float] = {}
        (home / "camera").mkdir(parents=True)
        (home / "state").mkdir()

    def __call__(self, record: Record) -> None:
        """See Sink."""
        self.recorded[record.picture.path.name] = time.monotonic()

    @contextlib.contextmanager
    def work(self, alarms: Orders | None, silent_s: float = 0.0) -> Iterator[Running]:
        """From READY to the stop."""
        gate = TroubledGate()
        settings = Settings(unsure="red", settle_s=0.05, max_age_s=30.0, expect_every_s=silent_s)
        with running(self.home, settings, sinks=[self], alarms=alarms, gate=gate) as run:
            gate.run = run
            yield run


def put(number: int, *stations: At) -> float:
    """One picture that nobody has seen, at each of them; when it was closed."""
    colour = (number % 256, number // 256 % 256, 255)
    for station in stations:
        paint(station.home / "camera" / f".{number}.png", colour)
    begun = time.monotonic()
    for station in stations:
        part = station.home / "camera" / f".{number}.png"
        part.rename(part.with_name(f"{number}.png"))
    return begun


def percentile(values: list[float], share: float) -> float:
    """The nearest rank; 0 of nothing."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


class Troubles:
    """Begins and ends each kind at a station; `more` delivers one picture that may wait."""

    def __init__(self, at: At, run: Running, more: Callable[[], None]) -> None:
        self._camera, self._state = at.home / "camera", at.home / "state"
        self._run, self._more = run, more
        assert isinstance(run.gate, TroubledGate)
        self._gate = run.gate
        (self._casualty,) = self._state.glob("*.damaged-*")
        self._away = self._casualty.with_name("away")
        self._casualty.rename(self._away)
        self._lock: sqlite3.Connection | None = None

    def begin(self, kind: Trouble) -> None:
        """Go wrong."""
        if kind is Trouble.JAM:
            self._gate.stuck = True
            self._more()
        elif kind is Trouble.DEVICE:
            self._gate.lost = True
        elif kind is Trouble.DISK:
            self._lock = sqlite3.connect(self._state / "journal.sqlite", isolation_level=None)
            self._lock.execute("BEGIN IMMEDIATE")
            self._more()
        elif kind is Trouble.FOLDER:
            self._camera.rename(self._camera.with_name("gone"))
        elif kind is Trouble.JOURNAL:
            self._away.rename(self._casualty)
        # A camera is silent by itself, in time.

    def end(self, kind: Trouble) -> None:
        """All well again."""
        if kind is Trouble.DEVICE:
            self._gate.lost = False
        elif kind is Trouble.DISK:
            assert self._lock is not None
            self._lock.close()
        elif kind is Trouble.FOLDER:
            self._camera.with_name("gone").rename(self._camera)
        elif kind is Trouble.JOURNAL:
            self._casualty.rename(self._away)
        else:
            self._gate.stuck = False
            self._more()  # The next item moves, or comes at last.


INDUCED = (
    *(Trouble.JOURNAL, Trouble.JAM, Trouble.DEVICE, Trouble.DISK, Trouble.FOLDER),
    Trouble.CAMERA,
)
"""In turn; the first is there at the start."""


def soak(home: Path, troubles: int, silent_s: float = SILENT_S) -> dict[str, object]:
    """Run it; what was told, and how quick the station was meanwhile."""
    told = home / "told"
    told.touch()
    alarmed, quiet = At(home / "alarmed"), At(home / "quiet")
    # A damaged journal, which is set aside at start: its file is one of the troubles.
    (alarmed.home / "state" / "journal.sqlite").write_bytes(b"no journal")
    command = (
        f"cat >> {told}; echo >> {told}.runs; "
        f"[ $(($(wc -l < {told}.runs) % 5)) -ne 0 ] || sleep 987"
    )
    orders = Orders(command, command, after_s=0.0, every_s=0.0, limit_s=LIMIT_S)
    peace: list[float] = []
    trouble: list[float] = []
    beside: list[float] = []
    expected: Counter[tuple[str, str]] = Counter()
    with alarmed.work(orders, silent_s) as run, quiet.work(None):
        number = 0

        def there(kind: Trouble) -> bool:
            status = run.stations[0].seen
            return status is not None and kind in status.troubles()

        def come(what: Callable[[], bool], name: str) -> None:
            if not wait(what, PATIENCE_S):
                raise AssertionError(f"{name} did not come")

        def more() -> None:
            nonlocal number
            number += 1
            put(number, alarmed)

        def deliver(times: list[float]) -> None:
            nonlocal number
            number += 1
            name, begun = f"{number}.png", put(number, alarmed, quiet)
            for one, its in ((alarmed, times), (quiet, beside)):
                come(lambda one=one: name in one.recorded, f"{name} at {one.home}")  # type: ignore[misc]
                its.append(one.recorded[name] - begun)

        come(lambda: there(Trouble.JOURNAL), "the first casualty")
        expected["problem", "journal"] += 1
        induce = Troubles(alarmed, run, more)
        come(lambda: not there(Trouble.JOURNAL), "its end")
        expected["clear", "journal"] += 1
        for index in range(1, troubles):
            kind = INDUCED[index % len(INDUCED)]
            for _ in range(PICTURES):
                deliver(peace)
            induce.begin(kind)
            come(lambda kind=kind: there(kind), kind.value)  # type: ignore[misc]
            expected["problem", kind.value] += 1
            if kind is Trouble.JOURNAL:  # The others' items wait for the end, as they should.
                for _ in range(PICTURES):
                    deliver(trouble)
            induce.end(kind)
            come(lambda kind=kind: not there(kind), f"the end of {kind.value}")  # type: ignore[misc]
            expected["clear", kind.value] += 1
            come(lambda: len(alarmed.recorded) == number, "a record of each picture")

        def heard() -> Counter[tuple[str, str]]:
            lines = [json.loads(line) for line in told.read_text().splitlines()]
            return Counter((line["event"], line["kind"]) for line in lines)

        wait(lambda: heard() == expected, PATIENCE_S + 2 * troubles)
        found = heard()
    own = peace + trouble
    return {
        "troubles": troubles,
        "told": sum(n for (event, _), n in found.items() if event == "problem"),
        "cleared": sum(n for (event, _), n in found.items() if event == "clear"),
        "as_expected": found == expected,
        "kinds": {k: found["problem", k] for k in sorted({kind for _, kind in found})},
        "too_many": {f"{e} {k}": n for (e, k), n in (found - expected).items()},
        "too_few": {f"{e} {k}": n for (e, k), n in (expected - found).items()},
        "pictures": [len(own), len(beside)],
        "p50_s": [round(percentile(v, 0.5), 4) for v in (own, beside)],
        "p99_s": [round(percentile(v, 0.99), 4) for v in (own, beside)],
    }


def main() -> int:
    """Parse, run, print; 1 unless each trouble was told once and cleared once."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--troubles", type=int, default=len(INDUCED))
    parser.add_argument(
        "--silent", type=float, default=SILENT_S, help="seconds; more on a busy box"
    )
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp())
    try:
        found = soak(home, options.troubles, options.silent)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0 if found["as_expected"] else 1


if __name__ == "__main__":
    sys.exit(main())
