"""What is fuzzed: each reader of bytes from outside, with sound examples to damage.

A target's `try_one` damages an example and reads it. It returns where that was read, raises a
SorterError where it was refused; anything else that comes out of it is a fault.
"""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from sorter.domain import Identity, ItemState, Outcome, Picture, Record, Status
from sorter.report import csv as csv_report
from sorter.report import jsonl as jsonl_report
from sorter.station.health.status import live_path
from sorter.station.journal.history import read_items, summarise
from sorter.station.journal.opening import open_journal
from sorter.taxonomy import read_taxonomy
from sorter.vision import images
from sorter.vision.bundle import open_bundle
from sorter.vision.model import Classifier
from tests.soak.mutate import mutate, mutate_png
from tests.support.mishaps import toml_of
from tests.support.tiny import taxonomy3, write_bundle
from train.drawn.render import draw

MAX_PIXELS = 4_000_000
"""Small, so that what a decoder takes for itself stands out from the picture."""


@dataclass(frozen=True)
class Target:
    """`make` prepares a folder and gives `try_one`; more than `limit_mb` resident is a fault."""

    make: Callable[[Path], Callable[[Random], None]]
    limit_mb: int


def _decode(_: Path) -> Callable[[Random], None]:
    examples = _pictures()

    def try_one(random: Random) -> None:
        kind, data = random.choice(examples)
        if kind == "PNG" and random.random() < 0.7:
            damaged = mutate_png(data, random)
        else:
            damaged = mutate(data, random)
        picture = images.decode(damaged, 32, max_pixels=MAX_PIXELS)
        assert picture.pixels.shape == (32, 32, 3)
        assert 0 < picture.width_px * picture.height_px <= MAX_PIXELS

    return try_one


def _pictures() -> Sequence[tuple[str, bytes]]:
    whole = draw("00_03", seed=1, side_px=72)
    noise = Image.fromarray(np.random.default_rng(2).integers(0, 256, (40, 56, 3), np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    rows: list[tuple[str, bytes]] = []

    def add(kind: str, picture: Image.Image, **options: object) -> None:
        stream = io.BytesIO()
        picture.save(stream, kind, **options)
        rows.append((kind, stream.getvalue()))

    for picture in (whole, noise):
        add("JPEG", picture, quality=80, exif=exif)
        add("JPEG", picture, progressive=True)
        add("JPEG", picture, restart_marker_blocks=2)
        add("JPEG", picture.convert("CMYK"))
        add("PNG", picture, exif=exif)
        add("PNG", picture.quantize(16), transparency=3)
        add("PNG", picture.convert("RGBA"), save_all=True, append_images=[noise.convert("RGBA")])
        add("WEBP", picture, quality=60, exif=exif)
        add("WEBP", picture.convert("RGBA"), lossless=True)
        add("WEBP", picture, save_all=True, append_images=[picture.rotate(90)])
        add("BMP", picture)
        add("BMP", picture.quantize(16))
        add("GIF", picture)
        add("GIF", picture, save_all=True, append_images=[picture.rotate(90)])
        for compression in ("raw", "tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate"):
            add("TIFF", picture, compression=compression)
        add("TIFF", picture.convert("1"), compression="group4")
        add("AVIF", picture)
    deep = Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60) * 27)
    add("PNG", deep)
    add("TIFF", deep)
    add("TIFF", Image.fromarray(np.linspace(0, 1, 2400, dtype=np.float32).reshape(40, 60)))
    return rows


def _resume(folder: Path) -> Callable[[Random], None]:
    names = ["a.jpg", "=b.png", "c\nd.jpg", "é 罐.webp", 'q"uote.jpg', "n\udcff.jpg"]
    outcomes = [Outcome(Path(name), Status.ERROR, error="damaged PNG: cut short") for name in names]
    formats = (
        (csv_report.open_csv, csv_report.to_line, ",".join(csv_report.COLUMNS) + "\n"),
        (jsonl_report.open_jsonl, jsonl_report.to_line, ""),
    )

    def try_one(random: Random) -> None:
        open_report, to_line, header = random.choice(formats)
        lines = [to_line(outcome) for outcome in outcomes]
        # A sorted row is kept, an error tried again: both ways must stand damage.
        sound = (header + "".join(lines).replace("error", "sorted", 2)).encode()
        report = folder / "report"
        for suffix in ("", ".part", ".left"):
            file = report.with_name(report.name + suffix)
            file.unlink(missing_ok=True)
            if random.random() < 0.7:
                file.write_bytes(mutate(sound, random, text=True))
        with open_report(report, resume=True) as rows:
            for outcome in outcomes:
                rows.write(rows.finished(str(outcome.path)) or to_line(outcome))
        written = report.read_bytes().removeprefix(header.encode()).splitlines()
        # A row that damage gave another name is kept: resuming loses none.
        for line in lines:
            begin = line.encode().split(b",", 1)[0] + b","
            assert sum(row.startswith(begin) for row in written) == 1, (begin, written)

    return try_one


def _taxonomy(folder: Path) -> Callable[[Random], None]:
    sound = toml_of(taxonomy3()).encode()
    file = folder / "taxonomy.toml"

    def try_one(random: Random) -> None:
        file.write_bytes(mutate(sound, random, text=True))
        taxonomy = read_taxonomy(file)
        assert all(taxonomy.find(item.code) for item in taxonomy.categories)

    return try_one


def _bundle(folder: Path) -> Callable[[Random], None]:
    sound = write_bundle(folder / "sound", precisions=("fp16",))
    damaged = folder / "damaged"
    shutil.copytree(sound, damaged)
    files = {file.name: file.read_bytes() for file in sound.iterdir()}

    def try_one(random: Random) -> None:
        name = random.choice(("model.xml", "model.xml", "model.xml", "model.bin", "card.json"))
        for other, data in files.items():
            (damaged / other).write_bytes(data)
        (damaged / name).write_bytes(mutate(files[name], random, text=name != "model.bin"))
        bundle = open_bundle(damaged)
        assert 0 < len(bundle.taxonomy.categories) <= 10_000
        assert all(0 <= t <= 1 for t in bundle.policy.bin_thresholds)
        # What opens is compiled and run as well: the graph may be another one by now.
        pixels = np.zeros((1, bundle.size_px, bundle.size_px, 3), np.uint8)
        probabilities = Classifier(bundle, precision="fp16", threads=1).predict(pixels)[0]
        assert probabilities.shape == (1, len(bundle.taxonomy.categories))

    return try_one


def _journal(folder: Path) -> Callable[[Random], None]:
    file = folder / "journal.sqlite"
    with_rows = _sound_journal(folder / "sound.sqlite")
    live = json.dumps({"pid": 1, "at": time.time(), "link": "ready", "problems": ["x"]}).encode()

    def try_one(random: Random) -> None:
        for old in folder.glob("journal.sqlite*"):
            old.unlink()
        file.write_bytes(mutate(with_rows, random))
        if random.random() < 0.3:
            file.with_name(file.name + "-wal").write_bytes(mutate(with_rows[:4096], random))
        live_path(file).write_bytes(mutate(live, random, text=True))
        if random.random() < 0.3:
            journal = open_journal(file, synchronous="OFF")
            try:
                assert journal.next_n >= 1
                journal.unfinished()
            finally:
                journal.close()
        summarise(file)
        for row in read_items(file):
            json.dumps(row)

    return try_one


def _sound_journal(file: Path) -> bytes:
    journal = open_journal(file)
    for i, state in enumerate([*ItemState] * 3):
        picture = Picture(
            Path(f"/cam/{i}.jpg"), b"", f"{i:064x}", Identity(i, 9, i, i), 1.0 * i, 1e9 + i
        )
        journal.add(Record(picture, state, reason="r" * i))
    journal.close()
    db = sqlite3.connect(file)
    db.execute("PRAGMA journal_mode = DELETE")
    db.close()
    return file.read_bytes()


TARGETS: dict[str, Target] = {
    "decode": Target(_decode, 400),
    "resume": Target(_resume, 200),
    "taxonomy": Target(_taxonomy, 200),
    "bundle": Target(_bundle, 400),
    "journal": Target(_journal, 200),
}
