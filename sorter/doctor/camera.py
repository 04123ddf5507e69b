"""The camera as its pictures show it, and the program that takes them.

Owns what a good picture is for a station. Takes none.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median

from sorter.doctor import unit
from sorter.doctor.finding import Finding, fail, ok, warn
from sorter.errors import ImageError
from sorter.files import is_picture_name
from sorter.text import counted
from sorter.vision import images
from sorter.vision.quality import BLURRED, BRIGHT, DARK, blur_of, light_of

LOOK_AT = 12
"""So many of the newest pictures are opened."""

SMALL_PX = 224
"""A shorter side than what the network sees: the picture is stretched."""

PAGE = "see systemd/CAMERA.md"


def check_pictures(
    folder: Path, archive: Path | None = None, *, now: float | None = None
) -> Finding:
    """The newest pictures of the watched folder and of the archive: age, size, sharpness, light."""
    newest = sorted(_pictures(folder, archive), reverse=True)[:LOOK_AT]
    if not newest:
        return warn("camera", "no picture has arrived yet", f"{PAGE}, or copy one into {folder}")
    age_s = max(0.0, (time.time() if now is None else now) - newest[0][0])
    sides, blurred, dark, bright, broken = [], 0, 0, 0, 0
    for _, path in newest:
        try:
            picture = images.load(path, SMALL_PX)
        except ImageError:
            broken += 1
            continue
        sides.append((picture.width_px, picture.height_px))
        blurred += blur_of(picture.pixels) > BLURRED
        light = light_of(picture.pixels)
        dark += light < DARK
        bright += light > BRIGHT
    says = f"last picture {_ago(age_s)}"
    if sides:
        says += f", {median(w for w, _ in sides):.0f} x {median(h for _, h in sides):.0f} px"
    faults = [
        (broken, "cannot be opened", "let the camera rename a picture when it is whole"),
        (sum(min(side) < SMALL_PX for side in sides), "small", "a larger picture, or nearer"),
        (blurred, "blurred", "focus, clean the glass, more light, a shorter exposure"),
        (dark, "dark", "more light"),
        (bright, "too bright", "less exposure"),
    ]
    # One in three: a single picture of a hand says nothing of the camera.
    found = [
        (f"{n} of {len(newest)} {what}", fix) for n, what, fix in faults if n * 3 > len(newest)
    ]
    if not found:
        return ok("camera", says)
    words = ", ".join(what for what, _ in found)
    return warn("camera", f"{says}; {words}", f"{'; '.join(fix for _, fix in found)}; {PAGE}")


def check_program(
    *, unit_dir: Path = unit.UNIT_DIR, run_dir: Path = Path("/run/systemd/system")
) -> Finding | None:
    """The capture programs that `sorter service install --camera` set up; None where none is."""
    units = sorted(unit_dir.glob("sorter-camera*.service"))
    for file in units:
        command = unit.command_of(file)
        if command is not None and shutil.which(command) is None:
            return fail("capture", f"{file.name}: {command} is not installed", PAGE)
        if run_dir.is_dir():
            state, restarts = unit.state_of(file.stem)
            if state != "active":
                fix = f"sudo systemctl enable --now {file.stem}; journalctl -u {file.stem} -e"
                return fail("capture", f"{file.stem} is {state}, restarts: {restarts}", fix)
    return ok("capture", ", ".join(file.stem for file in units)) if units else None


def _pictures(folder: Path, archive: Path | None) -> Iterator[tuple[float, Path]]:
    """(when, where) of the watched folder's pictures and of the archive's last two days."""
    places = [folder]
    for day in sorted(_entries(archive), reverse=True)[:2] if archive else ():
        places += _entries(day)
    for place in places:
        for path in _entries(place):
            if is_picture_name(path.name):
                with contextlib.suppress(OSError):
                    yield path.stat().st_mtime, path


def _entries(folder: Path) -> Iterable[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if not entry.name.startswith(".")]
    return []


def _ago(seconds: float) -> str:
    for unit_s, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {name} ago"
    return f"{counted(round(seconds), 'second')} ago"
