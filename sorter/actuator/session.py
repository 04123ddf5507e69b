"""The host's side of one connection, and of the one command on it. Pure: time is an argument.

Owns the hand-shake, the identity check, the heart-beat, what a restart of the device means, that
one command is outstanding at most, and the rules for its number: same line on a retry, query before
doubt, replies for any other number ignored, no GO after its deadline or after a doubt. Bytes come
in through `received` and go out through `take`. Ports are `link`'s.

The states of a connection:

    state     meaning                              what leads on
    closed    no port, or one that was given up    the port opens: waiting
    waiting   the port is open, and a board may    BOOT, or 3 s without: greeting
              be restarting because of that
    greeting  HI is said every half second         HI with our session: ready, or fault where it
                                                   reports one; 10 s without, another protocol,
                                                   another name, an old journal: closed
    ready     GO may be said                       five heart-beats or tries unanswered, BOOT, SAFE,
                                                   a NAK that wants a hand-shake: greeting;
                                                   FAULT: fault
    fault     the device has stopped itself        it reports IDLE or SAFE, or BOOT: greeting

From every state a lost port leads to closed. A command under way is held meanwhile and asked about
after the next hand-shake.

The phases of a command:

    phase      what is said                     what ends it
    ACCEPTING  GO, the same line again          ACK: MOVING; no answer, too late: ASKING
    MOVING     nothing                          DONE, FAIL: OVER; no word in time: ASKING
    ASKING     Q, again                         DONE, FAIL, UNK, NEW: OVER; BUSY: MOVING
    HELD       nothing: there is no link        a hand-shake: ASKING; the limit of doubt: OVER
    OVER       nothing; `result` is there

NEW ("never started") is believed of a device that is surely the one that was told. Behind a port
that was opened anew another may answer, a spare that knows the session, whose NEW says nothing
about the first one: unless it is still the same boot, the number stays UNCERTAIN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from math import inf

from sorter.actuator.protocol import (
    NUMBER_MAX,
    SID_PATTERN,
    STOP_BYTE,
    Answer,
    Command,
    Garbage,
    Reply,
    Verb,
    encode,
    reply_decoder,
)
from sorter.domain import Delivery, LinkStatus, Movement
from sorter.errors import UsageError


@dataclass(frozen=True, slots=True)
class Timing:
    """Every duration of the host's half: seconds, and counts of tries.

    `doubt_limit_s` bounds how long a command may stay unknown. What is written must be on its way
    within `blocked_s`; bytes that lie in the machine's queue for `queued_s` are dropped with the
    port (a device that hears nothing for so long is in its safe position anyway).
    """

    boot_wait_s: float = 3.0
    hello_every_s: float = 0.5
    hello_for_s: float = 10.0
    beat_every_s: float = 1.0
    beats_lost: int = 5
    ack_first_s: float = 0.2
    ack_longest_s: float = 1.0
    tries: int = 5
    move_budget_s: float = 3.0
    move_slack_s: float = 1.0
    doubt_limit_s: float = 30.0
    backoff_first_s: float = 0.2
    backoff_longest_s: float = 2.0
    blocked_s: float = 0.9
    queued_s: float = 3.0


_SETTLED = {
    "DONE": (Delivery.DONE, ""),
    "FAIL": (Delivery.FAILED, "the device reports that this movement failed"),
    "UNK": (Delivery.UNCERTAIN, "the device no longer knows this number"),
    "NEW": (Delivery.REFUSED, "the device never started this number"),
}


class Phase(Enum):
    """What the exchange waits for."""

    ACCEPTING = auto()
    MOVING = auto()
    ASKING = auto()
    HELD = auto()
    OVER = auto()


class Exchange:
    """A GO (`command.verb` GO), a query alone (Q), or a HOME or CLR; `result` once it is over."""

    def __init__(
        self,
        command: Command,
        *,
        timing: Timing,
        send: Callable[[Command], None],
        boot: str = "",
        deadline: float = inf,
        moved_before: bool = False,
    ) -> None:
        self.command = command
        self.number = command.fields[1 if command.verb is Verb.GO else 0]
        self.bin = command.fields[2] if command.verb is Verb.GO else ""
        self.boot = boot
        self._told_boot = boot
        self._reopened = command.verb is Verb.QUERY  # asked after a crash: whoever answers now
        self.result: Movement | None = None
        self.exhausted = False  # five tries without an answer: the session must shake hands
        self.needs_greeting = False  # the device refuses until a hand-shake
        self.wake_at = inf
        self._timing = timing
        self._send = send
        self._deadline = deadline
        self._written = 1 if moved_before else 0
        self._tries = 0
        self._wait_s = timing.ack_first_s
        self._limit = inf
        self._phase = Phase.HELD

    def start(self, now: float) -> None:
        """Send the first line."""
        if self.command.verb is Verb.QUERY:
            self._ask(now)
            return
        self._phase = Phase.ACCEPTING
        self._tries = 0
        self._try(now)

    def hold(self, now: float, *, port_lost: bool = False) -> None:
        """The link is gone or the device restarted: say nothing until `resume`."""
        self._reopened |= port_lost
        if self._phase is not Phase.OVER:
            self._doubt(now)
            self._phase = Phase.HELD
            self.wake_at = self._limit

    def resume(self, boot: str, now: float) -> None:
        """Hands are shaken again (with `boot`): a held exchange asks what became of its number."""
        if self._phase is Phase.HELD:
            self.boot = boot
            self.exhausted = self.needs_greeting = False
            self._ask(now)

    def abandon(self, why: str) -> None:
        """End as UNCERTAIN, unless it is over."""
        self._finish(Delivery.UNCERTAIN, why)

    def withdraw(self, why: str) -> None:
        """End as NOT_SENT: the caller knows that no byte left."""
        self._finish(Delivery.NOT_SENT, why)

    def tick(self, now: float) -> None:
        """Do what is due at `now`."""
        if now >= self._limit:
            self.abandon("no answer within the time allowed for doubt")
        if now < self.wake_at or self._phase in (Phase.OVER, Phase.HELD):
            return
        if self._phase is Phase.ACCEPTING:
            if self._tries < self._timing.tries and now <= self._deadline:
                self._try(now)
            else:
                self._ask(now)
        elif self._phase is Phase.MOVING:
            self._ask(now)
        elif self._tries < self._timing.tries:
            self._try(now)
        else:
            self.exhausted = True
            self.hold(now)

    def hear(self, reply: Reply, now: float) -> None:
        """Take a reply; anything that is not about this number changes nothing."""
        if self._phase is Phase.OVER or not reply.fields or reply.fields[0] != self.number:
            return
        answer = reply.answer
        if answer is Answer.ACK:
            if self._phase is Phase.ACCEPTING:
                self._moving(now, self._timing.move_budget_s + self._timing.move_slack_s)
        elif answer is Answer.DONE:
            # A late DONE of a HOME with the same number names bin 0: not this movement's.
            if self.command.verb is not Verb.GO or reply.fields[1] == self.bin:
                self._finish(Delivery.DONE, "", device_ms=int(reply.fields[2]))
        elif answer is Answer.FAIL:
            self._finish(Delivery.FAILED, f"the device reports {reply.fields[1]}")
        elif answer is Answer.DUP:
            self._settle(reply.fields[1], now)
        elif answer is Answer.ST:
            if self._phase is Phase.ASKING:
                self._settle(reply.fields[1], now)
        elif answer is Answer.BUSY:
            if self._phase is Phase.ACCEPTING:  # still at an earlier number: the same line later
                self._doubt(now)
                self._tries, self._wait_s = 0, self._timing.ack_first_s
                self.wake_at = now + self._timing.ack_first_s
        elif answer is Answer.NAK:
            self._refused(reply.fields[1], now)

    def _settle(self, word: str, now: float) -> None:
        if word == "BUSY":
            self._moving(now, self._timing.ack_longest_s)
        elif word == "NEW" and self._reopened and self.boot != self._told_boot:
            why = "the device that answers now never started this number; another may have"
            self._finish(Delivery.UNCERTAIN, why)
        else:
            self._finish(*_SETTLED[word])

    def _refused(self, code: str, now: float) -> None:
        if self._phase is not Phase.ACCEPTING:
            return
        self.needs_greeting = code in ("SID", "SAFE")
        if code == "BIN" or self._written == 1:
            self._finish(Delivery.REFUSED, f"the device refused: {code}")
        elif self.needs_greeting:
            self.hold(now)  # an earlier copy may have moved: only Q can tell
        else:
            self._ask(now)

    def _try(self, now: float) -> None:
        asking = self._phase is Phase.ASKING
        self._wait_s = min(self._wait_s * (2 if self._tries else 1), self._timing.ack_longest_s)
        self._tries += 1
        self.wake_at = min(now + self._wait_s, self._limit)
        if not asking:
            self._written += 1
        self._send(Command(Verb.QUERY, (self.number,)) if asking else self.command)

    def _ask(self, now: float) -> None:
        self._doubt(now)
        if self.command.verb in (Verb.HOME, Verb.CLEAR):  # no number to ask about
            self.abandon("no answer from the device")
            return
        self._phase = Phase.ASKING
        self._tries, self._wait_s = 0, self._timing.ack_first_s
        self._try(now)

    def _moving(self, now: float, for_s: float) -> None:
        self._phase = Phase.MOVING
        self.wake_at = min(now + for_s, self._limit)

    def _doubt(self, now: float) -> None:
        if self._limit == inf:
            self._limit = now + self._timing.doubt_limit_s

    def _finish(self, delivery: Delivery, detail: str, *, device_ms: int | None = None) -> None:
        if self._phase is not Phase.OVER:
            self._phase = Phase.OVER
            self.wake_at = inf
            self.result = Movement(delivery, detail, self.boot, device_ms)


class State(StrEnum):
    """Where the connection stands, in the words that operators see; only READY may move."""

    CLOSED = "closed"
    WAITING = "waiting"
    GREETING = "greeting"
    READY = "ready"
    FAULT = "fault"


class Session:
    """Survives re-opening: `opened` and `lost` bracket each life of the port.

    `sid` is the journal's id, `next_n` a number above every one ever sent under it. `device` is
    the only name to accept, any if None. `broken`, once set, says why the port must be closed;
    `misfit` says the same where the device answers but is not one to be moved by this journal.
    """

    def __init__(
        self,
        sid: str,
        next_n: int,
        *,
        bins: int = 4,
        device: str | None = None,
        timing: Timing | None = None,
    ) -> None:
        if not SID_PATTERN.fullmatch(sid):
            raise UsageError(f"session id {sid!r}: 1 to 16 letters, digits, '.', '_' or '-'")
        if not 1 <= next_n <= NUMBER_MAX:
            raise UsageError(f"next number {next_n}: must be 1 to {NUMBER_MAX}")
        self.timing = timing or Timing()
        self.state = State.CLOSED
        self.boot = self.name = self.detail = self.broken = self.misfit = ""
        self.exchange: Exchange | None = None
        self.foreign = self.garbage = 0
        self._ours = False  # the device has taken this session
        self._sid, self._next, self._bins, self._device = sid, next_n, bins, device
        self._decoder = reply_decoder()
        self._out = bytearray()
        self._beat = self._unanswered = 0
        self._hello_at = self._hello_until = self._beat_at = inf

    def opened(self, now: float) -> None:
        """The port is open: an Arduino is restarting now, so listen before speaking."""
        self._decoder.reset()
        self._out.clear()
        before = f" (before: {self.broken})" if self.broken else ""
        self.broken = ""
        self._enter(State.WAITING, f"port open, waiting for the device to start{before}")
        self._hello_at = now + self.timing.boot_wait_s

    def lost(self, why: str, now: float) -> None:
        """The port is closed; an exchange under way waits for the next hand-shake."""
        self._out.clear()
        self._enter(State.CLOSED, why)
        self._hello_at = self._hello_until = self._beat_at = inf
        if self.exchange:
            self.exchange.hold(now, port_lost=True)

    def received(self, data: bytes, now: float) -> None:
        """Bytes from the device."""
        for message in self._decoder.feed(data):
            if isinstance(message, Garbage):
                self.garbage += 1
            elif self.state is not State.CLOSED and not self.broken:
                self._hear(message, now)

    def tick(self, now: float) -> None:
        """Do what is due at `now`."""
        exchange = self.exchange
        if exchange and now >= exchange.wake_at:
            exchange.tick(now)
            if exchange.exhausted and self.state in (State.READY, State.FAULT):
                self._greet(f"no answer to {self.timing.tries} tries", now)
        if now >= self._hello_at:
            if self.state is State.WAITING:
                self._greet("no start message from the device", now)
            elif now >= self._hello_until:
                self._break("nothing answers on this port")
            else:
                self._hello(now)
        elif now >= self._beat_at:
            if self._unanswered >= self.timing.beats_lost:
                self._greet(f"no answer to {self._unanswered} heart-beats", now)
            else:
                self._unanswered += 1
                self._beat = (self._beat + 1) % NUMBER_MAX
                self._beat_at = now + self.timing.beat_every_s
                self._send(Command(Verb.HEARTBEAT, (str(self._beat),)))

    @property
    def wake_at(self) -> float:
        """When `tick` has something to do next; infinity if only bytes can bring news."""
        exchange_at = self.exchange.wake_at if self.exchange else inf
        return min(exchange_at, self._hello_at, self._beat_at)

    def take(self) -> bytes:
        """Bytes to write now; they are handed out once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    @property
    def status(self) -> LinkStatus:
        """For people."""
        ready = self.state is State.READY
        return LinkStatus(ready, self.state.value, self.detail, self.boot, self.name)

    def move(
        self, n: int, bin_number: int, *, boot: str, deadline: float, now: float
    ) -> Exchange | Movement:
        """Begin to move for `n`, at most once; a Movement at once where nothing was written."""
        why = self._objection(boot)
        if not why and now > deadline:
            why = "too late: the deadline has passed"
        if not why and not 1 <= bin_number <= self._bins:
            why = f"bin {bin_number} is not 1 to {self._bins}"
        if not why and not 1 <= n < NUMBER_MAX:
            why = f"number {n} is outside 1 to {NUMBER_MAX - 1}"
        if why:
            return Movement(Delivery.NOT_SENT, why, self.boot)
        command = Command(Verb.GO, (self._sid, str(n), str(bin_number)))
        self.exchange = Exchange(
            command,
            timing=self.timing,
            send=self._send,
            boot=boot,
            deadline=deadline,
            moved_before=n < self._next,
        )
        self._next = max(self._next, n + 1)
        self.exchange.start(now)
        return self.exchange

    def ask(self, n: int, *, boot: str, now: float) -> Exchange:
        """Begin to find out what became of `n`; waits for a hand-shake where there is none."""
        command = Command(Verb.QUERY, (str(n),))
        self.exchange = Exchange(command, timing=self.timing, send=self._send, boot=boot)
        self._next = max(self._next, n + 1)
        if self.state in (State.READY, State.FAULT) and self._ours:
            self.exchange.boot = self.boot
            self.exchange.start(now)
        else:
            self.exchange.hold(now)
        return self.exchange

    def order(self, verb: Verb, *, now: float) -> Exchange | Movement:
        """Begin HOME or CLR. Their numbers come from the top of the range, away from items."""
        in_fault = verb is Verb.CLEAR and self.state is State.FAULT and self.exchange is None
        why = self._objection(self.boot)
        if why and not in_fault:
            return Movement(Delivery.NOT_SENT, why, self.boot)
        self._beat += 1
        command = Command(verb, (str(NUMBER_MAX - self._beat % 100_000),))
        self.exchange = Exchange(command, timing=self.timing, send=self._send, boot=self.boot)
        self.exchange.start(now)
        return self.exchange

    def finish(self) -> None:
        """Forget the exchange: the caller has its result."""
        self.exchange = None

    def stop(self) -> None:
        """Stop the device now, whatever else is going on."""
        self._out[:0] = STOP_BYTE

    def _objection(self, boot: str) -> str:
        if self.state is not State.READY:
            return f"link not ready: {self.detail}"
        if self.exchange is not None:
            return "another command is outstanding"
        if boot != self.boot:
            return "the device has restarted since this command was decided"
        return ""

    def _hear(self, reply: Reply, now: float) -> None:
        self._unanswered = 0
        answer = reply.answer
        if answer is Answer.HB:
            self._device_state(reply.fields[1], now)
        elif answer is Answer.BOOT:
            self._booted(reply, now)
        elif answer is Answer.HI:
            self._greeted(reply, now)
        elif answer is Answer.FAULT:
            if self.state is State.READY:
                self._fault(f"the device reports FAULT {reply.fields[0]}", now)
        elif self.exchange and reply.fields[0] == self.exchange.number:
            self.exchange.hear(reply, now)
            if self.exchange.needs_greeting and self.state is State.READY:
                self.exchange.needs_greeting = False
                self._greet("the device wants a new hand-shake", now)
            elif reply.fields[1:] == ("FAULT",) and self.state is State.READY:
                self._fault("the device is in FAULT", now)
        elif reply.fields != ("-", "CRC"):
            self.foreign += 1

    def _booted(self, reply: Reply, now: float) -> None:
        protocol, _, boot, name, _, _, _ = reply.fields
        if protocol != "WS1":
            self._refuse(f"the device speaks {protocol!r}, not WS1")
        elif self._is_expected(name) and (boot != self.boot or self.state is State.WAITING):
            self._greet("the device started", now)

    def _greeted(self, reply: Reply, now: float) -> None:
        boot, name, sid, mark, device_state = reply.fields
        if not self._is_expected(name) or self.state is State.WAITING:
            return
        if self.state is not State.GREETING and boot == self.boot:
            return  # a repeated answer to a hand-shake that is over
        if mark.isdigit() and sid == self._sid and int(mark) >= self._next:
            self._refuse(
                f"device {name!r} has already used number {mark} of this journal, which is only "
                f"at {self._next}: the journal is an old copy; begin a new one"
            )
            return
        self._ours = sid == self._sid and mark != "-"
        if not self._ours and device_state != "FAULT":
            self.detail = f"device {name!r} is {device_state} and keeps another station's session"
            self._hello_until = now + self.timing.hello_for_s
            return
        self.boot, self.name = boot, name
        if device_state == "BUSY":
            self.detail = "the device is finishing a movement"
            self._hello_until = now + self.timing.hello_for_s
            return
        self._hello_at = self._hello_until = inf
        self._beat_at = now + self.timing.beat_every_s
        self.misfit = ""
        self._enter(State.READY, f"device {name!r} ready")
        if device_state == "FAULT":
            self._fault("the device is in FAULT", now)
        if self.exchange and self._ours:
            self.exchange.hold(now)
            self.exchange.resume(boot, now)

    def _device_state(self, word: str, now: float) -> None:
        if word == "FAULT" and self.state is State.READY:
            self._fault("the device is in FAULT", now)
        elif word == "SAFE" and self.state is State.READY:
            self._greet("the device went to its safe position", now)
        elif word in ("IDLE", "SAFE") and self.state is State.FAULT:
            self._greet("the fault is cleared", now)

    def _fault(self, why: str, now: float) -> None:
        self._enter(State.FAULT, why + "; look at the machine, then clear or reset it")
        # A device of another session would answer about that session's numbers.
        if self.exchange and self._ours and self.exchange.command.verb in (Verb.GO, Verb.QUERY):
            self.exchange.hold(now)
            self.exchange.resume(self.boot, now)

    def _greet(self, why: str, now: float) -> None:
        self._enter(State.GREETING, why + "; shaking hands")
        if self.exchange:
            self.exchange.hold(now)
        self._unanswered = 0
        self._beat_at = inf
        self._hello_until = now + self.timing.hello_for_s
        self._hello(now)

    def _hello(self, now: float) -> None:
        self._hello_at = now + self.timing.hello_every_s
        self._send(Command(Verb.HI, (self._sid, str(self._next))))

    def _is_expected(self, name: str) -> bool:
        if self._device is None or name == self._device:
            return True
        self._refuse(f"the device calls itself {name!r}, not {self._device!r}")
        return False

    def _break(self, why: str) -> None:
        self.broken = why
        self._enter(State.CLOSED, why)

    def _refuse(self, why: str) -> None:
        self.misfit = why
        self._break(why)

    def _enter(self, state: State, detail: str) -> None:
        self.state, self.detail = state, detail

    def _send(self, command: Command) -> None:
        self._out += encode(command)
