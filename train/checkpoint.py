"""Checkpoints: written whole or not at all, read without running anything in them.

Owns the file form. A full disk while saving leaves the previous file as it was.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sorter.errors import FolderError, ModelError

FORMAT = 1


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write beside, fsync, rename. Raises FolderError where the disk refuses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            torch.save({"format": FORMAT, **content}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except (OSError, RuntimeError) as error:  # torch reports a short write as RuntimeError
        raise FolderError(f"{path}: not saved, the previous one is kept: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


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
