"""The doctor on a camera: its newest pictures, and the program that takes them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sorter.doctor.camera import check_pictures, check_program
from sorter.doctor.finding import Level

SAMPLES = sorted((Path(__file__).parents[2] / "sorter/samples/pictures").glob("*.jpg"))
NOW = 1_800_000_000.0


def _fill(folder: Path, pictures: list[Image.Image]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        path = folder / f"{number}.png"
        picture.save(path)
        os.utime(path, (NOW - 60 * number, NOW - 60 * number))


def _samples(count: int = 9) -> list[Image.Image]:
    return [Image.open(path).convert("RGB").resize((480, 360)) for path in SAMPLES[:count]]


def test_good_pictures_are_good_and_old_ones_say_how_old(tmp_path: Path) -> None:
    _fill(tmp_path, _samples())
    found = check_pictures(tmp_path, now=NOW + 7200)
    assert (found.level, found.says) == (Level.OK, "last picture 2 hours ago, 480 x 360 px")


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (lambda p: p.filter(ImageFilter.GaussianBlur(8)), "blurred"),
        (lambda p: Image.fromarray(np.asarray(p) // 8), "dark"),
        (lambda p: Image.fromarray(255 - (255 - np.asarray(p)) // 32), "too bright"),
        (lambda p: p.resize((160, 120)), "small"),
    ],
)
def test_a_fault_of_the_camera_is_named_and_a_single_picture_s_is_not(
    tmp_path: Path, fault: object, word: str
) -> None:
    assert callable(fault)
    _fill(tmp_path / "bad", [fault(picture) for picture in _samples()])
    found = check_pictures(tmp_path / "bad", now=NOW)
    assert found.level is Level.WARN and f"9 of 9 {word}" in found.says, found
    assert "systemd/CAMERA.md" in found.fix
    pictures = _samples()
    pictures[0] = fault(pictures[0])
    _fill(tmp_path / "good", pictures)
    assert check_pictures(tmp_path / "good", now=NOW).level is Level.OK


def test_halves_nothing_and_the_archive(tmp_path: Path) -> None:
    camera, archive = tmp_path / "camera", tmp_path / "archive"
    camera.mkdir()
    assert "no picture has arrived" in check_pictures(camera, archive).says
    _fill(archive / "2026-11-26" / "residual", _samples(3))
    _fill(archive / "2026-11-25" / "food", _samples(3))
    found = check_pictures(camera, archive, now=NOW)
    assert found.says == "last picture 0 seconds ago, 480 x 360 px"
    (camera / "half.jpg").write_bytes(SAMPLES[0].read_bytes()[:900])
    found = check_pictures(camera)
    assert "1 of 1 cannot be opened" in found.says and found.level is Level.WARN


def test_the_program_is_looked_for_and_its_unit_named(tmp_path: Path) -> None:
    nowhere = tmp_path / "no-systemd"
    assert check_program(unit_dir=tmp_path, run_dir=nowhere) is None
    unit = tmp_path / "sorter-camera.service"
    unit.write_text("[Service]\nExecStart=/usr/bin/no-such-program -x\n")
    missing = check_program(unit_dir=tmp_path, run_dir=nowhere)
    assert missing is not None and missing.level is Level.FAIL
    assert "/usr/bin/no-such-program is not installed" in missing.says
    unit.write_text(f"[Service]\nExecStart={shutil.which('true')}\n")
    there = check_program(unit_dir=tmp_path, run_dir=nowhere)
    assert there is not None and there.level is Level.OK
