"""The whole sketch on a simulated ATmega328P, its UART a pty, our link at the other end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sorter.actuator.link import Link
from sorter.actuator.probe import probe
from sorter.actuator.protocol import seal
from sorter.actuator.serialport import open_port
from sorter.domain import Delivery
from sorter.host.clock import uptime_s
from tests.support.actuator_board import Uno, compile_sketch, compile_uno


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(simavr host program, sketch with short movements)."""
    folder = tmp_path_factory.mktemp("avr")
    sketch = compile_sketch(folder, "-DGO_MS=25", "-DRETURN_MS=15")
    return compile_uno(folder), sketch


@pytest.fixture
def uno(board: tuple[Path, Path], tmp_path: Path) -> Iterator[Uno]:
    device = Uno(board, tmp_path)
    yield device
    device.close()


def connect(port: str, next_n: int = 1) -> Link:
    link = Link(lambda: open_port(port), device="uno")
    link.start("s1", next_n)
    assert link.wait_until_ready(15), link.status()
    return link


def go(link: Link, n: int) -> Delivery:
    assert link.wait_until_ready(15), link.status()
    boot = link.status().boot
    return link.move(n, n % 4 + 1, boot=boot, deadline=uptime_s() + 5).delivery


def test_hand_shake_and_200_items_on_the_chip(uno: Uno) -> None:
    link = connect(uno.port)
    try:
        outcomes = [go(link, n) for n in range(1, 201)]
    finally:
        link.close()
    assert outcomes == [Delivery.DONE] * 200
    assert uno.moves() == 200
    pulses = [int(e[2]) for e in uno.events() if e[1] == "pulse" and e[2] != "1500"]
    assert pulses == [(1000, 1250, 1750, 2000)[n % 4] for n in range(1, 201)]


def test_resets_change_the_boot_and_keep_the_mark(uno: Uno) -> None:
    link = connect(uno.port)
    boots = []
    try:
        for n in range(1, 11):
            boots.append(link.status().boot)
            assert go(link, n) is Delivery.DONE
            uno.tell("reset")
            until = time.monotonic() + 10
            while link.status().boot == boots[-1] or not link.status().ready:
                assert time.monotonic() < until
                time.sleep(0.01)
            # What was done before the reset is unknown after it, but never new.
            assert link.resolve(n, boot=boots[-1]).delivery is Delivery.UNCERTAIN
        # A number that no device started: of this boot that is believed, after a reset it could
        # be another device that says so.
        assert link.resolve(11, boot=link.status().boot).delivery is Delivery.REFUSED
        assert link.resolve(11, boot=boots[-1]).delivery is Delivery.UNCERTAIN
    finally:
        link.close()
    assert len(set(boots)) == 10
    assert uno.moves() == 10


def test_a_reset_in_mid_movement_never_moves_twice(uno: Uno) -> None:
    link = connect(uno.port)
    ends = []
    try:
        for n in range(1, 21):
            assert link.wait_until_ready(15)
            if n % 2:
                uno.tell("reset")
            ends.append(go(link, n))
            time.sleep(0.05)
    finally:
        link.close()
    assert ends.count(Delivery.DONE) >= 5
    assert uno.moves() <= 20
    assert uno.moves() >= ends.count(Delivery.DONE)


def test_the_mark_survives_power(board: tuple[Path, Path], tmp_path: Path) -> None:
    first = Uno(board, tmp_path)
    link = connect(first.port)
    assert [go(link, n) for n in range(1, 8)] == [Delivery.DONE] * 7
    link.close()
    first.close()
    again = Uno(board, tmp_path)
    try:
        pipe = open_port(again.port)
        found = probe(pipe)
        pipe.close()
        assert (found.session, found.mark, found.device) == ("s1", "7", "uno")
        link = connect(again.port, 8)
        assert link.resolve(7, boot="").delivery is Delivery.UNCERTAIN
        assert go(link, 8) is Delivery.DONE
        link.close()
        assert again.moves() == 1
    finally:
        again.close()


def test_silence_makes_the_chip_safe_within_3_2_s(uno: Uno) -> None:
    port = open_port(uno.port)
    try:
        _until(port.read, "BOOT")
        port.write(seal("HI s1 1"))
        _until(port.read, "HI ")
        began = time.monotonic()
        time.sleep(2.6)
        port.write(b"HB 1*0000\n")  # garbage is no sign of life
        assert "NAK - CRC" in _until(port.read, "NAK")
        time.sleep(max(0.0, 3.2 - (time.monotonic() - began)))
        port.write(seal("GO s1 1 1"))
        assert "NAK 1 SAFE" in _until(port.read, "NAK")
        port.write(seal("HI s1 1"))
        assert "IDLE" in _until(port.read, "HI ")
        port.write(seal("GO s1 1 1") + b"!")
        _until(port.read, "FAULT STOP")
        port.write(seal("Q 1"))
        assert "ST 1 FAIL" in _until(port.read, "ST")
    finally:
        port.close()
    time.sleep(0.1)
    assert any(e[1] == "limp" for e in uno.events())


@pytest.mark.parametrize("times", [2])
def test_silence_in_mid_movement_is_measured_on_the_chip_s_own_clock(
    tmp_path: Path, times: int
) -> None:
    """The servo itself says when the chip went safe. `times` is 20 in tests/soak/chip.py."""
    uno = Uno((compile_uno(tmp_path), compile_sketch(tmp_path, "-DGO_MS=9000")), tmp_path)
    port = open_port(uno.port)
    try:
        for n in range(1, times + 1):
            if n == 1:
                _until(port.read, "BOOT")
            port.write(seal("HI s1 1"))
            _until(port.read, "HI ")
            port.write(seal(f"GO s1 {n} 1"))
            _until(port.read, f"ACK {n}")
            assert f"FAIL {n} SAFE" in _until(port.read, "FAIL")
    finally:
        port.close()
        time.sleep(0.05)
        uno.close()
    pulses = [(int(e[0]), e[2]) for e in uno.events() if e[1] == "pulse"]
    went = [at for at, us in pulses if us == "1000"]
    came = [at for at, us in pulses if us == "1500"][-times:]
    assert len(went) == len(came) == times
    assert all(2900 <= b - a <= 3200 for a, b in zip(went, came, strict=True))


def _until(read: Callable[[float], bytes], word: str) -> str:
    said, until = "", time.monotonic() + 5
    while word not in said or not said.endswith("\n"):
        assert time.monotonic() < until, said
        said += read(0.1).decode()
    return said
