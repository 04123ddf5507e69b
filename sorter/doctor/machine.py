"""The box: processor, clock, disk.

Owns what the kernel says of them. Knows nothing of pictures or ports.
"""

from __future__ import annotations

import ctypes
import os
import platform
import time
from pathlib import Path

from sorter.doctor.finding import Finding, fail, ok, warn
from sorter.host.cores import usable_cores
from sorter.host.mounts import NETWORK, file_system
from sorter.host.processor import processor

PROC = Path("/proc")

OLDEST_HONEST_TIME = 1_735_689_600.0
"""1 January 2025, Unix time: no box that runs this program lives before it."""

LOW_BYTES = 1 << 30
NO_BYTES = 64 << 20
"""Free space on the journal's disk: worth a look; too little to keep a record for a week."""

_TIME_ERROR = 5
"""What adjtimex(2) answers while nothing disciplines the clock."""

_SHOWN = {
    "avx2": "avx2",
    "avx_vnni": "avx-vnni",
    "avx512f": "avx512",
    "avx512_vnni": "avx512-vnni",
    "amx_int8": "amx",
    "asimd": "neon",
    "neon": "neon",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
}


def check_cpu(*, proc: Path = PROC, machine: str = "") -> Finding:
    """Instructions that inference gains from, and the cores that this process may use."""
    machine = machine or platform.machine()
    flags = processor(proc).flags
    shown = list(dict.fromkeys(name for flag, name in _SHOWN.items() if flag in flags))
    cores, all_cores = usable_cores(), os.cpu_count() or 1
    says = f"{machine}, {cores} of {all_cores} cores usable, {' '.join(shown) or 'no vector units'}"
    if machine in ("x86_64", "AMD64") and "avx2" not in flags:
        return warn("cpu", says, "without avx2 a picture takes several times as long; use another")
    if machine in ("x86_64", "AMD64") and not {"avx_vnni", "avx512_vnni"} & flags:
        return warn(
            "cpu",
            says,
            "without vnni the bundled int8 network gives one label in a hundred differently;"
            " --precision fp16 does not, and takes a third longer",
        )
    if machine in ("aarch64", "arm64") and "asimddp" not in flags:
        return warn("cpu", says, "without dotprod int8 gains little; measure with: sorter bench")
    if cores < all_cores:
        return warn(
            "cpu", says, "a quota or affinity holds cores back; lift it if that is unwanted"
        )
    return ok("cpu", says)


def check_clock(*, now: float | None = None, synchronised: bool | None = None) -> Finding:
    """The time of day: records carry it, and a picture's age is measured with it."""
    now = time.time() if now is None else now
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    if now < OLDEST_HONEST_TIME:
        return fail("clock", f"it is not {stamp}", "sudo date -s 'YYYY-MM-DD HH:MM'")
    synchronised = _is_synchronised() if synchronised is None else synchronised
    if not synchronised:
        return warn(
            "clock",
            f"{stamp}, not synchronised",
            "sudo timedatectl set-ntp true; on a box without network, a battery-backed clock",
        )
    return ok("clock", f"{stamp}, synchronised")


def _is_synchronised() -> bool:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        # All zero asks and sets nothing; the kernel's structure is 208 bytes, here with room.
        return bool(libc.adjtimex(ctypes.create_string_buffer(512)) not in (-1, _TIME_ERROR))
    except (OSError, AttributeError):
        return False


def check_disk(journal: Path, *, free_bytes: int | None = None, kind: str | None = None) -> Finding:
    """The place of the journal: there, writable, local, with room."""
    folder = journal.parent
    # Path.exists raises for a name too long.
    while not os.path.exists(folder) and folder != folder.parent:  # noqa: PTH110
        folder = folder.parent
    if not folder.is_dir():
        return fail("disk", f"{folder} is not a folder", "name another place with --journal")
    kind = file_system(folder) if kind is None else kind
    if kind in NETWORK:
        return fail(
            "disk",
            f"{folder} is on {kind}, whose locks and write order cannot be trusted",
            "keep the journal on this machine: --journal",
        )
    if not os.access(journal if os.path.exists(journal) else folder, os.W_OK):  # noqa: PTH110
        return fail(
            "disk", f"{journal} is not writable by this user", "run as the station's user, or sudo"
        )
    if free_bytes is None:
        space = os.statvfs(folder)
        free_bytes = space.f_bavail * space.f_frsize
    says = f"{free_bytes / (1 << 30):.1f} GiB free on {folder} ({kind or 'unknown'})"
    if free_bytes < NO_BYTES:
        return fail("disk", says, "free some space: without it no item can be recorded")
    if free_bytes < LOW_BYTES:
        return warn("disk", says, "free some space")
    return ok("disk", says)
