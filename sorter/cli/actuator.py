"""`sorter actuator`: talk to the device on the serial line. Parses, wires, prints."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sorter.domain import Delivery
from sorter.errors import ActuatorError, HandshakeError, UsageError
from sorter.host.clock import uptime_s
from sorter.text import counted, one_line

if TYPE_CHECKING:
    from sorter.actuator.link import Link

Serial = Annotated[
    str,
    typer.Option("--serial", "-s", help="Port: a device path or a pyserial URL.", metavar="PORT"),
]
Named = Annotated[str | None, typer.Option("--device", help="Accept only the device of this name.")]
Anywhere = Annotated[
    str | None,
    typer.Option(
        "--serial",
        "-s",
        help="Port: a device path or a pyserial URL. [default: the running station's]",
        metavar="PORT",
    ),
]
OfStation = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        envvar="SORTER_JOURNAL",
        help="Ask through the station on this journal, while it runs. "
        "[default without --serial: the user's state folder]",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]


def ping(
    port: Anywhere = None,
    journal: OfStation = None,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a start message, then for an answer.")
    ] = 3.0,
    as_json: Json = False,
) -> None:
    """Say what is on a port. Moves nothing and leaves the device's session alone.

    While a station runs it has the port, and answers instead of it (see --journal).

    Example: sorter actuator ping --serial /dev/ttyACM0
    """
    from sorter.actuator.probe import probe
    from sorter.actuator.serialport import open_port

    answer = _asked("ping", journal, port)
    if answer is not None:
        _show_answer(answer, as_json=as_json)
        if not answer.get("ready"):
            raise HandshakeError(f"the station's device is not ready: {answer.get('detail')}")
        return
    port = _named(port)
    opened = open_port(port)
    try:
        found = probe(opened, boot_wait_s=wait, answer_wait_s=max(wait, 0.5))
    finally:
        opened.close()
    if as_json:
        typer.echo(json.dumps({"port": port, **asdict(found)}))
    elif found.answers:
        typer.echo(f"{port}: {found.verdict}")
        for label, value in (
            ("firmware", found.firmware),
            ("boot", found.boot),
            ("session", found.session),
            ("highest number", found.mark),
        ):
            if value:
                typer.echo(f"  {label}: {value}")
        if found.round_trip_ms is not None:
            typer.echo(f"  round trip: {found.round_trip_ms:.1f} ms")
    if not found.answers:
        raise HandshakeError(f"{port}: {found.verdict}")


def cycle(
    port: Serial,
    bins: Annotated[int, typer.Option(min=1, max=9, help="How many bins there are.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="How often to visit all of them.")] = 1,
    device: Named = None,
    as_json: Json = False,
) -> None:
    """Move to each bin in turn and time it. Stop the station first; keep hands away.

    The device forgets its station's session: items then in flight would read UNCERTAIN.

    Example: sorter actuator cycle --serial /dev/ttyACM0 --rounds 3
    """
    link = _connect(port, device, bins)
    failed = 0
    try:
        for n in range(1, bins * rounds + 1):
            bin_number = (n - 1) % bins + 1
            started = time.monotonic()
            done = link.move(n, bin_number, boot=link.status().boot, deadline=uptime_s() + 5.0)
            took_ms = round((time.monotonic() - started) * 1000)
            failed += done.delivery is not Delivery.DONE
            if as_json:
                row = {"n": n, "bin": bin_number, "result": done.delivery.value, "ms": took_ms}
                typer.echo(json.dumps({**row, "detail": done.detail}))
            else:
                typer.echo(f"bin {bin_number}: {done.delivery.value} {took_ms} ms {done.detail}")
    finally:
        link.close()
    if failed:
        raise ActuatorError(
            f"{port}: {failed} of {counted(bins * rounds, 'movement')} did not end as DONE; "
            "look at the mechanics, then: sorter actuator home --clear"
        )


def home(
    port: Anywhere = None,
    journal: OfStation = None,
    clear: Annotated[bool, typer.Option("--clear", help="Clear a fault first.")] = False,
    device: Named = None,
    as_json: Json = False,
) -> None:
    """Bring the diverter to its home position, after clearing a fault if asked to.

    Goes through the running station, which need not stop for it (see --journal).

    Example: sorter actuator home --serial /dev/ttyACM0 --clear
    """
    if clear and (answer := _asked("clear", journal, port)) is not None:
        _refuse_unless_done(answer, "the fault was not cleared")
    if (answer := _asked("home", journal, port)) is not None:
        _show_answer(answer, as_json=as_json)
        _refuse_unless_done(answer, "not at home")
        return
    port = _named(port)
    link = _connect(port, device, 4, accept_fault=clear)
    try:
        if clear:
            cleared = link.clear()
            if cleared.delivery is not Delivery.DONE:
                raise ActuatorError(f"{port}: the fault was not cleared: {cleared.detail}")
            link.wait_until_ready(5.0)
        done = link.home()
    finally:
        link.close()
    if as_json:
        typer.echo(json.dumps({"result": done.delivery.value, "detail": done.detail}))
    if done.delivery is not Delivery.DONE:
        raise ActuatorError(f"{port}: not at home: {done.delivery.value} {done.detail}".rstrip())
    if not as_json:
        typer.echo(f"{port}: at home after {done.device_ms} ms")


def clear_fault(
    port: Anywhere = None,
    journal: OfStation = None,
    device: Named = None,
    as_json: Json = False,
) -> None:
    """Clear a fault, such as a jam, once its cause is gone. Moves nothing.

    Goes through the running station, which need not stop for it (see --journal).

    Example: sorter actuator clear --journal /var/lib/sorter/journal.sqlite
    """
    if (answer := _asked("clear", journal, port)) is not None:
        _show_answer(answer, as_json=as_json)
        _refuse_unless_done(answer, "the fault was not cleared")
        return
    port = _named(port)
    link = _connect(port, device, 4, accept_fault=True)
    try:
        done = link.clear()
        link.wait_until_ready(5.0)
        ready = link.status()
    finally:
        link.close()
    answer = {"result": done.delivery.value, "why": done.detail, "ms": done.device_ms}
    answer |= {"ready": ready.ready, "state": ready.state, "detail": ready.detail}
    _show_answer(answer, as_json=as_json)
    _refuse_unless_done(answer, "the fault was not cleared")


def monitor(
    port: Serial,
    seconds: Annotated[float, typer.Option(min=0, help="End after so long; 0: never.")] = 0.0,
    heartbeat: Annotated[
        bool, typer.Option(help="Keep the device awake by a heart-beat each second.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print every line the device says, with damaged ones marked. Ends with Ctrl-C.

    Example: sorter actuator monitor --serial /dev/ttyACM0 --heartbeat
    """
    from sorter.actuator.probe import watch
    from sorter.actuator.protocol import Garbage
    from sorter.actuator.serialport import open_port

    opened = open_port(port)
    started = time.monotonic()
    try:
        over = started + seconds if seconds else float("inf")
        for message in watch(opened, until=lambda: time.monotonic() >= over, beat=heartbeat):
            at_s = time.monotonic() - started
            garbage = message.why if isinstance(message, Garbage) else ""
            line = (
                ""
                if isinstance(message, Garbage)
                else " ".join((message.answer.value, *message.fields))
            )
            if as_json:
                typer.echo(json.dumps({"s": round(at_s, 4), "line": line, "garbage": garbage}))
            else:
                typer.echo(f"{at_s:9.3f}  {line or f'(damaged line: {garbage})'}")
    finally:
        opened.close()


def _asked(what: str, journal: Path | None, port: str | None) -> dict[str, Any] | None:
    """What the running station answers; None where the port itself is to be asked."""
    if journal is None and port is not None:
        return None
    from sorter.cli.watch import default_journal
    from sorter.station.control import Ask, ask_station

    file = journal or default_journal()
    try:
        return ask_station(file, Ask(what))
    except OSError as error:
        raise ActuatorError(
            f"{file}: the station does not answer: {error.strerror or error}; "
            "look with: sorter status"
        ) from error


def _named(port: str | None) -> str:
    if port is None:
        raise UsageError("no station runs on this journal; name the port with --serial")
    return port


def _show_answer(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        told = [answer.get("result", ""), answer.get("state", ""), answer.get("detail", "")]
        typer.echo(one_line(" ".join(str(part) for part in told if part)))


def _refuse_unless_done(answer: dict[str, Any], otherwise: str) -> None:
    if answer.get("result") != Delivery.DONE.value:
        why = answer.get("why") or answer.get("error") or answer.get("result")
        raise ActuatorError(f"{otherwise}: {why}; look at the device, then try again")


def _connect(port: str, device: str | None, bins: int, *, accept_fault: bool = False) -> Link:
    """A link that is ready to move; HandshakeError, with what it last saw, if it is not in time."""
    from sorter.actuator.link import Link
    from sorter.actuator.serialport import open_port

    open_port(port).close()  # a port that cannot be opened is told at once, in full
    link = Link(lambda: open_port(port), bins=bins, device=device)
    link.start(f"cli-{secrets.token_hex(4)}", 1)
    until = time.monotonic() + 8.0
    while time.monotonic() < until and not link.misfit:
        if link.wait_until_ready(0.1) or (accept_fault and link.status().state == "fault"):
            return link
        if link.status().state == "fault":
            break
    last = link.status()
    link.close()
    if link.misfit:
        raise HandshakeError(f"{port}: {link.misfit}")
    raise HandshakeError(
        f"{port}: not ready to move ({last.state}): {last.detail}; "
        f"look with: sorter actuator ping --serial {port}"
    )
