"""WS1 on the wire: encode a message, decode a stream. Pure: no clock, no port, no state but a line.

Both directions share one line format, `<body>*<CRC>\\n`, and one incremental decoder. What may
stand in a body is the table of patterns below; `wire.tsv` beside this file lists messages with
their exact bytes. Whether a message makes sense at this moment is not decided here.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

COMMAND_LIMIT: Final = 48
"""Longest line from host to device in bytes, its LF included."""
REPLY_LIMIT: Final = 80
"""Longest line from device to host in bytes, its LF included."""
NUMBER_MAX: Final = 2**32 - 1
SID_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,16}")
STOP_BYTE: Final = b"!"


class Verb(StrEnum):
    """Words the host may say on a WS1 line (`STOP` is the single byte `!`)."""

    HI = "HI"
    GO = "GO"
    QUERY = "Q"
    HEARTBEAT = "HB"
    HOME = "HOME"
    CLEAR = "CLR"
    STOP = "!"


class Answer(StrEnum):
    """Words the device may say on a WS1 line."""

    BOOT = "BOOT"
    HI = "HI"
    ACK = "ACK"
    DONE = "DONE"
    FAIL = "FAIL"
    DUP = "DUP"
    BUSY = "BUSY"
    NAK = "NAK"
    ST = "ST"
    HB = "HB"
    FAULT = "FAULT"


@dataclass(frozen=True, slots=True)
class Command:
    """One line from host to device: a verb and its fields, as the wire spells them."""

    verb: Verb
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """One line from device to host: an answer and its fields, as the wire spells them."""

    answer: Answer
    fields: tuple[str, ...] = ()


_NUMBER = r"(0|[1-9][0-9]{0,9})"
_COUNT = r"([1-9][0-9]{0,9})"
_SID = r"([A-Za-z0-9._-]{1,16})"
_BIN = r"(0|[1-9][0-9]{0,2})"
_WORD = r"([!-)+-~]{1,24})"
_MARK = r"(-|0|[1-9][0-9]{0,9})"
_STATE = r"(IDLE|BUSY|SAFE|FAULT)"

_COMMANDS: Final = {
    "HI": (Verb.HI, re.compile(f"HI {_SID} {_COUNT}"), (1,)),
    "GO": (Verb.GO, re.compile(f"GO {_SID} {_COUNT} {_BIN}"), (1,)),
    "Q": (Verb.QUERY, re.compile(f"Q {_COUNT}"), (0,)),
    "HB": (Verb.HEARTBEAT, re.compile(f"HB {_NUMBER}"), (0,)),
    "HOME": (Verb.HOME, re.compile(f"HOME {_COUNT}"), (0,)),
    "CLR": (Verb.CLEAR, re.compile(f"CLR {_COUNT}"), (0,)),
}
_REPLIES: Final = {
    "BOOT": (
        Answer.BOOT,
        re.compile(f"BOOT {_WORD} {_WORD} {_WORD} {_WORD} {_WORD} {_MARK} {_STATE}"),
        (5,),
    ),
    "HI": (Answer.HI, re.compile(f"HI {_WORD} {_WORD} {_WORD} {_MARK} {_STATE}"), (3,)),
    "ACK": (Answer.ACK, re.compile(f"ACK {_COUNT}"), (0,)),
    "DONE": (Answer.DONE, re.compile(f"DONE {_COUNT} {_BIN} {_NUMBER}"), (0, 2)),
    "FAIL": (Answer.FAIL, re.compile(f"FAIL {_COUNT} {_WORD}"), (0,)),
    "DUP": (Answer.DUP, re.compile(f"DUP {_COUNT} (DONE|BUSY|FAIL|UNK)"), (0,)),
    "BUSY": (Answer.BUSY, re.compile(f"BUSY {_COUNT}"), (0,)),
    "NAK": (
        Answer.NAK,
        re.compile("NAK (-|[1-9][0-9]{0,9}) (CRC|BIN|SID|SAFE|FAULT)"),
        (0,),
    ),
    "ST": (Answer.ST, re.compile(f"ST {_COUNT} (NEW|BUSY|DONE|FAIL|UNK)"), (0,)),
    "HB": (Answer.HB, re.compile(f"HB {_NUMBER} {_STATE}"), (0,)),
    "FAULT": (Answer.FAULT, re.compile(f"FAULT {_WORD}"), ()),
}
_PRINTABLE: Final = re.compile(rb"[ -~]*")
_CHECK: Final = re.compile(rb"\*[0-9A-F]{4}")


@dataclass(frozen=True, slots=True)
class Garbage:
    """A line that is not a message; `why` is one of length, bytes, check, word."""

    why: str


M = TypeVar("M", Command, Reply)


def crc(body: bytes) -> int:
    """CRC-16/CCITT-FALSE of `body`: polynomial 0x1021, initial value 0xFFFF, nothing reflected."""
    return crc_hqx(body, 0xFFFF)


def seal(body: str) -> bytes:
    """`body` as a whole line: check appended, LF at the end. UnicodeEncodeError unless ASCII.

    >>> seal("GO s1 1 4").strip()
    b'GO s1 1 4*2FCD'
    """
    raw = body.encode("ascii")
    return b"%b*%04X\n" % (raw, crc_hqx(raw, 0xFFFF))


def encode(message: Command | Reply) -> bytes:
    """The bytes of one message; ValueError if the wire has no such message."""
    if isinstance(message, Command) and message.verb is Verb.STOP:
        return STOP_BYTE
    is_command = isinstance(message, Command)
    word = message.verb if isinstance(message, Command) else message.answer
    body = " ".join((word, *message.fields))
    parsed = parse_command(body) if is_command else parse_reply(body)
    if parsed != message:
        raise ValueError(f"not a WS1 message: {body!r}")
    line = seal(body)
    if len(line) > (COMMAND_LIMIT if is_command else REPLY_LIMIT):
        raise ValueError(f"too long for a WS1 line: {body!r}")
    return line


def parse_command(body: str) -> Command | None:
    """What the host says in `body`, or None if a host may not say it."""
    known = _COMMANDS.get(body.partition(" ")[0])
    if known is None:
        return None
    verb, pattern, numbers = known
    fields = _match(body, pattern, numbers)
    return None if fields is None else Command(verb, fields)


def parse_reply(body: str) -> Reply | None:
    """What the device says in `body`, or None if a device may not say it."""
    known = _REPLIES.get(body.partition(" ")[0])
    if known is None:
        return None
    answer, pattern, numbers = known
    fields = _match(body, pattern, numbers)
    return None if fields is None else Reply(answer, fields)


def _match(body: str, pattern: re.Pattern[str], numbers: tuple[int, ...]) -> tuple[str, ...] | None:
    found = pattern.fullmatch(body)
    if found is None:
        return None
    fields = found.groups()
    for index in numbers:
        # Only a ten-digit number can overflow 32 bits; the pattern allows no more digits.
        if len(fields[index]) == 10 and int(fields[index]) > NUMBER_MAX:
            return None
    return fields


class Decoder(Generic[M]):
    """Bytes in, messages out; keeps at most one unfinished line of `limit` bytes.

    CR is ignored and an empty line is nothing. With `stop` given, a `!` anywhere is that message
    at once; it throws away the unfinished line and starts a new one.
    """

    def __init__(
        self, parse: Callable[[str], M | None], *, limit: int, stop: M | None = None
    ) -> None:
        self._parse: Callable[[str], M | None] = parse
        self._limit = limit - 1
        self._stop: M | None = stop
        self._rest = b""
        self._spoilt = False

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished line are kept; never more than the limit."""
        return len(self._rest)

    def reset(self) -> None:
        """Forget the unfinished line, as after opening a port."""
        self._rest = b""
        self._spoilt = False

    def feed(self, data: bytes) -> list[M | Garbage]:
        """Every message and piece of garbage that `data` completes, in order."""
        found: list[M | Garbage] = []
        if self._stop is not None and STOP_BYTE in data:
            *heads, data = data.split(STOP_BYTE)
            for head in heads:
                self._lines(head, found)
                self.reset()
                found.append(self._stop)
        self._lines(data, found)
        return found

    def _lines(self, data: bytes, found: list[M | Garbage]) -> None:
        if b"\r" in data:
            data = data.replace(b"\r", b"")
        *whole, tail = data.split(b"\n")
        for line in whole:
            if self._rest:
                line = self._rest + line
                self._rest = b""
            if self._spoilt or len(line) > self._limit:
                self._spoilt = False
                found.append(Garbage("length"))
            elif line:
                found.append(self._line(line))
        if self._spoilt:
            return
        if len(self._rest) + len(tail) > self._limit:
            self._rest = b""
            self._spoilt = True
        else:
            self._rest += tail

    def _line(self, line: bytes) -> M | Garbage:
        if not _PRINTABLE.fullmatch(line):
            return Garbage("bytes")
        if len(line) < 6 or not _CHECK.fullmatch(line, len(line) - 5):
            return Garbage("check")
        if int(line[-4:], 16) != crc_hqx(line[:-5], 0xFFFF):
            return Garbage("check")
        message = self._parse(line[:-5].decode("ascii"))
        return Garbage("word") if message is None else message


def command_decoder() -> Decoder[Command]:
    """The device's ear."""
    return Decoder(parse_command, limit=COMMAND_LIMIT, stop=Command(Verb.STOP))


def reply_decoder() -> Decoder[Reply]:
    """The host's ear."""
    return Decoder(parse_reply, limit=REPLY_LIMIT)
