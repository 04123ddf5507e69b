"""A device that stops reading for a while: nobody blocks, nothing spins, and it comes back.

    python -m tests.soak.stuck --seconds 60

The device is another process that reads nothing for so long. Every read and write on the port and
every `status` is timed. Exit code 1 if one took more than a second, if the host used 5 % of a
core or more, or if nothing moved afterwards.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from sorter.actuator.link import Link
from sorter.actuator.serialport import Port, open_port
from sorter.domain import Delivery
from sorter.host.clock import uptime_s


class Timed:
    """A port whose calls are timed; `longest` is over all of them, reads less their wish."""

    longest_s = 0.0

    def __init__(self, port: Port) -> None:
        self._port = port

    def read(self, wait_s: float, *, wanted_room: bool = False) -> bytes:
        began = time.monotonic()
        try:
            return self._port.read(wait_s, wanted_room=wanted_room)
        finally:
            _note(time.monotonic() - began)

    def write(self, data: bytes) -> int:
        began = time.monotonic()
        try:
            return self._port.write(data)
        finally:
            _note(time.monotonic() - began)

    def unsent(self) -> int | None:
        return self._port.unsent()

    def wake(self) -> None:
        self._port.wake()

    def is_current(self) -> bool:
        return self._port.is_current()

    def close(self) -> None:
        began = time.monotonic()
        self._port.close()
        _note(time.monotonic() - began)


def _note(took_s: float) -> None:
    Timed.longest_s = max(Timed.longest_s, took_s)


def main() -> int:
    """Parse, run, print; 1 if something blocked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        gate, control = Path(folder) / "gate", Path(folder) / "control"
        command = [sys.executable, "-m", "sorter", "actuator", "simulate"]
        command += ["--link", str(gate), "--control", str(control), "--move-ms", "50"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as device:
            assert device.stdout
            device.stdout.readline()
            link = Link(lambda: Timed(open_port(str(gate))))
            link.start("s1", 1)
            assert link.wait_until_ready(10)
            with control.open("w") as pipe:
                pipe.write(f"stall={args.seconds}\n")
            began, cpu = time.monotonic(), time.process_time()
            n, status_s = 0, 0.0
            while (past := time.monotonic() - began) < args.seconds:
                at = time.monotonic()
                status = link.status()
                status_s = max(status_s, time.monotonic() - at)
                if status.ready:
                    n += 1
                    done = link.move(n, 1, boot=status.boot, deadline=uptime_s() + 1)
                    outcomes[done.delivery.value] += 1
                time.sleep(0.1)
            share = (time.process_time() - cpu) / past
            back_at = time.monotonic()
            came_back = link.wait_until_ready(20)
            back_s = time.monotonic() - back_at
            after = link.move(n + 1, 1, boot=link.status().boot, deadline=uptime_s() + 1).delivery
            closing_at = time.monotonic()
            link.close()
            close_s = time.monotonic() - closing_at
            device.terminate()
    good = (
        max(Timed.longest_s, status_s, close_s) <= 1.0
        and share < 0.05
        and came_back
        and after is Delivery.DONE
    )
    sys.stdout.write(
        f"stalled {args.seconds:.0f} s: longest port call {Timed.longest_s:.2f} s, "
        f"longest status {status_s * 1000:.1f} ms, close {close_s:.2f} s, CPU {share:.1%}\n"
        f"moves meanwhile {dict(outcomes)}, ready {back_s:.1f} s after, then {after.value}\n"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
