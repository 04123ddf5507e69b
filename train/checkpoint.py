"""Checkpoints: written whole or not at all, read without running anything in them.

Owns the file form. A full disk while saving leaves the previous file as it was.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sorter.errors import FolderError, ModelError
from sorter.files import whole_file
from sorter.text import first_line

FORMAT = 1


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write whole or not at all. Raises FolderError where the disk refuses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with whole_file(path, advice="the previous one is kept; make room") as stream:
            torch.save({"format": FORMAT, **content}, stream)
    except RuntimeError as error:  # torch reports a short write so
        raise FolderError(
            f"{path}: not saved, the previous one is kept: {first_line(error)}"
        ) from error


def load(path: Path) -> dict[str, Any]:
    """Read one of our checkpoints, tensors on the CPU. Raises ModelError for anything else."""
    content = load_tensors(path)
    if content.get("format") != FORMAT:
        raise ModelError(f"{path}: not a checkpoint of this version of sorter; name another")
    return content


def load_tensors(path: Path, data: bytes | None = None) -> dict[str, Any]:
    """Read any dictionary of tensors, ours or not, from a file or from `data` found in it.

    Raises ModelError; never runs its code.
    """
    try:
        content = torch.load(
            path if data is None else io.BytesIO(data), map_location="cpu", weights_only=True
        )
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}; name a checkpoint") from error
    except Exception as error:  # hostile bytes make the unpickler raise almost anything
        # torch's own words are paragraphs, and recommend to run what is in the file.
        raise ModelError(
            f"{path}: not a PyTorch checkpoint, cut short, or one that would run code; name another"
        ) from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds no dictionary of weights; name another file")
    return content
