"""Pictures of one item that arrive together are gathered into one group.

Owns the group under way. Classifies nothing and records nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sorter.domain import Picture, Prediction, Record

MAX_MEMBERS = 32
"""No camera takes more of one item; a folder filled at once must not become one item."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of an item, in the journal by now, and what the model said of it."""

    record: Record
    prediction: Prediction

    @property
    def arrived(self) -> float:
        """When its picture arrived, on the station's clock."""
        return self.record.picture.arrived


class Burst:
    """Gathers shots that arrived within `window_s` seconds of the first."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._shots: list[Shot] = []

    def __bool__(self) -> bool:
        return bool(self._shots)

    def admits(self, picture: Picture) -> bool:
        """True where `picture` belongs to the group under way (or would begin one)."""
        if not self._shots:
            return True
        apart_s = abs(picture.arrived - self._shots[0].arrived)
        return apart_s <= self._window_s and len(self._shots) < MAX_MEMBERS

    def add(self, shot: Shot) -> None:
        """Take `shot` into the group."""
        self._shots.append(shot)

    def is_over(self, now: float, settle_s: float) -> bool:
        """True where no more can come: the window and one settling time have passed."""
        return bool(self._shots) and (
            now > self._shots[0].arrived + self._window_s + settle_s
            or len(self._shots) >= MAX_MEMBERS
        )

    def take(self) -> list[Shot]:
        """The group, first arrival first; a new one begins."""
        shots, self._shots = self._shots, []
        return sorted(shots, key=lambda shot: shot.arrived)
