"""`sorter service`: put the station's systemd files in place, or take them away.

Parses, wires and prints; the files are made in `sorter.service`. Runs no systemctl: what changes
a running machine is printed for the operator to run.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

from sorter.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sorter.service.install import Fate

UNIT_DIR = Path("/etc/systemd/system")

_Dir = Annotated[Path, typer.Option("--dir", help="Folder of the unit files.")]
_Root = Annotated[Path, typer.Option("--root", help="Write below this folder, not below /.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen; write nothing.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def install(
    watch: Annotated[
        Path | None, typer.Option(help="The watched folder, which the camera fills.")
    ] = None,
    serial: Annotated[str | None, typer.Option(help="The device, a pyserial URL, or none.")] = None,
    camera: Annotated[
        str | None,
        typer.Option(
            help="The camera to set up: /dev/video0, rtsp://HOST/…, http://HOST/…, libcamera, "
            "rpicam, gphoto2, or ftp:USER for one that uploads."
        ),
    ] = None,
    station: Annotated[
        str, typer.Option(help="One of several stations on this box: its name.")
    ] = "",
    command: Annotated[
        Path | None,
        typer.Option("--exec", help="The sorter command; default: the one of this Python."),
    ] = None,
    unit_dir: _Dir = UNIT_DIR,
    root: _Root = Path("/"),
    dry_run: _DryRun = False,
    as_json: _Json = False,
) -> None:
    """Write the unit, its settings file, the udev rule and the folders' declaration.

    With --camera also the unit and the settings of the program that takes the pictures. A file
    that somebody edited is kept, and said so. Nothing is started: the next command is printed.

    Example: sudo sorter service install --camera /dev/video0 --serial /dev/serial/by-id/NAME
    """
    from sorter.service import cameras, units
    from sorter.service.install import Fate, current_settings
    from sorter.service.install import install as put

    settings = {}
    if watch is not None:
        settings["SORTER_DIR"] = str(watch.absolute())
    if serial is not None:
        settings["SORTER_SERIAL"] = serial
    in_dir = PurePosixPath(unit_dir.absolute())
    files = units.files(
        command=_command(command),
        unit_dir=in_dir,
        station=station,
        settings=settings,
        base=current_settings(station, root=root),
    )
    first: tuple[str, ...] = ()
    names = units.unit_name(station)
    if camera is not None:
        taken_by = cameras.parse(camera)
        folder = PurePosixPath(units.parse_settings(files[-1].text)["SORTER_DIR"])
        files[:0] = cameras.files(taken_by, folder=folder, unit_dir=in_dir, station=station)
        first = cameras.following(taken_by, folder=folder, station=station)
        names += f" {cameras.unit_name(station)}"
    done = put(files, root=root, dry_run=dry_run)
    following = [
        "systemd-sysusers",
        "systemd-tmpfiles --create",
        "udevadm control --reload && udevadm trigger --subsystem-match=tty",
        *first,
        "systemctl daemon-reload",
        f"systemctl enable --now {names}",
    ]
    env = units.env_path(station)
    if settings and done[-1][1] is Fate.KEPT:
        wanted = ", ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
        _tell(f"{env} was edited and stays as it is; to change it, write: {wanted}")
    if serial is not None and serial.startswith(("/dev/ttyUSB", "/dev/ttyACM")):
        _tell(f"{serial} may be another device after a re-plug; prefer a name in /dev/serial/by-id")
    if serial is not None and "://" in serial:
        _tell("the unit has no network; systemd/README.md, 'A device on the network', opens it")
    if any(path.name == "sorter-home.conf" for path, _ in done):
        _tell(f"{watch} lies under a home: a drop-in shows it to the unit; /srv/sorter is simpler")
    _report(done, dry_run=dry_run, as_json=as_json, following=following)


def uninstall(
    unit_dir: _Dir = UNIT_DIR,
    root: _Root = Path("/"),
    dry_run: _DryRun = False,
    as_json: _Json = False,
) -> None:
    """Remove what `install` wrote and nobody edited. Pictures and journal stay.

    A unit that is still enabled must be disabled first; the message says how.

    Example: sudo sorter service uninstall --dry-run
    """
    from sorter.service.install import uninstall as take

    done = take(root=root, unit_dir=PurePosixPath(unit_dir.absolute()), dry_run=dry_run)
    following = ["systemctl daemon-reload"] if done else []
    _report(done, dry_run=dry_run, as_json=as_json, following=following)


def _command(named: Path | None) -> PurePosixPath:
    """The command for ExecStart; refuses one that the hardened unit could not run."""
    from sorter.service.units import is_hidden

    command = named if named is not None else Path(sys.executable).with_name("sorter")
    if not command.is_file():
        raise EnvironmentFault(
            f"{command}: no such command; install sorter with pip, or name it with --exec"
        )
    for path in (command.absolute(), command.resolve(), *_interpreter(command)):
        if is_hidden(PurePosixPath(path)):
            raise EnvironmentFault(
                f"{path}: lies under a home, which the unit does not see; install sorter into "
                "/opt/sorter with a system Python: python3 -m venv /opt/sorter"
            )
    return PurePosixPath(command.absolute())


def _interpreter(command: Path) -> list[Path]:
    """The interpreter that a script names in its first line, as named and as it really is."""
    with command.open("rb") as file:
        first = file.readline(1024)
    if not first.startswith(b"#!"):
        return []
    words = first[2:].decode("utf-8", "replace").split()
    return [Path(words[0]), Path(words[0]).resolve()] if words else []


def _report(
    done: Sequence[tuple[Path, Fate]], *, dry_run: bool, as_json: bool, following: Sequence[str]
) -> None:
    from rich.console import Console
    from rich.markup import escape

    if as_json:
        rows = [{"path": str(path), "fate": fate.value} for path, fate in done]
        typer.echo(json.dumps({"dry_run": dry_run, "files": rows, "next": list(following)}))
        return
    console = Console(soft_wrap=True, highlight=False)
    for path, fate in done:
        console.print(f"{fate.value:<10} {escape(str(path))}")
    if not done:
        console.print("nothing of ours is installed")
    if dry_run:
        console.print("dry run: nothing was changed")
    elif following:
        console.print("next:")
        for line in following:
            console.print(
                f"  sudo {escape(line)}" if "&&" not in line else f"  sudo sh -c '{line}'"
            )


def _tell(text: str) -> None:
    typer.echo(f"sorter: {text}", err=True)
