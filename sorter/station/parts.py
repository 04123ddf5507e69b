"""What a station is made of, as one value.

Owns the list of parts; the caller opens and closes them, the loop drives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sorter.station.health.reporter import Pulse
from sorter.station.interfaces import Actuator, Intake, Meter, Model, Reload, Voice
from sorter.station.journal.journal import Journal
from sorter.station.record import Record
from sorter.station.wakeup import Bell


class Sink(Protocol):
    """Takes records once they are durable: the screen, the archive, the ring."""

    def __call__(self, record: Record) -> None:
        """Must not raise for anything an operator or a disk can cause."""


@dataclass
class Parts:
    """What a station is made of. The caller opens and closes them."""

    watcher: Intake
    model: Model
    journal: Journal
    actuator: Actuator | None
    voice: Voice
    meter: Meter
    bell: Bell
    pulse: Pulse
    swapper: Reload | None = None
    sinks: Sequence[Sink] = ()
