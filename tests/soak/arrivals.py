"""Pictures that arrive while nobody looks, in folders that come and go, or broken.

    python -m tests.soak.arrivals stop --files 20000
    python -m tests.soak.arrivals folder --times 50
    python -m tests.soak.arrivals damaged --files 2000

`stop`: the process is stopped (SIGSTOP) while all files arrive, more than inotify's queue holds.
`folder`: the watched folder is removed, renamed or replaced again and again; what is written into
the old one afterwards is nobody's. `damaged`: cut, zeroed, empty and foreign bytes under pictures'
names must move nothing, and each record must say why.
"""

from __future__ import annotations

import argparse
import io
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from tests.soak.camera import digest, drop, painted
from tests.soak.site import Site, open_site, tell

FILES_A_TURN = 20
Result = tuple[dict[str, Any], list[str]]


def stop(files: int, seed: int) -> Result:
    """All files arrive between SIGSTOP and SIGCONT."""
    with open_site() as site:
        site.start()
        site.process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]  # just started
        wanted = {}
        for i in range(files):
            name = f"p{i:05d}.png"
            wanted[name] = drop(site.camera, name, painted(seed * 1_000_000 + i))
        site.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
        begun = time.monotonic()
        site.wait_records(files, 60 + files * 0.05)
        took_s = time.monotonic() - begun
        site.stop()
        broken = site.judge(wanted)
        figures = {"files": files, "seed": seed, "records": len(site.rows())}
        return figures | {"states": site.states(), "caught_up_s": round(took_s, 1)}, broken


def folder(times: int, seed: int) -> Result:
    """`times` folders, one after the other, under one name."""
    random = Random(seed)
    wanted: dict[str, str] = {}
    hows: Counter[str] = Counter()
    with open_site() as site:
        site.start()
        for turn in range(times):
            for i in range(FILES_A_TURN):
                name = f"t{turn:03d}_{i:02d}.png"
                wanted[name] = drop(site.camera, name, painted(seed * 1_000_000 + len(wanted)))
                time.sleep(random.uniform(0.0, 0.02))
            site.wait_records(len(wanted), 60)
            how = random.choice(["removed", "renamed", "renamed at once", "replaced"])
            hows[how] += 1
            _change(site, how, turn, random)
        site.stop()
        broken = site.judge(wanted)
        figures = {"times": times, "seed": seed, "records": len(site.rows())}
        return figures | {"states": site.states(), "hows": dict(hows)}, broken


def _change(site: Site, how: str, turn: int, random: Random) -> None:
    """Put another folder in the old one's place; ghosts go into the old one."""
    if how == "removed":
        shutil.rmtree(site.camera)
        time.sleep(random.uniform(0.0, 1.5))
        site.camera.mkdir()
        return
    old = site.camera.with_name(f"old{turn}")
    new = site.camera.with_name(f"new{turn}")
    new.mkdir()
    site.camera.rename(old)
    if how == "renamed":
        time.sleep(random.uniform(0.0, 1.5))
    if how == "replaced":
        # Filled beforehand, by somebody else: what is in it when it comes is as new as it is.
        shutil.rmtree(old)
        old.mkdir()
    new.rename(site.camera)
    for i in range(3):
        drop(old, f"ghost{turn}_{i}.png", painted(-1 - turn * 10 - i))


def _textured(random: Random, *, kind: str) -> bytes:
    """A whole picture with something in it, so that its compressed data has a length."""
    noise = np.random.default_rng(random.randrange(1 << 30)).integers(0, 256, (24, 32, 3))
    image = Image.fromarray(noise.astype(np.uint8)).resize((320, 240))
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(1, len(data) - 8)]


def _zeroed(data: bytes, random: Random) -> bytes:
    size = int(len(data) * random.uniform(0.1, 0.9))
    at = random.randrange(0, len(data) - size)
    return data[:at] + bytes(size) + data[at + size :]


def _tail_zeroed(data: bytes, random: Random) -> bytes:
    size = int(len(data) * random.uniform(0.1, 0.9))
    return data[:-size] + bytes(size)


def _nothing(data: bytes, random: Random) -> bytes:
    return b""


def _page(data: bytes, random: Random) -> bytes:
    return b"<!DOCTYPE html><title>502 Bad Gateway %d</title>" % random.randrange(1 << 30)


def _noise(data: bytes, random: Random) -> bytes:
    return random.randbytes(random.randrange(1, 5000))


def _blank(data: bytes, random: Random) -> bytes:
    return bytes(random.randrange(1, 5000))


def _beheaded(data: bytes, random: Random) -> bytes:
    return data[random.randrange(1, 40) :]


DAMAGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(_cut, _zeroed, _tail_zeroed, _nothing, _page, _noise, _blank, _beheaded),
)


def damaged(files: int, seed: int) -> Result:
    """Broken pictures only; nothing may move."""
    random = Random(seed)
    wanted: dict[str, str] = {}
    with open_site() as site:
        site.start()
        for i in range(files):
            kind, suffix = (("JPEG", "jpg"), ("PNG", "png"), ("JPEG", "JPEG"))[i % 3]
            damage = DAMAGES[i // 3 % len(DAMAGES)]
            name = f"{damage.__name__.strip('_')}{i:05d}.{suffix}"
            data = damage(_textured(random, kind=kind), random)
            if i % 2:
                wanted[name] = drop(site.camera, name, data)
            else:
                (site.camera / name).write_bytes(data)
                wanted[name] = digest(data)
        site.wait_records(files, 60 + files * 0.05)
        site.stop()
        broken = site.judge(wanted)
        rows = site.rows()
        broken += [f"{r.name} is {r.state} ({r.label})" for r in rows if r.state != "REJECTED"]
        broken += [f"{r.name} is REJECTED without a reason" for r in rows if not r.reason]
        moves = len(site.moves())
        if moves:
            broken.append(f"{moves} movements")
        figures = {"files": files, "seed": seed, "states": site.states(), "moves": moves}
        return figures | {"reasons": len({r.reason for r in rows})}, broken


def main() -> int:
    """Parse, run, print one JSON line; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("mode", choices=("stop", "folder", "damaged"))
    parser.add_argument("--files", type=int, help="default 20000 (stop), 2000 (damaged)")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.mode == "stop":
        figures, broken = stop(args.files or 20_000, args.seed)
    elif args.mode == "folder":
        figures, broken = folder(args.times, args.seed)
    else:
        figures, broken = damaged(args.files or 2_000, args.seed)
    return tell(args.mode, figures, broken)


if __name__ == "__main__":
    sys.exit(main())
