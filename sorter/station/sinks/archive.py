"""Where processed pictures go: out of the camera's folder, into `--archive`.

Owns that sink. It overwrites nothing and raises nothing for what a disk can do: the record is
durable by then, so a picture that cannot be filed stays where it is, and the log says so.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import time
from pathlib import Path

from sorter.domain import ItemState, Record
from sorter.station.interfaces import Meter

log = logging.getLogger(__name__)

TRIES = 1000
"""Names tried before a picture is left where it is."""


class Archive:
    """Moves each recorded picture to `folder/<date>/<bin>/`, the date in UTC.

    A picture without a bin goes to a folder named after its state, in small letters. A picture
    that changed since it was read is another one by now and stays.
    """

    def __init__(self, folder: Path, *, meter: Meter) -> None:
        self._folder, self._meter = folder, meter

    def __call__(self, record: Record) -> None:
        """File one picture."""
        path = record.picture.path
        day = time.strftime("%Y-%m-%d", time.gmtime(record.picture.arrived_at))
        told = record.state in (ItemState.REJECTED, ItemState.DUPLICATE, ItemState.UNSURE_HELD)
        place = record.state.value.lower() if told or not record.bin else record.bin.key
        try:
            status = path.stat()
            if status.st_ino != record.picture.identity.inode or (
                status.st_mtime_ns != record.picture.identity.mtime_ns
            ):
                return
            target = self._folder / day / place
            target.mkdir(parents=True, exist_ok=True)
            _move(path, target)
        except FileNotFoundError:
            return
        except OSError as error:
            self._meter.count("sorter_faults_total", part="archive")
            log.error("n=%d stays in the folder, not archived: %s", record.n, error)


def _move(path: Path, folder: Path) -> Path:
    """Move `path` into `folder` under a free name. Raises OSError.

    A hard link claims the name without overwriting; across file systems a synced copy does.
    """
    for number in range(TRIES):
        tail = f"-{number}" if number else ""
        target = folder / f"{path.stem}{tail}{path.suffix}"
        try:
            os.link(path, target)
        except FileExistsError:
            continue
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                raise
            if not _copy(path, target):
                continue
        path.unlink()
        return target
    raise FileExistsError(errno.EEXIST, f"{TRIES} pictures of that name", str(folder / path.name))


def _copy(path: Path, target: Path) -> bool:
    """Copy whole and durably, or not at all; False where the name is taken.

    The name is claimed by an empty file and filled by a rename, so that a crash leaves no half
    picture under it, on file systems without links too.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    except FileExistsError:
        return False
    try:
        with part.open("wb") as out, path.open("rb") as source:
            shutil.copyfileobj(source, out)
            out.flush()
            os.fsync(out.fileno())
        with contextlib.suppress(OSError):  # FAT keeps no mode and may take no time.
            shutil.copystat(path, part)
        part.replace(target)
        _sync(target.parent)  # Before the original goes: else a power cut could take both.
    except OSError:
        for leftover in (part, target):
            leftover.unlink(missing_ok=True)
        raise
    return True


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
