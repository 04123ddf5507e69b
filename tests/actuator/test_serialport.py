"""Real ptys and sockets under the link: opening, dying, coming back, a device that hangs."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from sorter.actuator.link import Link, open_actuator
from sorter.actuator.portinfo import explain, holder
from sorter.actuator.protocol import seal
from sorter.actuator.serialport import open_port
from sorter.actuator.session import Timing
from sorter.actuator.simulator.endpoints import PtySocket
from sorter.domain import Delivery
from sorter.errors import PortError, UsageError
from sorter.host.clock import uptime_s
from tests.soak import unplug
from tests.support.waiting import wait_for

QUICK = Timing(boot_wait_s=0.2, hello_for_s=1.0, move_budget_s=0.2, doubt_limit_s=1.5)


@pytest.fixture
def pty() -> Iterator[PtySocket]:
    end = PtySocket()
    yield end
    end.close()


def read_until(what: str, port: PtySocket, timeout_s: float = 5.0) -> bytes:
    """Read as the device until `what` has been said."""
    said = b""
    until = time.monotonic() + timeout_s
    while what.encode() not in said:
        assert time.monotonic() < until, said
        said += port.read()
        time.sleep(0.002)
    return said


def greet(port: PtySocket, link: Link, boot: str = "b1") -> None:
    until = time.monotonic() + 5
    while not port.poll():
        time.sleep(0.005)
    time.sleep(0.02)
    while not link.status().ready:
        assert time.monotonic() < until, link.status()
        port.write(seal(f"BOOT WS1 f {boot} d s1 0 IDLE") + seal(f"HI {boot} d s1 0 IDLE"))
        time.sleep(0.02)


def filled(port: PtySocket) -> int:
    """Another descriptor on the pty, through which it was written full to the last byte."""
    filler = os.open(port.name, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    quiet = 0
    while quiet < 5:
        # The kernel moves bytes on by itself and room appears again: full is what stays full.
        quiet += 1
        for size in (1024, 1):
            with contextlib.suppress(BlockingIOError):
                while os.write(filler, b"x" * size):
                    quiet = 0
        time.sleep(0.02)
    return filler


# Opening.


def test_bytes_pass_both_ways(pty: PtySocket) -> None:
    port = open_port(pty.name)
    assert port.read(0.0) == b""
    assert port.write(b"hello\n") == 6
    assert read_until("hello\n", pty) == b"hello\n"
    pty.write(b"\x00\xff\r\n")
    assert port.read(1.0) == b"\x00\xff\r\n"  # raw: nothing is translated
    assert port.is_current()
    port.close()


def test_missing_port_lists_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(PortError, match=r"no such port.*(ports here|no serial port)"):
        open_port(str(tmp_path / "none"))
    with pytest.raises(PortError, match="not a serial port"):
        open_port(str(tmp_path))


@pytest.mark.process
def test_busy_port_names_its_holder(pty: PtySocket) -> None:
    first = open_port(pty.name)
    with pytest.raises(PortError, match="in use by"):
        open_port(pty.name)
    pid = os.fork()
    if pid == 0:  # another process that has it open
        time.sleep(30)
        os._exit(0)
    try:
        assert f"pid {pid}" in holder(pty.name)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    first.close()


CONTAINER = """
mount -t devpts -o newinstance,ptmxmode=666 devpts "$1" && exec python3 -c '
import fcntl, os, sys, time
for number in range(int(sys.argv[2]) + 1):
    master = os.open(sys.argv[1] + "/ptmx", os.O_RDWR)
    fcntl.ioctl(master, 0x40045431, bytes(4))  # unlock it
slave = os.open(sys.argv[1] + "/" + sys.argv[2], os.O_RDWR | os.O_NOCTTY)
print("there", flush=True)
time.sleep(30)
' "$1" "$2"
"""


@pytest.mark.process
def test_a_container_s_pty_of_the_same_number_is_another(pty: PtySocket, tmp_path: Path) -> None:
    words = ["unshare", "--mount", "sh", "-c", CONTAINER, "sh", str(tmp_path)]
    words.append(Path(pty.name).name)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        assert other.stdout is not None
        try:
            if other.stdout.readline() != b"there\n":
                pytest.skip("this user may not mount")
            assert holder(pty.name) == ""
        finally:
            other.kill()


def test_forbidden_port_names_the_group(pty: PtySocket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may open everything
    Path(pty.name).chmod(0o660)
    os.chown(pty.name, -1, 20)
    assert "usermod -aG dialout" in explain(pty.name, PermissionError())
    Path(pty.name).chmod(0o600)
    assert "only its owner" in explain(pty.name, PermissionError())


@pytest.mark.parametrize("url", ["socket://", "socket://host", "socket://h:0", "socket://h:99999"])
def test_bad_urls(url: str) -> None:
    with pytest.raises(UsageError, match="socket://HOST:PORT"):
        open_port(url)


def test_urls_that_lead_nowhere() -> None:
    with pytest.raises(PortError, match="socket://"):
        open_port("socket://127.0.0.1:1")
    with pytest.raises(PortError, match="rfc2217"):
        open_port("rfc2217://127.0.0.1:1")
    with pytest.raises(UsageError, match="nonsense"):
        open_port("nonsense://x")


def test_a_socket_carries_bytes_and_its_end_is_noticed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = open_port(f"socket://127.0.0.1:{server.getsockname()[1]}")
        other, _ = server.accept()
        with other:
            port.write(b"x\n")
            assert other.recv(10) == b"x\n"
            other.send(b"y")
            assert port.read(1.0) == b"y"
        with pytest.raises(PortError, match="gone"):
            port.read(1.0)
        port.close()


def test_any_other_pyserial_url() -> None:
    port = open_port("loop://")
    port.write(b"abc")
    assert port.read(0.5) == b"abc"
    port.wake()
    began = time.monotonic()
    port.read(5.0)
    assert time.monotonic() - began < 1.0
    port.close()


# Dying.


@pytest.mark.parametrize(
    "error",
    [OSError(5, "Input/output error"), serial.SerialException("gone"), TypeError("NoneType")],
    ids=lambda e: type(e).__name__,
)
def test_every_kind_of_unplug_is_one_error(pty: PtySocket, error: Exception) -> None:
    port = open_port("loop://")

    def die(*_: object) -> None:
        raise error

    port._owner.read = die  # type: ignore[attr-defined]
    port._owner.write = die  # type: ignore[attr-defined]
    with pytest.raises(PortError):
        port.read(0.1)
    with pytest.raises(PortError):
        port.write(b"x")
    port.close()


def test_a_hang_up_is_an_error_and_closing_twice_is_not(pty: PtySocket) -> None:
    port = open_port(pty.name)
    pty.unplug()
    with pytest.raises(PortError, match="gone"):
        for _ in range(10):
            port.read(0.1)
    with pytest.raises(PortError, match="gone"):
        port.write(b"x")
    assert not port.is_current()
    port.close()


def test_a_name_that_leads_elsewhere_is_noticed(tmp_path: Path) -> None:
    first = PtySocket(tmp_path / "gate")
    port = open_port(str(tmp_path / "gate"))
    assert port.is_current()
    second = PtySocket(tmp_path / "gate")
    assert not port.is_current()
    port.close()
    first.close()
    second.close()


def test_a_read_is_woken_from_another_thread(pty: PtySocket) -> None:
    port = open_port(pty.name)
    timer = threading.Timer(0.1, port.wake)
    timer.start()
    began = time.monotonic()
    assert port.read(10.0) == b""
    assert time.monotonic() - began < 5.0
    timer.join()
    port.close()


# A device that stops reading.


def test_a_full_pipe_takes_nothing_and_blocks_nobody(pty: PtySocket) -> None:
    port = open_port(pty.name)
    began = time.monotonic()

    def is_full() -> bool:
        # The kernel hands on in the background what it took, so full is what stays full.
        taken = port.write(b"x" * 4096)
        time.sleep(0.01)
        return not taken and not port.write(b"x")

    wait_for(is_full)
    assert time.monotonic() - began < 1.0
    port.close()
    assert time.monotonic() - began < 2.0


def test_a_device_that_stops_reading_blocks_no_thread(pty: PtySocket) -> None:
    link = Link(lambda: open_port(pty.name), timing=QUICK)
    link.start("s1", 1)
    greet(pty, link)
    filler = filled(pty)  # not one byte of the GO can leave
    began, cpu = time.monotonic(), time.process_time()
    for _ in range(20):
        link.status()
        done = link.move(1, 1, boot=link.status().boot, deadline=uptime_s() + 5)
        assert done.delivery is Delivery.NOT_SENT
        time.sleep(0.05)
    assert time.monotonic() - began < 3.0
    assert time.process_time() - cpu < 0.5 * (time.monotonic() - began)
    began = time.monotonic()
    link.close()
    assert time.monotonic() - began < 1.0
    os.close(filler)


def test_a_go_cut_in_half_is_uncertain_and_never_finished(pty: PtySocket) -> None:
    link = Link(lambda: open_port(pty.name), timing=QUICK)
    link.start("s1", 1)
    greet(pty, link)
    filler = filled(pty)
    os.read(pty.fileno(), 5)
    done: list[Delivery] = []
    boot = link.status().boot
    mover = threading.Thread(
        target=lambda: done.append(link.move(1, 1, boot=boot, deadline=uptime_s() + 5).delivery)
    )
    mover.start()
    mover.join(10)
    assert done[0] in (Delivery.NOT_SENT, Delivery.UNCERTAIN)
    os.close(filler)
    link.close()


# Closing and coming back.


@pytest.mark.parametrize("name", ["/dev/does-not-exist", "socket://192.0.2.1:9"])
def test_close_takes_less_than_a_second_whatever_the_port(name: str) -> None:
    link = open_actuator(name)
    link.start("s1", 1)
    time.sleep(0.05)
    assert not link.status().ready
    began = time.monotonic()
    link.close()
    assert time.monotonic() - began < 1.0
    time.sleep(1.0)  # a TCP connect under way ends by itself


def test_close_ends_a_move_under_way(pty: PtySocket) -> None:
    link = Link(lambda: open_port(pty.name))
    link.start("s1", 1)
    greet(pty, link)
    done: list[Delivery] = []
    boot = link.status().boot
    mover = threading.Thread(
        target=lambda: done.append(link.move(1, 1, boot=boot, deadline=uptime_s() + 5).delivery)
    )
    mover.start()
    read_until("GO s1 1 1", pty)
    began = time.monotonic()
    link.close()
    mover.join(5)
    assert time.monotonic() - began < 1.0
    assert done == [Delivery.UNCERTAIN]
    assert link.move(2, 1, boot=boot, deadline=uptime_s() + 5).delivery is Delivery.NOT_SENT


@pytest.mark.waits
def test_unplug_and_replug_at_random_instants() -> None:
    tally = unplug.run(9, seed=3)
    assert tally.broken == []
    assert len(tally.reconnect_s) == 9  # within five seconds: the whole soak says that
