"""One connection to a broker, and where it leads.

Owns the address that an operator gives, and alone names paho. A connection is used by one thread,
keeps no message for later, and is never mended: after an error a new one is opened.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from sorter.errors import BrokerError, MissingExtraError, UsageError

ANSWER_S = 10.0
"""A broker that takes longer to greet or to confirm has hung, or its network has."""

KEEP_ALIVE_S = 30
"""A line without a sign of life for one and a half of it is dead: then the broker says that the
station is offline."""

RETAINED_S = 2.0
"""So long a broker may take to hand out what it has kept; most send it with the next packet."""

_PLAIN, _TLS = "mqtt", "mqtts"
_PORTS = {_PLAIN: 1883, _TLS: 8883}
_REFUSALS = {"Bad user name or password", "Not authorized"}


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker is, and who we are to it. `ca` is the file of the authority to trust."""

    host: str
    port: int
    tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    ca: Path | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Message:
    """What goes to a topic; the broker keeps the last one where `retain`."""

    topic: str
    text: str
    retain: bool = False


def read_address(
    given: str, *, user: str = "", password_file: Path | None = None, ca: Path | None = None
) -> BrokerAddress:
    """`HOST[:PORT]`, `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]` as an address.

    Raises UsageError for anything else, and where the password cannot be read.
    """
    try:
        parts = urlsplit(given if "://" in given else f"{_PLAIN}://{given}")
        port = parts.port
        is_right = (
            parts.scheme in _PORTS
            and bool(parts.hostname)
            and parts.username is None
            and not parts.path.strip("/")
            and not parts.query
            and port != 0
            and not parts.netloc.endswith(":")
            and not any(c.isspace() for c in given)
        )
    except ValueError:  # a port that is none, a bracket that is not closed
        is_right = False
    if not is_right:
        raise UsageError(f"--mqtt {given}: give HOST, HOST:PORT or mqtts://HOST[:PORT]")
    if ca is not None and parts.scheme != _TLS:
        raise UsageError(f"--mqtt-ca: is for a broker with TLS; give --mqtt mqtts://{parts.netloc}")
    if ca is not None and not ca.is_file():
        raise UsageError(f"--mqtt-ca {ca}: no such file")
    if password_file is not None and not user:
        raise UsageError("--mqtt-password-file: give the name too, with --mqtt-user")
    password = ""
    if password_file is not None:
        try:
            password = password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not text"
            raise UsageError(f"--mqtt-password-file {password_file}: {why}") from error
    host, tls = parts.hostname or "", parts.scheme == _TLS
    return BrokerAddress(host, port or _PORTS[parts.scheme], tls, user, password, ca)


def paho() -> ModuleType:
    """The client library. Raises MissingExtraError, which says how to install it."""
    try:
        import paho.mqtt.client as library
    except ImportError as error:
        raise MissingExtraError("--mqtt needs an extra: pip install 'sorter[mqtt]'") from error
    return library


class Line:
    """An open connection. Every method raises BrokerError once it is broken."""

    def __init__(self, client: Any, address: BrokerAddress) -> None:
        self._client, self._address = client, address
        self._unconfirmed: set[int] = set()
        self._received: dict[str, bytes] = {}
        client.on_publish = lambda _client, _data, mid, *_: self._unconfirmed.discard(mid)
        client.on_message = lambda _client, _data, message: self._received.update(
            {message.topic: message.payload}
        )

    def publish(self, *messages: Message) -> None:
        """Send at QoS 1, in one packet of the network; confirmed for certain after `confirm`."""
        # Packed together a pair arrives or does not; nothing comes between its two.
        with self._corked():
            for message in messages:
                sent = self._client.publish(
                    message.topic, message.text.encode("utf-8"), qos=1, retain=message.retain
                )
                self._check(sent.rc)
                self._unconfirmed.add(sent.mid)

    @contextlib.contextmanager
    def _corked(self) -> Iterator[None]:
        sock = self._client.socket()
        option = getattr(socket, "TCP_CORK", None)
        if sock is None or option is None:
            yield
            return
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, option, 1)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, 0)

    def confirm(self, *, but: int = 0) -> None:
        """Wait until the broker has everything that was published, all `but` so many messages."""
        until = time.monotonic() + ANSWER_S
        while len(self._unconfirmed) > but:
            self.idle(0.1)
            if time.monotonic() > until:
                raise BrokerError(f"mqtt: {self._address} confirms nothing; is it overloaded?")

    def retained(self, topic: str) -> bytes | None:
        """What the broker keeps under `topic`; None where nothing, or where we may not ask."""
        self._received.pop(topic, None)
        self._check(self._client.subscribe(topic, qos=1)[0])
        until = time.monotonic() + RETAINED_S
        while topic not in self._received and time.monotonic() < until:
            self.idle(0.05)
        self._check(self._client.unsubscribe(topic)[0])
        return self._received.pop(topic, None)

    def idle(self, seconds: float) -> None:
        """Hear what the broker says, for at most so long."""
        self._check(self._client.loop(seconds))

    def _check(self, code: int) -> None:
        if code:
            library = paho()
            raise BrokerError(
                f"mqtt: lost the broker at {self._address} ({library.error_string(code)});"
                " trying again"
            )


@contextlib.contextmanager
def open_line(
    address: BrokerAddress,
    *,
    name: str,
    will: Message,
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Line]:
    """A connection called `name`; `will` is told where it breaks unannounced.

    The same name again takes the place of the former connection, so that a will that is late cannot
    contradict what came after. Raises BrokerError.
    """
    library = paho()
    import ssl  # not at the top: every station reads this file, few have a broker

    client = library.Client(
        library.CallbackAPIVersion.VERSION2,
        client_id=name,
        clean_session=True,
        reconnect_on_failure=False,
    )
    client.connect_timeout = ANSWER_S
    client.max_inflight_messages_set(0)  # Whoever publishes bounds how much is on its way.
    client.will_set(will.topic, will.text.encode("utf-8"), qos=1, retain=will.retain)
    if address.user:
        client.username_pw_set(address.user, address.password or None)
    answer: list[Any] = []
    client.on_connect = lambda _client, _data, _flags, reason, _properties: answer.append(reason)
    try:
        try:
            if address.tls:
                client.tls_set(str(address.ca) if address.ca else None)
            client.connect(address.host, address.port, keepalive=KEEP_ALIVE_S)
            _await_greeting(client, answer, stopping)
        except ssl.SSLError as error:
            raise BrokerError(
                f"mqtt: {address}: TLS: {error.reason or error}; check --mqtt-ca"
            ) from error
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or error
            raise BrokerError(
                f"mqtt: cannot reach the broker at {address}: {why}; trying again"
            ) from error
        if not answer:
            raise BrokerError(f"mqtt: {address} does not greet; is it an MQTT broker?")
        if answer[0].is_failure:
            advice = "; trying again"
            if str(answer[0]) in _REFUSALS:
                advice = "; check --mqtt-user and --mqtt-password-file"
            raise BrokerError(f"mqtt: {address} refuses us: {answer[0]}{advice}")
        yield Line(client, address)
    finally:
        # Said goodbye, the will is not told; after an error nobody hears it any more.
        with contextlib.suppress(OSError, ValueError):
            client.disconnect()
            client.loop(0)
        with contextlib.suppress(OSError):
            sock = client.socket()
            if sock is not None:
                sock.close()


def _await_greeting(client: Any, answer: list[Any], stopping: Callable[[], bool]) -> None:
    until = time.monotonic() + ANSWER_S
    while not answer and time.monotonic() < until and not stopping():
        if client.loop(0.1):
            return
