"""How the station is at one moment, and what an operator should know of it.

Owns the value, its wording and the name of the file that it is told in. Looks at nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

LIVE = ".live.json"


def live_path(journal: Path) -> Path:
    """The small file beside a journal that says how its station is now."""
    return journal.with_name(journal.name + LIVE)


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

    def problems(self) -> list[str]:
        """What an operator should know, worst first; empty where all is well."""
        found = []
        if self.journal_problem:
            found.append(f"journal: {self.journal_problem}")
        if self.folder_problem:
            found.append(f"folder: {self.folder_problem}")
        if self.link_wanted and not self.link_ready:
            detail = f" ({self.link_detail})" if self.link_detail else ""
            found.append(f"device not ready: {self.link}{detail}")
        if self.model_refused:
            found.append(f"new weights refused: {self.model_refused}")
        return found

    def line(self) -> str:
        """One line for `systemctl status`."""
        problems = self.problems()
        if problems:
            return "degraded: " + "; ".join(problems)
        link = "device ready" if self.link_wanted else self.link
        return f"watching {self.folder} ({self.mode}), {link}, weights {self.model[:12]}"
