"""The device's half of WS1 as a state machine: what a real diverter does, bytes in and bytes out.

Owns the same table of rules as `firmware/ws1.c` (both run `tests/conformance.txt`). Time is an
argument, movements are reported to a callable at the instant they start. No port, no thread.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from sorter.actuator.protocol import Answer, Command, Garbage, Reply, Verb, command_decoder, encode
from sorter.actuator.simulator.eeprom import Eeprom

SILENCE_S = 3.0
NAKS_PER_S = 2
FIRMWARE = "sim1"


Report = Callable[[str, int | None, int | None], None]


class Device:
    """One diverter. `report(event, n, bin)` is called for boot, move, done, safe, home, fault."""

    def __init__(
        self,
        *,
        memory: Eeprom,
        report: Report,
        new_boot: Callable[[], str],
        name: str = "sim",
        bins: int = 4,
        move_s: float = 0.3,
    ) -> None:
        self.move_s = move_s
        self.state = "OFF"
        self.done_delay_s = 0.0  # a fault: DONE held back this long after the movement
        self._memory, self._report, self._new_boot = memory, report, new_boot
        self._name, self._bins = name, bins
        self._decoder = command_decoder()
        self._out: list[bytes] = []
        self._boot = self._sid = ""
        self._mark: int | None = None
        self._forget()

    def _forget(self) -> None:
        self._greeted = False
        self._moving: tuple[int, int] | None = None
        self._last: tuple[int, str] | None = None
        self._move_at = self._end_at = self._silence_at = inf
        self._held: list[tuple[float, bytes]] = []
        self._nak_from, self._naks = -inf, 0
        self._decoder.reset()
        self._out.clear()

    def power_on(self, now: float) -> None:
        """Start or restart: a movement under way is cut, RAM is lost, BOOT is said."""
        self._forget()
        kept = self._memory.load()
        self._sid, self._mark = kept if kept else ("-", None)
        self._boot = self._new_boot()
        self.state = "IDLE"
        self._silence_at = now + SILENCE_S
        self._report("boot", None, None)
        self._say(
            Answer.BOOT,
            "WS1",
            FIRMWARE,
            self._boot,
            self._name,
            self._sid,
            self._mark_text(),
            self.state,
        )

    def power_off(self) -> None:
        """Cut the power: nothing moves and nothing is said until `power_on`."""
        self._forget()
        self.state = "OFF"

    @property
    def wake_at(self) -> float:
        """When `tick` has something to do next."""
        held_at = self._held[0][0] if self._held else inf
        return min(self._end_at, self._silence_at, held_at)

    def take(self) -> list[bytes]:
        """Lines to send, handed out once."""
        lines, self._out = self._out, []
        return lines

    def tick(self, now: float) -> None:
        """Do what is due: a movement ends, silence makes safe."""
        if now >= self._end_at and self._moving:
            (n, bin_number), self._moving = self._moving, None
            self._end_at = inf
            self.state = "IDLE"
            took_ms = round((now - self._move_at) * 1000)
            if bin_number:
                self._last = (n, "DONE")
                self._report("done", n, bin_number)
            line = encode(Reply(Answer.DONE, (str(n), str(bin_number), str(took_ms))))
            if self.done_delay_s:
                self._held.append((now + self.done_delay_s, line))
            else:
                self._out.append(line)
        while self._held and now >= self._held[0][0]:
            self._out.append(self._held.pop(0)[1])
        if now >= self._silence_at:
            self._silence_at = inf
            if self.state in ("IDLE", "BUSY"):
                self._cut("SAFE")
                self.state = "SAFE"
                self._report("safe", None, None)

    def feed(self, data: bytes, now: float) -> None:
        """Bytes from the host."""
        if self.state == "OFF":
            return
        for message in self._decoder.feed(data):
            if isinstance(message, Garbage):
                self._nak_garbage(now)
            elif message.verb is Verb.STOP:
                self._stop()
            else:
                self._silence_at = now + SILENCE_S
                self._obey(message, now)

    def _obey(self, command: Command, now: float) -> None:
        verb, fields = command.verb, command.fields
        if verb is Verb.HEARTBEAT:
            self._say(Answer.HB, fields[0], self.state)
        elif verb is Verb.GO:
            self._go(fields[0], int(fields[1]), int(fields[2]), now)
        elif verb is Verb.QUERY:
            self._say(Answer.ST, fields[0], self._known(int(fields[0])))
        elif verb is Verb.HI:
            self._hi(fields[0], int(fields[1]))
        elif self.state == "BUSY":
            self._say(Answer.BUSY, fields[0])
        elif verb is Verb.CLEAR:
            self._say(Answer.ACK, fields[0])
            if self.state == "FAULT":
                self.state = "IDLE"
            self._say(Answer.DONE, fields[0], "0", "0")
        elif not self._greeted:
            self._say(Answer.NAK, fields[0], "SID")
        elif self.state != "IDLE":
            self._say(Answer.NAK, fields[0], self.state)
        else:
            self._say(Answer.ACK, fields[0])
            self._begin(int(fields[0]), 0, now)
            self._report("home", int(fields[0]), 0)

    def _hi(self, sid: str, next_n: int) -> None:
        if self.state == "SAFE":
            self.state = "IDLE"
        if self.state == "IDLE" and (sid != self._sid or self._mark is None):
            self._memory.save(sid, next_n - 1)
            self._sid, self._mark, self._last = sid, next_n - 1, None
        if sid == self._sid:
            self._greeted = True
        self._say(Answer.HI, self._boot, self._name, self._sid, self._mark_text(), self.state)

    def _go(self, sid: str, n: int, bin_number: int, now: float) -> None:
        text = str(n)
        if not self._greeted or sid != self._sid or self._mark is None:
            self._say(Answer.NAK, text, "SID")
        elif n <= self._mark:
            self._say(Answer.DUP, text, self._known(n))
        elif self.state == "BUSY":
            self._say(Answer.BUSY, text)
        elif self.state != "IDLE":
            self._say(Answer.NAK, text, self.state)
        elif not 1 <= bin_number <= self._bins:
            self._say(Answer.NAK, text, "BIN")
        else:
            self._memory.save(sid, n)
            self._mark, self._last = n, None
            self._say(Answer.ACK, text)
            self._begin(n, bin_number, now)
            self._report("move", n, bin_number)

    def _begin(self, n: int, bin_number: int, now: float) -> None:
        self._moving = (n, bin_number)
        self._move_at, self._end_at = now, now + self.move_s
        self.state = "BUSY"

    def _known(self, n: int) -> str:
        if self._mark is None:
            return "UNK"
        if self._moving and self._moving == (n, self._moving[1]) and self._moving[1]:
            return "BUSY"
        if n > self._mark:
            return "NEW"
        return self._last[1] if self._last and self._last[0] == n else "UNK"

    def _stop(self) -> None:
        self._cut("")
        if self.state != "FAULT":
            self.state = "FAULT"
            self._report("fault", None, None)
        self._say(Answer.FAULT, "STOP")

    def _cut(self, code: str) -> None:
        if self._moving:
            n, bin_number = self._moving
            self._moving, self._end_at = None, inf
            if bin_number:
                self._last = (n, "FAIL")
            if code:
                self._say(Answer.FAIL, str(n), code)

    def _nak_garbage(self, now: float) -> None:
        if now - self._nak_from >= 1.0:
            self._nak_from, self._naks = now, 0
        if self._naks < NAKS_PER_S:
            self._naks += 1
            self._say(Answer.NAK, "-", "CRC")

    def _mark_text(self) -> str:
        return "-" if self._mark is None else str(self._mark)

    def _say(self, answer: Answer, *fields: str) -> None:
        self._out.append(encode(Reply(answer, fields)))
