"""Whether a picture gets the same answer on other processors, as far as one machine can tell.

    python -m train.release.processors ../shared/data --precision int8
    python -m train.release.processors ../shared/data --precision fp16

oneDNN's ONEDNN_MAX_CPU_ISA hides a processor's newer instructions. Every picture is classified by
what this one has, then without AMX, then without VNNI; counts the answers that differ from the
first. Instructions that the processor does not have cannot be shown.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from sorter.domain import Prediction
from sorter.vision import images
from sorter.vision.batch import predict
from sorter.vision.bundle import default_bundle, open_bundle
from sorter.vision.decide import decide

LIMITS = ("AVX512_CORE_VNNI", "AVX2")

Answer = tuple[str, str, tuple[float, ...]]
"""Label, status, probabilities."""


def answers(paths: list[Path], model: Path, precision: str, limit: str) -> list[Answer]:
    """What every whole picture gets; for a process of its own, as oneDNN reads its limit once."""
    bundle = open_bundle(model)
    # Compiled networks are kept by processor, which is what is pretended here.
    with tempfile.TemporaryDirectory() as cache:
        os.environ |= {"ONEDNN_MAX_CPU_ISA": limit, "XDG_CACHE_HOME": cache}
        said = [p for p in predict(paths, bundle, precision=precision) if isinstance(p, Prediction)]
    decisions = [decide(one, bundle.taxonomy, bundle.policy) for one in said]
    return [(d.label.code, d.status, p.probabilities) for d, p in zip(decisions, said, strict=True)]


def differences(here: Sequence[Answer], there: Sequence[Answer]) -> dict[str, Any]:
    """How many answers differ, and by how much a probability does."""
    pairs = list(zip(here, there, strict=True))
    moved = (abs(p - q) for a, b in pairs for p, q in zip(a[2], b[2], strict=True))
    return {
        "pictures": len(pairs),
        "other_label": sum(a[0] != b[0] for a, b in pairs),
        "other_status": sum(a[1] != b[1] for a, b in pairs),
        "largest_difference": round(max(moved, default=0.0), 6),
    }


def main(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.")],
    model: Annotated[Path | None, typer.Option(help="A bundle; the bundled one.")] = None,
    precision: Annotated[str, typer.Option(help="int8 or fp16.")] = "int8",
) -> None:
    """Print one JSON line for each limit."""
    found = list(images.find(paths))

    def alone(limit: str) -> list[Answer]:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(answers, found, model or default_bundle(), precision, limit).result()

    here = alone("ALL")
    for limit in LIMITS:
        typer.echo(json.dumps({"limit": limit} | differences(here, alone(limit))))


if __name__ == "__main__":
    typer.run(main)
