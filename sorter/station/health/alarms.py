"""Trouble reaches a person: a command of theirs is run when one begins, and when it is over.

Owns when that is told, and the running of the command. A trouble is told once it has lasted, once,
and cleared once; what comes and goes is not told again and again. The command has its own thread
and a time limit, so that nothing it does can hold up the station. What is wrong comes in as a
StationStatus.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sorter.station.health.status import StationStatus, Trouble
from sorter.text import one_line

log = logging.getLogger(__name__)

LIMIT_S = 60.0
"""A command that takes longer is killed, and all that it started."""

GIVES_WAY = 10
"""How much nicer a command is than the station: on a box of few cores a picture comes first."""

WAITING = 64
"""So many messages wait for the command at most; more are logged and dropped."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What to run, as a line for `/bin/sh`; "" for nothing. Times in seconds.

    A trouble is told once it has lasted `after_s`; the next of its kind at the earliest `every_s`
    after the one before. A command is killed after `limit_s`. `station` is the name that messages
    carry.
    """

    on_problem: str = ""
    on_clear: str = ""
    after_s: float = 5.0
    every_s: float = 60.0
    limit_s: float = LIMIT_S
    station: str = ""


@dataclass(slots=True)
class _Open:
    """A trouble that is there: since when on both clocks, what it is, whether it was told."""

    since: float
    since_at: float
    what: str
    told: bool = False


class Alarms:
    """Takes a look at each status; see `Orders`. `close` before the process ends."""

    def __init__(
        self,
        orders: Orders,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._orders, self._limit_s = orders, orders.limit_s
        self._clock, self._wall = clock, wall
        self._open: dict[Trouble, _Open] = {}
        self._told_at: dict[Trouble, float] = {}
        self._messages: queue.Queue[tuple[str, dict[str, str]] | None] = queue.Queue(WAITING)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)
        self._thread.start()

    def look(self, status: StationStatus) -> None:
        """Tell what has begun and what is over. Never blocks and never raises."""
        now = self._clock()
        there = status.troubles()
        for kind in [kind for kind in self._open if kind not in there]:
            over = self._open.pop(kind)
            if over.told:
                self._tell("clear", self._orders.on_clear, kind, over, status)
        for kind, what in there.items():
            trouble = self._open.setdefault(kind, _Open(now, self._wall(), what))
            trouble.what = what
            last = self._told_at.get(kind)
            is_due = now - trouble.since >= self._orders.after_s
            if (
                trouble.told
                or not is_due
                or (last is not None and now - last < self._orders.every_s)
            ):
                continue
            trouble.told = True
            self._told_at[kind] = now
            self._tell("problem", self._orders.on_problem, kind, trouble, status)

    def close(self) -> None:
        """End the thread, and a command that is still running."""
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._messages.put_nowait(None)
        self._thread.join(2.0)

    def _tell(
        self, event: str, command: str, kind: Trouble, trouble: _Open, status: StationStatus
    ) -> None:
        if not command:
            return
        message = {
            "event": event,
            "kind": kind.value,
            "what": trouble.what,
            "since": _iso(trouble.since_at),
            "at": _iso(self._wall()),
            "station": self._orders.station,
            "folder": status.folder,
        }
        try:
            self._messages.put_nowait((command, message))
        except queue.Full:
            log.error("%s not told: the commands before it have not ended", kind.value)

    def _run(self) -> None:
        while not self._closing.is_set():
            message = self._messages.get()
            if message is not None:
                self._run_command(*message)

    def _run_command(self, command: str, message: dict[str, str]) -> None:
        """Run one command to its end, or to its limit.

        The message is JSON on its standard input; a shell reads the chief parts from its
        environment.
        """
        environ = {k: v for k, v in os.environ.items() if k != "NOTIFY_SOCKET"}
        for name in ("event", "kind", "what", "station"):
            environ[f"SORTER_{name.upper()}"] = one_line(message[name]).replace("\0", "")
        try:
            child = subprocess.Popen(
                ["/bin/sh", "-c", command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environ,
                start_new_session=True,  # so that all it starts can be killed with it
            )
        except OSError as error:
            log.error("cannot run %r: %s", command, error)
            return
        with contextlib.suppress(OSError):  # it has ended already, or this is not allowed
            own = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, child.pid, own + GIVES_WAY)
        until, said = self._clock() + self._limit_s, b""
        text = json.dumps(message, ensure_ascii=False) + "\n"
        given: bytes | None = text.encode("utf-8", "backslashreplace")
        while True:
            try:
                _, said = child.communicate(given, timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                given = None
            if self._clock() > until or self._closing.is_set():
                with contextlib.suppress(OSError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.communicate()
                why = "the station stops" if self._closing.is_set() else f"{self._limit_s:g} s"
                log.error("killed %r after %s", command, why)
                return
        if child.returncode:
            last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
            log.error("%r ended with %d: %s", command, child.returncode, " ".join(last))


def _iso(moment: float) -> str:
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
    return text.replace("+00:00", "Z")
