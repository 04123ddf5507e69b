"""Why a port cannot be opened, in words that say what to do. Looks, never changes anything."""

from __future__ import annotations

import contextlib
import grp
import os
import stat
from pathlib import Path

PATTERNS = ("serial/by-id/*", "ttyACM*", "ttyUSB*", "ttyAMA*", "ttyS[0-9]")

PTYS = range(136, 144)
"""Majors of the kernel's pseudo-terminals (admin-guide/devices.txt)."""


def ports_here() -> list[str]:
    """Names of serial ports on this machine, the stable ones first."""
    return [str(path) for pattern in PATTERNS for path in sorted(Path("/dev").glob(pattern))]


def holder(name: str) -> str:
    """Who has `name` open, as 'program (pid)', as far as this user may see; otherwise ''."""
    try:
        wanted = _device(Path(name).stat())
    except OSError:
        return ""
    for process in sorted(Path("/proc").glob("[0-9]*")):
        if process.name == str(os.getpid()):
            continue
        with contextlib.suppress(OSError):
            for fd in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    info = fd.stat()
                    if stat.S_ISCHR(info.st_mode) and _device(info) == wanted:
                        program = (process / "comm").read_text().strip()
                        return f"{program} (pid {process.name})"
    return ""


def _device(info: os.stat_result) -> tuple[int, int]:
    """What two names of one device share: each container counts its ptys from 0 anew."""
    return info.st_rdev, info.st_dev if os.major(info.st_rdev) in PTYS else 0


def explain(name: str, error: BaseException) -> str:
    """One line for a user: what is wrong with port `name` and what to do."""
    path = Path(name)
    try:
        info = path.stat()
    except PermissionError:
        return f"{name}: this user may not look into its folder; change its permissions"
    except OSError:
        here = ports_here()
        seen = "ports here: " + ", ".join(here) if here else "this machine has no serial port now"
        return f"{name}: no such port; {seen}. Is the cable in?"
    if not stat.S_ISCHR(info.st_mode):
        return f"{name}: is not a serial port; give a device, a pty or a URL"
    if not os.access(name, os.R_OK | os.W_OK):
        return f"{name}: permission denied; {_who_may(info)}"
    text = str(error)
    if "exclusively lock" in text or "busy" in text.lower():
        by = holder(name)
        return f"{name}: in use by {by or 'another program'}; end that program first"
    return f"{name}: cannot be opened: {text or type(error).__name__}; is it a serial port?"


def _who_may(info: os.stat_result) -> str:
    try:
        group = grp.getgrgid(info.st_gid).gr_name
    except KeyError:
        group = str(info.st_gid)
    if group == "root" or not info.st_mode & stat.S_IWGRP:
        return "only its owner may use it; install the udev rule or change its mode"
    return f"it belongs to group {group!r}: run `sudo usermod -aG {group} $USER`, then log in again"
