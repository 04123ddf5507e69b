"""The station under kill -9 and SIGTERM at random instants, judged by the gate's own log.

    python -m tests.soak.station kill --runs 2000 --seed 1
    python -m tests.soak.station sigterm --runs 200 --seed 1

Each run delivers pictures as a camera does, to a real station process with a real journal, joined
to a simulated gate on a pty. `kill` ends the process at random instants and starts it again;
`sigterm` asks it to stop once. Then every picture must have exactly one terminal record, no number
may have moved twice, and no DONE may lack its movement.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sorter.actuator.simulator.eeprom import Kept
from sorter.actuator.simulator.endpoints import PtySocket
from sorter.actuator.simulator.eventlog import EventLog
from sorter.actuator.simulator.simulator import Simulator
from tests.soak.station_child import COLOURS, paint

MOVE_S = 0.03
OPEN_STATES = ("ARRIVED", "DECIDED", "SENT")


@dataclass
class Tally:
    """What all runs together came to; `broken` says each broken promise."""

    runs: int = 0
    states: Counter[str] = field(default_factory=Counter)
    moves: int = 0
    kills: int = 0
    broken: list[str] = field(default_factory=list)


@contextlib.contextmanager
def gate(
    log: Path, *, move_s: float = MOVE_S, link: Path | None = None, memory: Kept | None = None
) -> Iterator[str]:
    """A simulated gate on a pty: the name of its port, `link` where one is given."""
    socket = PtySocket(link)
    device = Simulator(socket, memory=memory or Kept(), log=EventLog(log), bins=2, move_s=move_s)
    thread = threading.Thread(target=device.run, name="gate", daemon=True)
    thread.start()
    try:
        yield socket.name
    finally:
        device.stop()
        thread.join()


def start(
    home: Path, port: str, *, prefix: Sequence[str] = (), synchronous: str = "FULL"
) -> subprocess.Popen[bytes]:
    """A station process on the folder and journal of `home`; `prefix` runs it (strace)."""
    words = [sys.executable, "-m", "tests.soak.station_child", str(home), port, synchronous]
    # What a killed one left there says nothing of this one.
    (home / "state" / "journal.sqlite.live.json").unlink(missing_ok=True)
    with (home / "station.log").open("ab") as stream:
        return subprocess.Popen([*prefix, *words], stdout=stream, stderr=stream)


def states(home: Path) -> list[tuple[int, str, str]]:
    """(n, name, state) of every record."""
    file = home / "state" / "journal.sqlite"
    if not file.exists():
        return []
    with contextlib.closing(sqlite3.connect(file, timeout=5)) as db:
        try:
            rows = db.execute("SELECT n, path, state FROM items ORDER BY n").fetchall()
        except sqlite3.OperationalError:
            return []  # Not made yet.
    return [(n, Path(path).name, state) for n, path, state in rows]


def deliver(home: Path, names: Sequence[str], stream: random.Random, *, first: int = 0) -> None:
    """Write pictures as a camera does, a few dozen milliseconds apart; `first` numbers them on."""
    for number, name in enumerate(names, first):
        part = home / "camera" / f".{name}.png"
        part.write_bytes(paint(COLOURS[number % len(COLOURS)], number))
        part.rename(part.with_name(f"{name}.png"))
        time.sleep(stream.uniform(0.0, 0.08))


def one_run(mode: str, items: int, stream: random.Random, tally: Tally) -> None:
    """One station's life; what is wrong at its end goes into `tally.broken`."""
    with tempfile.TemporaryDirectory(prefix="sorter-soak-") as folder:
        home = Path(folder)
        (home / "camera").mkdir()
        names = [f"p{i:03d}" for i in range(items)]
        with gate(home / "moves.jsonl") as port:
            station = start(home, port)
            if mode == "sigterm" or stream.random() < 0.8:
                wait_ready(home)
            camera = threading.Thread(target=deliver, args=(home, names, stream))
            camera.start()
            if mode == "kill":
                for _ in range(stream.randint(1, 3)):
                    time.sleep(stream.uniform(0.0, 1.0))
                    station.kill()
                    station.wait()
                    tally.kills += 1
                    station = start(home, port)
            else:
                time.sleep(stream.uniform(0.0, 2.0))
                stop(station, tally)
                station = start(home, port)
            camera.join()
            wait_for_all(home, items)
            wait_ready(home)  # A signal before Python has begun is nobody's to answer.
            stop(station, tally)
        judge(home, names, tally)
    tally.runs += 1


def wait_ready(home: Path, seconds: float = 20.0) -> None:
    """Until the station and its gate have shaken hands."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(OSError, ValueError):
            if json.loads((home / "state" / "journal.sqlite.live.json").read_text())["link_ready"]:
                return
        time.sleep(0.02)


def wait_for_all(home: Path, items: int, seconds: float = 60.0) -> None:
    """Until every picture has a record and none is open, or time is up: `judge` says what lacks."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = states(home)
        if len(found) >= items and not any(s in OPEN_STATES for _, _, s in found):
            return
        time.sleep(0.05)


def stop(station: subprocess.Popen[bytes], tally: Tally) -> None:
    """SIGTERM; it must end with 0 soon."""
    station.send_signal(signal.SIGTERM)
    try:
        code = station.wait(20)
    except subprocess.TimeoutExpired:
        station.kill()
        station.wait()
        tally.broken.append("SIGTERM did not end it within 20 s")
        return
    if code:
        tally.broken.append(f"SIGTERM ended it with {code}")


def judge(home: Path, names: Sequence[str], tally: Tally) -> None:
    """Compare the journal with the camera's names and the gate's log."""
    found = states(home)
    count = Counter(name for _, name, _ in found)
    broken = [
        f"{name}: {count[f'{name}.png']} records" for name in names if count[f"{name}.png"] != 1
    ]
    broken += [f"{name} is left {state}" for _, name, state in found if state in OPEN_STATES]
    events = [json.loads(line) for line in (home / "moves.jsonl").read_text().splitlines()]
    moved = Counter(e["n"] for e in events if e["event"] == "move")
    broken += [f"n={n} moved {times} times" for n, times in moved.items() if times > 1]
    state_of = {n: state for n, _, state in found}
    broken += [
        f"n={n} is DONE and never moved"
        for n, s in state_of.items()
        if s == "DONE" and n not in moved
    ]
    broken += [
        f"n={n} moved and is {state_of.get(n)}"
        for n in moved
        if state_of.get(n) not in ("DONE", "FAILED", "UNCERTAIN")
    ]
    if "Traceback" in (home / "station.log").read_text(errors="replace"):
        broken.append("a traceback: " + (home / "station.log").read_text(errors="replace")[-600:])
    tally.broken += broken
    tally.moves += len(moved)
    tally.states.update(state_of.values())


def soak(mode: str, *, runs: int, items: int, seed: int) -> Tally:
    """`runs` lives of a station, each from its own seed."""
    tally = Tally()
    for run in range(runs):
        before = len(tally.broken)
        one_run(mode, items, random.Random(f"{seed} {run}"), tally)
        for line in tally.broken[before:]:
            sys.stderr.write(f"run {run}: {line}\n")
    return tally


def main() -> None:
    """Run and print one JSON line; exit 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=("kill", "sigterm"))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    begun = time.monotonic()
    tally = soak(words.mode, runs=words.runs, items=words.items, seed=words.seed)
    document = {
        "mode": words.mode,
        "runs": tally.runs,
        "kills": tally.kills,
        "states": dict(tally.states),
        "moves": tally.moves,
        "broken": len(tally.broken),
        "seconds": round(time.monotonic() - begun, 1),
    }
    sys.stdout.write(json.dumps(document) + "\n")
    sys.exit(bool(tally.broken))


if __name__ == "__main__":
    main()
