"""A local socket beside the journal: what a person may ask of a device while its station runs.

Owns both ends. Whoever may write to the socket's file may ask, which is whom the folder lets in
(0660). Nothing that is asked chooses a bin or moves for an item: that stays the station's alone.
One line of JSON each way: `{"do": "clear"}`, and what came of it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Any

from sorter.domain import Movement
from sorter.station.interfaces import Actuator

log = logging.getLogger(__name__)

LINE_BYTES = 4096
ASK_S = 5.0
"""For one line from whoever asks."""
ANSWER_S = 60.0
"""A movement that is under way ends first."""


class Ask(StrEnum):
    """What may be asked."""

    PING = "ping"
    CLEAR = "clear"
    HOME = "home"


def socket_path(journal: Path) -> Path:
    """The socket beside a journal."""
    return journal.with_name(journal.name + ".socket")


class Control:
    """The station's end: a thread that answers one after the other. Harmless where it cannot be."""

    def __init__(self, path: Path, actuator: Actuator) -> None:
        self._path, self._actuator = path, actuator
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()  # The journal's lock says that nobody else's station is here.
            with _address(path) as address:
                self._socket.bind(address)
            path.chmod(0o660)
            self._socket.listen(4)
            self._socket.settimeout(0.5)
        except OSError as error:
            log.warning("no `sorter actuator clear` through this station: %s: %s", path, error)
            self._socket.close()
            return
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer nobody any more."""
        self._closing.set()
        if self._thread is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._thread.join(1.0)
            self._socket.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                peer, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                if not self._closing.wait(0.5):
                    continue
                return
            with peer, contextlib.suppress(OSError):
                peer.settimeout(ASK_S)
                answer = self._answer(_line(peer))
                peer.sendall(json.dumps(answer, ensure_ascii=False).encode() + b"\n")

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            ask = Ask(json.loads(line)["do"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"error": f"ask one of {', '.join(Ask)}"}
        if ask is Ask.PING:
            return asdict(self._actuator.status())
        log.warning("asked to %s", ask.value)
        done = self._actuator.clear() if ask is Ask.CLEAR else self._actuator.home()
        return _of_movement(done) | asdict(self._actuator.status())


def ask_station(journal: Path, ask: Ask) -> dict[str, Any] | None:
    """What the station on `journal` answers; None where none runs. Raises OSError."""
    path = Path(os.path.realpath(socket_path(journal)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(ANSWER_S)
        try:
            with _address(path) as address:
                sock.connect(address)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return None
        sock.sendall(json.dumps({"do": ask.value}).encode() + b"\n")
        answer = json.loads(_line(sock) or b"{}")
    return answer if isinstance(answer, dict) else {}


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """An address that the kernel takes, however deep the folder: it allows 107 bytes."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _line(peer: socket.socket) -> bytes:
    data = b""
    while b"\n" not in data and len(data) < LINE_BYTES:
        more = peer.recv(LINE_BYTES)
        if not more:
            break
        data += more
    return data.partition(b"\n")[0]


def _of_movement(done: Movement) -> dict[str, Any]:
    return {"result": done.delivery.value, "why": done.detail, "ms": done.device_ms}
