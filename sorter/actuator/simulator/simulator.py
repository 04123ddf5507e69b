"""A diverter that is not there: the device of `device.py` behind a pty or a TCP port.

Owns the one loop that moves bytes between the host, the misbehaving cable (`faults`) and the
device, and the log of events that serves as witness. Rules of the protocol are the device's.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import time
from collections.abc import Callable, Iterable
from math import inf
from pathlib import Path
from random import Random
from typing import Protocol

from sorter.actuator.simulator.cable import Faults, NoisyLine, apply, stray_reply
from sorter.actuator.simulator.device import Device
from sorter.actuator.simulator.eeprom import Eeprom
from sorter.actuator.simulator.eventlog import EventLog
from sorter.errors import FolderError, UsageError


class Socket(Protocol):
    """Where a host may come: see `sockets.PtySocket` and `sockets.TcpSocket`."""

    name: str

    def fileno(self) -> int: ...
    def poll(self) -> bool: ...
    def read(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    def unplug(self) -> None: ...
    def plug(self) -> None: ...
    def close(self) -> None: ...


class Simulator:
    """Runs one device on one socket until `stop` is called (from any thread or a signal)."""

    def __init__(
        self,
        socket: Socket,
        *,
        memory: Eeprom,
        faults: Faults | None = None,
        words: Iterable[str] = (),
        log: EventLog | None = None,
        control: Path | None = None,
        name: str = "sim",
        bins: int = 4,
        move_s: float = 0.3,
        boot_s: float = 0.1,
        reset_on_open: bool = True,
        seed: int | None = None,
        tell: Callable[[str], None] = lambda _: None,
        device: type[Device] = Device,
    ) -> None:
        self.faults = faults or Faults()
        self._socket, self._tell = socket, tell
        self._log = log or EventLog(None)
        self._random = Random(seed)
        self._boot_s, self._reset_on_open = boot_s, reset_on_open
        self._device = device(
            memory=memory,
            report=self._report,
            new_boot=lambda: secrets.token_hex(4),
            name=name,
            bins=bins,
            move_s=move_s,
        )
        self._inward = NoisyLine(self.faults, self._random, inward=True)
        self._outward = NoisyLine(self.faults, self._random, inward=False)
        self._partial = b""
        self._start_at = self._reset_at = self._plug_at = inf
        self._deaf_until = self._stalled_until = -inf
        self._open = False
        self._last_n = 1
        self._bell_read, self._bell_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopping = False
        self._control = _open_control(control)
        self._control_rest = b""
        self._control_path = control
        for word in words:
            self._do(word, time.monotonic())

    @property
    def name(self) -> str:
        """What a host opens to reach this device."""
        return self._socket.name

    def stop(self) -> None:
        """End `run` soon."""
        self._stopping = True
        with contextlib.suppress(OSError):
            os.write(self._bell_write, b"s")

    def run(self) -> None:
        """The loop; returns after `stop`. Closes everything it opened."""
        try:
            self._start_at = time.monotonic()
            while not self._stopping:
                self._turn()
        finally:
            self._socket.close()
            self._log.close()
            for fd in (self._bell_read, self._bell_write, self._control):
                if fd >= 0:
                    os.close(fd)
            if self._control_path:
                self._control_path.unlink(missing_ok=True)

    def _turn(self) -> None:
        now = time.monotonic()
        is_open = self._socket.poll()
        if is_open and not self._open and self._reset_on_open:
            self._restart(now)
        if not is_open and self._open:
            self._inward.clear()
            self._outward.clear()
            self._partial = b""
        self._open = is_open
        reads = [self._bell_read] + ([self._control] if self._control >= 0 else [])
        stalled = now < self._stalled_until
        if self._socket.fileno() >= 0 and is_open and not stalled:
            reads.append(self._socket.fileno())
        ready, _, _ = select.select(reads, [], [], self._wait_s(now, is_open))
        now = time.monotonic()
        if self._bell_read in ready:
            os.read(self._bell_read, 64)
        if self._control in ready:
            self._obey_control(now)
        if self._socket.fileno() in ready:
            self._take_in(self._socket.read(), now)
        self._advance(now)

    def _wait_s(self, now: float, is_open: bool) -> float:
        if now < self._stalled_until:
            return min(self._stalled_until - now, 0.05)
        at = min(
            self._device.wake_at,
            self._inward.wake_at,
            self._outward.wake_at,
            self._start_at,
            self._reset_at,
            self._plug_at,
        )
        # Nothing announces that a host opens a pty: look often while none has.
        return max(0.0, min(at - now, 0.25 if is_open else 0.01))

    def _take_in(self, data: bytes, now: float) -> None:
        if now < self._deaf_until or self._device.state == "OFF":
            return
        data = self._partial + data
        end = data.rfind(b"\n") + 1
        if b"!" in data[end:] or len(data) - end > 200:
            end = len(data)  # the stop byte ends no line, and a flood has no lines
        self._partial = data[end:]
        for line in data[:end].splitlines(keepends=True):
            self._inward.put(line, now)

    def _advance(self, now: float) -> None:
        if now >= self._plug_at:
            self._plug_at = inf
            self._socket.plug()
            self._tell(f"plugged in again as {self._socket.name}")
            self._restart(now)
        if now >= self._reset_at:
            self._restart(now)
        if now >= self._start_at:
            self._start_at = inf
            self._deaf_until = now + self.faults.deaf_s
            self._device.power_on(now)
        if now < self._stalled_until:
            return
        self._device.done_delay_s = self.faults.late_s
        data = self._inward.get(now)
        if data:
            self._device.feed(data, now)
        self._device.tick(now)
        for line in self._device.take():
            self._outward.put(line, now)
            is_nak = line.startswith(b"NAK - ")
            if self._chance(self.faults.rejected if is_nak else self.faults.stray):
                self._outward.put(stray_reply(self._random, self._last_n), now)
        data = self._outward.get(now)
        if data and self._open:
            self._socket.write(data)

    def _report(self, event: str, n: int | None, bin_number: int | None) -> None:
        self._log(event, n, bin_number)
        if event == "move":
            self._last_n = n or 1
            self._tell(f"item {n} to bin {bin_number}")
            if self._chance(self.faults.reset):
                cut_s = self._random.random() * self._device.move_s
                self._reset_at = time.monotonic() + cut_s
        elif event != "done":
            self._tell(event)

    def _chance(self, chance: float) -> bool:
        return chance > 0 and self._random.random() < chance

    def _restart(self, now: float) -> None:
        self._device.power_off()
        while self._socket.read():  # what was said to the device before is lost with it
            pass
        self._inward.clear()
        self._outward.clear()
        self._partial = b""
        self._reset_at = inf
        self._start_at = now + self._boot_s

    def _obey_control(self, now: float) -> None:
        *words, self._control_rest = (self._control_rest + os.read(self._control, 4096)).split(
            b"\n"
        )
        for word in b" ".join(words).decode("utf-8", "replace").split():
            try:
                self._do(word, now)
                self._tell(f"fault word taken: {word}")
            except UsageError as error:
                self._tell(str(error))
        self._control_rest = self._control_rest[-200:]

    def _do(self, word: str, now: float) -> None:
        action = apply(word, self.faults)
        if action is None:
            return
        name, value = action
        if name == "reset-now":
            self._restart(now)
        elif name == "stall":
            self._stalled_until = now + value
        elif name == "stop":
            self._device.feed(b"!", now)
        elif name == "unplug":
            self._device.power_off()
            self._socket.unplug()
            self._plug_at = now + value
        else:
            self._stalled_until = -inf


def _open_control(path: Path | None) -> int:
    """A FIFO opened for both directions, so that it has no end while writers come and go."""
    if path is None:
        return -1
    try:
        if not path.is_fifo():
            os.mkfifo(path)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FolderError(f"control {path}: {error.strerror}; choose another --control") from error
