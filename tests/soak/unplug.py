"""Pull the cable at random instants while items move; the name comes back on another pty.

    python -m tests.soak.unplug --times 500 --seed 1

A real link, real ptys and a simulated device in this process. Every third time the old device
stays alive behind its pty and only the name is re-pointed, as after a re-plug into another hub.
Exit code 1 if a GO came before a hand-shake, a number moved twice, a reconnect took 5 s or more,
or a descriptor or thread was left over.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import ClassVar

from sorter.actuator.link import Link
from sorter.actuator.serialport import open_port
from sorter.actuator.session import Timing
from sorter.actuator.simulator.device import Device
from sorter.actuator.simulator.eeprom import Kept
from sorter.actuator.simulator.endpoints import PtySocket
from sorter.actuator.simulator.simulator import Simulator
from sorter.domain import Delivery
from sorter.host.clock import uptime_s


class Strict(Device):
    """A device that counts each GO heard before a hand-shake, and each movement."""

    ungreeted = 0
    moves: ClassVar[Counter[int]] = Counter()

    def _go(self, sid: str, n: int, bin_number: int, now: float) -> None:
        if not self._greeted:
            Strict.ungreeted += 1
        if n > (self._mark or 0) and self._greeted and self.state == "IDLE":
            Strict.moves[n] += 1
        super()._go(sid, n, bin_number, now)


@dataclass
class Tally:
    """What a run showed."""

    times: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    reconnect_s: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class Plug:
    """The device at the end of the cable; `swap` puts another in its place."""

    def __init__(self, name: Path, memory: Kept) -> None:
        self._name, self._memory = name, memory
        self._simulator: Simulator | None = None
        self._thread: threading.Thread | None = None

    def put_in(self) -> None:
        self._simulator = Simulator(
            PtySocket(self._name), memory=self._memory, move_s=0.03, boot_s=0.02, device=Strict
        )
        self._thread = threading.Thread(target=self._simulator.run)
        self._thread.start()

    def pull_out(self) -> None:
        assert self._simulator
        assert self._thread
        self._simulator.stop()
        self._thread.join(5)


def run(times: int, *, seed: int) -> Tally:
    """Pull `times` times."""
    Strict.ungreeted = 0
    Strict.moves = Counter()
    random, tally, memory = Random(seed), Tally(), Kept()
    fds_before, threads_before = _descriptors(), threading.active_count()
    with tempfile.TemporaryDirectory() as folder:
        name = Path(folder) / "gate"
        plug = Plug(name, memory)
        plug.put_in()
        link = Link(lambda: open_port(str(name)), timing=Timing(move_budget_s=0.5))
        link.start("s1", 1)
        stop = threading.Event()
        mover = threading.Thread(target=_move, args=(link, stop, tally))
        mover.start()
        for _ in range(times):
            link.wait_until_ready(10)
            time.sleep(random.random() * 0.15)
            boot = link.status().boot
            if tally.times % 3 == 2:
                old, plug = plug, Plug(name, memory)
                plug.put_in()
                back_at = time.monotonic()
            else:
                old = plug
                old.pull_out()
                time.sleep(random.random() * 0.3)
                plug = Plug(name, memory)
                plug.put_in()
                back_at = time.monotonic()
            while not (link.status().ready and link.status().boot != boot):
                if time.monotonic() - back_at > 10:
                    tally.broken.append(f"not back after 10 s: {link.status()}")
                    break
                time.sleep(0.005)
            tally.reconnect_s.append(time.monotonic() - back_at)
            if tally.times % 3 == 2:
                old.pull_out()
            tally.times += 1
        stop.set()
        mover.join(60)
        link.close()
        plug.pull_out()
    if Strict.ungreeted:
        tally.broken.append(f"{Strict.ungreeted} GO before a hand-shake")
    tally.broken += [f"{n} moved {k} times" for n, k in Strict.moves.items() if k > 1]
    if (left := _descriptors() - fds_before) > 0:
        tally.broken.append(f"{left} descriptors left open")
    if (left := threading.active_count() - threads_before) > 0:
        tally.broken.append(f"{left} threads left running")
    return tally


def _move(link: Link, stop: threading.Event, tally: Tally) -> None:
    n = 0
    while not stop.is_set():
        if not link.wait_until_ready(0.1):
            continue
        n += 1
        done = link.move(n, n % 4 + 1, boot=link.status().boot, deadline=uptime_s() + 1)
        tally.outcomes[done.delivery.value] += 1
        if done.delivery is Delivery.DONE and Strict.moves[n] != 1:
            tally.broken.append(f"{n} is DONE, moved {Strict.moves[n]} times")


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def main() -> int:
    """Parse, run, print; 1 if something broke."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    tally = run(args.times, seed=args.seed)
    waits = sorted(tally.reconnect_s)
    if waits[-1] >= 5:
        tally.broken.append(f"a reconnect took {waits[-1]:.1f} s")
    out = sys.stdout.write
    out(f"pulled {tally.times} times, seed {args.seed}, outcomes {dict(tally.outcomes)}\n")
    out(f"GO before a hand-shake {Strict.ungreeted}, numbers moved {len(Strict.moves)}\n")
    out(f"reconnect median {waits[len(waits) // 2]:.2f} s, longest {waits[-1]:.2f} s\n")
    for line in [f"broken {len(tally.broken)}", *tally.broken[:20]]:
        out(line + "\n")
    return 1 if tally.broken else 0


if __name__ == "__main__":
    sys.exit(main())
