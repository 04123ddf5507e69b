"""Open a whole station like a file: its parts made, joined, and closed in the right order.

Owns that order, the same for `watch`, the demo and the soaks. A model, an actuator and sinks come
in; signals and screens belong to the caller.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sorter.host.wakeup import Wakeup
from sorter.station.control import Control, socket_path
from sorter.station.health.alarms import Alarms, Orders
from sorter.station.health.metrics import Metrics
from sorter.station.health.reporter import Reporter
from sorter.station.health.status import live_path
from sorter.station.health.systemd import Notifier, Watchdog
from sorter.station.intake.in_hand import InHand
from sorter.station.intake.watcher import REJECT_AFTER_S, Watcher
from sorter.station.interfaces import Actuator, Model, Sink
from sorter.station.journal.opening import open_journal
from sorter.station.reload import Reloader, Weights
from sorter.station.settings import Settings
from sorter.station.sinks.archive import give_back_claims
from sorter.station.station import Parts, Station


@contextlib.contextmanager
def open_station(
    folder: Path,
    *,
    journal: Path,
    model: Model,
    actuator: Actuator | None,
    settings: Settings,
    sinks: Sequence[Sink] = (),
    weights: Weights | None = None,
    meter: Metrics | None = None,
    metrics: Path | None = None,
    voice: Notifier | None = None,
    recursive: bool = False,
    station: str = "",
    alarms: Orders | None = None,
    reject_after_s: float = REJECT_AFTER_S,
    synchronous: str = "FULL",
    wall: Callable[[], float] = time.time,
) -> Iterator[Station]:
    """A station on `folder`, ready to `run`; everything but the sinks is closed at the end.

    `journal` is the journal's file; `actuator` is not started yet, None only records. `weights`
    says where newer ones of `model` may come from, None: nowhere. `recursive` takes pictures of
    sub-folders too. `station` is the name that its records carry, `alarms` what to run when
    something is wrong. `metrics` is the file for Prometheus and `meter` the counters, where the
    caller's sinks count too; `voice` speaks to the service manager. `wall` is Unix time. Raises
    SorterError where a part cannot be opened.
    """
    settings.check(model.taxonomy)
    meter, voice = meter or Metrics(), voice or Notifier()
    watchdog = Watchdog()
    with contextlib.ExitStack() as stack:
        bell = None
        if alarms is not None and (alarms.on_problem or alarms.on_clear):
            bell = Alarms(alarms)
            stack.callback(bell.close)
        reporter = Reporter(
            voice, watchdog, meter, live=live_path(journal), metrics=metrics, alarms=bell
        )
        wakeup = Wakeup()
        stack.callback(wakeup.close)
        opened = open_journal(journal, synchronous=synchronous, wall=wall)
        stack.callback(opened.close)
        opened.station = station
        in_hand = InHand(opened.path.with_name(opened.path.name + ".in-hand"))
        stack.callback(in_hand.close)
        give_back_claims(folder, recursive=recursive)
        intake = Watcher(
            folder,
            recorded=opened.recorded,
            recursive=recursive,
            settle_s=settings.settle_s,
            reject_after_s=reject_after_s,
            fresh_s=settings.max_age_s,
            wakeup=wakeup,
            wall=wall,
        )
        stack.callback(intake.close)
        if actuator is not None:
            stack.callback(actuator.close)
            control = Control(socket_path(opened.path), actuator)
            stack.callback(control.close)
        reload = None
        if weights is not None:
            reload = Reloader(
                weights, model, wakeup=wakeup, voice=voice, meter=meter, watchdog=watchdog
            )
            stack.callback(reload.close)
        yield Station(
            Parts(
                intake=intake,
                model=model,
                journal=opened,
                actuator=actuator,
                voice=voice,
                meter=meter,
                wakeup=wakeup,
                reporter=reporter,
                reload=reload,
                in_hand=in_hand,
                sinks=sinks,
            ),
            settings,
            wall=wall,
        )
