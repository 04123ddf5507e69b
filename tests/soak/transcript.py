"""Print a conversation as it passed over a pty: the transcript of sorter/actuator/README.md.

    python -m tests.soak.transcript

A real link, a real simulated device; one ACK is swallowed on the way and one reset is provoked.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

from sorter.actuator.link import Link
from sorter.actuator.serialport import Port, open_port
from sorter.actuator.simulator.eeprom import Kept
from sorter.actuator.simulator.endpoints import PtySocket
from sorter.actuator.simulator.simulator import Simulator
from sorter.host.clock import uptime_s


class Tap:
    """A port that writes down whole lines; `swallow` is a word whose next line is lost."""

    swallow = b""
    began = 0.0

    def __init__(self, port: Port) -> None:
        self._port = port
        self._rest = b""

    def read(self, wait_s: float, *, wanted_room: bool = False) -> bytes:
        *whole, self._rest = (self._rest + self._port.read(wait_s)).split(b"\n")
        passed = b""
        for line in whole:
            lost = bool(Tap.swallow) and line.startswith(Tap.swallow)
            if lost:
                Tap.swallow = b""
            else:
                passed += line + b"\n"
            _tell("x" if lost else "<", line)
        return passed

    def write(self, data: bytes) -> int:
        if data[:1] == b"!":
            _tell(">", b"!")
        for line in data.lstrip(b"!").splitlines():
            _tell(">", line)
        return self._port.write(data)

    def unsent(self) -> int | None:
        return self._port.unsent()

    def wake(self) -> None:
        self._port.wake()

    def is_current(self) -> bool:
        return self._port.is_current()

    def close(self) -> None:
        self._port.close()


def _tell(side: str, line: bytes) -> None:
    sys.stdout.write(f"{side} {line.decode('ascii', 'replace')}\n")


def _say(text: str) -> None:
    sys.stdout.write(f"# {text}\n")


def main() -> None:
    """The scenes, in order."""
    with tempfile.TemporaryDirectory() as folder:
        gate, control = Path(folder) / "gate", Path(folder) / "control"
        device = Simulator(PtySocket(gate), memory=Kept(), control=control, name="gate-1")
        thread = threading.Thread(target=device.run)
        thread.start()
        link = Link(lambda: Tap(open_port(str(gate))))
        _say("the port is opened; the device starts; the host shakes hands")
        link.start("7f3a9c21", 1)
        link.wait_until_ready(5)

        def go(n: int, bin_number: int) -> None:
            boot = link.status().boot
            done = link.move(n, bin_number, boot=boot, deadline=uptime_s() + 5)
            _say(f"the host's record of number {n}: {done.delivery.value} {done.detail}".rstrip())

        _say("number 1 to bin 2")
        go(1, 2)
        _say("number 2 to bin 4; its ACK is lost on the way (x), so the same line goes again")
        Tap.swallow = b"ACK"
        go(2, 4)
        _say("nothing to do: a heart-beat each second")
        time.sleep(1.2)
        _say("number 3 to bin 1; the device is reset in mid-movement")
        timer = threading.Timer(0.1, control.write_text, args=("reset-now\n",))
        timer.start()
        go(3, 1)
        _say("somebody stops the machine, looks, and clears it")
        link.stop()
        while link.status().state != "fault":
            time.sleep(0.01)
        link.clear()
        time.sleep(1.2)
        link.close()
        device.stop()
        thread.join()


if __name__ == "__main__":
    main()
