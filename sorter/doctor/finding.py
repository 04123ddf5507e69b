"""What a check says: a level, one line, and the fix.

Owns the vocabulary of the doctor. Looks at nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

MODEL, ACTUATOR, ENVIRONMENT = 3, 4, 5
"""Exit codes of a failed check, those of `sorter.errors`."""


class Level(StrEnum):
    """How bad it is: fine, worth a look, or the station cannot work like this."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor. `fix` is what to do, empty where all is well."""

    check: str
    level: Level
    says: str
    fix: str = ""
    exit_code: int = ENVIRONMENT


def ok(check: str, says: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, says)


def warn(check: str, says: str, fix: str) -> Finding:
    """It works, but will hurt some day."""
    return Finding(check, Level.WARN, says, fix)


def fail(check: str, says: str, fix: str, *, exit_code: int = ENVIRONMENT) -> Finding:
    """It cannot work."""
    return Finding(check, Level.FAIL, says, fix, exit_code)


def exit_code(findings: Iterable[Finding]) -> int:
    """0 where nothing failed, otherwise the code of the first check that did."""
    return next((f.exit_code for f in findings if f.level is Level.FAIL), 0)
