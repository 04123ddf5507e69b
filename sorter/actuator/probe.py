"""Listen to whatever is on a port and say what it is, without taking it over.

Owns a look that changes nothing: no hand-shake, so the device keeps its station's session, and
no command that moves. Works on a port someone else opened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sorter.actuator.protocol import Answer, Command, Garbage, Reply, Verb, encode, reply_decoder
from sorter.actuator.serialport import Port


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a look at a port found; strings are empty where the device did not say."""

    answers: bool
    verdict: str
    state: str = ""
    device: str = ""
    firmware: str = ""
    boot: str = ""
    session: str = ""
    mark: str = ""
    round_trip_ms: float | None = None


_STATES = {
    "IDLE": "ready to be used",
    "BUSY": "moving right now",
    "SAFE": "in its safe position; it moves again after a station's hand-shake",
    "FAULT": "stopped by a fault; look at the machine, then `sorter actuator home --clear`",
}


def probe(
    port: Port,
    *,
    boot_wait_s: float = 3.0,
    answer_wait_s: float = 2.0,
    clock: Callable[[], float] = time.monotonic,
) -> Diagnosis:
    """Wait for a start message, then send heart-beats until one is answered or time is up."""
    decoder = reply_decoder()
    heard = b""
    boot: Reply | None = None
    garbage = beats = 0
    sent_at = 0.0
    started = clock()
    ask_at = started + boot_wait_s
    until = ask_at + answer_wait_s
    while (now := clock()) < until:
        if now >= ask_at:
            beats += 1
            sent_at, ask_at = now, now + 0.5
            port.write(encode(Command(Verb.HEARTBEAT, (str(beats),))))
        data = port.read(min(ask_at, until) - now)
        heard = (heard + data)[:256]
        for message in decoder.feed(data):
            if isinstance(message, Garbage):
                garbage += 1
            elif message.answer is Answer.BOOT:
                boot, ask_at = message, min(ask_at, clock())
                until = ask_at + answer_wait_s
            elif message.answer is Answer.HB:
                return _described(boot, message.fields[1], (clock() - sent_at) * 1000)
    if boot is not None:
        return _described(boot, boot.fields[6], None)
    return Diagnosis(False, _silence(heard, garbage))


def _described(boot: Reply | None, state: str, round_trip_ms: float | None) -> Diagnosis:
    _, firmware, boot_id, name, sid, mark, _ = boot.fields if boot else ("",) * 7
    if boot and boot.fields[0] != "WS1":
        return Diagnosis(False, f"the device speaks {boot.fields[0]!r}, not WS1: other firmware?")
    said = f"WS1 device {name!r}" if name else "a WS1 device (it did not restart, so no name)"
    return Diagnosis(
        True,
        f"{said} answers and is {state}: {_STATES[state]}",
        state,
        name,
        firmware,
        boot_id,
        sid,
        mark,
        round_trip_ms,
    )


def _silence(heard: bytes, garbage: int) -> str:
    if not heard:
        return (
            "the port opens but nothing answers: is this the right port, does the board have power,"
            " is the sketch loaded (`sorter actuator firmware --out DIR`), are TX and RX crossed?"
        )
    what = ascii(heard[:40])[2:-1]
    if garbage:
        return (
            f"something talks, but not WS1 (it said {what}): another sketch, a modem, a console?"
            " Load the sketch with `sorter actuator firmware --out DIR`"
        )
    return f"something sends bytes without whole lines (it said {what}): is it 115200 baud, 8N1?"


def watch(port: Port, *, until: Callable[[], bool], beat: bool) -> Iterator[Reply | Garbage]:
    """Every message that arrives, as it comes, until `until()`; with `beat` it stays awake."""
    decoder = reply_decoder()
    beat_at, beats = 0.0, 0
    while not until():
        now = time.monotonic()
        if beat and now >= beat_at:
            beats, beat_at = beats + 1, now + 1.0
            port.write(encode(Command(Verb.HEARTBEAT, (str(beats),))))
        yield from decoder.feed(port.read(0.2))
