"""The watched folder as the watcher will meet it.

Owns permissions, kind of mount and inotify. Reads no picture and writes nothing.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path, PurePosixPath
from shlex import quote

from sorter.doctor.finding import Finding, fail, ok, warn
from sorter.files import is_not_taken, suffix_of
from sorter.host.mounts import SILENT, file_system
from sorter.service.units import is_hidden
from sorter.station.intake.events import Inotify
from sorter.station.intake.overlooked import holds_pictures
from sorter.station.intake.reading import is_entered

LIMITS = Path("/proc/sys/fs/inotify")

FEW_INSTANCES = 16
FEW_WATCHES = 1024
"""Limits below which another program can easily leave none for the station."""


def check_folder(folder: Path, *, kind: str | None = None, limits: Path = LIMITS) -> Finding:
    """There, a folder, readable, and how its news arrives."""
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            return fail("folder", f"{folder} is not a folder", "name the folder, not a picture")
        with os.scandir(folder) as entries:
            count = sum(1 for _ in entries)
    except FileNotFoundError:
        return fail("folder", f"{folder} does not exist", f"mkdir -p {quote(str(folder))}")
    except PermissionError:
        return fail(
            "folder", f"{folder} is not readable by this user", f"chmod o+rx {quote(str(folder))}"
        )
    except OSError as error:
        return fail("folder", f"{folder}: {error.strerror}", "is it still mounted?")
    kind = file_system(folder) if kind is None else kind
    says = f"{folder}, {count} entries, on {kind or 'an unknown file system'}"
    if kind in SILENT:
        return warn(
            "folder",
            f"{says}: no events from there, it is listed every few seconds",
            "let the camera write to this machine (FTP, rsync) for a quick answer",
        )
    events = Inotify(lambda: None)
    try:
        refused = events.watch(folder)
    finally:
        events.stop()
    if refused:
        return warn(
            "folder",
            f"{says}: {refused}; it is listed every few seconds",
            "sudo sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=65536",
        )
    instances, watches = _limit(limits, "instances"), _limit(limits, "watches")
    if instances < FEW_INSTANCES or watches < FEW_WATCHES:
        return warn(
            "folder",
            f"{says}, inotify works but allows {instances} instances and {watches} watches",
            "sudo sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=65536",
        )
    return ok("folder", f"{says}, inotify works")


def check_overlooked(folder: Path, *, recursive: bool) -> Finding | None:
    """Pictures that the station will not see: in sub-folders, in formats that sorter cannot open.

    None where there are none, or no folder. `recursive` is whether sub-folders are watched too.
    """
    inside, suffixes = [], set()
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if is_not_taken(entry.name):
                suffixes.add(suffix_of(entry.name))
            elif not recursive and is_entered(entry.name) and entry.is_dir(follow_symlinks=False):
                inside += [entry.name] if holds_pictures(Path(entry.path)) else []
    if inside:
        more = f" and {len(inside) - 1} more" if len(inside) > 1 else ""
        return warn(
            "sub-folders",
            f"{folder / min(inside)}{more}: pictures that are not watched",
            "sorter watch --recursive, SORTER_RECURSIVE=1 in the service's settings",
        )
    if suffixes:
        return warn(
            "formats",
            f"{folder}: sorter opens no {', '.join(sorted(suffixes))} pictures",
            "let the camera write JPEG",
        )
    return None


def check_service_sees(folder: Path, *, unit_dir: Path) -> Finding | None:
    """Whether the hardened unit, whose user owns nothing, may read the folder.

    None where no unit is installed: then only this user has to read it.
    """
    if not any(unit_dir.glob("sorter-watch*.service")):
        return None
    folder = folder.absolute()
    if is_hidden(PurePosixPath(folder)):
        if any(unit_dir.glob("sorter-watch*.service.d/*.conf")):
            return ok("service sees", f"{folder} by a drop-in")
        return fail(
            "service sees",
            f"{folder} lies under a home, which the unit does not see",
            f"sudo sorter service install --watch {quote(str(folder))}",
        )
    for place in (folder, *folder.parents):
        try:
            mode = place.stat().st_mode
        except OSError:
            continue
        need = stat.S_IROTH | stat.S_IXOTH if place == folder else stat.S_IXOTH
        if mode & need != need and not _group_reads(place, stat.S_IXGRP):
            return fail(
                "service sees",
                f"{place} is closed to the unit's user (mode {stat.S_IMODE(mode):04o})",
                f"sudo chgrp sorter {quote(str(place))} && sudo chmod g+rx {quote(str(place))}",
            )
    return ok("service sees", f"{folder} is readable by the unit's user")


def _group_reads(place: Path, bit: int) -> bool:
    import grp

    try:
        status = place.stat()
        name = grp.getgrgid(status.st_gid).gr_name
    except (OSError, KeyError):
        return False
    return bool(status.st_mode & bit) and name in ("sorter", "dialout", "plugdev")


def _limit(limits: Path, what: str) -> int:
    try:
        return int((limits / f"max_user_{what}").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1 << 30
