"""Bad input: a row with its reason for every kind of file, and no traceback."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sorter.report.csv import COLUMNS
from sorter.text import uncell
from sorter.vision import images
from tests.support.field_corpus import RED, SIZE, Expected, write_corpus
from tests.support.tiny import write_bundle


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[Expected], Path, Path, subprocess.CompletedProcess[bytes]]:
    """The corpus, classified from inside its folder, so that names begin as they are."""
    folder = tmp_path_factory.mktemp("corpus")
    expected = write_corpus(folder)
    out = tmp_path_factory.mktemp("out")
    bundle = write_bundle(out / "bundle")
    words = [".", "--model", bundle, "--csv", out / "rows.csv", "--jsonl", out / "rows.jsonl"]
    ran = subprocess.run(
        [sys.executable, "-m", "sorter", "classify", *map(str, words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        check=False,
        timeout=200,
    )
    return expected, out / "rows.csv", out / "rows.jsonl", ran


Done = tuple[list[Expected], Path, Path, "subprocess.CompletedProcess[bytes]"]


def _rows(file: Path) -> dict[bytes, dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return {os.fsencode(uncell(row["path"])): row for row in csv.DictReader(stream)}


def test_every_file_gets_the_row_it_must(done: Done) -> None:
    expected, file, _, ran = done
    assert ran.returncode == 1  # some could not be read
    assert b"Traceback" not in ran.stderr
    rows = _rows(file)
    wrong: list[tuple[Expected, dict[str, str] | None]] = []
    for want in expected:
        row = rows.pop(want.name, None)
        if not want.status:
            wrong += [(want, row)] if row is not None else []
            continue
        fits = row is not None and (want.status in ("any", row["status"]))
        if fits and row is not None and want.status == "error":
            fits = bool(row["error"]) and want.says in row["error"]
        if fits and row is not None and want.status == "sorted":
            fits = (row["code"], row["width"], row["height"]) == (want.code, *map(str, want.size))
        if not fits:
            wrong.append((want, row))
    assert not wrong
    assert not rows, "rows that nothing is expected for"


def test_no_cell_is_a_formula_a_line_break_or_a_control(done: Done) -> None:
    _, file, _, ran = done
    text = file.read_text(encoding="utf-8")
    assert text.isascii() or all(c.isprintable() or c == "\n" for c in text)
    assert len(text.splitlines()) == text.count("\n")
    for row in csv.reader(text.splitlines()):
        assert len(row) == len(COLUMNS)
        assert not row[0].startswith(("=", "+", "-", "@"))
    assert all(c.isprintable() or c == "\n" for c in ran.stderr.decode())


def test_json_lines_name_the_same_files(done: Done) -> None:
    _, file, lines, _ = done
    named = [
        os.fsencode(json.loads(line)["path"])
        for line in lines.read_text(encoding="utf-8").split("\n")[:-1]
    ]
    assert sorted(named) == sorted(_rows(file))


def test_a_picture_of_a_phone(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="the heic extra is not installed")
    heif.register_heif_opener()
    Image.new("RGB", SIZE, RED).save(tmp_path / "phone.heic", quality=95)
    picture = images.load(tmp_path / "phone.heic", 32)
    assert (picture.width_px, picture.height_px) == SIZE
    assert abs(picture.pixels.reshape(-1, 3).mean(0) - RED).max() < 8
