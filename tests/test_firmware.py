"""The device's C: the same table of conversations, a bounded fuzz, and the sketch on a chip."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sorter.actuator.link import Link
from sorter.actuator.probe import probe
from sorter.actuator.protocol import seal
from sorter.actuator.serialport import open_port
from sorter.domain import Delivery
from tests.actuator_conversations import Step, conversations

HERE = Path(__file__).parent / "firmware"
FIRMWARE = Path(__file__).parents[1] / "sorter" / "actuator" / "firmware"
CORE = Path("/usr/share/arduino/hardware/arduino/avr")
FLASH, RAM = 32_256, 2_048  # of an Uno, boot loader taken off
CONVERSATIONS = list(conversations())


def need(*, program: str = "", file: str = "", package: str) -> None:
    """Skip, naming the Debian package, where a tool is missing."""
    if (program and not shutil.which(program)) or (file and not Path(file).exists()):
        pytest.skip(f"needs the Debian package {package}")


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ws1.c and keep.c for this machine, with sanitizers."""
    need(program="gcc", package="gcc")
    program = tmp_path_factory.mktemp("host") / "host"
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-g"]
    command += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{FIRMWARE}"]
    command += [str(HERE / "host.c"), str(FIRMWARE / "ws1.c"), str(FIRMWARE / "keep.c")]
    subprocess.run([*command, "-o", str(program)], check=True)
    return program


@pytest.mark.parametrize(("name", "steps"), CONVERSATIONS, ids=[c[0] for c in CONVERSATIONS])
def test_the_c_core_keeps_to_the_table(host: Path, name: str, steps: list[Step]) -> None:
    now_ms, script = 0, []
    for step in steps:
        now_ms += step.wait_ms
        line = {
            "power": "power",
            "lose": "lose",
            "wait": f"at {now_ms}",
            "say": f"hex {step.data.hex()}",
        }[step.verb]
        script.append(line)
    said = subprocess.run(
        [host, "run"], input="\n".join(script) + "\n", capture_output=True, text=True, check=True
    ).stdout
    answers = [part.splitlines() for part in said.split(".\n")[:-1]]
    assert len(answers) == len(steps)
    for step, lines in zip(steps, answers, strict=True):
        replies = [line[2:].rpartition("*")[0] for line in lines if line.startswith("< ")]
        sealed = [line[2:] for line in lines if line.startswith("< ")]
        events = [line[2:] for line in lines if line.startswith("= ") and line != "= fault"]
        assert (step.number, replies) == (step.number, step.replies)
        assert sealed == [seal(body).decode().rstrip() for body in replies]
        assert (step.number, [e.removesuffix(" 0") for e in events]) == (step.number, step.events)


def test_fuzz_moves_nothing_unasked(host: Path) -> None:
    said = subprocess.run(
        [host, "fuzz", "300000", "1"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"moves (\d+) expected (\d+)", said)
    assert found
    assert int(found[1]) == int(found[2]) > 1000


def test_kept_numbers_survive_power_cuts(host: Path) -> None:
    said = subprocess.run(
        [host, "keep", "100000", "1"], capture_output=True, text=True, check=True
    ).stdout
    cuts, worn = re.search(r"power cuts (\d+)", said), re.search(r"worn cell (\d+)", said)
    assert cuts
    assert int(cuts[1]) > 100
    assert worn
    assert int(worn[1]) < 100_000 / 100  # a ring of slots: one cell a hundred movements or fewer


def compile_sketch(folder: Path, *flags: str) -> Path:
    """The whole sketch for an ATmega328P, with the Arduino core."""
    need(program="avr-gcc", package="gcc-avr")
    need(file="/usr/lib/avr/include/avr/io.h", package="avr-libc")
    need(file=str(CORE), package="arduino-core-avr")
    common = ["-mmcu=atmega328p", "-DF_CPU=16000000L", "-DARDUINO=10819", "-DARDUINO_AVR_UNO"]
    # The compiler of Debian is older than the core, which wants this one constant.
    common += ["-DARDUINO_ARCH_AVR", "-DDECIMAL_DIG=__DECIMAL_DIG__", "-Os", "-flto"]
    common += ["-ffunction-sections", "-fdata-sections", f"-I{CORE}/cores/arduino", *flags]
    common += [f"-I{CORE}/variants/standard", f"-I{FIRMWARE}"]
    plus = ["-std=gnu++11", "-fno-exceptions", "-fno-threadsafe-statics", "-fpermissive"]
    jobs = [
        ("avr-gcc", ["-std=gnu11", "-Wall", "-Wextra", "-Werror"], FIRMWARE / "ws1.c"),
        ("avr-gcc", ["-std=gnu11", "-Wall", "-Wextra", "-Werror"], FIRMWARE / "keep.c"),
        (
            "avr-g++",
            [*plus, "-Wall", "-include", "Arduino.h", "-x", "c++"],
            FIRMWARE / "firmware.ino",
        ),
    ]
    jobs += [("avr-gcc", ["-std=gnu11", "-w"], f) for f in CORE.glob("cores/arduino/*.c")]
    jobs += [("avr-g++", [*plus, "-w"], f) for f in CORE.glob("cores/arduino/*.cpp")]
    objects = []
    for compiler, own, source in jobs:
        objects.append(str(folder / f"{source.name}.o"))
        subprocess.run([compiler, *common, *own, "-c", str(source), "-o", objects[-1]], check=True)
    elf = folder / "sketch.elf"
    link = ["avr-gcc", "-mmcu=atmega328p", "-Os", "-flto", "-fuse-linker-plugin"]
    subprocess.run([*link, "-Wl,--gc-sections", *objects, "-o", str(elf), "-lm"], check=True)
    return elf


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(simavr host program, sketch with short movements)."""
    folder = tmp_path_factory.mktemp("avr")
    sketch = compile_sketch(folder, "-DGO_MS=25", "-DRETURN_MS=15")
    return compile_uno(folder), sketch


def compile_uno(folder: Path) -> Path:
    """The host program that is the board."""
    need(file="/usr/include/simavr/sim_avr.h", package="libsimavr-dev")
    need(file="/usr/include/libelf.h", package="libelf-dev")
    uno = folder / "uno-host"
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-I/usr/include/simavr"]
    command += [str(HERE / "uno.c"), "-o", str(uno), "-lsimavr", "-lelf", "-lutil", "-lpthread"]
    subprocess.run(command, check=True)
    return uno


def test_the_sketch_fits_an_uno_with_a_third_to_spare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elf = compile_sketch(tmp_path)
    text = subprocess.run(
        ["avr-size", "-A", str(elf)], capture_output=True, text=True, check=True
    ).stdout
    sizes = {row.split()[0]: int(row.split()[1]) for row in text.splitlines() if row[:1] == "."}
    flash = sizes[".text"] + sizes[".data"]
    ram = sizes[".data"] + sizes.get(".bss", 0) + sizes.get(".noinit", 0)
    with capsys.disabled():
        print(  # noqa: T201
            f"\nsketch: flash {flash} of {FLASH} bytes ({flash / FLASH:.0%}),"
            f" RAM {ram} of {RAM} bytes ({ram / RAM:.0%}) before the stack"
        )
    assert flash <= FLASH * 2 / 3
    assert ram <= RAM * 2 / 3


class Uno:
    """The simulated board, its events, and its reset button."""

    def __init__(self, board: tuple[Path, Path], folder: Path) -> None:
        self.port = str(folder / "tty")
        self._events = folder / "events"
        self._out = self._events.open("w")
        self._process = subprocess.Popen(
            [board[0], board[1], self.port, folder / "eeprom"],
            stdin=subprocess.PIPE,
            stdout=self._out,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        while not os.path.lexists(self.port):
            assert self._process.poll() is None
            time.sleep(0.01)

    def tell(self, word: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()

    def events(self) -> list[list[str]]:
        return [line.split() for line in self._events.read_text().splitlines() if line[0].isdigit()]

    def moves(self) -> int:
        return sum(e[1] == "pulse" and e[2] != "1500" for e in self.events())

    def close(self) -> None:
        if self._process.poll() is None:
            self.tell("quit")
            self._process.wait(10)
        assert self._process.stdin
        self._process.stdin.close()
        self._out.close()


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
    return link.move(n, n % 4 + 1, boot=boot, deadline=time.monotonic() + 5).delivery


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
        assert link.resolve(11, boot=boots[-1]).delivery is Delivery.REFUSED
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


def _until(read: object, word: str) -> str:
    assert callable(read)
    said, until = "", time.monotonic() + 5
    while word not in said or not said.endswith("\n"):
        assert time.monotonic() < until, said
        said += read(0.1).decode()
    return said
