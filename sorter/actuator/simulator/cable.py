"""A line that misbehaves on request, and the words that say how. Seeded, so that runs repeat.

Owns what happens to lines between host and device (`NoisyLine`) and the settings (`Faults`), which
may change while it runs. What a device itself does wrong (reset, stall, unplug) is only stored here
and acted on by whoever runs the device.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields
from math import inf
from random import Random

from sorter.actuator.protocol import seal
from sorter.errors import UsageError


@dataclass(slots=True)
class Faults:
    """Chances in [0, 1] a line unless said otherwise; all off by default.

    drop_in and drop_out lose lines to and from the device; `flip` is the chance of each bit;
    `delay_s` is the longest hold of a line; `duplicate` says a line twice; `noise` puts random
    bytes before a line; `stray` adds a valid reply for another number, `rejected` does so in
    answer to each line the device rejects. `reset` is the chance that a movement is cut by a
    reset; `late_s` holds DONE back; `deaf_s` ignores the host after each start.
    """

    drop_in: float = 0.0
    drop_out: float = 0.0
    flip: float = 0.0
    delay_s: float = 0.0
    duplicate: float = 0.0
    noise: float = 0.0
    stray: float = 0.0
    rejected: float = 0.0
    reset: float = 0.0
    late_s: float = 0.0
    deaf_s: float = 0.0


_NAMES = {
    "drop": ("drop_in", "drop_out"),
    "drop-in": ("drop_in",),
    "drop-out": ("drop_out",),
    "flip": ("flip",),
    "delay": ("delay_s",),
    "duplicate": ("duplicate",),
    "noise": ("noise",),
    "stray": ("stray",),
    "rejected": ("rejected",),
    "reset": ("reset",),
    "late": ("late_s",),
    "deaf": ("deaf_s",),
}
_SECONDS = ("delay", "late", "deaf")
ACTIONS = {
    "reset-now": "restart the device now",
    "stall": "neither read nor answer, for so many seconds",
    "unplug": "vanish, and come back after so many seconds",
    "stop": "press the machine's own stop button",
    "none": "switch every fault off",
}
HELP = (
    "Fault words: "
    + ", ".join(f"{name}={'SECONDS' if name in _SECONDS else 'P'}" for name in _NAMES)
    + "; at once: reset-now, stall=SECONDS, unplug=SECONDS, stop; none switches all off."
)


def apply(word: str, faults: Faults) -> tuple[str, float] | None:
    """Take one word such as `drop=0.2`: change `faults`, or give back the action and its value.

    UsageError for anything else, with the list of words.
    """
    name, equals, text = word.strip().partition("=")
    try:
        value = float(text) if equals else 0.0
    except ValueError:
        value = -1.0
    if not 0.0 <= value < inf:
        raise UsageError(f"fault {word!r}: the value must be a number from 0 up. {HELP}")
    if name in ACTIONS:
        if name == "none":
            for field in fields(faults):
                setattr(faults, field.name, 0.0)
        return name, value
    if name not in _NAMES or not equals:
        raise UsageError(f"fault {word!r} is not known. {HELP}")
    if name not in _SECONDS and value > 1.0:
        raise UsageError(f"fault {word!r}: a chance is at most 1")
    for field_name in _NAMES[name]:
        setattr(faults, field_name, value)
    return None


class NoisyLine:
    """One direction of the cable. Order is kept: a delayed line delays those behind it."""

    def __init__(self, faults: Faults, random: Random, *, inward: bool) -> None:
        self._faults, self._random, self._inward = faults, random, inward
        self._queue: deque[tuple[float, bytes]] = deque()
        self._last_at = -inf

    @property
    def wake_at(self) -> float:
        """When the next line arrives."""
        return self._queue[0][0] if self._queue else inf

    def put(self, line: bytes, now: float) -> None:
        """Send `line` (one whole line) into the cable."""
        faults, chance = self._faults, self._random.random
        lost = faults.drop_in if self._inward else faults.drop_out
        if lost and chance() < lost:
            return
        at = max(self._last_at, now + (faults.delay_s * chance() if faults.delay_s else 0.0))
        self._last_at = at
        if faults.noise and chance() < faults.noise:
            self._queue.append((at, self._random.randbytes(self._random.randrange(1, 40))))
        copies = 2 if faults.duplicate and chance() < faults.duplicate else 1
        for _ in range(copies):
            self._queue.append((at, flipped(line, faults.flip, self._random)))

    def get(self, now: float) -> bytes:
        """What has arrived by `now`."""
        queue = self._queue
        if not queue or queue[0][0] > now:
            return b""
        parts = []
        while queue and queue[0][0] <= now:
            parts.append(queue.popleft()[1])
        return b"".join(parts)

    def clear(self) -> None:
        """Cut the cable: what is inside is lost."""
        self._queue.clear()
        self._last_at = -inf


def flipped(line: bytes, chance: float, random: Random) -> bytes:
    """`line` with each bit inverted with probability `chance`."""
    if not chance:
        return line
    # Most lines have no flip: one draw decides that before any bit is looked at.
    bits = len(line) * 8
    if random.random() < (1.0 - chance) ** bits:
        return line
    damaged = bytearray(line)
    hit = [bit for bit in range(bits) if random.random() < chance] or [random.randrange(bits)]
    for bit in hit:
        damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def stray_reply(random: Random, near: int) -> bytes:
    """A well-formed reply about a number long past or far ahead of `near`, never `near` itself."""
    other = near + random.choice((-3, -2, -1, 100_000))
    if other < 1:
        other = near + 100_000
    body = random.choice(("ACK {}", "DONE {} 1 300", "ST {} NEW", "DUP {} DONE", "FAIL {} JAM"))
    return seal(body.format(other))
