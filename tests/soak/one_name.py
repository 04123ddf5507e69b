"""A camera that keeps one file name, an archive, and a slow disk: no picture is taken for another.

    python -m tests.soak.one_name --pictures 10000

The camera knows when a picture is recorded and delivers the next one at once, while the archive is
at work on the one before; every step of the archive (rename, link, unlink) takes up to `--slow`
seconds longer. Three cameras: one that waits for a free name, one that renames over what is there,
one that writes into it and puts the old mtime back. Lost is what has no record, what the archive
holds under no record's bytes, and what the camera that never overwrites no longer finds there.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from sorter.domain import Record
from sorter.station.health.metrics import Metrics
from sorter.station.settings import Settings
from sorter.station.sinks.archive import Archive
from tests.soak.camera import painted
from tests.soak.in_process import running, wait
from tests.soak.site import tell

NAME = "lastsnap.png"
PATIENCE_S = 30.0
HOWS = ("waits", "renames over", "writes into")


class SlowDisk:
    """Every rename, link and unlink of the station's thread takes up to `slow_s` longer."""

    def __init__(self, slow_s: float, random: Random) -> None:
        self._slow_s, self._random, self._on = slow_s, random, False

    def __enter__(self) -> SlowDisk:
        self._on = True
        sys.addaudithook(self._hook)  # Cannot be taken away again, only told to rest.
        return self

    def __exit__(self, *_: object) -> None:
        self._on = False

    def _hook(self, event: str, _: tuple[object, ...]) -> None:
        is_ours = self._on and threading.current_thread().name == "station"
        if is_ours and event in ("os.rename", "os.link", "os.remove"):
            time.sleep(self._random.uniform(0.0, self._slow_s))


def run(pictures: int, slow_s: float, seed: int) -> tuple[dict[str, Any], list[str]]:
    """`pictures` by the three cameras together; figures and broken promises."""
    broken: list[str] = []
    figures: Counter[str] = Counter()
    for how in HOWS:
        with tempfile.TemporaryDirectory(prefix="sorter-name-") as home:
            bad = _one(Path(home), how, pictures // len(HOWS), slow_s, Random(seed), figures)
        broken += [f"{how}: {line}" for line in bad]
    return {"pictures": pictures, "slow_s": slow_s, "seed": seed, **figures}, broken


def _one(
    home: Path, how: str, pictures: int, slow_s: float, random: Random, figures: Counter[str]
) -> list[str]:
    (home / "camera").mkdir()
    wanted: dict[str, int] = {}
    recorded: set[str] = set()

    def note(record: Record) -> None:
        # Before the archive, so that the camera is at work while it is.
        recorded.add(record.picture.sha256)

    archive = Archive(home / "archive", meter=Metrics())
    settings = Settings(settle_s=0.05, unsure="red")
    with (
        SlowDisk(slow_s, Random(random.random())),
        running(home, settings, sinks=(note, archive)) as station,
    ):
        for number in range(pictures):
            data = painted(number)
            wanted[digest := hashlib.sha256(data).hexdigest()] = number
            time.sleep(random.uniform(0.0, slow_s * 2))
            _deliver(station.camera, how, data)
            if not wait(lambda digest=digest: digest in recorded, PATIENCE_S):  # type: ignore[misc]
                figures["unrecorded"] += 1
        wait(lambda: not (station.camera / NAME).exists(), PATIENCE_S)
    figures["records"] += len(station.records)
    filed = [_digest(path) for path in (home / "archive").rglob("*") if path.is_file()]
    left = {_digest(path) for path in station.camera.iterdir()}
    bad = [f"{wanted[d]} has no record" for d in wanted.keys() - recorded]
    bad += [f"the archive holds {d[:8]}, which has no record" for d in set(filed) - recorded]
    bad += [f"{wanted[d]} is filed {n} times" for d, n in Counter(filed).items() if n > 1]
    gone = wanted.keys() - set(filed) - left
    if how == "waits":
        bad += [f"{wanted[d]} is gone from the disk" for d in gone]
    figures["filed"] += len(filed)
    figures["overwritten_by_the_camera"] += len(gone) if how != "waits" else 0
    return bad


def _deliver(folder: Path, how: str, data: bytes) -> None:
    target, part = folder / NAME, folder / ".part"
    if how == "writes into":
        with contextlib.suppress(FileNotFoundError):
            status = target.stat()
            target.write_bytes(data)
            with contextlib.suppress(FileNotFoundError):  # Taken away meanwhile.
                os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
            return
        target.write_bytes(data)
        return
    part.write_bytes(data)
    if how == "renames over":
        part.rename(target)
        return
    while True:
        with contextlib.suppress(FileExistsError):
            os.link(part, target)
            part.unlink()
            return


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    """Parse, run, print one JSON line; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--slow", type=float, default=0.003, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    figures, broken = run(args.pictures, args.slow, args.seed)
    return tell("one name", figures, broken)


if __name__ == "__main__":
    sys.exit(main())
