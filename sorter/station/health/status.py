"""How the station is at one moment, and what an operator should know of it.

Owns the value, its wording and the name of the file that it is told in. Looks at nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

LIVE = ".live.json"


def live_path(journal: Path) -> Path:
    """The small file beside a journal that says how its station is now."""
    return journal.with_name(journal.name + LIVE)


class Trouble(StrEnum):
    """What may be wrong at a station, as a person who is called would sort it."""

    DISK = "disk"
    FOLDER = "folder"
    JAM = "jam"
    DEVICE = "device"
    CAMERA = "camera"
    JOURNAL = "journal"
    WEIGHTS = "weights"


FAULT = "fault"
"""The link's state while the device waits for a fault to be cleared."""


@dataclass(frozen=True, slots=True)
class StationStatus:
    """One moment of the station. Empty texts mean that all is well there."""

    folder: str
    mode: str
    folder_problem: str
    link: str
    link_ready: bool
    link_wanted: bool
    link_detail: str
    journal_problem: str
    model: str
    model_refused: str
    pending: int
    unresolved: int
    starts: int
    link_boot: str = ""
    listings: int = 0
    jam: str = ""
    camera_problem: str = ""
    set_aside: str = ""

    def troubles(self) -> dict[Trouble, str]:
        """What an operator should know, worst first; empty where all is well."""
        found = {}
        if self.journal_problem:
            found[Trouble.DISK] = f"journal: {self.journal_problem}"
        if self.folder_problem:
            found[Trouble.FOLDER] = f"folder: {self.folder_problem}"
        if self.link_wanted and not self.link_ready:
            detail = f" ({self.link_detail})" if self.link_detail else ""
            kind = Trouble.JAM if self.link == FAULT else Trouble.DEVICE
            found[kind] = f"device not ready: {self.link}{detail}"
        if self.jam:
            found.setdefault(Trouble.JAM, f"the last movement failed: {self.jam}")
        if self.camera_problem:
            found[Trouble.CAMERA] = f"camera: {self.camera_problem}"
        if self.set_aside:
            found[Trouble.JOURNAL] = f"a damaged journal was set aside as {self.set_aside}"
        if self.model_refused:
            found[Trouble.WEIGHTS] = f"new weights refused: {self.model_refused}"
        return found

    def problems(self) -> list[str]:
        """The same as lines."""
        return list(self.troubles().values())

    def line(self) -> str:
        """One line for `systemctl status`."""
        problems = self.problems()
        if problems:
            return "degraded: " + "; ".join(problems)
        link = "device ready" if self.link_wanted else self.link
        return f"watching {self.folder} ({self.mode}), {link}, weights {self.model[:12]}"
