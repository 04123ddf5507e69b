"""The host's half at work: a port, a session and the one thread that keeps them alive.

Owns opening, re-opening by the stable name with capped back-off, and the blocking calls of the
station (`sorter.station.interfaces.Actuator` says what each promises). All rules about what may be
said when are `session`'s; this file moves bytes and waits. No call waits on the
device for longer than its timing says; `close` returns in a second.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import inf

from sorter.actuator.plain import PlainLink
from sorter.actuator.protocol import Verb
from sorter.actuator.serialport import Port, check_name, open_port
from sorter.actuator.session import Exchange, Session, Timing
from sorter.domain import Delivery, LinkStatus, Movement
from sorter.errors import PortError, SorterError, UsageError
from sorter.host.clock import uptime_s

LEAVES_S = 0.1
"""A line is gone from the queue of a port that works within so long."""


class Link:
    """A WS1 device, an Actuator; `opener` opens its stable name each time."""

    def __init__(
        self,
        opener: Callable[[], Port],
        *,
        bins: int = 4,
        device: str | None = None,
        timing: Timing | None = None,
        clock: Callable[[], float] = uptime_s,
    ) -> None:
        self._opener = opener
        self._bins, self._device = bins, device
        self._timing, self._clock = timing or Timing(), clock
        self._beat: Callable[[], None] = lambda: None
        self._news = threading.Condition()
        self._turn = threading.Lock()  # one command at a time, whoever calls
        self._session: Session | None = None
        self._port: Port | None = None
        self._backlog, self._backlog_since = b"", 0.0
        self._leave_by = inf  # when a GO that still lies in the machine's queue must be dropped
        self._status = LinkStatus(False, "closed", "not started")
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, sid: str, next_n: int, *, beat: Callable[[], None] = lambda: None) -> None:
        """See Actuator. UsageError if already started or the id cannot stand on the wire."""
        if self._thread is not None:
            raise UsageError("this link is already started")
        self._beat = beat
        self._session = Session(
            sid, next_n, bins=self._bins, device=self._device, timing=self._timing
        )
        self._thread = threading.Thread(target=self._run, name="actuator-link", daemon=True)
        self._thread.start()

    def status(self) -> LinkStatus:
        """See Actuator."""
        return self._status

    def move(self, n: int, bin_number: int, *, boot: str, deadline: float) -> Movement:
        """See Actuator. Blocks until the outcome is known or declared UNCERTAIN."""
        with self._turn, self._news:
            session = self._session
            if session is None or self._closing.is_set():
                return Movement(Delivery.NOT_SENT, "the link is not running")
            if self._backlog or not self._flush():
                return Movement(Delivery.NOT_SENT, "the device is not reading", session.boot)
            exchange = session.move(n, bin_number, boot=boot, deadline=deadline, now=self._clock())
            if isinstance(exchange, Movement):
                return exchange
            self._flush(exchange)
            self._leave_by = max(deadline, self._clock() + LEAVES_S)
            return self._outcome(exchange)

    def resolve(self, n: int, *, boot: str) -> Movement:
        """See Actuator. Waits for a hand-shake up to the time allowed for doubt."""
        with self._turn, self._news:
            session = self._session
            if session is None or self._closing.is_set():
                return Movement(Delivery.UNCERTAIN, "the link is not running", boot)
            exchange = session.ask(n, boot=boot, now=self._clock())
            self._flush()
            return self._outcome(exchange)

    def home(self) -> Movement:
        """Bring the diverter to its home position."""
        return self._order(Verb.HOME)

    def clear(self) -> Movement:
        """Clear a fault; moves nothing."""
        return self._order(Verb.CLEAR)

    @property
    def misfit(self) -> str:
        """Why the device that answers is not accepted; empty while that is not so."""
        return self._session.misfit if self._session else ""

    def stop(self) -> None:
        """See Actuator. Does not wait for a command under way."""
        with self._news:
            if self._session and self._port:
                self._backlog = b""  # a command cut in half must not be completed after the stop
                self._session.stop()
                self._flush()

    def close(self) -> None:
        """See Actuator. A command under way ends as UNCERTAIN."""
        self._closing.set()
        with self._news:
            if self._session and self._session.exchange:
                self._session.exchange.abandon("the link was closed")
            self._news.notify_all()
            if self._port:
                self._port.wake()
        if self._thread:
            self._thread.join(self._timing.blocked_s)

    def wait_until_ready(self, timeout_s: float) -> bool:
        """True as soon as the device may move; False after `timeout_s` or `close`."""
        with self._news:
            self._news.wait_for(lambda: self._status.ready or self._closing.is_set(), timeout_s)
            return self._status.ready

    # Inside, with the lock held unless said otherwise.

    def _order(self, verb: Verb) -> Movement:
        with self._turn, self._news:
            session = self._session
            if session is None or self._closing.is_set():
                return Movement(Delivery.NOT_SENT, "the link is not running")
            exchange = session.order(verb, now=self._clock())
            if isinstance(exchange, Movement):
                return exchange
            self._flush()
            return self._outcome(exchange)

    def _outcome(self, exchange: Exchange) -> Movement:
        if self._port:
            self._port.wake()  # the thread must learn the exchange's own deadline
        while exchange.result is None:
            if self._closing.is_set():
                exchange.abandon("the link was closed")
                break
            self._news.wait(1.0)
        if self._session:
            self._session.finish()
        return exchange.result or Movement(Delivery.UNCERTAIN, "the link was closed", exchange.boot)

    def _flush(self, exchange: Exchange | None = None) -> bool:
        """Write what the session has to say; True if everything has left."""
        if self._port is None or self._session is None:
            return False
        fresh = self._session.take()
        data = self._backlog + fresh
        if not data:
            return True
        try:
            taken = self._port.write(data)
        except PortError as error:
            # Nothing says how much arrived: the exchange is in doubt, the port is finished.
            self._session.lost(str(error), self._clock())
            self._session.broken = str(error)
            self._backlog = b""
            self._port.wake()
            return False
        if exchange is not None and taken == 0:
            exchange.withdraw("the device is not reading")
            return False
        if taken < len(data) and not self._backlog:
            self._backlog_since = self._clock()
        self._backlog = data[taken:]
        return not self._backlog

    def _run(self) -> None:
        """The thread: connect, serve, wait, again."""
        backoff_s = self._timing.backoff_first_s
        session = self._session
        if session is None:
            return
        while not self._closing.is_set():
            self._beat()
            try:
                port = self._opener()
            except SorterError as error:
                self._set_status(session, str(error))
            else:
                if self._serve(session, port):
                    backoff_s = self._timing.backoff_first_s
            self._pause(session, backoff_s)
            backoff_s = min(backoff_s * 2, self._timing.backoff_longest_s)
        self._set_status(session, "closed by this program")

    def _serve(self, session: Session, port: Port) -> bool:
        """Talk over `port` until it fails or `close`; True if hands were shaken on it."""
        was_ready = False
        with self._news:
            session.opened(self._clock())
            self._port, self._backlog, self._leave_by = port, b"", inf
        why, current_at, empty_at = "closed by this program", 0.0, self._clock()
        try:
            while not self._closing.is_set():
                self._beat()
                with self._news:
                    now = self._clock()
                    session.tick(now)
                    self._flush()
                    was_ready = was_ready or session.status.ready
                    self._publish(session)
                    if session.broken:
                        why = session.broken
                        break
                    if self._backlog and now - self._backlog_since > self._timing.blocked_s:
                        why = "the device does not read what is written"
                        break
                    wait_s = min(session.wake_at - now, 0.25)
                    stuck = bool(self._backlog)
                if not port.unsent():
                    empty_at, self._leave_by = now, inf
                elif now > min(self._leave_by, empty_at + self._timing.queued_s):
                    # Read later, they would move something for an item that is long gone.
                    why = "the device does not read what is written"
                    break
                if now >= current_at:
                    current_at = now + 0.5
                    if not port.is_current():
                        why = "the port's name leads to another device now"
                        break
                data = port.read(wait_s, wanted_room=stuck)
                if data:
                    with self._news:
                        session.received(data, self._clock())
        except PortError as error:
            why = str(error)
        finally:
            with self._news:
                self._port, self._backlog = None, b""
                session.lost(why, self._clock())
                self._publish(session)
            port.close()
        return was_ready

    def _publish(self, session: Session) -> None:
        self._status = session.status
        self._news.notify_all()

    def _set_status(self, session: Session, why: str) -> None:
        with self._news:
            session.lost(why, self._clock())
            self._publish(session)

    def _pause(self, session: Session, for_s: float) -> None:
        """Wait between two attempts, while a held exchange's own time limit still runs."""
        until = self._clock() + for_s
        while (left := until - self._clock()) > 0 and not self._closing.wait(min(left, 0.1)):
            with self._news:
                exchange = session.exchange
                if exchange and exchange.wake_at < inf:
                    exchange.tick(self._clock())
                    self._news.notify_all()


def open_actuator(
    port: str,
    *,
    protocol: str = "ws1",
    device: str | None = None,
    bins: int = 4,
    plain_bytes: str = "123456789",
    timing: Timing | None = None,
) -> Link | PlainLink:
    """The actuator on `port` (a path or a pyserial URL), not started. UsageError if impossible."""
    check_name(port)
    if protocol == "plain":
        return PlainLink(lambda: open_port(port), bins=bins, alphabet=plain_bytes, timing=timing)
    if protocol != "ws1":
        raise UsageError(f"protocol {protocol!r}: choose ws1 or plain")
    return Link(lambda: open_port(port), bins=bins, device=device, timing=timing)
