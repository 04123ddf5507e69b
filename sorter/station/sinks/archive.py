"""Where processed pictures go: out of the camera's folder, into `--archive`.

Owns that sink. It overwrites nothing and raises nothing for what a disk can do: the record is
durable by then, so a picture that cannot be filed stays where it is, and the log says so.

A camera may write its next picture under the same name at any moment. So a picture is claimed
first: renamed, in one step, to a hidden name in its own folder, where no camera writes and no
watcher looks. Only then is it asked whether these are the recorded bytes. If not, the next picture
was caught, and it gets its name back (or a free one, if there is a still newer one by now).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from sorter.domain import ItemState, Picture, Record
from sorter.files import NAME_BYTES, claim_name, free_names, make_durable, part_name
from sorter.station.health.metrics import Metrics

log = logging.getLogger(__name__)

TRIES = 1000
"""Names tried before a picture is left where it is."""

CLAIM = ".sorter-claimed-"
"""What the name of a picture begins with while it is taken away."""


class Archive:
    """Moves each recorded picture to `folder/<date>/<bin>/`, the date in UTC.

    A picture without a bin goes to a folder named after its state, in small letters. One that
    changed since it was read is another one by now and stays. Of a symbolic link the bytes are
    filed and the link is removed; the file it led to is not ours and stays.
    """

    def __init__(self, folder: Path, *, meter: Metrics) -> None:
        self._folder, self._meter = folder, meter

    def __call__(self, record: Record) -> None:
        """File one picture."""
        picture = record.picture
        day = time.strftime("%Y-%m-%d", time.gmtime(picture.arrived_at))
        told = record.state in (ItemState.REJECTED, ItemState.DUPLICATE, ItemState.UNSURE_HELD)
        place = record.state.value.lower() if told or not record.bin else record.bin.key
        try:
            with _claimed(picture.path) as claim:
                source = claim.resolve(strict=True) if claim.is_symlink() else claim
                if _holds(source, picture):
                    target = self._folder / day / place
                    target.mkdir(parents=True, exist_ok=True)
                    filed = _file(source, target, picture.path.name, copy=source != claim)
                    if _holds(filed, picture):
                        claim.unlink(missing_ok=True)
                    else:  # A writer still had it open, and wrote on.
                        filed.unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            self._meter.count("sorter_faults_total", part="archive")
            log.error("n=%d stays in the folder, not archived: %s", record.n, error)


def give_back_claims(folder: Path, *, recursive: bool = False) -> None:
    """Give pictures their names back that a killed station held in its hands. Never raises."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            with contextlib.suppress(OSError):
                if entry.name.startswith(CLAIM):
                    _give_back(Path(entry.path), entry.name.removeprefix(CLAIM))
                elif recursive and entry.is_dir(follow_symlinks=False):
                    give_back_claims(Path(entry.path), recursive=True)


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[Path]:
    """`path` under a hidden name; what is left there at the end gets its name back."""
    name = os.fsencode(path.name)[-(NAME_BYTES - len(CLAIM)) :]
    claim = path.with_name(CLAIM + os.fsdecode(name))
    if os.path.lexists(claim):
        _give_back(claim, path.name)
    path.rename(claim)
    try:
        yield claim
    finally:
        if os.path.lexists(claim):
            _give_back(claim, path.name)


def _give_back(claim: Path, name: str) -> None:
    _name(claim, claim.parent, name)
    claim.unlink(missing_ok=True)


def _holds(path: Path, picture: Picture) -> bool:
    """True where `path` holds the recorded bytes."""
    was = picture.identity
    with path.open("rb") as stream:
        status = os.fstat(stream.fileno())
        if not picture.sha256:  # They were too many, or could not be read: the rest must do.
            return (status.st_size, status.st_mtime_ns) == (was.size, was.mtime_ns)
        return (
            status.st_size == was.size
            and hashlib.file_digest(stream, "sha256").hexdigest() == picture.sha256
        )


def _file(source: Path, folder: Path, name: str, *, copy: bool) -> Path:
    """Put `source` into `folder` under a free name near `name`: linked, or else copied and synced.

    Where it lies now.

    Raises OSError, and leaves nothing behind then.
    """
    if not copy:
        try:
            return _name(source, folder, name)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
    part = folder / part_name(name)
    try:
        with part.open("wb") as out, source.open("rb") as data:
            shutil.copyfileobj(data, out)
            out.flush()
            os.fsync(out.fileno())
        with contextlib.suppress(OSError):  # FAT keeps no mode and may take no time.
            shutil.copystat(source, part)
        target = _name(part, folder, name)
        make_durable(folder)  # Before the original goes: a power cut could take both otherwise.
    finally:
        part.unlink(missing_ok=True)
    return target


def _name(file: Path, folder: Path, name: str) -> Path:
    for target in itertools.islice(free_names(folder, name), TRIES):
        if claim_name(file, target):
            return target
    raise FileExistsError(errno.EEXIST, f"{TRIES} pictures of that name", str(folder / name))
