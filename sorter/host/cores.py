"""How many cores this process may really use: affinity and the cgroup's quota, not the machine's.

Reads `/proc` and `/sys` and nothing else; openvino and Python both ignore the quota.
"""

from __future__ import annotations

import math
import os
from pathlib import Path


def calm_blas() -> None:
    """Let numpy's matrix products use one core; to be called before numpy is loaded.

    Ours are tall and thin: OpenBLAS's other threads spin for longer than the product takes.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def usable_cores(*, proc: Path = Path("/proc"), sys_fs: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores to plan for, at least 1: the smaller of the affinity mask and the CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = cpu_quota(proc=proc, sys_fs=sys_fs)
    return max(1, min(cores or 1, math.ceil(quota) if quota is not None else cores or 1))


def cpu_quota(*, proc: Path = Path("/proc"), sys_fs: Path = Path("/sys/fs/cgroup")) -> float | None:
    """The tightest CPU quota, in cores, of this process's cgroup and those above; None if none.

    Reads version 2 (`cpu.max`) and version 1 (`cpu.cfs_quota_us`).
    """
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if controllers == "":
            root, read = sys_fs, _quota_v2
        elif "cpu" in controllers.split(","):
            root = next(
                (sys_fs / d for d in (controllers, "cpu") if (sys_fs / d).is_dir()), sys_fs / "cpu"
            )
            read = _quota_v1
        else:
            continue
        folder = root / name.lstrip("/")
        # Inside a container the name may be the host's; the mount's root is then our own group.
        for place in (folder, *folder.parents):
            quota = read(place)
            if quota is not None:
                quotas.append(quota)
            if place == root:
                break
    return min(quotas, default=None)


def _quota_v2(folder: Path) -> float | None:
    words = _words(folder / "cpu.max")
    return _ratio(words[0], words[1]) if len(words) == 2 else None


def _quota_v1(folder: Path) -> float | None:
    quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
    return _ratio(quota[0], period[0]) if quota and period else None


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return []


def _ratio(quota: str, period: str) -> float | None:
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max" and "-1 of 0" mean no limit
        return None
    return share if share > 0 else None
