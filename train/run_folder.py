"""The run's folder: opened once, never over another run; its JSON files are written whole."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sorter.errors import FolderError, UsageError
from sorter.files import whole_file, write_whole
from train.machine import Machine

FILES = ("config.json", "history.csv", "metrics.json", "mistakes.html", "oof.npz", "best.pt")
"""Of a run, beside its pictures; config.json is the first that is written."""


def open_folder(out: Path, *, resume: bool, machine: Machine) -> None:
    """Make it. Raises UsageError where it holds a run that is not resumed, FolderError."""
    if machine.rank == 0:
        begun = [*out.glob("last.pt"), *out.glob("fold-*"), *out.glob("bundle")]
        if begun and not resume:
            raise UsageError(f"{out}: holds a run already; add --resume, or name another --out")
        theirs = [name for name in FILES if (out / name).exists()]
        if theirs and "run_digest" not in read_run(out):
            raise UsageError(
                f"{out}: holds {theirs[0]} of something else, which would be lost; "
                "name another --out"
            )
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(
                f"{out}: cannot make the run folder: {error.strerror}; name another --out"
            ) from error
    machine.wait()


def read_run(out: Path) -> dict[str, Any]:
    """What the folder's config.json says; nothing where there is none that can be read."""
    try:
        document = json.loads((out / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def refuse_other(out: Path, before: Mapping[str, Any], digest: str) -> None:
    """Raise UsageError where the run that is resumed learnt something else than this one would.

    Its finished folds and its checkpoint would go on with other pictures, or other settings.
    """
    if before.get("run_digest", digest) != digest:
        raise UsageError(
            f"{out}: made with other settings, pictures, groups or start weights; resume with the "
            "same, or name another --out"
        )


def finite(value: Any) -> Any:
    """JSON values that any program reads: a figure that is not a number (NaN, ∞) becomes null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(part) for key, part in value.items()}
    return [finite(part) for part in value] if isinstance(value, (list, tuple)) else value


def write_json(file: Path, content: Any, *, sort_keys: bool = False) -> None:
    """Write `content`, made `finite`, beside, then rename. Raises FolderError."""
    text = json.dumps(finite(content), indent=2, ensure_ascii=False, sort_keys=sort_keys) + "\n"
    write_whole(file, text)


def write_arrays(file: Path, **arrays: Any) -> None:
    """Write an `.npz` beside, then rename. Raises FolderError."""
    with whole_file(file) as stream:
        np.savez_compressed(stream, **arrays)
