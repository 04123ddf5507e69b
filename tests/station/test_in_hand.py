"""A picture that ends the process is opened twice and no more; real processes die over it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sorter.errors import ImageError
from sorter.station.intake.in_hand import InHand

BOMB, GOOD = "b" * 64, "a" * 64

DIES = """
import os, signal, sys
from pathlib import Path
from sorter.station.intake.in_hand import InHand
hand = InHand(Path(sys.argv[1]))
with hand.holding("a" * 64):
    pass
with hand.holding("b" * 64):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.process
def test_killed_twice_over_a_picture_it_is_opened_no_more(tmp_path: Path) -> None:
    note = tmp_path / "note"
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", DIES, note], check=False).returncode == -9
    for _ in range(2):  # For good, not for one start.
        hand = InHand(note)
        with pytest.raises(ImageError, match="died 2 times"), hand.holding(BOMB):
            pytest.fail("it was opened")
        with hand.holding(GOOD):
            pass
        hand.close()


def dies(note: Path, error: type[BaseException]) -> None:
    hand = InHand(note)
    with pytest.raises(error), hand.holding(BOMB):
        raise error("of the decoder")
    hand.close()


def test_an_error_of_ours_is_no_crash(tmp_path: Path) -> None:
    for _ in range(3):
        dies(tmp_path / "note", ImageError)
    with InHand(tmp_path / "note").holding(BOMB):
        pass


def test_no_memory_is_as_good_as_a_crash_and_a_good_end_clears_it(tmp_path: Path) -> None:
    dies(tmp_path / "note", MemoryError)
    hand = InHand(tmp_path / "note")
    with hand.holding(BOMB):
        pass
    hand.close()
    dies(tmp_path / "note", MemoryError)
    with InHand(tmp_path / "note").holding(BOMB):
        pass


@pytest.mark.parametrize("damage", [b"", b"\0" * 200, b"\xff\xfe", b"x y z\nq w e\n"])
def test_a_damaged_note_is_no_note(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "note").write_bytes(damage)
    with InHand(tmp_path / "note").holding(GOOD):
        pass


def test_no_place_for_a_note_stops_nobody(tmp_path: Path) -> None:
    hand = InHand(tmp_path / "nowhere" / "note")
    with hand.holding(GOOD):
        pass
    hand.close()
