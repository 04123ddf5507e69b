"""From a picture's closing to the bytes of its command, against what the parts take alone.

    python -m tests.soak.respond --items 300

The released weights, an idle link, one picture at a time: 300-pixel ones and 12-megapixel ones. The
settling time is taken off. Between two pictures the same bytes are decoded and classified and a
page is synced here, alone, so that both sides of the ratio share the machine's mood.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from sorter.vision.model import LoadedModel, open_model
from tests.soak.camera import drop
from tests.soak.site import Site, open_site, tell

SIZES = {"300 px": (300, 300), "12 MP": (4000, 3000)}
SETTLE_S = 0.1
LIMIT = 2.0
COMMIT_BYTES = 3 * 4096
"""What one record adds to the journal's log: the page of the table and those of two indexes."""


def pictures(size: tuple[int, int], count: int, random: Random) -> list[bytes]:
    """JPEGs of one scene, as a camera compresses it, each with a number of its own."""
    small = np.random.default_rng(random.randrange(1 << 30)).integers(0, 256, (48, 64, 3))
    image = Image.fromarray(small.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    whole = stream.getvalue()
    # A comment behind the first marker: other bytes, the same picture.
    return [whole[:2] + _comment(random.randrange(1 << 60)) + whole[2:] for _ in range(count)]


def _comment(number: int) -> bytes:
    text = str(number).encode()
    return b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def run(*, items: int, seed: int) -> tuple[dict[str, Any], list[str]]:
    """`items` pictures of each size."""
    random = Random(seed)
    figures: dict[str, Any] = {"items": items, "seed": seed}
    with open_site() as site:
        model = open_model()
        marks = site.home / "go"
        marks.touch()
        site.start(
            *("--model", str(model.bundle.path), "--unsure", model.taxonomy.bins[0].key),
            *("--settle", str(SETTLE_S)),
            module="tests.soak.timed_watch",
            environment={"SOAK_GO": str(marks)},
        )
        wanted: dict[str, str] = {}
        for name, size in SIZES.items():
            waits_s, alone_s = _one_size(site, model, marks, wanted, pictures(size, items, random))
            figure: dict[str, Any] = {
                f"{what}_ms": [round(percentile(values, p) * 1000, 1) for p in (0.5, 0.99)]
                for what, values in (("watch", waits_s), ("alone", alone_s))
            }
            figure["ratio"] = [
                round(percentile(waits_s, p) / percentile(alone_s, p), 2) for p in (0.5, 0.99)
            ]
            # The contract: the slowest hundredth against what it usually takes alone.
            figure["strict"] = round(percentile(waits_s, 0.99) / percentile(alone_s, 0.5), 2)
            figures[name] = figure
        site.stop()
        return figures, site.judge(wanted)


def _one_size(
    site: Site, model: LoadedModel, marks: Path, wanted: dict[str, str], shots: Sequence[bytes]
) -> tuple[list[float], list[float]]:
    """Seconds from close to GO without the settling, and seconds alone, a picture each."""
    waits_s: list[float] = []
    alone_s: list[float] = []
    with (site.journal.parent / "alone").open("wb", buffering=0) as stream:
        for data in shots:
            name = f"p{len(wanted):05d}.jpg"
            seen = marks.stat().st_size
            wanted[name] = drop(site.camera, name, data)
            closed = time.monotonic()
            site.wait(lambda seen=seen: marks.stat().st_size > seen, 30)  # type: ignore[misc]
            said = marks.read_text().split()
            if int(said[-2]) != len(wanted):
                continue  # It never got a command; `judge` says why.
            waits_s.append(float(said[-1]) - closed - SETTLE_S)
            site.wait(lambda: site.settled(len(wanted)), 30)
            began = time.monotonic()
            model.decide([model.predict(data)])
            stream.write(bytes(COMMIT_BYTES))
            os.fdatasync(stream.fileno())
            alone_s.append(time.monotonic() - began)
    return waits_s, alone_s


def main() -> int:
    """Parse, run, print one JSON line; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--items", type=int, default=300, help="pictures of each size")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    figures, broken = run(items=args.items, seed=args.seed)
    for name in SIZES:
        ratio = figures[name]["ratio"][1]
        if ratio > LIMIT:
            broken.append(f"{name}: p99 is {ratio} times what it takes alone")
    return tell("respond", figures, broken)


if __name__ == "__main__":
    sys.exit(main())
