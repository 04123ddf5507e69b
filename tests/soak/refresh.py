"""Corrected pictures → refreshed weights: what is learnt, and what is forgotten.

`python -m tests.soak.refresh --data DIR` takes twenty pictures a class of three classes that the
released model finds hard on sources it never saw (battery packs, paper, clear plastic), answers for
them on the labelling page, refreshes the released weights with them, and compares both on the
official validation split. Owns the steps only; each is the command that a trainer would type.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tests.support.review_stand import ROOT, sitting

RELEASED = ROOT / "weights" / "mobilenet_v2"
NEW = (("gv2_battery_packs", "02_01"), ("happy531_paper", "00_08"), ("hk_drinks", "00_00"))


def sorter(*words: str | Path) -> str:
    """Run a command as a user does; its stdout. AssertionError, with stderr, unless it is 0."""
    line = [sys.executable, "-m", "sorter", *map(str, words)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}: {done.stderr[-2000:]}"
    return done.stdout


def correct(ring: Path, into: Path, truth: Mapping[str, str], *, model: Path = RELEASED) -> int:
    """Answer for every picture of `ring` on the page; `truth` is file name → class code."""
    count = 0
    with sitting(ring, into, model=model) as it:
        state = it.state()
        while state["picture"] is not None:
            shown = state["picture"]
            state = it.answer("label", id=shown["id"], code=truth[shown["name"]])
            assert not state["notice"], state["notice"]
            count += 1
        it.ask("POST", "finish", {})
        assert it.end()[0] == 0
    return count


def refresh(data: Path, new: Path, unknown: Path, out: Path, *more: str | Path) -> dict[str, Any]:
    """`sorter train` from the released weights; its figures."""
    more = ("--unknown", unknown, *more)
    start: tuple[str | Path, ...] = ("--init", RELEASED / "checkpoint.pt", "--stage", "head")
    found: dict[str, Any] = json.loads(
        sorter("train", data, "--extra", new, *start, "--out", out, "--no-int8", "--json", *more)
    )
    return found


def accuracy(data: Path, model: Path) -> float:
    """Label accuracy of a bundle's FP16 network on the validation split of `data`, in points."""
    text = sorter("evaluate", data, "--model", model, "--precision", "fp16", "--json")
    return float(json.loads(text)["fp16"]["label_accuracy"]) * 100


def measure(
    pictures: Path, work: Path, *, count: int, per_class: int, unknown: int
) -> dict[str, float]:
    """The whole loop: `count` new pictures of each of `NEW`, old ones, `unknown` of a folder."""
    ring, truth = work / "ring", {}
    ring.mkdir()
    for source, code in NEW:
        for file in sorted((pictures / "extra" / source / code).iterdir())[:count]:
            name = f"{source}_{file.name}"
            shutil.copy(file, ring / name)
            truth[name] = code
    data = work / "data"
    official = pictures / "garbage_26x100"
    for split, most in (("train", per_class), ("val", 10**6)):
        for folder in sorted((official / split).iterdir()):
            place = data / split / folder.name
            place.mkdir(parents=True)
            for file in sorted(folder.iterdir())[:most]:
                (place / file.name).symlink_to(file.resolve())
    for folder in sorted((pictures / "unknown").iterdir()):
        place = work / "unknown" / folder.name
        place.mkdir(parents=True)
        for file in sorted(path for path in folder.rglob("*") if path.is_file())[:unknown]:
            (place / file.name).symlink_to(file.resolve())
    corrected = correct(ring, work / "corrected", truth)
    cache = work / "cache"
    refresh(data, work / "corrected", work / "unknown", work / "run", "--cache", cache)
    before, after = accuracy(data, RELEASED), accuracy(data, work / "run" / "bundle")
    return {
        "corrected": corrected,
        "val_before": round(before, 2),
        "val_after": round(after, 2),
        "fall_points": round(before - after, 2),
    }


def main(
    data: Annotated[Path, typer.Option(help="The pictures by others.")],
    count: Annotated[int, typer.Option(help="New pictures a class.")] = 20,
    per_class: Annotated[int, typer.Option(help="Old pictures a class.")] = 100,
    unknown: Annotated[int, typer.Option(help="Unknown pictures a folder.")] = 10**6,
) -> None:
    """Refresh the released weights with corrected pictures; print both validation figures."""
    with tempfile.TemporaryDirectory() as folder:
        typer.echo(
            json.dumps(
                measure(data, Path(folder), count=count, per_class=per_class, unknown=unknown)
            )
        )


if __name__ == "__main__":
    typer.run(main)
