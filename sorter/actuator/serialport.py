"""A port to the device: real ones, ptys, pyserial URLs. Alone in importing serial.

Owns opening (with a diagnosis when it fails), reading and writing that never block for longer
than they are told, and the one place where every way a port can die becomes PortError. Knows
nothing of the protocol. A port that has failed is closed and never used again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import serial

from sorter.actuator.portinfo import explain
from sorter.errors import PortError, UsageError
from sorter.host.wakeup import Wakeup

BAUD: Final = 115_200
CONNECT_S: Final = 0.9
_CHUNK: Final = 4096

# An unplug shows as any of these: pyserial's own, the system's, termios's (neither), and
# TypeError or AttributeError when the handle vanishes under a call in progress.
_GONE = (serial.SerialException, OSError, termios.error, TypeError, AttributeError, ValueError)
_PTYS: Final = range(136, 144)  # the major numbers of Unix 98 pseudo-terminals
_LATER = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except _GONE as error:
        raise PortError(f"{what}: {str(error) or type(error).__name__}") from error


class Port(Protocol):
    """An open port. After PortError only `close` may be called."""

    def read(self, wait_s: float, *, wanted_room: bool = False) -> bytes:
        """What has arrived, waiting up to `wait_s`; empty if nothing, or `wake` was called.

        With `wanted_room` it also returns as soon as a write could make progress.
        """

    def write(self, data: bytes) -> int:
        """How many bytes were taken, 0 to all; does not wait for the device to read."""

    def unsent(self) -> int | None:
        """How many written bytes still lie in this machine's queue; None where that cannot be
        known.

        A pty is such a port: its other end is a program, and the kernel counts what that program
        has not read yet as gone.
        """

    def wake(self) -> None:
        """Make a `read` in another thread return early."""

    def is_current(self) -> bool:
        """False once the name no longer leads to what is open (re-plugged, re-pointed)."""

    def close(self) -> None:
        """Drop what is unsent and close; never raises, never waits."""


class FilePort:
    """A port with a file descriptor that select() understands: tty, pty, TCP socket."""

    def __init__(self, name: str, fd: int, owner: serial.Serial | socket.socket) -> None:
        self._name, self._fd, self._owner = name, fd, owner
        self._wakeup = Wakeup()

    def read(self, wait_s: float, *, wanted_room: bool = False) -> bytes:
        """See Port."""
        with _translated(f"{self._name} is gone"):
            room = [self._fd] if wanted_room else []
            woken = self._wakeup.fileno()
            ready, _, _ = select.select([self._fd, woken], room, [], max(0.0, min(wait_s, 3600.0)))
            if woken in ready:
                self._wakeup.clear()
            if self._fd not in ready:
                return b""
            try:
                data = os.read(self._fd, _CHUNK)
            except OSError as error:
                if error.errno in _LATER:
                    return b""
                raise
        if not data:
            raise PortError(f"{self._name} is gone: the other end hung up")
        return data

    def write(self, data: bytes) -> int:
        """See Port."""
        with _translated(f"{self._name} is gone"):
            try:
                return os.write(self._fd, data)
            except OSError as error:
                if error.errno in _LATER:
                    return 0
                raise

    def unsent(self) -> int | None:
        """See Port."""
        with _translated(f"{self._name} is gone"):
            if os.major(os.fstat(self._fd).st_rdev) in _PTYS:
                return None
            return _queued(self._fd)

    def wake(self) -> None:
        """See Port."""
        self._wakeup.wake()

    def is_current(self) -> bool:
        """See Port."""
        if isinstance(self._owner, socket.socket):
            return True
        try:
            named, opened = Path(self._name).stat(), os.fstat(self._fd)
        except OSError:
            return False
        return (named.st_rdev, named.st_ino) == (opened.st_rdev, opened.st_ino)

    def close(self) -> None:
        """See Port."""
        # Unsent bytes must not reach the device later, nor make close() wait for it.
        with contextlib.suppress(*_GONE):
            if isinstance(self._owner, socket.socket):
                _forget_queue(self._owner)
            else:
                termios.tcflush(self._fd, termios.TCIOFLUSH)
        with contextlib.suppress(*_GONE):
            self._owner.close()
        self._wakeup.close()


class UrlPort:
    """Any other pyserial URL (rfc2217:// and its kin), through pyserial's own calls."""

    def __init__(
        self, name: str, owner: serial.Serial, connection: socket.socket | None = None
    ) -> None:
        self._name, self._owner, self._connection = name, owner, connection
        self._rung = False

    def read(self, wait_s: float, *, wanted_room: bool = False) -> bytes:
        """See Port. Waits in small steps: nothing here can interrupt pyserial's read."""
        with _translated(f"{self._name} is gone"):
            steps = max(1, round(min(wait_s, 3600.0) / 0.02))
            for _ in range(steps):
                self._owner.timeout = 0.02
                data = bytes(self._owner.read(max(1, self._owner.in_waiting)))
                if data or self._rung or wanted_room:
                    self._rung = False
                    return data
        return b""

    def write(self, data: bytes) -> int:
        """See Port. A timeout says nothing about what arrived: the port is given up."""
        with _translated(f"{self._name} does not take what is written"):
            self._owner.write(data)
        return len(data)

    def unsent(self) -> int | None:
        """See Port; known where the bytes go out on a connection of our own."""
        if self._connection is None:
            return None
        with _translated(f"{self._name} is gone"):
            return _queued(self._connection.fileno())

    def wake(self) -> None:
        """See Port."""
        self._rung = True

    def is_current(self) -> bool:
        """See Port."""
        return True

    def close(self) -> None:
        """See Port."""
        with contextlib.suppress(*_GONE):
            if self._connection is not None:
                _forget_queue(self._connection)
        with contextlib.suppress(*_GONE):
            self._owner.close()


def _queued(fd: int) -> int | None:
    """Bytes in a tty's output queue, or unacknowledged on a TCP connection; otherwise None."""
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL):
            return None
        raise
    return int(count)


def _forget_queue(connection: socket.socket) -> None:
    """Let closing drop what has not left; the kernel would go on trying to deliver it."""
    if _queued(connection.fileno()):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def check_name(name: str) -> None:
    """Raise UsageError for what no plugging in will ever make a port."""
    if not name.strip():
        raise UsageError("--serial is empty: give a device such as /dev/ttyACM0, or a URL")
    if name.startswith("socket://"):
        _address(name)
    elif "://" in name:
        try:
            serial.serial_for_url(name, do_not_open=True)
        except ValueError as error:  # of an unknown kind; others may be there later
            raise UsageError(
                f"{name}: {error}; give a device, socket://HOST:PORT or rfc2217://HOST:PORT"
            ) from error
        except _GONE:
            pass


def open_port(name: str) -> Port:
    """Open `name`: a device path or a pyserial URL. PortError says what to do about it."""
    check_name(name)
    if name.startswith("socket://"):
        return _open_socket(name)
    if "://" in name:
        return _open_url(name)
    try:
        owner = serial.Serial(
            name, BAUD, timeout=0, write_timeout=0, exclusive=True, xonxoff=False, rtscts=False
        )
    except _GONE as error:
        raise PortError(explain(name, error)) from error
    return FilePort(name, owner.fileno(), owner)


def _address(name: str) -> tuple[str, int]:
    host, _, port = name.removeprefix("socket://").partition("/")[0].rpartition(":")
    if not host or not port.isdecimal() or len(port) > 5 or not 0 < int(port) < 65536:
        raise UsageError(f"{name}: a TCP port is written socket://HOST:PORT")
    return host.strip("[]"), int(port)


def _open_socket(name: str) -> Port:
    try:
        owner = socket.create_connection(_address(name), timeout=CONNECT_S)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that DNS cannot carry
        reason = getattr(error, "strerror", None) or str(error) or "no answer"
        raise PortError(f"{name}: {reason}; is the device's server running?") from error
    owner.setblocking(False)
    owner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return FilePort(name, owner.fileno(), owner)


def _open_url(name: str) -> Port:
    try:
        owner = serial.serial_for_url(name, BAUD, timeout=0.02, write_timeout=CONNECT_S)
    except (*_GONE, ImportError) as error:
        raise PortError(f"{name}: cannot be opened: {error}; check the address") from error
    # rfc2217's writes go out on a blocking socket whose own limit is five seconds.
    inner = getattr(owner, "_socket", None)
    if not isinstance(inner, socket.socket):
        return UrlPort(name, owner)
    inner.settimeout(CONNECT_S)
    return UrlPort(name, owner, inner)
