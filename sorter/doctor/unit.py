"""The systemd unit: installed, its command there, switched on, running.

Owns the questions to systemd. Changes nothing.
"""

from __future__ import annotations

import grp
import re
import shutil
import subprocess
from pathlib import Path

from sorter.doctor.finding import Finding, fail, ok, warn
from sorter.service.units import parse_settings

UNIT_DIR = Path("/etc/systemd/system")
SETTINGS = Path("/etc/sorter/sorter.env")


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
        missing = [name for name in _groups(unit) if not _exists(name)]
        if missing:
            return fail(
                "unit",
                f"{unit.name}: no group {', '.join(missing)}, so it cannot start",
                " && ".join(f"sudo groupadd --system {name}" for name in missing),
            )
        command = command_of(unit)
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
        state, restarts = state_of(name)
        if state != "active":
            return fail("unit", f"{name} is {state}", f"journalctl -u {name} -e")
        states.append(f"{name} active, restarts: {restarts}")
    return ok("unit", "; ".join(states))


def settings(file: Path = SETTINGS) -> dict[str, str]:
    """What the single station's settings file says, by name; empty where there is none to read."""
    try:
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return {}
    return parse_settings(text)


def command_of(unit: Path) -> str | None:
    """The program that a unit file starts; None where it names none."""
    match = re.search(
        r'^ExecStart=(?:"([^"]+)"|(\S+))', unit.read_text(encoding="utf-8", errors="replace"), re.M
    )
    return (match[1] or match[2]) if match else None


def _groups(unit: Path) -> list[str]:
    text = unit.read_text(encoding="utf-8", errors="replace")
    lines = re.findall(r"^SupplementaryGroups=(.*)$", text, re.M)
    return [name for line in lines for name in line.split()]


def _exists(group: str) -> bool:
    try:
        grp.getgrnam(group)
    except KeyError:
        return False
    return True


def state_of(name: str) -> tuple[str, str]:
    """systemd's word for a unit, such as "active", and how often it was restarted."""
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
