"""Compile the sketch for an Uno and run it on a simulated one; skip where a tool is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "firmware"
FIRMWARE = Path(__file__).parents[2] / "sorter" / "actuator" / "firmware"
CORE = Path("/usr/share/arduino/hardware/arduino/avr")
FLASH, RAM = 32_256, 2_048  # of an Uno, boot loader taken off


def need(*, program: str = "", file: str = "", package: str) -> None:
    """Skip, naming the Debian package, where a tool is missing."""
    if (program and not shutil.which(program)) or (file and not Path(file).exists()):
        pytest.skip(f"needs the Debian package {package}")


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


def compile_uno(folder: Path) -> Path:
    """The host program that is the board."""
    need(file="/usr/include/simavr/sim_avr.h", package="libsimavr-dev")
    need(file="/usr/include/libelf.h", package="libelf-dev")
    uno = folder / "uno-host"
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-I/usr/include/simavr"]
    command += [str(HERE / "uno.c"), "-o", str(uno), "-lsimavr", "-lelf", "-lutil", "-lpthread"]
    subprocess.run(command, check=True)
    return uno


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
