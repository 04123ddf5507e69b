"""The run's folder: opened once, never over another run; its JSON files are written whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sorter.errors import FolderError, UsageError
from train.machine import Machine


def open_folder(out: Path, *, resume: bool, machine: Machine) -> None:
    """Make it. Raises UsageError where it holds a run that is not resumed, FolderError."""
    if machine.rank == 0:
        begun = [*out.glob("last.pt"), *out.glob("fold-*"), *out.glob("bundle")]
        if begun and not resume:
            raise UsageError(f"{out}: holds a run already; add --resume, or name another --out")
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(
                f"{out}: cannot make the run folder: {error.strerror}; name another --out"
            ) from error
    machine.wait()


def write_json(file: Path, content: Any) -> None:
    """Write `content` beside, then rename. Raises FolderError."""
    part = file.with_suffix(".part")
    try:
        part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise FolderError(f"{file}: cannot be written: {error.strerror}") from error
