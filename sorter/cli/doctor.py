"""`sorter doctor`: one line for each thing that a station needs, and the fix.

Parses, runs the checks of `sorter.doctor` in order, prints.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from sorter.cli.options import ModelFolder

SERVICE_JOURNAL = Path("/var/lib/sorter/journal.sqlite")


def doctor(
    model: ModelFolder = None,
    watch: Annotated[
        Path | None, typer.Option(envvar="SORTER_DIR", help="Folder to be watched.")
    ] = None,
    serial: Annotated[
        str | None, typer.Option(envvar="SORTER_SERIAL", help="Port of the device.")
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(envvar="SORTER_JOURNAL", help="Journal; default: the user's state folder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list on stdout.")] = False,
) -> None:
    """Look at model, processor, folder, port, clock, disk and unit; name the fix of each fault.

    What is not given comes from the installed service's settings, if there is one. The port is not
    opened: that would reset an Arduino. Exit code 0 where nothing fails, otherwise that of the
    first failure: 3 model, 4 actuator, 5 environment.

    Example: sorter doctor --watch /srv/sorter/camera --serial /dev/serial/by-id/NAME
    """
    from sorter.cli.watch import default_journal
    from sorter.doctor import camera, folder, machine, port, unit
    from sorter.doctor.finding import exit_code
    from sorter.doctor.model import check_model

    installed = unit.settings()
    watch = watch or _path(installed.get("SORTER_DIR"))
    serial = serial or installed.get("SORTER_SERIAL")
    model = model or _path(installed.get("SORTER_MODEL"))
    usual = SERVICE_JOURNAL if installed else default_journal()
    journal = journal or _path(installed.get("SORTER_JOURNAL")) or usual
    findings = [check_model(model), machine.check_cpu()]
    if watch is not None:
        findings.append(folder.check_folder(watch))
        recursive = installed.get("SORTER_RECURSIVE") or os.environ.get("SORTER_RECURSIVE") or ""
        archive = installed.get("SORTER_ARCHIVE") or os.environ.get("SORTER_ARCHIVE")
        more = (
            folder.check_overlooked(watch, recursive=recursive.lower() in ("1", "true", "yes")),
            folder.check_service_sees(watch, unit_dir=unit.UNIT_DIR),
            camera.check_program(),
            camera.check_pictures(watch, _path(archive)),
        )
        findings += [finding for finding in more if finding is not None]
    if serial is not None:
        findings.append(port.check_port(serial))
    findings += [
        port.check_meddlers(),
        machine.check_clock(),
        machine.check_disk(journal),
        unit.check_unit(),
    ]
    if as_json:
        rows = [
            {"check": f.check, "level": f.level.value, "says": f.says, "fix": f.fix}
            for f in findings
        ]
        typer.echo(json.dumps(rows, ensure_ascii=False))
    else:
        from rich.console import Console
        from rich.text import Text

        from sorter.text import escape

        console = Console(soft_wrap=True, highlight=False)
        colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
        for finding in findings:
            line = Text.assemble(
                (f"{finding.level.value:<5}", colours[finding.level]),
                (f"{finding.check:<13}", "bold"),
                escape(finding.says),
            )
            if finding.fix:
                line.append(f"  → {escape(finding.fix)}", "cyan")
            console.print(line)
        for name, asked in (("--watch DIR", watch), ("--serial PORT", serial)):
            if asked is None:
                typer.echo(f"sorter: not looked at without {name}", err=True)
    code = exit_code(findings)
    if code:
        raise typer.Exit(code)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
