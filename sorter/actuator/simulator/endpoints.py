"""The simulated device's end of the cable: a pty with a stable name, or a TCP port.

Owns descriptors, the symbolic link and noticing that a host comes and goes. Bytes pass unread.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import termios
import tty
from pathlib import Path

from sorter.errors import FolderError, PortError
from sorter.files import refuse_picture_name


class PtySocket:
    """A pty; `link`, if given, always points at it and is re-pointed in one step."""

    def __init__(self, link: Path | None = None) -> None:
        self._link = link
        self._master = -1
        self.name = self._target = ""
        self.plug()

    def plug(self) -> None:
        """Appear: make a new pty and point the link at it."""
        if self._master >= 0:
            return
        self._master, slave = os.openpty()
        # Raw before anyone opens it: no echo, no CR added, whoever the reader is.
        tty.setraw(slave, termios.TCSANOW)
        self._target = target = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(self._master, False)
        self.name = target
        if self._link is not None:
            self.name = str(self._link)
            self._point(self._link, target)

    def unplug(self) -> None:
        """Vanish: the link is removed, then hosts see a hang-up."""
        if self._master < 0:
            return
        self._remove_link()
        os.close(self._master)
        self._master = -1

    def fileno(self) -> int:
        """The descriptor to wait on, -1 while unplugged."""
        return self._master

    def poll(self) -> bool:
        """True while a host has the pty open."""
        if self._master < 0:
            return False
        poller = select.poll()
        poller.register(self._master, select.POLLIN)
        return not any(event & select.POLLHUP for _, event in poller.poll(0))

    def read(self) -> bytes:
        """What the host wrote; empty if nothing."""
        with contextlib.suppress(OSError):
            return os.read(self._master, 4096)
        return b""

    def write(self, data: bytes) -> None:
        """Say `data`; what does not fit because the host does not read is lost, as on a wire."""
        with contextlib.suppress(OSError):
            os.write(self._master, data)

    def close(self) -> None:
        """Remove the link and the pty."""
        self.unplug()

    def _point(self, link: Path, target: str) -> None:
        refuse_picture_name(link, option="--link")
        if link.exists() and (not link.is_symlink() or link.is_file()):
            raise FolderError(
                f"link {link}: something other than a link is there; choose another --link"
            )
        fresh = link.with_name(f".{link.name}.{os.getpid()}")
        try:
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(target)
            fresh.replace(link)
        except OSError as error:
            raise FolderError(f"link {link}: {error.strerror}; choose another --link") from error

    def _remove_link(self) -> None:
        # Another simulator may have taken the name over: remove only our own.
        if self._link is not None:
            with contextlib.suppress(OSError):
                if str(self._link.readlink()) == self._target:
                    self._link.unlink()


class TcpSocket:
    """A listening port for one host at a time; a new host takes the place of the old."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._address, self._port = address, port
        self._listener: socket.socket | None = None
        self._host: socket.socket | None = None
        self.name = ""
        self.plug()

    def plug(self) -> None:
        """Appear: listen."""
        if self._listener is not None:
            return
        try:
            self._listener = socket.create_server((self._address, self._port))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else error
            raise PortError(f"TCP port {self._port}: {reason}; choose another --tcp") from error
        self._listener.setblocking(False)
        self._port = int(self._listener.getsockname()[1])
        self.name = f"socket://{self._address}:{self._port}"

    def unplug(self) -> None:
        """Vanish: hosts see the connection end, new ones are refused."""
        for end in (self._host, self._listener):
            if end is not None:
                end.close()
        self._host = self._listener = None

    def fileno(self) -> int:
        """The descriptor to wait on, -1 without a host."""
        return self._host.fileno() if self._host else -1

    def poll(self) -> bool:
        """True while a host is connected; a host that comes is taken in here."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                fresh, _ = self._listener.accept()
                fresh.setblocking(False)
                fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                old, self._host = self._host, fresh
                if old is not None:
                    old.close()
                    return False  # once, so that the change of host shows
        return self._host is not None

    def read(self) -> bytes:
        """What the host wrote; an ended connection is closed."""
        if self._host is None:
            return b""
        try:
            data = self._host.recv(4096)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._host.close()
            self._host = None
        return data

    def write(self, data: bytes) -> None:
        """Say `data`; what does not fit is lost."""
        if self._host is not None:
            with contextlib.suppress(OSError):
                self._host.send(data)

    def close(self) -> None:
        """Stop listening."""
        self.unplug()
