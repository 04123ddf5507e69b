"""Stations on one broker that goes away: every item told, none twice, nobody slower for it.

Two of them are whole, beside each other under the same pictures, one with `--mqtt` and one without,
so that their times are of the same machine at the same moment. The others write their journals
directly. Each tells the broker through a cable of its own, which is cut now and then while the
broker is there.

    python -m tests.soak.mqtt --hours 1 --rate 5 --stations 20
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sorter.domain import Decision, Identity, ItemState, Picture, Record
from sorter.station.health.metrics import Metrics
from sorter.station.health.status import StationStatus
from sorter.station.interfaces import Sink
from sorter.station.journal.journal import Journal
from sorter.station.journal.opening import open_journal
from sorter.station.mqtt.broker import BrokerAddress
from sorter.station.mqtt.publisher import Publisher
from sorter.station.mqtt.topics import Topics
from sorter.station.settings import Settings
from tests.soak.in_process import Running, running
from tests.soak.station_child import ColourModel, paint
from tests.support.mqtt import Broker, Cable, Listener, broker

PHASES = ("peace", "down", "back")
STATUS = StationStatus("camera", "inotify", "", "ready", True, True, "", "", "c0103", "", 0, 0, 1)


def rss_mb() -> float:
    """What this process holds now, in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


class Written:
    """A station of which there is only its journal, and what tells it."""

    def __init__(self, home: Path, name: str, port: int) -> None:
        home.mkdir()
        self.name = name
        self.journal: Journal = open_journal(home / "journal.sqlite", synchronous="OFF")
        self.cable = Cable(port)
        self.meter = Metrics()
        self.teller = _teller(home / "journal.sqlite", name, self.cable.port, self.meter)
        model = ColourModel()
        self._decision: Decision = model.decide([model.predict(paint((230, 20, 20), 0))])

    def add(self, number: int) -> None:
        """One more item."""
        picture = Picture(
            Path(f"/camera/{number}.png"),
            b"",
            f"{number:064x}",
            Identity(number, 1, 1, 1),
            arrived=0.0,
            arrived_at=time.time(),
        )
        record = Record(picture, state=ItemState.DONE, decision=self._decision, model="c0103")
        self.teller(self.journal.end(record))

    def close(self) -> None:
        """All told, if the broker is there."""
        self.teller.close()
        self.cable.close()
        self.journal.close()


def _teller(
    journal: Path,
    name: str,
    port: int,
    meter: Metrics,
    status: Callable[[], StationStatus | None] = lambda: STATUS,
) -> Publisher:
    return Publisher(
        journal, BrokerAddress("127.0.0.1", port), Topics(name), status=status, meter=meter
    )


class Timed:
    """A whole station; `seconds` are from a picture's closing to its record, by phase."""

    def __init__(self, run: Running) -> None:
        self.run = run
        self.seconds: dict[str, list[float]] = {phase: [] for phase in PHASES}
        self.items = 0
        self._begun: dict[str, tuple[float, str]] = {}

    def deliver(self, number: int, phase: str) -> None:
        """One picture that nobody has seen."""
        colour = (number % 256, number // 256 % 256, 255)
        part = self.run.camera / f".{number}.png"
        part.write_bytes(paint(colour, 0))
        self._begun[f"{number}.png"] = (time.monotonic(), phase)
        part.rename(self.run.camera / f"{number}.png")

    def __call__(self, record: Record) -> None:
        """See Sink. The picture goes, as into an archive, or listing them would be measured."""
        begun, phase = self._begun.pop(record.picture.path.name)
        self.seconds[phase].append(time.monotonic() - begun)
        self.items += 1
        record.picture.path.unlink()
        self.run.records.clear()  # The soak's own memory is not the station's.

    @property
    def is_idle(self) -> bool:
        """Nothing on its way."""
        return not self._begun


@contextlib.contextmanager
def whole(home: Path, name: str, port: int | None) -> Iterator[Timed]:
    """A station at work, which tells a broker where there is a port."""
    (home / "camera").mkdir(parents=True)
    (home / "state").mkdir()
    timed: list[Timed] = []
    runs: list[Running] = []
    with contextlib.ExitStack() as stack:
        sinks: list[Sink] = [lambda record: timed[0](record)]
        if port is not None:
            journal = home / "state" / "journal.sqlite"
            teller = _teller(
                journal,
                name,
                port,
                Metrics(),
                lambda: runs[0].stations[0].seen if runs and runs[0].stations else None,
            )
            stack.callback(teller.close)
            sinks.append(teller)
        settings = Settings(unsure="red", settle_s=0.05, keep_s=1e9)
        runs.append(stack.enter_context(running(home, settings, sinks=sinks)))
        timed.append(Timed(runs[0]))
        yield timed[0]


def percentile(values: list[float], share: float) -> float:
    """The nearest rank; 0 of nothing."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def soak(
    home: Path, *, down_s: float, rate: float, stations: int, cuts: int, seed: int = 20
) -> dict[str, object]:
    """Run it: `cuts` cables are cut before the broker goes and after it came back."""
    lots = random.Random(seed)
    memory: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        there: Broker = stack.enter_context(broker(home / "broker"))
        listener = Listener(there.port)
        stack.callback(listener.close)
        cable = Cable(there.port)
        stack.callback(cable.close)
        told = stack.enter_context(whole(home / "told", "told", cable.port))
        quiet = stack.enter_context(whole(home / "quiet", "quiet", None))
        written = []
        for index in range(1, stations):
            written.append(Written(home / f"s{index}", f"s{index}", there.port))
            stack.callback(written[-1].close)
        cables = [cable, *(one.cable for one in written)]
        number = 0
        next_at = time.monotonic()

        def work(seconds: float, phase: str, cut: int = 0) -> None:
            nonlocal number, next_at
            until = time.monotonic() + seconds
            cut_at = sorted(time.monotonic() + lots.random() * seconds for _ in range(cut))
            while time.monotonic() < until:
                number += 1
                for one in (told, quiet) if number % 2 else (quiet, told):
                    one.deliver(number, phase)
                for other in written:
                    other.add(number)
                while cut_at and time.monotonic() > cut_at[0]:
                    cut_at.pop(0)
                    lots.choice(cables).cut()
                next_at = max(next_at + 1 / rate, time.monotonic() - 1)
                time.sleep(max(0.0, next_at - time.monotonic()))

        def heard() -> int:
            return sum(len(counts) for counts in listener.heard.values())

        def settle(patience_s: float) -> None:
            until = time.monotonic() + patience_s
            while time.monotonic() < until:
                if told.is_idle and quiet.is_idle and heard() >= number * stations:
                    return
                time.sleep(0.1)

        _first_contact(listener, stations)
        peace_s = max(2.0, min(40.0, down_s / 20))
        work(peace_s, "peace", cuts // 2)
        settle(30)
        memory["before"] = rss_mb()
        there.stop()
        slices = 6
        for index in range(slices):
            work(down_s / slices, "down")
            memory[f"down_{index + 1}"] = rss_mb()
        behind = number * stations - heard()
        there.start()
        back = time.monotonic()
        while heard() < number * stations - 2 * stations and time.monotonic() - back < down_s + 60:
            work(min(2.0, peace_s), "back", max(1, cuts // 20) if cuts else 0)
        caught_up_s = time.monotonic() - back
        work(peace_s / 2, "back", cuts // 4)
        settle(60)
        memory["after"] = rss_mb()
        names = ["told", *(one.name for one in written)]
        lost = sum(1 for name in names for n in range(1, number + 1) if not listener.heard[name][n])
        twice = sum(
            count - 1 for name in names for count in listener.heard[name].values() if count > 1
        )
        online = [listener.kept[f"sorter/{name}/status"]["state"] for name in names]
    offline = [listener.kept[f"sorter/{name}/status"]["state"] for name in names]
    return {
        "stations": stations,
        "items": number * stations,
        "down_s": round(down_s, 1),
        "told_late": behind,
        "caught_up_s": round(caught_up_s, 1),
        "cuts": sum(one.cuts for one in cables),
        "lost": lost,
        "twice": twice,
        "online": online.count("online"),
        "offline_at_the_end": offline.count("offline"),
        "rss_mb": {moment: round(value, 1) for moment, value in memory.items()},
        "items_timed": [told.items, quiet.items],
        "p50_s": _beside(told, quiet, 0.5),
        "p99_s": _beside(told, quiet, 0.99),
    }


def _first_contact(listener: Listener, stations: int) -> None:
    until = time.monotonic() + 60
    while sum(topic.endswith("/status") for topic in listener.kept) < stations:
        if time.monotonic() > until:
            raise AssertionError(f"only {sorted(listener.kept)} came")
        time.sleep(0.05)
    time.sleep(2.5)  # A new station asks the broker what it has, and waits so long for an answer.


def _beside(told: Timed, quiet: Timed, share: float) -> dict[str, list[float]]:
    """With the broker and without, by phase."""
    return {
        phase: [round(percentile(one.seconds[phase], share), 4) for one in (told, quiet)]
        for phase in PHASES
    }


def main() -> int:
    """Parse, run, print; 1 where an item was lost, or told twice."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=0.002, help="how long the broker is down")
    parser.add_argument("--rate", type=float, default=5.0, help="items a second, each station")
    parser.add_argument("--stations", type=int, default=4)
    parser.add_argument("--cuts", type=int, default=20, help="cables cut while it is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        found = soak(
            Path(home),
            down_s=options.hours * 3600,
            rate=options.rate,
            stations=options.stations,
            cuts=options.cuts,
        )
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if found["lost"] or found["twice"] else 0


if __name__ == "__main__":
    sys.exit(main())
