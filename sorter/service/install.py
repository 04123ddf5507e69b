"""Put the station's files in place, or take away those that nobody changed.

Owns the writing: whole files or nothing, and never over an edit. What stands in the files is
`units`' business; whoever runs systemctl is the caller's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path, PurePosixPath

from sorter.errors import EnvironmentFault, FolderError
from sorter.files import write_whole
from sorter.service import units

_ADVICE = "name another --root or --dir, or mend it"


class Fate(StrEnum):
    """What happened, or with a dry run would happen, to one file."""

    WRITTEN = "written"
    UPDATED = "updated"
    SAME = "unchanged"
    KEPT = "kept"
    REMOVED = "removed"


def install(
    files: Sequence[units.File], *, root: Path, dry_run: bool = False
) -> list[tuple[Path, Fate]]:
    """Write `files` below `root` ("/" on a live machine); KEPT is one that somebody edited.

    Raises EnvironmentFault where a file cannot be read or written.
    """
    done = []
    for file in files:
        path = _below(root, file.path)
        old = _read(path)
        new = units.marked(file.text)
        if old is None:
            fate = Fate.WRITTEN
        elif old == new:
            fate = Fate.SAME
        else:
            fate = Fate.UPDATED if units.is_ours(old) else Fate.KEPT
        if fate in (Fate.WRITTEN, Fate.UPDATED) and not dry_run:
            _write(path, new, file.mode)
        done.append((path, fate))
    return done


def current_settings(station: str, *, root: Path) -> str:
    """The settings file that a new install starts from: the one in place if it is ours and
    unedited, otherwise the one that ships. Raises EnvironmentFault.
    """
    old = _read(_below(root, units.env_path(station)))
    return units.unmarked(old) if old is not None and units.is_ours(old) else units.example()


def uninstall(
    *, root: Path, unit_dir: PurePosixPath, dry_run: bool = False
) -> list[tuple[Path, Fate]]:
    """Remove what `install` wrote and nobody changed since; KEPT is the rest.

    Pictures, archive and journal are never touched. Raises EnvironmentFault, also while a unit is
    enabled: systemd could not be told to forget a unit whose file is gone.
    """
    with _translated(_below(root, unit_dir)):
        enabled = sorted(_below(root, unit_dir).glob("*.wants/sorter-*.service"))
    if enabled:
        names = " ".join(path.stem for path in enabled)
        raise EnvironmentFault(f"still enabled; first: sudo systemctl disable --now {names}")
    done = []
    for path in _candidates(root, unit_dir):
        content = _read(path)
        if content is None:
            continue
        ours = units.is_ours(content)
        if ours and not dry_run:
            _remove(path)
        done.append((path, Fate.REMOVED if ours else Fate.KEPT))
    return done


def _candidates(root: Path, unit_dir: PurePosixPath) -> list[Path]:
    """Every path that some `install` may have written, in a steady order."""
    fixed = units.files(command=PurePosixPath(units.SHIPPED_COMMAND))
    names = [unit_dir / f.path.name if f.path.suffix == ".service" else f.path for f in fixed]
    paths = [_below(root, name) for name in names[:-1]]
    with _translated(_below(root, unit_dir)):
        paths += sorted(_below(root, unit_dir).glob("sorter-watch*.service.d/sorter-home.conf"))
        paths += sorted(_below(root, unit_dir).glob("sorter-camera*.service"))
        paths += sorted(_below(root, units.ENV_DIR).glob("*.camera.conf"))
        paths += sorted(_below(root, units.ENV_DIR).glob("*.env"))
    return paths


def _below(root: Path, path: PurePosixPath) -> Path:
    return root / path.relative_to("/")


def _read(path: Path) -> str | None:
    with _translated(path):
        try:
            return path.read_text(encoding="utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return None


def _write(path: Path, text: str, mode: int) -> None:
    with _translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Synced: an empty unit after a power cut is a dead station.
        write_whole(path, text, advice=_ADVICE, mode=mode)
    except FolderError as error:
        if isinstance(error.__cause__, PermissionError):
            raise _not_permitted(path) from error
        raise


def _remove(path: Path) -> None:
    with _translated(path):
        path.unlink()
    if path.parent.name == units.ENV_DIR.name or path.parent.name.endswith(".service.d"):
        with contextlib.suppress(OSError):  # Something else is in it.
            path.parent.rmdir()


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise _not_permitted(path) from error
    except OSError as error:
        raise EnvironmentFault(f"{path}: {error.strerror or error}; {_ADVICE}") from error


def _not_permitted(path: Path) -> EnvironmentFault:
    return EnvironmentFault(f"{path}: not permitted; run it with sudo")
