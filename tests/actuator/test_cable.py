"""The misbehaving cable and the words that say how."""

from __future__ import annotations

import random

import pytest

from sorter.actuator.protocol import Reply, reply_decoder
from sorter.actuator.simulator.cable import Faults, NoisyLine, apply, flipped, stray_reply
from sorter.errors import UsageError


@pytest.mark.parametrize("word", ["drop", "drop=x", "drop=2", "drop=-1", "what=1", "delay=inf", ""])
def test_fault_words_that_are_none(word: str) -> None:
    with pytest.raises(UsageError, match="fault"):
        apply(word, Faults())


def test_fault_words_set_and_act() -> None:
    faults = Faults()
    assert apply("drop=0.25", faults) is None
    assert (faults.drop_in, faults.drop_out) == (0.25, 0.25)
    assert apply("unplug=2", faults) == ("unplug", 2.0)
    assert apply("none", faults) == ("none", 0.0)
    assert faults == Faults()


def test_line_keeps_order_and_loses_what_it_must() -> None:
    line = NoisyLine(Faults(delay_s=1.0), random.Random(1), inward=True)
    for i in range(50):
        line.put(b"%d\n" % i, i * 0.01)
    assert line.get(99.0) == b"".join(b"%d\n" % i for i in range(50))
    line = NoisyLine(Faults(drop_in=0.5), random.Random(1), inward=True)
    for _ in range(1000):
        line.put(b"x", 0.0)
    assert 400 < len(line.get(0.0)) < 600


def test_flips_come_as_often_as_asked() -> None:
    rng = random.Random(1)
    clean = bytes(30)
    flips = sum(
        bin(int.from_bytes(flipped(clean, 1e-3, rng), "big")).count("1") for _ in range(10_000)
    )
    assert 2000 < flips < 2800  # 10,000 lines of 240 bits


def test_stray_replies_are_sound_and_foreign() -> None:
    rng = random.Random(1)
    for near in (1, 2, 3, 500):
        for _ in range(100):
            (reply,) = reply_decoder().feed(stray_reply(rng, near))
            assert isinstance(reply, Reply)
            assert reply.fields[0] != str(near)
