"""Kill a training at random instants, resume it, and compare its weights with one never killed.

    python -m tests.soak.resume --kills 20 --seed 1

A small MobileNetV2 on drawn pictures, on the CPU; every process is killed with SIGKILL, somewhere
in the middle of its steps. Exit code 1 where a single bit of the final weights differs.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from train.drawn.render import draw

CODES = ("00_03", "02_01", "03_01")
RECIPE = ["--init", "none", "--stage", "full", "--size", "64", "--batch", "4", "--epochs", "6"]
RECIPE += ["--select", "last", "--set", "int8=false", "--ema", "0.9", "--mixup", "0.2"]


def main() -> None:
    """Run and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    words = parser.parse_args()
    stream = random.Random(words.seed)
    with tempfile.TemporaryDirectory(prefix="sorter-resume-") as folder:
        home = Path(folder)
        for code in CODES:
            for split, count in (("train", 10), ("val", 2)):
                place = home / "data" / split / code
                place.mkdir(parents=True)
                for i in range(count):
                    draw(code, seed=i + 100 * (split == "val"), side_px=80).save(place / f"{i}.jpg")
        begun = time.monotonic()
        assert train(home, "whole").wait() == 0
        lasts_s = time.monotonic() - begun
        kills = resumed = 0
        while kills < words.kills:
            name = f"cut{resumed}"
            while True:
                process = train(home, name)
                try:
                    code_ = process.wait(stream.uniform(0.3, 1.0) * lasts_s)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    kills += 1
                    continue
                assert code_ == 0, (home / f"{name}.log").read_text()[-2000:]
                break
            resumed += 1
            different = compare(home / "whole", home / name)
            if different:
                break
    document = {"kills": kills, "runs": resumed, "different_tensors": different}
    sys.stdout.write(json.dumps(document) + "\n")
    sys.exit(bool(different))


def train(home: Path, name: str) -> subprocess.Popen[bytes]:
    """Start or go on with the run `name`."""
    words = ["train", str(home / "data"), "--out", str(home / name), "--resume", *RECIPE]
    words += ["--cache", str(home / "cache")]
    with (home / f"{name}.log").open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "sorter", *words], stdout=stream, stderr=stream
        )


def compare(first: Path, second: Path) -> list[str]:
    """Names of final tensors that differ in any bit."""
    a, b = (torch.load(run / "final.pt", weights_only=True)["model"] for run in (first, second))
    return [name for name in a if not torch.equal(a[name], b[name])]


if __name__ == "__main__":
    main()
