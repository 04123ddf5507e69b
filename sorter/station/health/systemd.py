"""Tell systemd how the station is, and earn the watchdog's ping.

Owns the sd_notify protocol and the roll of threads that must have checked in. Starts no thread,
decides nothing about health, and never raises for a missing or full socket: a station runs the
same without systemd.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping

SEND_TIMEOUT_S = 0.2
"""How long a message may wait for room in systemd's queue before it is dropped."""

STATUS_LIMIT = 400
"""Characters of a status line that are sent; `systemctl status` shows one line."""

log = logging.getLogger(__name__)


class Notifier:
    """The service's half of sd_notify(3).

    Without NOTIFY_SOCKET every method does nothing. Messages are single datagrams, so any thread
    may call any method. Pass `environ` to use another environment than the process's own.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._interval_s = _interval_s(environ)
        self._status = ""
        self._failing = False

    @property
    def active(self) -> bool:
        """True where somebody listens: the process runs under systemd with Type=notify."""
        return self._address is not None

    def ready(self) -> None:
        """Say that start-up, or a reload, is over."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that a reload begins; `ready` must follow."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that shut-down begins."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows; the same line twice is sent once."""
        line = _one_line(text)
        if line != self._status and self._send(f"STATUS={line}"):
            self._status = line

    def watchdog_interval_s(self) -> float | None:
        """Seconds between pings: half of what systemd allows. None: no watchdog for us."""
        return self._interval_s

    def ping(self) -> None:
        """Say that the process is alive. Call it only where `Watchdog.earned` is true."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> bool:
        if self._address is None:
            return False
        try:
            # A socket a message: nothing to close, and a process out of descriptors stops
            # pinging, which is when it should be restarted.
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(SEND_TIMEOUT_S)
                sock.sendto(message.encode("utf-8", "backslashreplace"), self._address)
        except OSError as error:
            if not self._failing:
                log.warning("systemd's notify socket does not take messages: %s", error)
            self._failing = True
            return False
        self._failing = False
        return True


class Watchdog:
    """The roll of threads that earn the ping together.

    One stuck thread is enough to lose it: a ping from a healthy one would hide the other. Times
    are seconds on `clock`. Thread-safe.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._limits_s: dict[str, float] = {}
        self._seen: dict[str, float] = {}

    def register(self, name: str, limit_s: float) -> None:
        """Expect a beat of `name` at least every `limit_s` seconds, counted from now."""
        with self._lock:
            self._limits_s[name] = limit_s
            self._seen[name] = self._clock()

    def beat(self, name: str) -> None:
        """Check in. KeyError for a name that was never registered."""
        with self._lock:
            if name not in self._limits_s:
                raise KeyError(f"watchdog: {name!r} was never registered")
            self._seen[name] = self._clock()

    def retire(self, name: str) -> None:
        """Expect nothing more of `name`: its thread ended on purpose. A late beat is harmless."""
        with self._lock:
            self._limits_s[name] = math.inf

    def late(self, now: float | None = None) -> tuple[str, ...]:
        """Names that have not checked in within their limit, in the order of registration."""
        with self._lock:
            at = self._clock() if now is None else now
            return tuple(
                name for name, limit_s in self._limits_s.items() if at - self._seen[name] > limit_s
            )

    def earned(self, now: float | None = None) -> bool:
        """True where at least one thread is registered and none is late."""
        with self._lock:
            somebody = any(limit_s < math.inf for limit_s in self._limits_s.values())
        return somebody and not self.late(now)


def _address(name: str) -> str | bytes | None:
    """The socket's address as the kernel wants it; None for what is not a Unix socket."""
    if name.startswith("@") and len(name) > 1:
        return b"\0" + os.fsencode(name[1:])
    if name.startswith("/"):
        return name
    if name:
        log.warning("NOTIFY_SOCKET=%r is neither a path nor an abstract name; ignored", name)
    return None


def _interval_s(environ: Mapping[str, str]) -> float | None:
    """Half of WATCHDOG_USEC, if it is set for this process."""
    pid = environ.get("WATCHDOG_PID", "")
    if pid and pid != str(os.getpid()):
        return None
    try:
        limit_us = int(environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return limit_us / 2e6 if limit_us > 0 else None


def _one_line(text: str) -> str:
    """`text` without control characters: a line break would begin another message."""
    line = "".join(c if c.isprintable() else "?" for c in text)
    return line if len(line) <= STATUS_LIMIT else line[: STATUS_LIMIT - 1] + "…"
