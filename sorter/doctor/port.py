"""The serial port, and programs that open ports unasked.

Says what can be said of a port without opening it: opening one resets an Arduino.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from urllib.parse import urlsplit

from sorter.actuator import portinfo
from sorter.doctor.finding import ACTUATOR, Finding, fail, ok, warn

DEV = Path("/dev")
PROC = Path("/proc")

CONNECT_S = 2.0

RULES = (Path("/etc/udev/rules.d/70-sorter.rules"), Path("/usr/lib/udev/rules.d/70-sorter.rules"))


def check_port(port: str, *, dev: Path = DEV) -> Finding:
    """The port: there, allowed, free, under a name that lasts."""
    if port == "none":
        return ok("port", "none: items are recorded and nothing moves")
    if "://" in port:
        return _check_url(port)
    path = Path(port)
    if not (_is_device(path) and os.access(path, os.R_OK | os.W_OK)):
        return fail(
            "port",
            portinfo.explain(port, OSError("not usable")),
            _fix(path),
            exit_code=ACTUATOR,
        )
    holder = portinfo.holder(port)
    if holder.startswith("sorter "):
        return ok("port", f"{port} is held by {holder}")
    if holder:
        return warn(
            "port",
            f"{port} is held by {holder}",
            "end that program, if it is not the station: two of them get half an answer each",
        )
    stable = _stable_name(path.resolve(), dev)
    if stable is not None and not path.is_relative_to(dev / "serial"):
        return warn(
            "port",
            f"{port} may be another device after a re-plug",
            f"--serial {quote(str(stable))}",
        )
    return ok("port", f"{port}, allowed and free")


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False


def _fix(path: Path) -> str:
    if _is_device(path):
        return "for every board at once, a udev rule comes with: sudo sorter service install"
    if os.path.exists(path):  # noqa: PTH110 - Path.exists raises for a name too long
        return "name the device: ls /dev/serial/by-id"
    return "plug the device in, or name another port with --serial"


def check_meddlers(*, proc: Path = PROC, rules: tuple[Path, ...] = RULES) -> Finding:
    """Programs that send bytes of their own to a freshly plugged port."""
    running = {name for _, name in _processes(proc)}
    if "brltty" in running:
        return warn("meddlers", "brltty takes CH340 ports away", "sudo apt-get purge brltty")
    if "ModemManager" in running:
        if not any(rule.exists() for rule in rules):
            return warn(
                "meddlers",
                "ModemManager probes new ports with modem commands",
                "sudo sorter service install (its udev rule tells it off), or: "
                "sudo systemctl disable --now ModemManager",
            )
        return ok("meddlers", "ModemManager runs; the udev rule keeps it off the ports")
    return ok("meddlers", "neither ModemManager nor brltty runs")


def _processes(proc: Path) -> Iterator[tuple[int, str]]:
    for folder in sorted(proc.iterdir()):
        if folder.name.isdecimal():
            try:
                name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
            except OSError:
                continue
            yield int(folder.name), name


def _check_url(port: str) -> Finding:
    parts = urlsplit(port)
    if parts.scheme not in ("socket", "rfc2217"):
        return ok("port", f"{port}: not checked; try: sorter actuator ping")
    try:
        address = (parts.hostname or "", parts.port or 0)
        with socket.create_connection(address, timeout=CONNECT_S):
            pass
    except (OSError, ValueError) as error:
        return fail(
            "port",
            f"{port} does not answer: {error}",
            "check the address, the cable and the firewall; a unit needs the network opened",
            exit_code=ACTUATOR,
        )
    return ok("port", f"{port} takes connections")


def _stable_name(real: Path, dev: Path) -> Path | None:
    for folder in ("by-id", "by-path"):
        for link in sorted((dev / "serial" / folder).glob("*")):
            if link.resolve() == real:
                return link
    return None
