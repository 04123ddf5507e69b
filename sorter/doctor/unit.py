"""The systemd unit: installed, its command there, switched on, running.

Owns the questions to systemd. Changes nothing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from sorter.doctor.finding import Finding, fail, ok, warn

UNIT_DIR = Path("/etc/systemd/system")


def check_unit(
    *, unit_dir: Path = UNIT_DIR, run_dir: Path = Path("/run/systemd/system")
) -> Finding:
    """The station as a service, if this machine has systemd."""
    units = sorted(unit_dir.glob("sorter-watch*.service"))
    if not units:
        return warn(
            "unit", "not installed: nothing starts after a reboot", "sudo sorter service install"
        )
    for unit in units:
        command = _command(unit)
        if command is not None and shutil.which(command) is None:
            return fail(
                "unit", f"{unit.name}: {command} does not exist", "sudo sorter service install"
            )
    wanted = sorted(p.stem for p in unit_dir.glob("*.wants/sorter-watch*.service"))
    if not wanted:
        return warn(
            "unit",
            "installed, not enabled: nothing starts after a reboot",
            "sudo systemctl enable --now sorter-watch",
        )
    if not run_dir.is_dir():
        return ok("unit", f"{', '.join(wanted)} enabled; systemd does not run here")
    states = []
    for name in wanted:
        state, restarts = _state(name)
        if state != "active":
            return fail("unit", f"{name} is {state}", f"journalctl -u {name} -e")
        states.append(f"{name} active, restarted {restarts} times")
    return ok("unit", "; ".join(states))


def _command(unit: Path) -> str | None:
    match = re.search(
        r'^ExecStart=(?:"([^"]+)"|(\S+))', unit.read_text(encoding="utf-8", errors="replace"), re.M
    )
    return (match[1] or match[2]) if match else None


def _state(name: str) -> tuple[str, str]:
    try:
        answer = subprocess.run(
            ["systemctl", "show", name, "--property=ActiveState,NRestarts"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "unknown", "?"
    values = dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)
    return values.get("ActiveState", "unknown"), values.get("NRestarts", "?")
