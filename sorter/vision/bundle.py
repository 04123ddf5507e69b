"""A released model on disk: find it, open it, check that its parts belong together.

Owns the bundle folder's format; what a network says of itself is `metadata`'s. Class order,
bins, temperature and thresholds come from there, never from a folder listing. Must not run the
model (`model`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sorter.domain import Policy, Taxonomy
from sorter.errors import BundleError, FolderError
from sorter.files import make_durable, part_name, replace_folder
from sorter.text import last_line
from sorter.vision.metadata import read_description, read_file

MODEL_FILES: Mapping[str, str] = {"fp16": "model.xml", "int8": "model-int8.xml"}
"""Precision → file name inside the bundle; the weights lie beside it with `.bin`."""

MAX_CARD_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bundle:
    """One released model.

    `size_px` is the side of the square input; `precisions` what the folder holds, of
    `MODEL_FILES`; `digest` the SHA-256 of the IR files in hexadecimal; `card` the release's own
    notes (`card.json`), empty if there are none.
    """

    path: Path
    taxonomy: Taxonomy
    size_px: int
    policy: Policy
    temperature: float
    precisions: tuple[str, ...]
    digest: str
    card: Mapping[str, Any]


def default_bundle() -> Path:
    """The folder of the bundle that ships with sorter.

    The installed package's own copy, otherwise the checkout's `weights/`. Raises BundleError if
    neither is there.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (
        package / "weights" / "mobilenet_v2",
        package.parent / "weights" / "mobilenet_v2",
    ):
        if any((folder / name).is_file() for name in MODEL_FILES.values()):
            return folder
    raise BundleError("this installation carries no model; name one with --model DIR")


def open_bundle(path: Path) -> Bundle:
    """Read and check a bundle folder.

    Raises BundleError, saying what is wrong, for a folder that is missing, damaged, of another
    schema, or whose labels and thresholds do not fit its own outputs.
    """
    path = Path(path)
    if not path.is_dir():
        raise BundleError(f"{path}: no such model folder; name one with --model DIR")
    precisions = tuple(p for p, name in MODEL_FILES.items() if (path / name).is_file())
    if not precisions:
        raise BundleError(
            f"{path}: holds neither {' nor '.join(MODEL_FILES.values())}; name a model"
        )
    first = read_description(path / MODEL_FILES[precisions[0]])
    for precision in precisions[1:]:
        if read_description(path / MODEL_FILES[precision]) != first:
            raise BundleError(
                f"{path}: {MODEL_FILES[precisions[0]]} and {MODEL_FILES[precision]} do not agree "
                "on labels, thresholds or input; export the model again"
            )
    return Bundle(
        path=path,
        taxonomy=first.taxonomy,
        size_px=first.size_px,
        policy=first.policy,
        temperature=first.temperature,
        precisions=precisions,
        digest=_digest(path, precisions),
        card=read_card(path / "card.json"),
    )


def refuse_foreign(folder: Path, *, option: str = "--out") -> None:
    """Raise FolderError where `folder` is anything but a bundle: it would be replaced whole."""
    there = os.path.exists(folder)  # noqa: PTH110 - Path.exists raises for a name too long
    if not folder.absolute().name or (there and not folder.is_dir()):
        raise FolderError(f"{folder}: cannot hold a bundle; name another folder with {option}")
    if (
        there
        and any(folder.iterdir())
        and not any((folder / name).is_file() for name in MODEL_FILES.values())
    ):
        raise FolderError(
            f"{folder}: holds something else than a bundle, which would be lost; "
            f"name another folder with {option}"
        )


@contextlib.contextmanager
def written_bundle(out: Path, *, advice: str) -> Iterator[Path]:
    """A folder beside `out` to fill, which takes its place at the end, on the disk, or goes.

    A README that lies in `out` stays. Raises FolderError, with `advice`, where the disk refuses.
    """
    part = out.absolute().with_name(part_name(out.name))
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        readme = out / "README.md"
        if readme.is_file():
            shutil.copy2(readme, part / "README.md")
        for file in part.rglob("*"):
            make_durable(file)
        replace_folder(part, out)
    except (OSError, RuntimeError) as error:  # openvino's own, of a file it cannot write
        reason = getattr(error, "strerror", None) or last_line(error)
        raise FolderError(
            f"{out}: the bundle cannot be written: {reason}; what was there is untouched; {advice}"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def model_file(bundle: Bundle, precision: str) -> Path:
    """The IR of `precision` ("fp16" or "int8"). Raises BundleError if the bundle has none."""
    if precision not in bundle.precisions:
        have = " or ".join(bundle.precisions)
        raise BundleError(f"{bundle.path}: holds no {precision} model; use --precision {have}")
    return bundle.path / MODEL_FILES[precision]


def read_card(path: Path) -> Mapping[str, Any]:
    """A release's own notes, empty where there are none. Raises BundleError."""
    if not os.path.lexists(path):
        return {}
    try:
        card = json.loads(read_file(path, MAX_CARD_BYTES))
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{path}: the card is not JSON: {last_line(error)}; copy it again"
        ) from error
    if not isinstance(card, dict):
        raise BundleError(f"{path}: the card is not a JSON object; copy it again")
    return card


def _digest(path: Path, precisions: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for precision in precisions:
        xml = path / MODEL_FILES[precision]
        for file in (xml, xml.with_suffix(".bin")):
            try:
                digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
                with file.open("rb") as stream:
                    while chunk := stream.read(1 << 20):
                        digest.update(chunk)
            except OSError as error:
                raise BundleError(
                    f"{file}: {error.strerror}; went while it was being read, try again"
                ) from error
    return digest.hexdigest()
