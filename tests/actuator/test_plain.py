"""Devices that take one byte a bin and answer nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sorter.actuator.link import open_actuator
from sorter.actuator.plain import PlainLink
from sorter.actuator.serialport import open_port
from sorter.actuator.simulator.endpoints import PtySocket
from sorter.domain import Delivery
from sorter.errors import UsageError
from sorter.host.clock import uptime_s


@pytest.fixture
def pty() -> Iterator[PtySocket]:
    end = PtySocket()
    yield end
    end.close()


def test_plain_writes_one_byte_and_says_sent(pty: PtySocket) -> None:
    link = PlainLink(lambda: open_port(pty.name), settle_s=0.1, alphabet="abcd")
    link.start("s1", 1)
    while not link.status().ready:
        time.sleep(0.01)
    boot = link.status().boot
    soon = uptime_s() + 5
    assert link.move(1, 3, boot=boot, deadline=soon).detail == "sent"
    time.sleep(0.05)
    assert pty.read() == b"c"
    for n, bin_number, its_boot, until in (
        (1, 3, boot, soon),  # the same number again
        (0, 3, boot, soon),  # an older one
        (2, 5, boot, soon),
        (2, 1, "other", soon),
        (2, 1, boot, uptime_s() - 1),
    ):
        done = link.move(n, bin_number, boot=its_boot, deadline=until)
        assert done.delivery is Delivery.NOT_SENT
    assert link.resolve(1, boot=boot).delivery is Delivery.UNCERTAIN
    assert pty.read() == b""
    link.close()


def test_plain_comes_back_under_a_new_boot(tmp_path: Path) -> None:
    first = PtySocket(tmp_path / "gate")
    link = PlainLink(lambda: open_port(str(tmp_path / "gate")), settle_s=0.05)
    link.start("s1", 1)
    while not link.status().ready:
        time.sleep(0.01)
    boot = link.status().boot
    first.unplug()
    while link.status().ready:
        time.sleep(0.01)
    first.plug()
    while not link.status().ready:
        time.sleep(0.01)
    assert link.status().boot != boot
    assert link.move(1, 1, boot=boot, deadline=uptime_s() + 5).delivery is Delivery.NOT_SENT
    link.close()
    first.close()


@pytest.mark.parametrize("alphabet", ["123", "1123", "1 34", "12é4"])
def test_plain_alphabets_that_cannot_be(alphabet: str) -> None:
    with pytest.raises(UsageError, match="plain bytes"):
        PlainLink(lambda: open_port("x"), alphabet=alphabet)


def test_unknown_protocol_word() -> None:
    with pytest.raises(UsageError, match="ws1 or plain"):
        open_actuator("x", protocol="modbus")
