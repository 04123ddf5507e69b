"""`--protocol plain`: one byte per bin, for devices that answer nothing.

Owns the one write. There is no reply, no retry and nothing to ask: DONE here means "sent", that the
byte left this machine before the deadline. One that lies in the queue is dropped with the port, and
where that cannot be known (a pty) it is UNCERTAIN. Still at most one movement an item: a byte is
written once or, when in doubt, never again.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable

from sorter.actuator.serialport import Port
from sorter.actuator.session import Timing
from sorter.domain import Delivery, LinkStatus, Movement
from sorter.errors import PortError, SorterError, UsageError
from sorter.host.clock import uptime_s

LOOK_S = 0.002
"""Between two looks at whether a byte has left."""


class PlainLink:
    """An Actuator over `opener`; bin k is the k-th byte of `alphabet`.

    Each opening counts as a boot of the device. Nothing is written until the device has had
    `settle_s` to start: an Arduino restarts when its port is opened.
    """

    def __init__(
        self,
        opener: Callable[[], Port],
        *,
        bins: int = 4,
        alphabet: str = "123456789",
        settle_s: float = 2.0,
        timing: Timing | None = None,
        clock: Callable[[], float] = uptime_s,
    ) -> None:
        usable = len(set(alphabet)) == len(alphabet) and all("!" <= c <= "~" for c in alphabet)
        if not usable or len(alphabet) < bins:
            raise UsageError(f"plain bytes {alphabet!r}: {bins} different visible characters")
        self._opener = opener
        self._alphabet, self._bins, self._settle_s = alphabet, bins, settle_s
        self._timing, self._clock = timing or Timing(), clock
        self._beat: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._port: Port | None = None
        self._boot = ""
        self._failed = ""
        self._highest = 0
        self._status = LinkStatus(False, "closed", "not started")
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, sid: str, next_n: int, *, beat: Callable[[], None] = lambda: None) -> None:
        """See Actuator; such a device takes no `sid` and no `next_n`."""
        del sid, next_n
        if self._thread is not None:
            raise UsageError("this link is already started")
        self._beat = beat
        self._thread = threading.Thread(target=self._run, name="actuator-plain", daemon=True)
        self._thread.start()

    def status(self) -> LinkStatus:
        """See Actuator."""
        return self._status

    def move(self, n: int, bin_number: int, *, boot: str, deadline: float) -> Movement:
        """See Actuator: DONE with detail 'sent' once the byte has left, in time."""
        with self._lock:
            why = ""
            if self._port is None or self._failed or not self._status.ready:
                why = f"link not ready: {self._failed or self._status.detail}"
            elif boot != self._boot:
                why = "the port was opened anew since this command was decided"
            elif not 1 <= bin_number <= self._bins:
                why = f"bin {bin_number} is not 1 to {self._bins}"
            elif n <= self._highest:
                why = f"number {n} is not above {self._highest}, the last one sent"
            elif self._clock() > deadline:
                why = "too late: the deadline has passed"
            if why or self._port is None:
                return Movement(Delivery.NOT_SENT, why, self._boot)
            try:
                if not self._port.write(self._alphabet[bin_number - 1].encode("ascii")):
                    return Movement(Delivery.NOT_SENT, "the device is not reading", self._boot)
                self._highest = n
                return self._left(self._port, deadline)
            except PortError as error:
                self._highest = n
                return self._give_up(self._port, str(error))

    def _left(self, port: Port, deadline: float) -> Movement:
        """See the byte off until it has left, or must not leave any more."""
        until = min(deadline, self._clock() + self._timing.blocked_s)
        while unsent := port.unsent():
            if self._clock() > until or self._closing.wait(LOOK_S):
                why = "the device did not take it in time, so it was dropped"
                return self._give_up(port, why)
        if unsent is None:
            why = "sent, but this kind of port does not tell whether it left"
            return Movement(Delivery.UNCERTAIN, why, self._boot)
        if self._clock() > deadline:
            return Movement(Delivery.UNCERTAIN, "sent, but perhaps too late", self._boot)
        return Movement(Delivery.DONE, "sent", self._boot)

    def _give_up(self, port: Port, why: str) -> Movement:
        """Let the thread close the port, which drops what is in its queue."""
        self._failed = why
        port.wake()
        return Movement(Delivery.UNCERTAIN, why, self._boot)

    def resolve(self, n: int, *, boot: str) -> Movement:
        """See Actuator: such a device cannot be asked."""
        return Movement(Delivery.UNCERTAIN, f"a plain device cannot be asked about {n}", boot)

    def clear(self) -> Movement:
        """See Actuator: such a device knows no faults."""
        return Movement(Delivery.NOT_SENT, "a plain device takes no such command", self._boot)

    def home(self) -> Movement:
        """See Actuator: such a device has no home."""
        return Movement(Delivery.NOT_SENT, "a plain device takes no such command", self._boot)

    def stop(self) -> None:
        """See Actuator: a plain device has no stop byte."""

    def close(self) -> None:
        """See Actuator."""
        self._closing.set()
        with self._lock:
            if self._port:
                self._port.wake()
        if self._thread:
            self._thread.join(self._timing.blocked_s)

    def _run(self) -> None:
        backoff_s = self._timing.backoff_first_s
        while not self._closing.is_set():
            self._beat()
            try:
                port = self._opener()
            except SorterError as error:
                self._status = LinkStatus(False, "closed", str(error))
            else:
                self._status = LinkStatus(False, "waiting", "port open, device starting")
                self._serve(port)
                backoff_s = self._timing.backoff_first_s
            self._closing.wait(backoff_s)
            backoff_s = min(backoff_s * 2, self._timing.backoff_longest_s)
        self._status = LinkStatus(False, "closed", "closed by this program")

    def _serve(self, port: Port) -> None:
        why = "closed by this program"
        try:
            if self._closing.wait(self._settle_s):
                return
            with self._lock:
                self._port, self._failed = port, ""
                self._boot = secrets.token_hex(4)
                self._status = LinkStatus(True, "ready", "plain device, no replies", self._boot)
            while not self._closing.is_set():
                self._beat()
                port.read(0.5)  # whatever it says is nothing we know; only its end matters
                if self._failed or not port.is_current():
                    why = self._failed or "the port's name leads to another device now"
                    return
        except PortError as error:
            why = str(error)
        finally:
            with self._lock:
                self._port = None
                self._status = LinkStatus(False, "closed", why)
            port.close()
