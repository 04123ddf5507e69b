"""The simulated device: its rules, its cable, its pty, and the log that bears witness."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sorter.actuator.link import Link
from sorter.actuator.protocol import seal
from sorter.actuator.serialport import open_port
from sorter.actuator.session import Timing
from sorter.actuator.simulator.device import Device
from sorter.actuator.simulator.eeprom import FileMemory, Kept, Ram
from sorter.actuator.simulator.endpoints import PtySocket, TcpSocket
from sorter.actuator.simulator.eventlog import EventLog
from sorter.actuator.simulator.simulator import Simulator
from sorter.domain import Delivery
from sorter.errors import FolderError
from sorter.host.clock import uptime_s
from tests.support.actuator_conversations import Step, conversations
from tests.support.waiting import wait_for

CONVERSATIONS = list(conversations())


@pytest.mark.parametrize(("name", "steps"), CONVERSATIONS, ids=[c[0] for c in CONVERSATIONS])
@pytest.mark.parametrize("chunk", [1000, 1], ids=["whole", "bytewise"])
def test_device_keeps_to_the_table(name: str, steps: list[Step], chunk: int) -> None:
    events: list[str] = []
    boots = iter(f"b{i}" for i in range(1, 9))
    kept = Kept()
    now_ms = 0

    def report(event: str, n: int | None, bin_number: int | None) -> None:
        if event in ("move", "home", "safe"):
            events.append(f"move {bin_number}" if event == "move" else event)

    device = Device(memory=kept, report=report, new_boot=lambda: next(boots))
    for step in steps:
        if step.verb == "power":
            device.power_on(now_ms / 1000)
        elif step.verb == "lose":
            kept.lose()
        elif step.verb == "wait":
            for _ in range(step.wait_ms):
                now_ms += 1
                device.tick(now_ms / 1000 + 1e-7)  # sums of floats may end a hair late
        for at in range(0, len(step.data), chunk):
            device.feed(step.data[at : at + chunk], now_ms / 1000)
        replies = [line.decode().rpartition("*")[0] for line in device.take()]
        assert (step.number, replies) == (step.number, step.replies)
        assert (step.number, events) == (step.number, step.events)
        events.clear()


class Bench:
    """A simulator in a thread, its events, and what an operator would do to it."""

    def __init__(self, simulator: Simulator, log: Path, control: Path) -> None:
        self.simulator, self._log, self._control = simulator, log, control

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [row for row in rows if kind in ("", row["event"])]

    def do(self, words: str) -> None:
        with self._control.open("w") as pipe:
            pipe.write(words + "\n")


@contextmanager
def running(tmp_path: Path, *, tcp: bool = False, **settings: Any) -> Iterator[Bench]:
    log, control = tmp_path / "log.jsonl", tmp_path / "control"
    settings = {"memory": Kept(), "move_s": 0.02, "boot_s": 0.02, "seed": 1, **settings}
    socket = TcpSocket(0) if tcp else PtySocket(tmp_path / "gate")
    simulator = Simulator(socket, log=EventLog(log), control=control, **settings)
    thread = threading.Thread(target=simulator.run)
    thread.start()
    try:
        yield Bench(simulator, log, control)
    finally:
        simulator.stop()
        thread.join(5)
        assert not thread.is_alive()


@contextmanager
def linked(port: str) -> Iterator[Link]:
    link = Link(lambda: open_port(port), timing=Timing(boot_wait_s=0.3, move_budget_s=0.3))
    link.start("s1", 1)
    try:
        yield link
    finally:
        link.close()


def go(link: Link, n: int, bin_number: int = 1) -> Delivery:
    assert link.wait_until_ready(8)
    boot = link.status().boot
    return link.move(n, bin_number, boot=boot, deadline=uptime_s() + 5).delivery


def test_log_is_the_witness(tmp_path: Path) -> None:
    with running(tmp_path) as bench, linked(str(tmp_path / "gate")) as link:
        assert go(link, 1, 3) is Delivery.DONE
        assert go(link, 2, 4) is Delivery.DONE
        assert [(e["n"], e["bin"]) for e in bench.events("move")] == [(1, 3), (2, 4)]
        assert set(bench.events()[0]) == {"t", "event", "n", "bin"}
        assert [e["event"] for e in bench.events()][-4:] == ["move", "done", "move", "done"]


def test_opening_again_restarts_as_an_arduino_does(tmp_path: Path) -> None:
    with running(tmp_path) as bench:
        for _ in range(3):
            with linked(str(tmp_path / "gate")) as link:
                assert link.wait_until_ready(5)
            time.sleep(0.05)
        assert len(bench.events("boot")) == 4


def test_without_reset_on_open_the_boot_stays(tmp_path: Path) -> None:
    with running(tmp_path, reset_on_open=False) as bench:
        for _ in (1, 2):
            with linked(str(tmp_path / "gate")) as link:
                assert link.wait_until_ready(5)
            time.sleep(0.05)
        assert len(bench.events("boot")) == 1


def test_tcp(tmp_path: Path) -> None:
    with running(tmp_path, tcp=True) as bench, linked(bench.simulator.name) as link:
        assert go(link, 1) is Delivery.DONE


def test_unplug_at_run_time_moves_the_name(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with running(tmp_path) as bench, linked(str(gate)) as link:
        assert go(link, 1) is Delivery.DONE
        bench.do("unplug=0.3")
        wait_for(lambda: not gate.is_symlink())
        wait_for(lambda: not link.status().ready)
        wait_for(lambda: gate.exists())
        assert go(link, 2) is Delivery.DONE
        assert [e["n"] for e in bench.events("move")] == [1, 2]
    assert not gate.is_symlink()


def test_faults_change_at_run_time(tmp_path: Path) -> None:
    with running(tmp_path, words=["delay=0.001"]) as bench, linked(str(tmp_path / "gate")) as link:
        assert go(link, 1) is Delivery.DONE
        bench.do("drop-out=1 late=0.1 nonsense=3")
        wait_for(lambda: bench.simulator.faults.late_s)
        assert bench.simulator.faults.drop_out == 1.0
        bench.do("none")
        wait_for(lambda: not bench.simulator.faults.late_s)
        assert go(link, 2) is Delivery.DONE


def test_stop_button_and_reset_now(tmp_path: Path) -> None:
    with running(tmp_path) as bench, linked(str(tmp_path / "gate")) as link:
        assert link.wait_until_ready(5)
        bench.do("stop")
        wait_for(lambda: link.status().state == "fault")
        bench.do("reset-now")
        assert go(link, 1) is Delivery.DONE


def test_reset_in_mid_movement_is_uncertain_not_doubled(tmp_path: Path) -> None:
    with running(tmp_path, move_s=0.3) as bench, linked(str(tmp_path / "gate")) as link:
        assert link.wait_until_ready(5)
        bench.do("reset=1")
        wait_for(lambda: bench.simulator.faults.reset)
        assert go(link, 1) is Delivery.UNCERTAIN
        assert [e["n"] for e in bench.events("move")] == [1]


@pytest.mark.waits
def test_late_done_and_stray_replies_are_survived(tmp_path: Path) -> None:
    words = ["late=0.5", "stray=0.5", "rejected=1", "drop=0.1", "duplicate=0.3"]
    with running(tmp_path, words=words) as bench, linked(str(tmp_path / "gate")) as link:
        for n in range(1, 6):
            assert go(link, n) is Delivery.DONE
        assert [e["n"] for e in bench.events("move")] == [1, 2, 3, 4, 5]


def test_deaf_after_open(tmp_path: Path) -> None:
    with running(tmp_path, words=["deaf=0.8"]), linked(str(tmp_path / "gate")) as link:
        began = time.monotonic()
        assert go(link, 1) is Delivery.DONE
        assert time.monotonic() - began > 0.5


def test_eeprom_file_survives_the_program(tmp_path: Path) -> None:
    cells = tmp_path / "cells.json"
    FileMemory(cells).save("s1", 41)
    assert FileMemory(cells).load() == ("s1", 41)
    cells.write_text("{")
    assert FileMemory(cells).load() is None
    assert FileMemory(tmp_path / "none").load() is None


def _note(events: list[str], event: str, n: int | None, bin_number: int | None) -> None:
    events.append(event)


def test_host_silent_means_safe_within_3_2_s() -> None:
    rng = random.Random(5)
    for _ in range(1000):
        events: list[str] = []
        device = Device(memory=Ram(), report=partial(_note, events), new_boot=lambda: "b1")
        now = rng.random() * 1e6
        device.power_on(now)
        device.feed(seal("HI s1 1"), now)
        for n in range(1, rng.randrange(1, 9)):
            now += 0.31
            device.tick(now)
            device.feed(seal(f"GO s1 {n} 1"), now)
        last = now
        while "safe" not in events:
            now = device.wake_at
            device.tick(now)
        assert 3.0 - 1e-3 < now - last <= 3.2
        device.feed(seal("GO s1 100 1"), now)
        assert b"NAK 100 SAFE" in b"".join(device.take())
        assert events.count("move") == len([e for e in events if e == "done"])


def test_garbage_streams_move_nothing() -> None:
    rng = random.Random(9)
    moves: list[str] = []
    for _ in range(2000):
        device = Device(
            memory=Ram(),
            report=lambda e, n, b: moves.append(e) if e in ("move", "home") else None,
            new_boot=lambda: "b1",
        )
        device.power_on(0.0)
        device.feed(seal("HI s1 1"), 0.0)
        stream = bytearray(seal("GO s1 1 1") * 3 + rng.randbytes(rng.randrange(100)))
        for at in (5, 20, 35):  # one bit in each of the three commands
            stream[at] ^= 1 << rng.randrange(7)
        device.feed(bytes(stream), 0.0)
    assert not moves


def test_link_name_is_replaced_in_one_step_but_a_file_never(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.symlink_to("/nowhere")
    first = PtySocket(gate)
    before = gate.readlink()
    second = PtySocket(gate)
    assert gate.readlink() != before
    first.close()  # the name is another's now
    assert gate.is_symlink()
    second.close()
    gate.write_text("mine")
    with pytest.raises(FolderError, match="other than a link"):
        PtySocket(gate).close()
    assert gate.read_text() == "mine"
