"""How many rooms a picture crosses from the camera's file to the end of its movement.

A room is a module, or a wing of the station (`intake`, `journal`, …), as `tests/test_layers.py`
counts them. What everyone speaks (`domain`, `files`, `host`, …) is no room: it is entered from
everywhere.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import FrameType

import pytest

import sorter
from sorter.demo.pictures import DemoPicture
from sorter.demo.stage import play
from sorter.domain import ItemState, Record
from sorter.vision.model import open_model
from tests.support.tiny import colour_of, paint, taxonomy3, write_bundle

pytestmark = pytest.mark.waits

MOST = 15
ROOT = Path(sorter.__file__).parent
WAYS = ("station", "vision", "actuator")
"""The packages that a picture or its command goes through."""


def room_of(file: str) -> str:
    """The room that a source file is or lies in; "" where it is none of the way."""
    path = Path(file)
    if not path.is_relative_to(ROOT):
        return ""
    package, *inside = path.relative_to(ROOT).with_suffix("").parts
    way = package in WAYS and inside[0] != "simulator"
    return f"{package}/{inside[0]}" if way else ""


def test_a_picture_crosses_few_rooms(tmp_path: Path) -> None:
    model = open_model(write_bundle(tmp_path / "model"))
    shots = []
    for n in range(3):
        file = paint(tmp_path / f"{n}.jpg", colour_of(taxonomy3(), n), size=(64 + n, 48))
        shots.append(DemoPicture(file.name, file.read_bytes()))
    calls: list[tuple[str, str]] = []
    ways: list[set[str]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (room := room_of(frame.f_code.co_filename)):
            calls.append((room, frame.f_code.co_name))

    def tell(record: Record) -> None:
        assert record.state is ItemState.DONE
        begun = next(i for i, call in enumerate(calls) if call == ("station/intake", "_take"))
        ways.append({room for room, _ in calls[begun:]})
        calls.clear()

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        proof = play(model, shots, seconds=20.0, tell=tell)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert proof.honest and len(ways) == len(shots)
    for way in ways:
        assert {"vision/model", "actuator/serialport", "station/journal"} <= way
        assert len(way) <= MOST, sorted(way)
