"""The wire: a table of messages and bytes, fed in every way a line can be; damage never passes."""

from __future__ import annotations

import random
from importlib.resources import files
from itertools import combinations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sorter.actuator.protocol import (
    COMMAND_LIMIT,
    NUMBER_MAX,
    REPLY_LIMIT,
    Answer,
    Command,
    Garbage,
    Reply,
    Verb,
    command_decoder,
    crc,
    encode,
    parse_command,
    parse_reply,
    reply_decoder,
    seal,
)


def _table() -> list[tuple[Command | Reply, bytes]]:
    text = (files("sorter.actuator") / "wire.tsv").read_text(encoding="utf-8")
    rows: list[tuple[Command | Reply, bytes]] = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        side, body, shown = line.split("\t")
        word, *fields = body.split(" ")
        data = shown.replace("\\n", "\n").encode()
        if side == "host":
            rows.append((Command(Verb(word), tuple(fields)), data))
        else:
            rows.append((Reply(Answer(word), tuple(fields)), data))
    return rows


TABLE = _table()
COMMANDS = [(m, b) for m, b in TABLE if isinstance(m, Command)]
REPLIES = [(m, b) for m, b in TABLE if isinstance(m, Reply)]

numbers = st.integers(1, NUMBER_MAX).map(str)
sids = st.from_regex(r"[A-Za-z0-9._-]{1,16}", fullmatch=True)
commands = st.one_of(
    st.builds(lambda s, n: Command(Verb.HI, (s, n)), sids, numbers),
    st.builds(lambda s, n, b: Command(Verb.GO, (s, n, str(b))), sids, numbers, st.integers(0, 999)),
    st.builds(lambda n: Command(Verb.QUERY, (n,)), numbers),
    st.builds(lambda n: Command(Verb.HEARTBEAT, (n,)), numbers),
    st.builds(lambda n: Command(Verb.HOME, (n,)), numbers),
)
replies = st.sampled_from([message for message, _ in REPLIES])


def test_check_value() -> None:
    assert crc(b"123456789") == 0x29B1  # the published check of CRC-16/CCITT-FALSE


@pytest.mark.parametrize(("message", "data"), TABLE, ids=lambda v: str(v)[:40])
def test_table_encodes(message: Command | Reply, data: bytes) -> None:
    assert encode(message) == data


def test_table_names_every_word() -> None:
    assert {m.verb for m, _ in COMMANDS} == set(Verb)
    assert {m.answer for m, _ in REPLIES} == set(Answer)


@pytest.mark.parametrize("chunk", [1, 2, 7, 10_000])
def test_table_decodes_in_any_pieces(chunk: int) -> None:
    for decoder, rows in ((command_decoder(), COMMANDS), (reply_decoder(), REPLIES)):
        stream = b"".join(data for _, data in rows)
        found: list[object] = []
        for at in range(0, len(stream), chunk):
            found += decoder.feed(stream[at : at + chunk])
        assert found == [message for message, _ in rows]


@pytest.mark.parametrize("chunk", [1, 10_000])
def test_table_decodes_with_garbage_around(chunk: int) -> None:
    rng = random.Random(3)
    for decoder, rows in ((command_decoder(), COMMANDS), (reply_decoder(), REPLIES)):
        noise = [
            bytes(b for b in rng.randbytes(rng.randrange(1, 200)) if b not in b"!\n\r") + b"\n"
            for _ in rows
        ]
        stream = b"".join(n + data for n, (_, data) in zip(noise, rows, strict=True))
        found: list[object] = []
        for at in range(0, len(stream), chunk):
            found += decoder.feed(stream[at : at + chunk])
        assert [f for f in found if not isinstance(f, Garbage)] == [m for m, _ in rows]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"HB 1*0000\n", "check"),
        (b"HB 1\n", "check"),
        (b"*FFFF\n", "check"),
        (b"HB 1*" + b"%04x" % crc(b"HB 1") + b"\n", "check"),
        (b"HB 1 *" + b"%04X" % crc(b"HB 1") + b"\n", "check"),
        (b"HB\x001*1234\n", "bytes"),
        (b"HB\xff1*1234\n", "bytes"),
        (b"A" * COMMAND_LIMIT + b"\n", "length"),
        (seal("HB 01"), "word"),
        (seal("HB  1"), "word"),
        (seal("hb 1"), "word"),
        (seal("GO s 4294967296 1"), "word"),
        (seal("GO s 0 1"), "word"),
        (seal("GO s 1 1 1"), "word"),
        (seal("GO 12345678901234567 1 1"), "word"),
        (seal("HI s* 1"), "word"),
        (seal("Q -"), "word"),
        (seal("ACK 1"), "word"),
    ],
)
def test_what_is_no_command(line: bytes, why: str) -> None:
    assert command_decoder().feed(line + seal("Q 7")) == [
        Garbage(why),
        Command(Verb.QUERY, ("7",)),
    ]


def test_cr_is_ignored_and_empty_lines_are_nothing() -> None:
    data = b"\r\n\n\r" + seal("Q 7").replace(b"\n", b"\r\n") + b"\n"
    assert command_decoder().feed(data) == [Command(Verb.QUERY, ("7",))]


def test_stop_is_heard_anywhere_and_begins_a_new_line() -> None:
    stop, query = Command(Verb.STOP), Command(Verb.QUERY, ("7",))
    assert command_decoder().feed(b"GO s 1!" + seal("Q 7")) == [stop, query]
    assert command_decoder().feed(b"A" * 500 + b"!" + seal("Q 7")) == [stop, query]
    spoilt = seal("GO s 1 1")
    for at in range(1, len(spoilt)):
        found = command_decoder().feed(spoilt[:at] + b"!" + spoilt[at:])
        assert found[0] == stop
        assert not any(isinstance(m, Command) and m.verb is Verb.GO for m in found)


@pytest.mark.parametrize(
    "message",
    [
        Command(Verb.GO, ("s", "1")),
        Command(Verb.GO, ("s s", "1", "1")),
        Command(Verb.GO, ("s", "1", "1*")),
        Command(Verb.QUERY, ("0",)),
        Reply(Answer.BOOT, (*(["a" * 24] * 5), "1", "IDLE")),
        Reply(Answer.ACK, ("1\n",)),
    ],
)
def test_what_cannot_be_said(message: Command | Reply) -> None:
    with pytest.raises(ValueError, match="WS1"):
        encode(message)


def test_longest_lines_fit() -> None:
    top = str(NUMBER_MAX)
    assert len(encode(Command(Verb.GO, ("s" * 16, top, "999")))) <= COMMAND_LIMIT
    boot = Reply(Answer.BOOT, ("WS1", "f" * 8, "b" * 8, "d" * 12, "s" * 16, top, "FAULT"))
    assert len(encode(boot)) <= REPLY_LIMIT


@given(commands)
def test_commands_come_back_whole(command: Command) -> None:
    assert command_decoder().feed(encode(command)) == [command]


@settings(max_examples=300)
@given(st.one_of(commands, replies), st.data())
def test_up_to_three_flipped_bits_never_pass(message: Command | Reply, data: st.DataObject) -> None:
    line = encode(message)
    bits = data.draw(
        st.sets(st.integers(0, (len(line) - 1) * 8 - 1), min_size=1, max_size=3), label="bits"
    )
    _must_not_pass(message, line, bits)


@settings(max_examples=300)
@given(st.one_of(commands, replies), st.data())
def test_a_burst_within_sixteen_bits_never_passes(
    message: Command | Reply, data: st.DataObject
) -> None:
    line = encode(message)
    at = data.draw(st.integers(0, (len(line) - 1) * 8 - 16))
    pattern = data.draw(st.integers(1, 0xFFFF))
    _must_not_pass(message, line, {at + i for i in range(16) if pattern >> i & 1})


def test_every_pair_of_flipped_bits_in_a_go() -> None:
    line = encode(Command(Verb.GO, ("s1", "7", "2")))
    for bits in combinations(range((len(line) - 1) * 8), 2):
        _must_not_pass(Command(Verb.GO, ("s1", "7", "2")), line, set(bits))


def test_every_swap_of_two_characters_in_a_go() -> None:
    message = Command(Verb.GO, ("s1", "71", "2"))
    line = encode(message)
    for a, b in combinations(range(len(line) - 1), 2):
        if line[a] != line[b]:
            swapped = bytearray(line)
            swapped[a], swapped[b] = line[b], line[a]
            assert all(isinstance(m, Garbage) for m in command_decoder().feed(bytes(swapped)))


def _must_not_pass(message: Command | Reply, line: bytes, bits: set[int]) -> None:
    damaged = bytearray(line)
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
    if isinstance(message, Command):
        found: list[object] = list(command_decoder().feed(bytes(damaged)))
    else:
        found = list(reply_decoder().feed(bytes(damaged)))
    # A '!' made by damage stops, which is all that damage may ever do.
    assert all(isinstance(m, Garbage) or m == Command(Verb.STOP) for m in found), damaged


@given(st.lists(st.binary(max_size=400), max_size=20))
def test_decoders_are_bounded_and_never_raise(chunks: list[bytes]) -> None:
    host, device = reply_decoder(), command_decoder()
    for chunk in chunks:
        host.feed(chunk)
        device.feed(chunk)
        assert host.pending < REPLY_LIMIT
        assert device.pending < COMMAND_LIMIT


@given(st.text(max_size=60))
def test_parsing_never_raises_and_agrees_with_encoding(body: str) -> None:
    command, reply = parse_command(body), parse_reply(body)
    for message in (command, reply):
        if message is not None:
            assume(len(body) < 40)
            assert encode(message) == seal(body)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_pieces_do_not_matter(stream: bytes, chunk: int) -> None:
    whole = command_decoder().feed(stream)
    decoder = command_decoder()
    found: list[object] = []
    for at in range(0, len(stream), chunk):
        found += decoder.feed(stream[at : at + chunk])
    assert found == whole
