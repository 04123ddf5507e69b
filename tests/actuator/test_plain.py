"""Devices that take one byte a bin and answer nothing."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sorter.actuator.link import open_actuator
from sorter.actuator.plain import PlainLink
from sorter.actuator.serialport import open_port
from sorter.actuator.session import Timing
from sorter.actuator.simulator.endpoints import PtySocket
from sorter.domain import Delivery
from sorter.errors import UsageError
from sorter.host.clock import uptime_s
from tests.support.actuator_port import Clogged


class Reader:
    """A device behind TCP that reads what comes, or lets it lie."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.name = f"socket://127.0.0.1:{self._server.getsockname()[1]}"
        self._ends: list[socket.socket] = []

    def read(self) -> bytes:
        """What the newest connection brought."""
        if not self._ends:
            self._ends.append(self._server.accept()[0])
            self._ends[-1].settimeout(5)
        return self._ends[-1].recv(100)

    def close(self) -> None:
        for end in (*self._ends, self._server):
            end.close()


@pytest.fixture
def pty() -> Iterator[PtySocket]:
    end = PtySocket()
    yield end
    end.close()


@pytest.fixture
def reader() -> Iterator[Reader]:
    end = Reader()
    yield end
    end.close()


def started(link: PlainLink) -> PlainLink:
    link.start("s1", 1)
    while not link.status().ready:
        time.sleep(0.01)
    return link


def test_plain_writes_one_byte_and_says_sent(reader: Reader) -> None:
    link = started(PlainLink(lambda: open_port(reader.name), settle_s=0.1, alphabet="abcd"))
    boot = link.status().boot
    soon = uptime_s() + 5
    done = link.move(1, 3, boot=boot, deadline=soon)
    assert (done.delivery, done.detail) == (Delivery.DONE, "sent")
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
    time.sleep(0.05)
    assert reader.read() == b"c"
    link.close()


def test_on_a_pty_nobody_can_say_whether_it_left(pty: PtySocket) -> None:
    link = started(PlainLink(lambda: open_port(pty.name), settle_s=0.1))
    done = link.move(1, 3, boot=link.status().boot, deadline=uptime_s() + 5)
    assert done.delivery is Delivery.UNCERTAIN
    assert done.detail.startswith("sent, but")
    time.sleep(0.05)
    assert pty.read() == b"3"
    link.close()


@pytest.mark.parametrize("left_s", [0.2, 60.0])
def test_what_a_device_does_not_take_is_dropped_in_time(left_s: float) -> None:
    """Not DONE, never written again, and gone from the queue before the device wakes up."""
    ports = [Clogged(), Clogged()]
    rest = iter(ports)
    link = started(PlainLink(lambda: next(rest), settle_s=0.01, timing=Timing(blocked_s=0.4)))
    boot = link.status().boot
    begun = uptime_s()
    done = link.move(1, 1, boot=boot, deadline=begun + left_s)
    assert done.delivery is Delivery.UNCERTAIN
    assert "dropped" in done.detail
    assert min(left_s, 0.4) <= uptime_s() - begun
    assert ports[0].closed.wait(5)
    assert ports[0].queue == b""
    again = link.move(2, 2, boot=boot, deadline=uptime_s() + 60.0)
    assert again.delivery is Delivery.NOT_SENT
    assert ports[1].queue == b""
    link.close()


@pytest.mark.waits
def test_a_command_that_lies_in_a_full_line_is_never_delivered_late() -> None:
    """TCP: closing would go on delivering what the other side has no room for yet."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server.bind(("127.0.0.1", 0))
    server.listen()
    port = open_port(f"socket://127.0.0.1:{server.getsockname()[1]}")
    end = server.accept()[0]
    written = 0
    while taken := port.write(b"." * 4096):
        written += taken
        time.sleep(0.001)
    assert (port.unsent() or 0) > 0
    port.close()
    end.settimeout(5)
    got = 0
    with contextlib.suppress(ConnectionResetError):
        while data := end.recv(65536):
            got += len(data)
    assert got < written
    end.close()
    server.close()


def test_plain_comes_back_under_a_new_boot(tmp_path: Path) -> None:
    first = PtySocket(tmp_path / "gate")
    link = started(PlainLink(lambda: open_port(str(tmp_path / "gate")), settle_s=0.05))
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
