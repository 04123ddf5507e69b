"""What processor this is and which instructions it has: the one reader of /proc/cpuinfo."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Processor:
    """`model` as the kernel names it; `flags` its instruction sets, in small letters."""

    model: str
    flags: frozenset[str]


def processor(proc: Path = Path("/proc")) -> Processor:
    """The first processor of this machine; the architecture alone where the kernel tells none."""
    try:
        text = (proc / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    rows: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        rows.setdefault(name.strip().lower(), value.strip())
    flags = rows.get("flags") or rows.get("features", "")
    return Processor(rows.get("model name") or platform.machine(), frozenset(flags.split()))
