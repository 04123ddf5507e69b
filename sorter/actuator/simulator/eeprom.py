"""What a simulated device keeps over a reset: nothing, a pair in memory, or a pair in a file.

Owns the session id and the highest number ever started, nothing else.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Protocol

from sorter.errors import FolderError
from sorter.files import refuse_foreign, refuse_picture_name, write_whole


class Eeprom(Protocol):
    """What survives a reset: the session id and the highest number ever started."""

    def load(self) -> tuple[str, int] | None:
        """The last saved pair, or None if it is lost."""

    def save(self, sid: str, mark: int) -> None:
        """Keep the pair; durable when this returns."""


class Ram:
    """A device without EEPROM forgets at each reset."""

    def load(self) -> tuple[str, int] | None:
        """Nothing: a boot asks only after a reset."""
        return None

    def save(self, sid: str, mark: int) -> None:
        """Nothing is kept beyond the running device's own variables."""


class Kept:
    """EEPROM without a file: survives a reset of the device, not the end of the process."""

    def __init__(self) -> None:
        self._pair: tuple[str, int] | None = None

    def load(self) -> tuple[str, int] | None:
        """The last pair saved."""
        return self._pair

    def save(self, sid: str, mark: int) -> None:
        """Keep the pair."""
        self._pair = (sid, mark)

    def lose(self) -> None:
        """Forget the pair, as when the chip is changed."""
        self._pair = None


def _is_ours(head: bytes) -> bool:
    """Also one that was cut short: a damaged memory is a lost one, no other file."""
    mark = b'{"sid": '
    return head.startswith(mark) or mark.startswith(head)


class FileMemory:
    """EEPROM as a small file, replaced whole at each save: it survives the simulator too."""

    def __init__(self, path: Path) -> None:
        if not path.parent.is_dir():
            raise FolderError(f"EEPROM file {path}: no such folder; choose another --eeprom")
        if path.exists() and not path.is_file():
            raise FolderError(f"EEPROM file {path}: is not a file; choose another --eeprom")
        refuse_picture_name(path, option="--eeprom")
        refuse_foreign(path, _is_ours, option="--eeprom")
        self._path = path

    def load(self) -> tuple[str, int] | None:
        """See Eeprom; a damaged or missing file is a lost memory."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            return str(kept["sid"]), int(kept["hwm"])
        return None

    def save(self, sid: str, mark: int) -> None:
        """See Eeprom. FolderError where the file cannot be written."""
        write_whole(
            self._path, json.dumps({"sid": sid, "hwm": mark}), option="--eeprom", sync=False
        )
