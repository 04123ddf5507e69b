"""A large journal with one damaged page: it is read on or set aside, and the station works.

    python -m tests.soak.damage --megabytes 200 --pages 100

Each page is damaged in another way: roots of every table and index, pages in between, leaves, the
header; zeroed, torn, swapped, with a bit turned, with foreign bytes. The journal is larger than
what is checked whole at start. The station then does what it does on every start (recover, look
pictures up by path and bytes, record, let old records go), as `sorter watch` does: opened again
where the journal turns out to be damaged.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sqlite3
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from sorter.errors import SorterError
from sorter.station.compose import open_station
from sorter.station.journal.journal import JournalDamagedError
from sorter.station.journal.opening import open_journal
from sorter.station.settings import Settings
from tests.soak.site import tell
from tests.soak.station_child import COLOURS, ColourModel, paint

PICTURES = 3
TRIES = 3
PATIENCE_S = 60.0
ROW_BYTES = 420
"""About, with its two indexes."""

Damage = Callable[[bytearray, int, int, Random], None]
"""Changes a page of `size` bytes that begins at `at`."""


def _zeroed(data: bytearray, at: int, size: int, random: Random) -> None:
    data[at : at + size] = bytes(size)


def _torn(data: bytearray, at: int, size: int, random: Random) -> None:
    data[at + size // 2 : at + size] = bytes(size - size // 2)


def _foreign(data: bytearray, at: int, size: int, random: Random) -> None:
    data[at : at + size] = random.randbytes(size)


def _header(data: bytearray, at: int, size: int, random: Random) -> None:
    data[at : at + 12] = random.randbytes(12)


def _one_bit(data: bytearray, at: int, size: int, random: Random) -> None:
    data[at + random.randrange(size)] ^= 1 << random.randrange(8)


def _swapped(data: bytearray, at: int, size: int, random: Random) -> None:
    other = random.randrange(1, len(data) // size) * size
    mine, theirs = bytes(data[at : at + size]), bytes(data[other : other + size])
    data[at : at + size], data[other : other + size] = theirs, mine


def _cells(data: bytearray, at: int, size: int, random: Random) -> None:
    """The pointers to a page's cells, which lie behind its header."""
    data[at + 8 : at + 72] = random.randbytes(64)


DAMAGES: tuple[Damage, ...] = (_zeroed, _torn, _foreign, _header, _one_bit, _swapped, _cells)


def run(megabytes: int, pages: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """`pages` starts, each on one damaged page; figures and broken promises."""
    random = Random(seed)
    figures: Counter[str] = Counter()
    broken: list[str] = []
    with tempfile.TemporaryDirectory(prefix="sorter-damage-") as folder:
        home = Path(folder)
        whole = home / "whole.sqlite"
        size, roots = _filled(whole, megabytes, home / "camera")
        data = whole.read_bytes()
        count = len(data) // size
        for turn in range(pages):
            # Roots first, the header among them; then pages anywhere.
            page = roots[turn // 2 % len(roots)] if turn % 2 else random.randrange(1, count + 1)
            damage = DAMAGES[turn % len(DAMAGES)]
            bad = bytearray(data)
            damage(bad, (page - 1) * size, size, random)
            state = home / "state"
            state.mkdir()
            (state / "journal.sqlite").write_bytes(bad)
            what = f"page {page} {damage.__name__.strip('_')}"
            try:
                figures[_start(home)] += 1
            except Exception as error:
                broken.append(f"{what}: {type(error).__name__}: {error}")
            shutil.rmtree(state)
    return {"megabytes": megabytes, "pages": pages, "seed": seed, **figures}, broken


def _filled(path: Path, megabytes: int, camera: Path) -> tuple[int, list[int]]:
    """A journal of about so many megabytes; its page size and the root of every tree in it."""
    camera.mkdir()
    for number in range(PICTURES):
        (camera / f"{number}.png").write_bytes(paint(COLOURS[0], number))
    open_journal(path).close()
    rows = (
        (f"/gone/camera/p{n:07}.png", f"{n:064x}", f"{n}:{n}:{n}:{n}", 1e9 + n, 1e9 + n)
        for n in range(megabytes * 1_000_000 // ROW_BYTES)
    )
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.executemany(
            "INSERT INTO items (path, sha256, identity, state, arrived_at, done_at)"
            " VALUES (?, ?, ?, 'DONE', ?, ?)",
            rows,
        )
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        roots = [r for (r,) in db.execute("SELECT rootpage FROM sqlite_schema WHERE rootpage > 0")]
        (size,) = db.execute("PRAGMA page_size").fetchone()
    return size, [1, *roots]


def _start(home: Path) -> str:
    """Start, record the pictures, stop; how the journal took it. Raises where it did not."""
    journal = home / "state" / "journal.sqlite"
    for attempt in range(1, TRIES + 1):
        try:
            return _work(home, journal)
        except JournalDamagedError:
            if attempt == TRIES:
                raise
    raise AssertionError


def _work(home: Path, journal: Path) -> str:
    names: set[str] = set()
    ended = threading.Event()
    with open_station(
        home / "camera",
        journal=journal,
        model=ColourModel(),
        actuator=None,
        settings=Settings(settle_s=0.05, unsure="red", keep_s=1.0),
        sinks=(lambda record: names.add(record.picture.path.name),),
        synchronous="OFF",
    ) as station:

        def watch() -> None:
            for _ in range(int(PATIENCE_S / 0.1)):
                if ended.wait(0.1) or len(names) == PICTURES:
                    break
            ended.wait(0.5)  # Some of the old records go.
            station.stop()

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            station.run()
        finally:
            ended.set()
            thread.join()
    if len(names) != PICTURES:
        raise SorterError(f"{len(names)} of {PICTURES} pictures recorded")
    aside = [p for p in journal.parent.iterdir() if ".damaged-" in p.name]
    return "set_aside" if aside else "read_on"


def main() -> int:
    """Parse, run, print one JSON line; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    figures, broken = run(args.megabytes, args.pages, args.seed)
    return tell("damage", figures, broken)


if __name__ == "__main__":
    sys.exit(main())
