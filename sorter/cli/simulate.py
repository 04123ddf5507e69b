"""`sorter actuator simulate` and `firmware`: be a device, or write the sketch of one."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from sorter.errors import FolderError, SorterError, UsageError


def simulate(
    link: Annotated[
        Path | None, typer.Option(help="Stable name (symbolic link) for the pty.")
    ] = None,
    tcp: Annotated[
        int | None,
        typer.Option(help="Listen on this TCP port instead; 0 picks one.", min=0, max=65535),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="Append one JSON line per event to this file.")
    ] = None,
    move_ms: Annotated[int, typer.Option(min=1, help="How long one movement takes.")] = 300,
    eeprom: Annotated[
        Path | None, typer.Option(help="File that plays EEPROM; kept between runs.")
    ] = None,
    ram: Annotated[bool, typer.Option("--ram", help="No EEPROM: a reset forgets.")] = False,
    fault: Annotated[
        list[str] | None, typer.Option(help="Fault word, repeatable, such as drop=0.2.")
    ] = None,
    control: Annotated[
        Path | None, typer.Option(help="FIFO to make; write fault words to it while running.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the device.")] = "sim",
    bins: Annotated[int, typer.Option(min=1, max=9, help="How many bins it has.")] = 4,
    boot_ms: Annotated[int, typer.Option(min=0, help="How long a start takes.")] = 100,
    reset_on_open: Annotated[
        bool, typer.Option(help="Restart when a host opens the port, as an Arduino does.")
    ] = True,
    seed: Annotated[int | None, typer.Option(help="Seed of the faults.")] = None,
) -> None:
    """Be a device on a pty or a TCP port, with faults on demand. Ends with Ctrl-C or SIGTERM.

    Without --eeprom or --ram the memory survives resets but not this program. The port's name
    is the first line on stdout. Fault words: drop, drop-in, drop-out, flip, duplicate, noise,
    stray, rejected, reset (=P, a chance), delay, late, deaf (=SECONDS); at once: reset-now,
    stall=SECONDS, unplug=SECONDS, stop; none switches all off.

    Example: sorter actuator simulate --link ./gate --log moves.jsonl --fault drop=0.1
    """
    from sorter.actuator.protocol import SID_PATTERN
    from sorter.actuator.simulator.eeprom import FileMemory, Kept, Ram
    from sorter.actuator.simulator.endpoints import PtySocket, TcpSocket
    from sorter.actuator.simulator.eventlog import EventLog
    from sorter.actuator.simulator.simulator import Simulator

    if link is not None and tcp is not None:
        raise UsageError("--link and --tcp exclude each other")
    if eeprom is not None and ram:
        raise UsageError("--eeprom and --ram exclude each other")
    if not SID_PATTERN.fullmatch(name) or len(name) > 12:
        raise UsageError(f"--name {name!r}: 1 to 12 letters, digits, '.', '_' or '-'")
    memory = FileMemory(eeprom) if eeprom else Ram() if ram else Kept()
    witness = EventLog(log)
    socket = PtySocket(link) if tcp is None else TcpSocket(tcp)
    try:
        machine = Simulator(
            socket,
            memory=memory,
            words=fault or (),
            log=witness,
            control=control,
            name=name,
            bins=bins,
            move_s=move_ms / 1000,
            boot_s=boot_ms / 1000,
            reset_on_open=reset_on_open,
            seed=seed,
            tell=lambda text: typer.echo(text, err=True),
        )
    except SorterError:
        socket.close()
        raise
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: machine.stop())
    typer.echo(socket.name)
    machine.run()


def firmware(
    out: Annotated[Path, typer.Option(help="Folder for the sketch; made if missing.")],
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Write the Arduino sketch (Uno or Nano, one servo) into a folder.

    Example: sorter actuator firmware --out ./ws1
    """
    from importlib.resources import files

    source = files("sorter.actuator") / "firmware"
    if not out.absolute().name:
        raise FolderError(f"{out}: the sketch takes its folder's name; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for entry in sorted(source.iterdir(), key=lambda e: e.name):
            if not entry.name.endswith((".ino", ".c", ".h", ".md")):
                continue
            # The Arduino tools want a sketch in a folder of its own name.
            stem, dot, suffix = entry.name.rpartition(".")
            name = f"{out.resolve().name}.ino" if suffix == "ino" else f"{stem}{dot}{suffix}"
            target = out / name
            if target.exists() and not force:
                raise FolderError(f"{target} is there already: give another --out, or --force")
            target.write_bytes(entry.read_bytes())
            typer.echo(str(target))
    except OSError as error:
        raise FolderError(f"{out}: {error.strerror}; choose another --out") from error
