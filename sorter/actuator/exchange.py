"""One command from its first byte to its one outcome. Pure: time is an argument.

Owns the rules for a single number: same line on a retry, query before doubt, replies for any other
number ignored, no GO after its deadline or after a doubt. Does not know ports or hand-shakes.

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
from enum import Enum, auto
from math import inf

from sorter.actuator.protocol import Answer, Command, Reply, Verb
from sorter.domain import Delivery, Movement


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
