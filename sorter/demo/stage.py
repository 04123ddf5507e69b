"""The demo's station: every part real but the gate, which is simulated behind a pty.

Owns the temporary folder and the order of opening and closing. Shows nothing.
"""

from __future__ import annotations

import contextlib
import json
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sorter.actuator.link import open_actuator
from sorter.actuator.simulator.eeprom import Kept
from sorter.actuator.simulator.endpoints import PtySocket
from sorter.actuator.simulator.eventlog import EventLog
from sorter.actuator.simulator.simulator import Simulator
from sorter.demo.pictures import Camera, DemoPicture
from sorter.domain import ItemState, Record, Taxonomy
from sorter.host.signals import handled
from sorter.station.compose import open_station
from sorter.station.health.systemd import Notifier
from sorter.station.interfaces import Model
from sorter.station.settings import HOLD, Settings

AFTER_S = 4.0
"""Kept free at the end of the given time for the last records: a cut picture is waited for."""

REJECT_AFTER_S = 2.0
"""The field waits longer before it gives a broken file up; a demo is short."""

MOVE_S = 0.3


@dataclass
class DemoProof:
    """What happened: pictures delivered, records by state, movements the gate itself saw.

    `cut_short` says that somebody ended it, or the time was up, before the last picture.
    """

    delivered: int = 0
    states: Counter[ItemState] = field(default_factory=Counter)
    moved: list[int] = field(default_factory=list)
    cut_short: bool = False

    @property
    def honest(self) -> bool:
        """One record per picture, and one movement for each DONE, none twice.

        Where it was cut short, the last pictures may have no record yet.
        """
        missing = self.delivered - self.states.total()
        return (missing == 0 or (self.cut_short and missing > 0)) and len(self.moved) == len(
            set(self.moved)
        ) == self.states[ItemState.DONE]


def play(
    model: Model, shots: Sequence[DemoPicture], *, seconds: float, tell: Callable[[Record], None]
) -> DemoProof:
    """Run the station until every picture has its record, or for about `seconds`.

    `tell` gets each record as it is written. Ctrl-C and SIGTERM end it early and cleanly.
    """
    proof = DemoProof()

    def note(record: Record) -> None:
        proof.states[record.state] += 1
        tell(record)
        if proof.states.total() == len(shots):
            station.stop()

    every_s = max(0.05, min(1.0, (seconds - AFTER_S) / max(1, len(shots))))
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sorter-demo-")))
        camera_folder = home / "camera"
        camera_folder.mkdir()
        log = home / "moves.jsonl"
        port = stack.enter_context(_simulated_gate(log, bins=len(model.taxonomy.bins)))
        camera = Camera(camera_folder, shots, every_s=every_s)
        station = stack.enter_context(
            open_station(
                camera_folder,
                journal=home / "journal.sqlite",
                model=model,
                actuator=open_actuator(port, bins=len(model.taxonomy.bins)),
                settings=Settings(unsure=_unsure(model.taxonomy)),
                sinks=(note,),
                voice=_Curtain(camera),
                reject_after_s=REJECT_AFTER_S,
            )
        )

        def end_early() -> None:
            proof.cut_short = camera.delivered < len(shots)
            station.stop()

        timer = threading.Timer(seconds, end_early)
        timer.daemon = True
        stack.callback(timer.cancel)
        stack.callback(camera.close)
        if threading.current_thread() is threading.main_thread():  # no other may ask for signals
            ends = signal.SIGINT, signal.SIGTERM
            stack.enter_context(handled(*ends, by=lambda _: end_early()))
        timer.start()
        station.run()
        camera.close()
        proof.delivered = camera.delivered
        proof.moved = _moves(log)
    return proof


class _Curtain(Notifier):
    """Notifies nothing; what is in the folder before READY would be backlog, so READY begins."""

    def __init__(self, camera: Camera) -> None:
        super().__init__({})
        self._camera = camera

    def ready(self) -> None:
        self._camera.start()


@contextlib.contextmanager
def _simulated_gate(log: Path, *, bins: int) -> Iterator[str]:
    """A gate behind a pty: the name of its port."""
    socket = PtySocket()
    gate = Simulator(socket, memory=Kept(), log=EventLog(log), bins=bins, move_s=MOVE_S)
    thread = threading.Thread(target=gate.run, name="gate", daemon=True)
    thread.start()
    try:
        yield socket.name
    finally:
        gate.stop()
        thread.join()


def _moves(log: Path) -> list[int]:
    """The numbers that the gate moved for, as its own log says."""
    events = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [event["n"] for event in events if event["event"] == "move"]


def _unsure(taxonomy: Taxonomy) -> str:
    """The residual bin where the model has one, otherwise nowhere."""
    usual = Settings().unsure
    return usual if usual in (b.key for b in taxonomy.bins) else HOLD
