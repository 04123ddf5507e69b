"""A training as `sorter train` starts it, with settings by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sorter.taxonomy import read_taxonomy
from train.config import make_config
from train.data.corpus import Sources, default_cache
from train.judge.figures import document
from train.run import Paths, run


def train(
    data: Path,
    out: Path,
    *,
    taxonomy: Path,
    settings: Mapping[str, object],
    cache: Path | None = None,
    unknown: tuple[Path, ...] = (),
    resume: bool = False,
) -> dict[str, Any]:
    """Run it; its metrics come back."""
    paths = Paths(Sources(data, unknown=unknown), out, cache or default_cache())
    figures = run(paths, read_taxonomy(taxonomy), make_config(settings), resume=resume)
    assert figures is not None
    return document(figures)
