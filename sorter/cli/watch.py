"""`sorter watch`: compose a station from its parts, and let signals end it cleanly."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sorter.cli.options import ModelFolder, Precision
from sorter.cli.signals import Asked
from sorter.errors import EnvironmentFault, UsageError
from sorter.text import Lang

log = logging.getLogger(__name__)

BROKEN_JOURNALS = 3
"""After so many in one run, one after the other, the disk is not fit for a journal."""


class BacklogMode(StrEnum):
    """What happens to pictures that lie in the folder at start."""

    RECORD = "record"
    ACTUATE = "actuate"


class Protocol(StrEnum):
    """How the device is spoken to."""

    WS1 = "ws1"
    PLAIN = "plain"


def default_journal() -> Path:
    """`$STATE_DIRECTORY` (systemd), else `$XDG_STATE_HOME/sorter`, else `~/.local/state/sorter`."""
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given) / "journal.sqlite"
    try:
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise EnvironmentFault("this user has no home folder; name it with --journal") from error
    return Path(base) / "sorter" / "journal.sqlite"


def _opt(name: str, *, help: str, **more: Any) -> Any:
    """An option that also comes from `SORTER_<OPTION>` in the environment."""
    variable = "SORTER_" + name.split("/")[0].removeprefix("--").upper().replace("-", "_")
    return typer.Option(name, envvar=variable, help=help, **more)


def watch(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", envvar="SORTER_DIR", help="The watched folder, which the camera fills."
        ),
    ],
    serial: Annotated[
        str,
        _opt("--serial", help="The device: a port, socket://HOST:PORT, rfc2217://…; none: record."),
    ],
    journal: Annotated[
        Path | None, _opt("--journal", help="The journal. [default: the user's state folder]")
    ] = None,
    recursive: Annotated[
        bool, _opt("--recursive/--flat", help="Watch sub-folders too, such as one a day.")
    ] = False,
    settle: Annotated[
        float, _opt("--settle", help="Seconds a picture must lie still.", min=0.05, max=60.0)
    ] = 0.3,
    max_age: Annotated[
        float, _opt("--max-age", help="Seconds after arrival in which it may move.")
    ] = 5.0,
    burst: Annotated[
        float,
        _opt(
            "--burst",
            help="One item photographed several times: pictures that arrive within so many seconds"
            " of the first are judged together and move once; 0: each is an item.",
        ),
    ] = 0.0,
    backlog: Annotated[
        BacklogMode, _opt("--backlog", help="Pictures found at start: only record, or act on.")
    ] = BacklogMode.RECORD,
    archive: Annotated[
        Path | None, _opt("--archive", help="Move processed pictures to DIR/<date>/<bin>/.")
    ] = None,
    protocol: Annotated[
        Protocol, _opt("--protocol", help="WS1, or one byte per bin without reply.")
    ] = Protocol.WS1,
    plain_bytes: Annotated[
        str, _opt("--plain-bytes", help="The bytes of bins 1, 2, … for --protocol plain.")
    ] = "123456789",
    device: Annotated[
        str | None,
        _opt("--device-name", help="The name the device must give itself. [default: any]"),
    ] = None,
    device_before: Annotated[
        str | None, _opt("--device", help="--device-name, as it was called.", hidden=True)
    ] = None,
    unsure: Annotated[
        str, _opt("--unsure", help="Where unsure items go: a bin's key, or hold.")
    ] = "residual",
    empty: Annotated[
        str, _opt("--empty", help="Where an empty tray goes, once taught: a bin's key, or hold.")
    ] = "hold",
    unknown_object: Annotated[
        str,
        _opt("--unknown-object", help="Where an object of no class goes. [default: as --unsure]"),
    ] = "",
    low_confidence: Annotated[
        str,
        _opt(
            "--low-confidence",
            help="Where doubtful items go, perhaps hazardous ones too. [default: as --unsure]",
        ),
    ] = "",
    model: ModelFolder = None,
    precision: Annotated[
        Precision, _opt("--precision", help="Which network of the bundle.")
    ] = Precision.INT8,
    min_confidence: Annotated[
        float | None,
        _opt("--min-confidence", help="Replaces every bin's threshold.", min=0.0, max=1.0),
    ] = None,
    max_pixels: Annotated[
        int, _opt("--max-pixels", help="Refuse larger pictures unopened.", min=1)
    ] = 200_000_000,
    metrics: Annotated[
        Path | None, _opt("--metrics", help="Write Prometheus text to this file.")
    ] = None,
    keep_unsure: Annotated[
        Path | None, _opt("--keep-unsure", help="Keep copies of unsure pictures here, to label.")
    ] = None,
    keep_unsure_count: Annotated[
        int, _opt("--keep-unsure-count", help="How many of them to keep, the newest.")
    ] = 500,
    ring_before: Annotated[
        Path | None, _opt("--ring", help="--keep-unsure, as it was called.", hidden=True)
    ] = None,
    ring_size_before: Annotated[
        int | None,
        _opt("--ring-size", help="--keep-unsure-count, as it was called.", hidden=True),
    ] = None,
    audit: Annotated[
        int,
        _opt(
            "--audit",
            metavar="P",
            help="Keep one in P sorted items there too, for sorter review to judge; 0: none.",
            min=0,
        ),
    ] = 0,
    station: Annotated[
        str, _opt("--station", help="The name of this station, in its records and its report.")
    ] = "",
    on_problem: Annotated[
        str,
        _opt("--on-problem", help="Run this when something is wrong; JSON on its standard input."),
    ] = "",
    on_clear: Annotated[str, _opt("--on-clear", help="Run this when that is over.")] = "",
    problem_after: Annotated[
        float, _opt("--problem-after", help="Seconds a trouble must last before it is told.", min=0)
    ] = 5.0,
    problem_every: Annotated[
        float, _opt("--problem-every", help="Seconds between two messages of one kind.", min=0)
    ] = 60.0,
    expect_every: Annotated[
        float,
        _opt("--expect-every", help="Seconds without a picture that are a trouble; 0: never."),
    ] = 0.0,
    mqtt: Annotated[
        str,
        _opt(
            "--mqtt", help="Tell this MQTT broker of each item: HOST[:PORT], mqtts://HOST[:PORT]."
        ),
    ] = "",
    mqtt_user: Annotated[str, _opt("--mqtt-user", help="The name to log in with.")] = "",
    mqtt_password_file: Annotated[
        Path | None, _opt("--mqtt-password-file", help="A file that holds the password.")
    ] = None,
    mqtt_ca: Annotated[
        Path | None,
        _opt("--mqtt-ca", help="The authority's certificate, for mqtts. [default: the system's]"),
    ] = None,
    mqtt_prefix: Annotated[
        str, _opt("--mqtt-prefix", help="Topics are PREFIX/STATION/item and so on.")
    ] = "sorter",
    mqtt_discovery: Annotated[
        str, _opt("--mqtt-discovery", help='Home Assistant\'s prefix; "": do not tell it.')
    ] = "homeassistant",
    dry_run: Annotated[
        bool, _opt("--dry-run", help="Record only: open no port, move nothing, archive nothing.")
    ] = False,
    lang: Annotated[Lang, _opt("--lang", help="Language of class and bin names.")] = Lang.EN,
    as_json: Annotated[bool, _opt("--json", help="A JSON line per record on stdout.")] = False,
) -> None:
    """Classify pictures as they arrive in DIR and command the device: the station.

    Every picture gets exactly one terminal record in the journal, and at most one movement. A
    missing device, folder or disk is waited for. SIGTERM and Ctrl-C finish the movement under way;
    SIGHUP takes new weights. A terminal gets a live screen, a pipe one line per record. Every
    option also comes from SORTER_<OPTION>.

    Example: sorter watch /srv/sorter/camera --serial /dev/serial/by-id/NAME
    """
    from sorter.actuator.link import open_actuator
    from sorter.display.output import log_to_stderr, shown
    from sorter.files import begins, place_for, refuse_inside
    from sorter.station.compose import open_station
    from sorter.station.health.alarms import Orders
    from sorter.station.health.metrics import Metrics
    from sorter.station.interfaces import Sink
    from sorter.station.journal.journal import JournalDamagedError
    from sorter.station.journal.opening import refuse_folder
    from sorter.station.mqtt.broker import paho, read_address
    from sorter.station.mqtt.publisher import Publisher
    from sorter.station.mqtt.topics import Topics
    from sorter.station.reload import Weights
    from sorter.station.settings import Settings
    from sorter.station.sinks.archive import Archive
    from sorter.station.sinks.unsure import UnsureFolder
    from sorter.vision.bundle import default_bundle
    from sorter.vision.model import open_model

    device_name = device if device is not None else device_before
    unsure_folder = keep_unsure or ring_before
    log_to_stderr()
    asked = Asked()
    file = journal or default_journal()
    refuse_folder(file)
    refuse_inside(file.parent, [folder], option="--journal")
    if audit and unsure_folder is None:
        raise UsageError("--audit: name the folder to keep those pictures in with --keep-unsure")
    for place, option in ((archive, "--archive"), (unsure_folder, "--keep-unsure")):
        if place is not None:
            refuse_inside(place, [folder], option=option)
    if metrics is not None:
        place = place_for(metrics, option="--metrics", ours=begins(b"# HELP sorter_"))
        refuse_inside(place.parent, [folder], option="--metrics")
    broker, topics = None, Topics(station, mqtt_prefix, mqtt_discovery)
    if mqtt:
        broker = read_address(mqtt, user=mqtt_user, password_file=mqtt_password_file, ca=mqtt_ca)
        topics.check()
        paho()
    bundle = model or default_bundle()
    opener = functools.partial(
        open_model,
        bundle,
        precision=precision.value,
        min_confidence=min_confidence,
        max_pixels=max_pixels,
    )
    with asked.listening():
        classifier = opener()
    if asked.to_stop:
        return
    settings = Settings(
        settle_s=settle,
        max_age_s=max_age,
        burst_s=burst,
        expect_every_s=expect_every,
        unsure=unsure,
        empty=empty,
        unknown_object=unknown_object,
        low_confidence=low_confidence,
        audit=audit,
        act_on_backlog=backlog is BacklogMode.ACTUATE,
    )
    settings.check(classifier.taxonomy)
    # Nameless stations are told apart by their files, or node_exporter would drop them all.
    meter = Metrics(station=station or (metrics.stem if metrics is not None else ""))
    sinks: list[Sink] = []
    if unsure_folder is not None:
        count = keep_unsure_count if ring_size_before is None else ring_size_before
        sinks.append(UnsureFolder(unsure_folder, count, meter=meter))
    if archive is not None and not dry_run:
        sinks.append(Archive(archive, meter=meter))
    with contextlib.ExitStack() as stack:
        stack.enter_context(asked.listening())
        if broker is not None:
            teller = Publisher(file, broker, topics, status=asked.seen, meter=meter)
            stack.callback(teller.close)
            sinks.append(teller)
        # First in, last out: a terminal that takes nothing delays no other part's end.
        show = shown(lang=lang.value, as_json=as_json, status=asked.seen)
        sinks.insert(0, stack.enter_context(show))
        for attempt in range(1, BROKEN_JOURNALS + 1):
            gate = None
            if serial != "none" and not dry_run:
                gate = open_actuator(
                    serial,
                    protocol=protocol.value,
                    plain_bytes=plain_bytes,
                    device=device_name,
                    bins=len(classifier.taxonomy.bins),
                )
            opening = open_station(
                folder,
                journal=file,
                model=classifier,
                actuator=gate,
                settings=settings,
                sinks=sinks,
                weights=Weights(bundle, opener),
                station=station,
                alarms=Orders(on_problem, on_clear, problem_after, problem_every, station=station),
                recursive=recursive,
                meter=meter,
                metrics=metrics,
            )
            try:
                with opening as asked.station:
                    if not asked.to_stop:
                        asked.station.run()
                    return
            except JournalDamagedError as error:
                # Opened again, it is set aside and a new one begins: nothing moves meanwhile.
                if attempt == BROKEN_JOURNALS:
                    raise
                log.error("%s", error)
