"""Make the unit files of one machine from those that ship with sorter.

Owns the text: the command's path, the settings file, the drop-in for a folder under a home, and
the mark by which our own files are known again. Writes nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sorter.errors import EnvironmentFault, UsageError

SHIPPED_COMMAND = "/opt/sorter/bin/sorter"
"""The command in the unit files as they ship; replaced by the one that is installed."""

UNIT_DIR = PurePosixPath("/etc/systemd/system")

ENV_DIR = PurePosixPath("/etc/sorter")

HOMES = (PurePosixPath("/home"), PurePosixPath("/root"), PurePosixPath("/run/user"))
"""What ProtectHome=yes hides from the unit."""

_MARK = re.compile(r"\A# Written by `sorter service install`; digest ([0-9a-f]{64})\n")
_PLAIN = frozenset("/._+-@=, ")


@dataclass(frozen=True, slots=True)
class File:
    """One file to install: where it goes on the machine, its text without the mark, its mode."""

    path: PurePosixPath
    text: str
    mode: int = 0o644


def shipped(name: str) -> str:
    """The text of a file of `systemd/`, from the installed package or from a checkout."""
    package = Path(__file__).parents[1]
    for folder in (package / "systemd", package.parent / "systemd"):
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    raise EnvironmentFault(f"{name} is not part of this installation; reinstall sorter")


def files(
    *,
    command: PurePosixPath,
    unit_dir: PurePosixPath = UNIT_DIR,
    station: str = "",
    settings: Mapping[str, str] | None = None,
    base: str | None = None,
) -> list[File]:
    """Everything that makes a service of `command`, the settings file last.

    `station` names an instance of the template unit; empty is the single station. `settings` maps
    names like SORTER_SERIAL to values, written over those of `base` (default: the example).
    Raises UsageError for a value that no unit file can hold.
    """
    settings = settings or {}
    if station and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", station):
        raise UsageError(f"station {station!r}: use letters, digits, dot, dash and underscore")
    if station == "sorter":
        raise UsageError("station 'sorter': that is the single station's settings file; rename it")
    placed = [
        File(unit_dir / name, _with_command(shipped(name), command))
        for name in ("sorter-watch.service", "sorter-watch@.service")
    ]
    placed += [
        File(PurePosixPath("/etc/udev/rules.d/70-sorter.rules"), shipped("70-sorter.rules")),
        File(PurePosixPath("/etc/sysusers.d/sorter.conf"), shipped("sysusers.conf")),
        File(PurePosixPath("/etc/tmpfiles.d/sorter.conf"), shipped("tmpfiles.conf")),
    ]
    watched = settings.get("SORTER_DIR", "")
    if watched and is_hidden(PurePosixPath(watched)):
        placed.append(File(drop_in_path(unit_dir, station), _home_drop_in(watched)))
    text = _with_settings(example() if base is None else base, settings)
    return [*placed, File(env_path(station), text)]


def example() -> str:
    """The settings file as it ships."""
    return shipped("sorter.env.example")


def env_path(station: str) -> PurePosixPath:
    """The settings file of a station."""
    return ENV_DIR / f"{station or 'sorter'}.env"


def parse_settings(text: str) -> dict[str, str]:
    """What a settings file says, by name."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            inner = value[1:-1] if value[:1] == value[-1:] == '"' and len(value) > 1 else value
            found[name] = re.sub(r"\\(.)", r"\1", inner)
    return found


def unit_name(station: str) -> str:
    """The unit of a station, as systemctl takes it."""
    return f"sorter-watch@{station}" if station else "sorter-watch"


def drop_in_path(unit_dir: PurePosixPath, station: str) -> PurePosixPath:
    """Where the drop-in for a folder under a home goes."""
    return unit_dir / f"{unit_name(station)}.service.d" / "sorter-home.conf"


def is_hidden(path: PurePosixPath) -> bool:
    """True for a path that the hardened unit cannot see."""
    return any(path.is_relative_to(home) for home in HOMES)


def marked(text: str) -> str:
    """`text` with our mark above it."""
    return f"# Written by `sorter service install`; digest {_digest(text)}\n{text}"


def is_ours(content: str) -> bool:
    """True for a file that carries our mark and was not edited since."""
    match = _MARK.match(content)
    return match is not None and match[1] == _digest(content[match.end() :])


def unmarked(content: str) -> str:
    """`content` without our mark."""
    return _MARK.sub("", content)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _with_command(unit: str, command: PurePosixPath) -> str:
    text = str(command)
    if not command.is_absolute() or not is_plain(text):
        raise UsageError(f"{text!r}: a unit needs an absolute path of plain characters")
    return unit.replace(f"ExecStart={SHIPPED_COMMAND} ", f"ExecStart={_in_quotes(text)} ")


def _with_settings(example: str, settings: Mapping[str, str]) -> str:
    """The example with `settings` in place of its own lines, commented out or not."""
    lines = example.splitlines()
    for name, value in settings.items():
        if not value.isprintable():
            raise UsageError(f"{name}: {value!r} holds a character that a settings file cannot")
        escaped = re.sub(r'([\\"`$])', r"\\\1", value)
        line = f'{name}="{escaped}"'
        for i, old in enumerate(lines):
            if old.lstrip("#").startswith(f"{name}="):
                lines[i] = line
                break
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _home_drop_in(folder: str) -> str:
    if not is_plain(folder):
        raise UsageError(
            f"{folder!r}: a folder under a home needs plain characters in its name for the unit; "
            "rename it, or use /srv/sorter/camera"
        )
    return (
        "# The watched folder lies under a home, which the unit does not see. This shows it the\n"
        "# folder and nothing beside it. The folder must exist before the station starts, and\n"
        "# must not be made anew while it runs; /srv/sorter/camera has no such limit.\n"
        "[Service]\n"
        "ProtectHome=tmpfs\n"
        f"BindReadOnlyPaths=-{_in_quotes(folder)}\n"
    )


def is_plain(text: str) -> bool:
    """True for a path that may stand in a unit as it is, in quotes where it holds a space."""
    return all(c.isalnum() or c in _PLAIN for c in text)


def _in_quotes(text: str) -> str:
    return f'"{text}"' if " " in text else text
