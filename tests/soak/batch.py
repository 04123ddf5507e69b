"""Classify a great many files: memory must not grow with them, nor a resume with what is done.

    python -m tests.soak.batch --files 100000

The files are links to a few drawn pictures. Reports peak resident memory and pictures a second of
1,000 files, of all, and of a resume that finds all of them done. Exit code 1 where the peak of all
is more than 1.2 times that of 1,000.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.tiny import write_bundle26
from train.drawn.render import BUNDLED, draw

FEW = 1000


def main() -> None:
    """Run and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--model", type=Path, help="A bundle; default: a tiny one, for speed.")
    words = parser.parse_args()
    figures = measure(words.files, words.model)
    print(json.dumps(figures))  # noqa: T201
    sys.exit(figures["ratio"] > 1.2)


def measure(files: int, model: Path | None) -> dict[str, float]:
    """Peak memory in MB and pictures a second of 1,000 files, of `files` and of their resume."""
    with tempfile.TemporaryDirectory(prefix="sorter-batch-") as folder:
        home = Path(folder)
        bundle = model or write_bundle26(home / "model")
        populate(home / "in", files)
        (home / "few").mkdir()
        for path in sorted((home / "in" / "000").iterdir())[:FEW]:
            os.link(path, home / "few" / path.name)
        few_mb, few_s = run(home / "few", bundle, home / "few.csv")
        all_mb, all_s = run(home / "in", bundle, home / "all.csv")
        rows = (home / "all.csv").read_bytes().count(b"\n") - 1
        assert rows == files, f"{rows} rows of {files} files"
        again_mb, again_s = run(home / "in", bundle, home / "all.csv", "--resume")
        assert (home / "all.csv").read_bytes().count(b"\n") - 1 == files
    return {
        "files": files,
        "few_mb": round(few_mb, 1),
        "all_mb": round(all_mb, 1),
        "ratio": round(all_mb / few_mb, 3),
        "all_per_s": round(files / all_s, 1),
        "few_s": round(few_s, 2),
        "resume_mb": round(again_mb, 1),
        "resume_s": round(again_s, 2),
    }


def populate(folder: Path, files: int) -> None:
    """`files` names in folders of a thousand, links to a picture that each folder has once."""
    for start in range(0, files, FEW):
        place = folder / f"{start // FEW:03d}"
        place.mkdir(parents=True)
        code, seed = list(BUNDLED.values())[start // FEW % len(BUNDLED)]
        first = place / "000.jpg"
        draw(code, seed=seed, side_px=96).save(first)
        for number in range(1, min(FEW, files - start)):
            os.link(first, place / f"{number:03d}.jpg")


def run(folder: Path, bundle: Path, out: Path, *more: str) -> tuple[float, float]:
    """Peak resident memory in MB and seconds of one `sorter classify`."""
    words = ["classify", str(folder), "--model", str(bundle), "--csv", str(out), "--quiet", *more]
    begun, peak = time.monotonic(), 0.0
    process = subprocess.Popen([sys.executable, "-m", "sorter", *words])
    # Not from wait4: that peak would count the memory of the parent it was forked from.
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        with contextlib.suppress(OSError, IndexError):
            peak = float(status.read_text().split("VmHWM:")[1].split()[0])
        time.sleep(0.02)
    assert process.returncode == 0
    return peak / 1024, time.monotonic() - begun


if __name__ == "__main__":
    main()
