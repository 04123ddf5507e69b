"""Old pictures in every disguise, and clocks that are set: none of them may move the gate.

    python -m tests.soak.old --kinds 55 --files 2300

For each kind a real station starts on a folder of fresh pictures, more than its table holds. As
soon as it is READY, with most of them unread, they are disguised (`tests.support.disguises`) or
the wall clock is set, and one new picture arrives. That one must move and no other. The model looks
at a picture's colour; the gate only counts.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sorter.station.intake.reading import is_taken
from sorter.station.settings import Settings
from tests.soak.in_process import running, wait
from tests.soak.site import tell
from tests.soak.station_child import COLOURS, paint
from tests.support.disguises import DISGUISES, Disguise

QUIET_S = 3.0
PATIENCE_S = 240.0


class Wall:
    """A wall clock that can be set."""

    def __init__(self) -> None:
        self.off_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.off_s


Kind = tuple[float, float, Disguise]
"""How far the wall clock is off before the start, how far after READY, and what happens."""

AWAY = DISGUISES["folder copied anew"]
KINDS: dict[str, Kind] = {name: (0.0, 0.0, change) for name, change in DISGUISES.items()} | {
    "clock an hour behind the stamps": (-3600.0, -3600.0, DISGUISES["only read"]),
    "clock set back by a minute, the folder away": (0.0, -60.0, AWAY),
    "clock set forth by an hour, the folder away": (0.0, 3600.0, AWAY),
    "clock set back by a day, renamed": (0.0, -86_400.0, DISGUISES["renamed"]),
}


def run(kinds: int, files: int) -> tuple[dict[str, Any], list[str]]:
    """Each of the first `kinds`; figures and broken promises."""
    broken: list[str] = []
    moved = records = 0
    for name, kind in list(KINDS.items())[-kinds:]:
        with tempfile.TemporaryDirectory(prefix="sorter-old-") as folder:
            bad, count = one(Path(folder), kind, files)
        broken += [f"{name}: {line}" for line in bad]
        moved += sum("moved" in line for line in bad)
        records += count
        sys.stderr.write(f"{name}: {count} records, {len(bad)} broken\n")
    return {"kinds": kinds, "files": files, "records": records, "old_moved": moved}, broken


def one(home: Path, kind: Kind, files: int) -> tuple[list[str], int]:
    """One kind; its broken promises and the number of records."""
    before_s, after_s, change = kind
    camera = home / "camera"
    camera.mkdir()
    old = {}
    for number in range(files):
        data = paint(COLOURS[number % 2], number)
        (camera / f"p{number:05}.png").write_bytes(data)
        old[hashlib.sha256(data).hexdigest()] = number
    wall = Wall()
    wall.off_s = before_s
    settings = Settings(settle_s=0.1, unsure="red")
    with running(home, settings, wall=wall) as station:
        wall.off_s = after_s
        change(camera)
        seen = station.listings
        wait(lambda: station.listings > seen + 1, PATIENCE_S)
        new = paint((20, 230, 20), files)
        (camera / ".new").write_bytes(new)
        (camera / ".new").rename(camera / "new.png")
        wanted = {p.name for p in camera.iterdir() if is_taken(p.name)}
        last = [0, time.monotonic()]

        def settled() -> bool:
            if len(station.records) != last[0]:
                last[:] = [len(station.records), time.monotonic()]
            return last[1] + QUIET_S < time.monotonic() and wanted <= _names(station.journal)

        complete = wait(settled, PATIENCE_S)
    bad = [] if complete else [f"{len(wanted - _names(station.journal))} without a record"]
    moved = station.moved()
    bad += [
        f"old {record.picture.path.name} moved ({record.age_s:.1f} s old)"
        for record in moved
        if record.picture.sha256 in old
    ]
    if hashlib.sha256(new).hexdigest() not in {record.picture.sha256 for record in moved}:
        new_ones = [r for r in station.records if r.picture.path.name == "new.png"]
        bad.append(f"the new one is {[(r.state, r.reason) for r in new_ones]}")
    return bad, len(station.records)


def _names(journal: Path) -> set[str]:
    """The names that have a record."""
    with contextlib.closing(sqlite3.connect(journal, timeout=10)) as db:
        return {Path(path).name for (path,) in db.execute("SELECT path FROM items")}


def main() -> int:
    """Parse, run, print one JSON line; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kinds", type=int, default=len(KINDS), help="so many of the last ones")
    parser.add_argument("--files", type=int, default=2300)
    args = parser.parse_args()
    figures, broken = run(args.kinds, args.files)
    return tell("old", figures, broken)


if __name__ == "__main__":
    sys.exit(main())
