"""The journal's disk fills up, or its syncs stall, while pictures keep coming.

    python -m tests.soak.disk --full 60 --stall 5 --times 3
    python -m tests.soak.disk --full 60 --stall 0 --tmpfs

A small library between the station and the C library (`disk.c`, built with gcc) plays the disk, so
that no right is needed; `--tmpfs` fills a real one instead, which needs root. The station must
live through it, move nothing late, record every picture, and sort again by itself at once.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from tests.soak.camera import Camera
from tests.soak.site import open_site, tell

BACK_S = 10.0
"""From the fault's end to the next movement, at most."""

SOURCE = Path(__file__).with_name("disk.c")


def build(folder: Path) -> Path:
    """The library that plays the disk."""
    library = folder / "disk.so"
    words = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*words, "-o", library, SOURCE, "-ldl"], check=True)
    return library


def run(
    *, full_s: float, stall_s: float, times: int, seed: int, tmpfs: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """`times` full disks and `times` stalls, at random instants of the flow."""
    random = Random(seed)
    backs_s: list[float] = []
    with open_site() as site, contextlib.ExitStack() as stack:
        state = site.journal.parent
        state.mkdir()
        control = site.home / "control"
        control.mkdir()
        environment = {}
        fill: Callable[[], contextlib.AbstractContextManager[None]]
        if tmpfs:
            stack.enter_context(_mounted(state))
            fill = lambda: _filled(state)  # noqa: E731
        else:
            environment = {
                "LD_PRELOAD": str(build(site.home)),
                "SOAK_DISK": str(state),
                "SOAK_DISK_CONTROL": str(control),
            }
            fill = lambda: _flag(control / "full")  # noqa: E731
        faults: list[tuple[float, Callable[[], contextlib.AbstractContextManager[None]]]] = []
        if full_s:
            faults += [(full_s, fill)] * times
        if stall_s and not tmpfs:
            faults += [(stall_s, lambda: _flag(control / "stall"))] * times
        site.start(environment=environment)
        with Camera(site.camera, seed, rate=5.0) as camera:
            for seconds, fault in faults:
                time.sleep(random.uniform(1.0, 2.0))
                with fault():
                    time.sleep(seconds)
                ended, moved = time.monotonic(), len(site.moves())
                site.wait(lambda moved=moved: len(site.moves()) > moved, 2 * BACK_S)  # type: ignore[misc]
                backs_s.append(time.monotonic() - ended)
        site.wait_records(len(camera.wanted), 60)
        site.stop()
        broken = site.judge(camera.wanted)
        broken += [f"sorted again only {s:.1f} s after the fault" for s in backs_s if s > BACK_S]
        said = site.log.read_text(errors="replace")
        if full_s and said.count("takes records again") < times:
            broken.append(f"the disk was full {times} times and the log does not say so")
        figures = {"full_s": full_s, "stall_s": stall_s, "times": times, "seed": seed}
        figures |= {"tmpfs": tmpfs, "pictures": len(camera.wanted), "moves": len(site.moves())}
        figures["back_s"] = round(max(backs_s, default=0.0), 1)
        return {**figures, "states": site.states()}, broken


@contextlib.contextmanager
def _flag(file: Path) -> Iterator[None]:
    file.touch()
    try:
        yield
    finally:
        file.unlink()


@contextlib.contextmanager
def _mounted(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextlib.contextmanager
def _filled(folder: Path) -> Iterator[None]:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            left = shutil.disk_usage(folder).free
            stream.write(bytes(max(4096, left)))
    try:
        yield
    finally:
        ballast.unlink()


def main() -> int:
    """Parse, run, print one JSON line; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", type=float, default=60.0, help="seconds a disk is full; 0: none")
    parser.add_argument("--stall", type=float, default=5.0, help="seconds a sync takes; 0: none")
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--tmpfs", action="store_true", help="a real disk; needs root")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    figures, broken = run(
        full_s=args.full, stall_s=args.stall, times=args.times, seed=args.seed, tmpfs=args.tmpfs
    )
    return tell("disk", figures, broken)


if __name__ == "__main__":
    sys.exit(main())
