"""What the station asks of its neighbours: a folder, a model, an actuator, a voice, sinks.

Owns the Protocols only; the station imports neither `vision` nor `actuator`. The command line
hands in the real ones, tests hand in small real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sorter.domain import (
    Decision,
    LinkStatus,
    Movement,
    Picture,
    Prediction,
    Record,
    Taxonomy,
)


class Intake(Protocol):
    """Where settled pictures come from (see `intake.watcher.Watcher`)."""

    problem: str
    """Why no pictures can come now; empty where all is well."""

    listings: int
    """Full looks at the folder since the start."""

    hold_backlog: bool
    """While set, what was there at start waits."""

    @property
    def folder(self) -> Path:
        """Where the pictures lie."""

    @property
    def mode(self) -> str:
        """How the folder is watched, in words for an operator."""

    @property
    def pending(self) -> int:
        """Files seen and not yet handed over."""

    def begin(self) -> None:
        """Take note of what is there already: it is backlog. Raises FolderError."""

    def pictures(self) -> Iterator[Picture | None]:
        """Settled pictures as they come; None at every pause, so that the loop stays alive."""

    def later(self, picture: Picture, why: str) -> None:
        """`picture` is not a whole picture: give it again when it changes, or for good."""


class Model(Protocol):
    """A picture's bytes become a prediction, predictions of one item become a decision."""

    @property
    def digest(self) -> str:
        """Hex digest that names these weights in every record."""

    @property
    def taxonomy(self) -> Taxonomy:
        """Classes and bins of these weights."""

    def predict(self, data: bytes) -> Prediction:
        """Classify one picture; raises ImageError where `data` is not a whole picture."""

    def decide(self, predictions: Sequence[Prediction]) -> Decision:
        """One decision for all pictures of one item (at least one)."""


class Opening(Protocol):
    """Notes which picture is being opened, in case that ends the process (see `in_hand.InHand`)."""

    def holding(self, sha256: str) -> AbstractContextManager[None]:
        """While it is opened. Raises ImageError for one that must not be."""


class Actuator(Protocol):
    """The link to the device. Its clock is `sorter.host.clock`."""

    def start(self, sid: str, next_n: int, *, beat: Callable[[], None] = ...) -> None:
        """Begin shaking hands as journal `sid`, whose next number is `next_n`; returns at once.

        `beat` is called again and again by the thread that does so, as its sign of life.
        """

    def status(self) -> LinkStatus:
        """The link now; thread-safe, never blocks."""

    def move(self, n: int, bin_number: int, *, boot: str, deadline: float) -> Movement:
        """Move once for `n`; blocks for a bounded time. No GO is first written after `deadline`.

        NOT_SENT where the device's boot is no longer `boot` before the first write.
        """

    def resolve(self, n: int, *, boot: str) -> Movement:
        """Ask what became of `n`, sent before a crash; never moves anything.

        REFUSED says that the device never started it.
        """

    def clear(self) -> Movement:
        """Clear the device's fault; moves nothing. NOT_SENT where it cannot be asked."""

    def home(self) -> Movement:
        """Bring the diverter to its home position. NOT_SENT where it cannot be asked."""

    def stop(self) -> None:
        """Stop the device at once (`!`)."""

    def close(self) -> None:
        """Let go of the line and end the background thread."""


class Reload(Protocol):
    """New weights beside the old ones (see `reload.Reloader`)."""

    refused: str
    """Why the last ones offered were refused; empty where they were not."""

    def start(self) -> None:
        """Begin to look for new weights."""

    def request(self) -> None:
        """Try the bundle now. Safe in a signal handler."""

    def take(self) -> Model | None:
        """The new model, once, if there is one."""


class Sink(Protocol):
    """Takes records once they are durable: the screen, the archive, the unsure folder."""

    def __call__(self, record: Record) -> None:
        """Must not raise for anything an operator or a disk can cause."""
