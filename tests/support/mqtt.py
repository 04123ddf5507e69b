"""A real broker on loopback that can go away, a cable that can be cut, and somebody who listens.

Needs Debian's mosquitto and the extra `sorter[mqtt]`; the sender under test is sorter's own.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


def free_port() -> int:
    """A port of loopback that nobody has just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Broker:
    """A mosquitto that keeps sessions over a stop. `more` are lines of its settings."""

    def __init__(self, home: Path, *, more: str = "allow_anonymous true") -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._config = home / "mosquitto.conf"
        user = "user root\n" if os.getuid() == 0 else ""
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\n{user}persistence true\n"
            f"persistence_location {home}/\nmax_queued_messages 0\n{more}\n",
            encoding="utf-8",
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Up and listening."""
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 10
        while time.monotonic() < until and self._process.poll() is None:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 0.5),
            ):
                return
            time.sleep(0.02)
        raise AssertionError("mosquitto does not listen")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Gone; told politely unless `number` is SIGKILL."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None


@contextlib.contextmanager
def broker(home: Path, **more: Any) -> Iterator[Broker]:
    """One that is up, and down at the end."""
    there = Broker(home, **more)
    there.start()
    try:
        yield there
    finally:
        there.stop()


class Cable:
    """A port that leads to another until it is cut; then the answers on their way are lost."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ, None)
        self._answers: set[socket.socket] = set()
        self._cut, self._end = threading.Event(), threading.Event()
        self.cuts = 0
        self._thread = threading.Thread(target=self._run, name="cable", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """What the senders have sent still arrives, they hear nothing more, and are cut off."""
        self._cut.set()

    def close(self) -> None:
        """Nothing leads anywhere any more."""
        self._end.set()
        self._thread.join(5)
        self._drop()
        self._server.close()

    def _run(self) -> None:
        deaf_until = 0.0
        while not self._end.is_set():
            if self._cut.is_set():
                self._cut.clear()
                self.cuts += 1
                deaf_until = time.monotonic() + 0.02
            if deaf_until and time.monotonic() > deaf_until:
                deaf_until = 0.0
                self._drop()
            for key, _ in self._selector.select(0.01):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._server:
                    self._accept()
                    continue
                with contextlib.suppress(OSError):
                    data = sock.recv(1 << 16)
                    if data and not (deaf_until and sock in self._answers):
                        key.data.sendall(data)
                    if data:
                        continue
                self._forget(sock, key.data)

    def _accept(self) -> None:
        near, _ = self._server.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._to_port), 5)
        except OSError:
            near.close()
            return
        self._answers.add(far)
        self._selector.register(near, selectors.EVENT_READ, far)
        self._selector.register(far, selectors.EVENT_READ, near)

    def _forget(self, *socks: socket.socket) -> None:
        for sock in socks:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(sock)
            self._answers.discard(sock)
            sock.close()

    def _drop(self) -> None:
        for key in list(self._selector.get_map().values()):
            if key.fileobj is not self._server:
                assert isinstance(key.fileobj, socket.socket)
                self._forget(key.fileobj)


class Listener:
    """Counts, for each station, how often each number came; keeps the last text of every topic."""

    def __init__(self, port: int, *, prefix: str = "sorter") -> None:
        import paho.mqtt.client as library
        from paho.mqtt.enums import CallbackAPIVersion

        self.heard: dict[str, Counter[int]] = {}
        self.kept: dict[str, Any] = {}
        self._client = library.Client(
            CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False
        )
        self._client.on_connect = lambda client, *_: client.subscribe(
            [(f"{prefix}/+/item", 1), (f"{prefix}/+/status", 1), ("homeassistant/#", 1)]
        )
        self._client.on_message = self._take
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _take(self, _client: Any, _data: Any, message: Any) -> None:
        said = json.loads(message.payload)
        if message.topic.endswith("/item"):
            self.heard.setdefault(message.topic.split("/")[1], Counter())[said["n"]] += 1
        self.kept[message.topic] = said

    def close(self) -> None:
        """Listen no more."""
        self._client.disconnect()
        self._client.loop_stop()
