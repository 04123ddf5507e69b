"""Targets that misbehave on purpose, each in one way that `tests.soak.fuzz` must see."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.soak.fuzz_targets import Target


def _hang(_: Path) -> Callable[[Random], None]:
    return lambda random: time.sleep(600)


def _spin(_: Path) -> Callable[[Random], None]:
    def spin(random: Random) -> None:
        while True:
            pass

    return spin


def _crash(_: Path) -> Callable[[Random], None]:
    def write_to_nowhere(random: Random) -> None:
        ctypes.memset(0, 0, 1)

    return write_to_nowhere


def _bug(_: Path) -> Callable[[Random], None]:
    nothing: dict[str, int] = {}

    def look_up(random: Random) -> None:
        nothing["missing"]

    return look_up


def _greed(_: Path) -> Callable[[Random], None]:
    kept: list[bytes] = []
    return lambda random: kept.append(b"\1" * (1 << 26))


TARGETS = {
    "hang": Target(_hang, 300),
    "spin": Target(_spin, 300),
    "crash": Target(_crash, 300),
    "bug": Target(_bug, 300),
    "greed": Target(_greed, 300),
}
