"""sd_notify over real datagram sockets, and the roll of threads that earn the ping."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sorter.station.health.systemd import STATUS_LIMIT, Notifier, Watchdog


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A bound socket as systemd has one, and NOTIFY_SOCKET's spelling of its address."""
    abstract = request.param == "abstract"
    name = f"@sorter-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name[1:]}" if abstract else name)
        sock.settimeout(5)
        yield sock, name


def _waiting(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        sock.recv(4096, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    finally:
        sock.settimeout(5)
    return True


def test_each_word_arrives_as_one_datagram(listener: tuple[socket.socket, str]) -> None:
    sock, name = listener
    notifier = Notifier({"NOTIFY_SOCKET": name})
    assert notifier.active
    notifier.ready()
    assert sock.recv(4096) == b"READY=1"
    notifier.ping()
    assert sock.recv(4096) == b"WATCHDOG=1"
    notifier.stopping()
    assert sock.recv(4096) == b"STOPPING=1"
    notifier.reloading()
    word, stamp = sock.recv(4096).split(b"\n")
    assert word == b"RELOADING=1"
    assert stamp.startswith(b"MONOTONIC_USEC=")
    assert int(stamp.split(b"=")[1]) > 0
    notifier.status("sorting: 3 done, 一")
    assert sock.recv(4096).decode() == "STATUS=sorting: 3 done, 一"


def test_a_name_from_outside_cannot_say_ready(listener: tuple[socket.socket, str]) -> None:
    sock, name = listener
    Notifier({"NOTIFY_SOCKET": name}).status("evil\nREADY=1\x1b[2J\udcff.jpg")
    message = sock.recv(4096)
    assert b"\n" not in message
    assert b"\x1b" not in message
    assert message.startswith(b"STATUS=evil?READY=1")


def test_a_long_status_is_cut_and_a_repeat_is_not_sent(
    listener: tuple[socket.socket, str],
) -> None:
    sock, name = listener
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.status("x" * 10_000)
    assert len(sock.recv(65_536).decode()) == len("STATUS=") + STATUS_LIMIT
    notifier.status("idle")
    notifier.status("idle")
    assert sock.recv(4096) == b"STATUS=idle"
    assert not _waiting(sock)


def test_without_a_socket_nothing_happens() -> None:
    for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}):
        notifier = Notifier(environ)
        assert not notifier.active
        notifier.ready()
        notifier.reloading()
        notifier.status("x")
        notifier.ping()
        notifier.stopping()


@pytest.mark.parametrize("name", ["gone", "x" * 300])
def test_a_broken_socket_never_raises(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / name)})
    notifier.ready()
    notifier.status("still here")
    notifier.ping()
    assert len(caplog.records) == 1  # Said once, not each second for years.


def _fill(name: str) -> int:
    """Send from one socket until the kernel refuses; how many it took."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
        flood.setblocking(False)
        for sent in itertools.count():
            try:
                flood.sendto(b"x", name)
            except BlockingIOError:
                return sent
    raise AssertionError


def test_a_full_queue_does_not_block_and_the_status_is_sent_again(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name)
        sock.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": name})
        # One sender may run out of its own buffer before the queue is full: take a new one then.
        while _fill(name):
            pass
        notifier.status("lost")  # Returns although nobody reads.
        while _waiting(sock):
            sock.recv(4096)
        notifier.status("lost")
        assert sock.recv(4096) == b"STATUS=lost"


def test_the_interval_is_half_of_what_systemd_allows() -> None:
    assert Notifier({"WATCHDOG_USEC": "60000000"}).watchdog_interval_s() == 30
    mine = {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
    assert Notifier(mine).watchdog_interval_s() == 1
    for none in (
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"},
    ):
        assert Notifier(none).watchdog_interval_s() is None


def test_the_ping_is_earned_by_every_thread() -> None:
    now = 0.0
    watchdog = Watchdog(clock=lambda: now)
    assert not watchdog.earned()  # Nobody on the roll: nobody earned it.
    watchdog.register("loop", 10)
    watchdog.register("journal", 5)
    now = 4.0
    assert watchdog.earned()
    watchdog.beat("loop")
    now = 6.0
    assert watchdog.late() == ("journal",)
    assert not watchdog.earned()
    watchdog.beat("journal")
    assert watchdog.earned()
    assert watchdog.earned(11.0)
    assert not watchdog.earned(11.1)
    now = 1000.0
    watchdog.beat("loop")
    watchdog.retire("journal")
    assert watchdog.earned()
    watchdog.beat("journal")
    watchdog.retire("loop")
    assert not watchdog.earned()
    with pytest.raises(KeyError, match="never registered"):
        watchdog.beat("lopo")


def test_one_stuck_thread_loses_the_ping_while_others_beat() -> None:
    watchdog = Watchdog()
    watchdog.register("busy", 0.3)
    watchdog.register("stuck", 0.3)
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.01):
            watchdog.beat("busy")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert watchdog.earned()
        assert not stop.wait(0.6)
        assert watchdog.late() == ("stuck",)
    finally:
        stop.set()
        thread.join()
