"""Pictures for the demo, delivered into a folder as a camera would.

Owns the delivery: write under another name, then rename. Knows no station.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from sorter.errors import EnvironmentFault, FolderError
from sorter.files import is_picture_name, write_whole


@dataclass(frozen=True, slots=True)
class DemoPicture:
    """One file to deliver: its name in the folder and its bytes."""

    name: str
    data: bytes


def bundled() -> list[DemoPicture]:
    """The pictures that ship with sorter. Raises EnvironmentFault where there are none."""
    folder = resources.files("sorter.samples").joinpath("pictures")
    shots = _shots(folder.iterdir() if folder.is_dir() else ())
    if not shots:
        raise EnvironmentFault(
            "this installation carries no pictures; reinstall sorter, or name some: --pictures DIR"
        )
    return shots


def of_folder(folder: Path) -> list[DemoPicture]:
    """A user's own pictures, read and never changed. Raises FolderError."""
    try:
        shots = _shots(folder.iterdir())
    except OSError as error:
        raise FolderError(f"{folder}: {error.strerror}; name a folder of pictures") from error
    if not shots:
        raise FolderError(f"{folder}: holds none; name a folder of pictures")
    return shots


def _shots(entries: Iterable[Traversable]) -> list[DemoPicture]:
    return [
        DemoPicture(entry.name, entry.read_bytes())
        for entry in sorted(entries, key=lambda e: e.name)
        if is_picture_name(entry.name) and entry.is_file()
    ]


def with_trouble(shots: Sequence[DemoPicture]) -> list[DemoPicture]:
    """`shots` with what a camera does on a bad day: one sent twice, one cut in half."""
    twice = DemoPicture(f"again-{shots[0].name}", shots[0].data)
    cut = DemoPicture(f"cut-{shots[-1].name}", shots[-1].data[: len(shots[-1].data) // 2])
    middle = max(1, len(shots) // 2)
    return [*shots[:middle], twice, cut, *shots[middle:]]


class Camera:
    """Delivers shots one by one from a thread of its own, `every_s` seconds apart."""

    def __init__(self, folder: Path, shots: Sequence[DemoPicture], *, every_s: float) -> None:
        self._folder, self._shots, self._every_s = folder, shots, every_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self.delivered = 0

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def close(self) -> None:
        """Stop delivering."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        for shot in self._shots:
            if self._ending.wait(self._every_s):
                return
            write_whole(self._folder / shot.name, shot.data, sync=False)
            self.delivered += 1
