"""Every way a picture gets into a folder: one record each, of the bytes it ended with.

    python -m tests.soak.writers --slow 30 --rounds 3

Real tools where there are any (cp, mv from another file system, rsync), and what cameras, FTP
servers and download tools do. All write at the same time. `--slow` is how long the slow writers
take; they pause for a tenth of it at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from tests.soak.camera import TAXONOMY, digest
from tests.soak.site import open_site, tell
from tests.support.tiny import colour_of

PIECES = 10


def textured(random: Random) -> bytes:
    """A JPEG of some hundred kilobytes, unlike any other, that the tiny model knows."""
    noise = np.random.default_rng(random.randrange(1 << 30)).integers(-60, 60, (480, 640, 3))
    colour = colour_of(TAXONOMY, random.randrange(len(TAXONOMY.categories)))
    image = Image.fromarray(np.clip(noise + colour, 0, 255).astype(np.uint8))
    stream = io.BytesIO()
    image.save(stream, "JPEG")
    return stream.getvalue()


class Writer:
    """What a writer needs: the final bytes, where they go, and places to come from."""

    def __init__(self, target: Path, data: bytes, outside: Path, abroad: Path, slow_s: float):
        self.target, self.data, self.slow_s = target, data, slow_s
        self.outside, self.abroad = outside / target.name, abroad / target.name

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes) of each tenth."""
        size = -(-len(self.data) // PIECES)
        for at in range(0, len(self.data), size):
            yield at, self.data[at : at + size]


def cp(job: Writer) -> None:
    job.outside.write_bytes(job.data)
    subprocess.run(["cp", job.outside, job.target], check=True)


def cp_keeping_times(job: Writer) -> None:
    job.outside.write_bytes(job.data)
    os.utime(job.outside, (1.0e9, 1.0e9))
    subprocess.run(["cp", "-p", job.outside, job.target], check=True)


def mv(job: Writer) -> None:
    job.outside.write_bytes(job.data)
    subprocess.run(["mv", job.outside, job.target], check=True)


def mv_from_abroad(job: Writer) -> None:
    job.abroad.write_bytes(job.data)
    subprocess.run(["mv", job.abroad, job.target], check=True)


def rsync(job: Writer) -> None:
    job.outside.write_bytes(job.data)
    subprocess.run(["rsync", "-a", job.outside, job.target], check=True)


def rsync_in_place(job: Writer) -> None:
    job.outside.write_bytes(job.data)
    subprocess.run(["rsync", "-a", "--inplace", job.outside, job.target], check=True)


def hard_link(job: Writer) -> None:
    job.outside.write_bytes(job.data)
    os.link(job.outside, job.target)


def symbolic_link(job: Writer) -> None:
    job.outside.write_bytes(job.data)
    job.target.symlink_to(job.outside)


def filepart(job: Writer) -> None:
    part = job.target.with_name(job.target.name + ".filepart")
    with part.open("wb") as stream:
        for _, piece in job.pieces():
            stream.write(piece)
            stream.flush()
            time.sleep(0.05)
    part.rename(job.target)


def append(job: Writer) -> None:
    for _, piece in job.pieces():
        with job.target.open("ab") as stream:
            stream.write(piece)
        time.sleep(0.05)


def append_slowly(job: Writer) -> None:
    for _, piece in job.pieces():
        with job.target.open("ab") as stream:
            stream.write(piece)
        time.sleep(job.slow_s / PIECES)


def slow(job: Writer) -> None:
    with job.target.open("wb", buffering=0) as stream:
        for _, piece in job.pieces():
            stream.write(piece)
            time.sleep(job.slow_s / PIECES)


def preallocated(job: Writer) -> None:
    with job.target.open("wb", buffering=0) as stream:
        os.posix_fallocate(stream.fileno(), 0, len(job.data))
        for _, piece in job.pieces():
            time.sleep(job.slow_s / PIECES)
            stream.write(piece)


def backwards(job: Writer) -> None:
    """The first tenth last, as some download tools do with several connections."""
    with job.target.open("wb", buffering=0) as stream:
        stream.truncate(len(job.data))
        for at, piece in reversed(list(job.pieces())):
            time.sleep(0.05)
            stream.seek(at)
            stream.write(piece)


def overwritten(job: Writer) -> None:
    """A whole other picture first; then the last one over it in place, without a close between.

    Half-way the file is a JPEG that decodes, of two pictures: nothing but the quiet can tell.
    """
    other = textured(Random(job.target.name))
    with job.target.open("wb", buffering=0) as stream:
        stream.write(other)
        time.sleep(0.2)
        stream.seek(0)
        for _, piece in job.pieces():
            stream.write(piece)
            time.sleep(0.05)
        stream.truncate(len(job.data))


WRITERS: tuple[Callable[[Writer], None], ...] = (
    *(cp, cp_keeping_times, mv, mv_from_abroad, rsync, rsync_in_place, hard_link, symbolic_link),
    *(filepart, append, append_slowly, slow, preallocated, backwards, overwritten),
)


def run(*, rounds: int, slow_s: float, seed: int) -> tuple[dict[str, Any], list[str]]:
    """Every writer, `rounds` times."""
    random = Random(seed)
    writers = [w for w in WRITERS if "rsync" not in w.__name__ or shutil.which("rsync")]
    wanted: dict[str, str] = {}
    failed: list[str] = []
    with open_site() as site, _abroad() as abroad:
        outside = site.home / "outside"
        outside.mkdir()
        site.start()
        for turn in range(rounds):
            threads = []
            for writer in writers:
                job = Writer(
                    site.camera / f"{writer.__name__}{turn}.jpg",
                    textured(random),
                    outside,
                    abroad,
                    slow_s,
                )
                wanted[job.target.name] = digest(job.data)

                def work(writer: Callable[[Writer], None] = writer, job: Writer = job) -> None:
                    try:
                        writer(job)
                    except (OSError, subprocess.CalledProcessError) as error:
                        failed.append(f"{writer.__name__}: {error}")

                threads.append(threading.Thread(target=work))
                threads[-1].start()
            for thread in threads:
                thread.join()
        site.wait_records(len(wanted), 60)
        time.sleep(1.5)  # A surplus one shows.
        site.stop()
        broken = site.judge(wanted) + failed
        figures = {"writers": len(writers), "rounds": rounds, "slow_s": slow_s, "seed": seed}
        figures["another_file_system"] = abroad.stat().st_dev != site.camera.stat().st_dev
        return figures | {"records": len(site.rows()), "states": site.states()}, broken


@contextlib.contextmanager
def _abroad() -> Iterator[Path]:
    """A folder on another file system, where this machine has one for us."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="sorter-soak-", dir=place) as folder:
        yield Path(folder)


def main() -> int:
    """Parse, run, print one JSON line; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--slow", type=float, default=30.0, help="seconds of a slow writer")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    figures, broken = run(rounds=args.rounds, slow_s=args.slow, seed=args.seed)
    return tell("writers", figures, broken)


if __name__ == "__main__":
    sys.exit(main())
