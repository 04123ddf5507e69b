"""A session with a hand on its clock: the tests play the device, line by line."""

from __future__ import annotations

from sorter.actuator.protocol import seal
from sorter.actuator.session import Exchange, Session
from sorter.domain import Delivery


class Host:
    """A session with a hand on its clock; the test plays the device."""

    def __init__(self, *, device: str | None = None, next_n: int = 1) -> None:
        self.session = Session("s1", next_n, device=device)
        self.now = 100.0
        self.session.opened(self.now)

    def hears(self, *bodies: str) -> list[str]:
        for body in bodies:
            self.session.received(seal(body), self.now)
        return self.says()

    def says(self) -> list[str]:
        lines = self.session.take().decode().splitlines()
        return [line.rpartition("*")[0] or line for line in lines]

    def passes(self, seconds: float) -> list[str]:
        until = self.now + seconds
        while self.session.wake_at <= until:
            self.now = max(self.now, self.session.wake_at)
            self.session.tick(self.now)
            if self.session.broken:
                break
        self.now = until
        return self.says()

    def ready(self, boot: str = "b1", mark: int = 0) -> Host:
        assert self.hears(f"BOOT WS1 f {boot} sim - - IDLE") == ["HI s1 1"]
        assert self.hears(f"HI {boot} sim s1 {mark} IDLE") == []
        assert self.session.status.ready
        return self

    def go(self, n: int = 1, *, boot: str = "b1", fresh_s: float = 5.0) -> Exchange:
        exchange = self.session.move(n, 2, boot=boot, deadline=self.now + fresh_s, now=self.now)
        assert isinstance(exchange, Exchange)
        assert self.says() == [f"GO s1 {n} 2"]
        return exchange


def ended(exchange: Exchange) -> tuple[Delivery, str]:
    assert exchange.result is not None
    return exchange.result.delivery, exchange.result.detail
