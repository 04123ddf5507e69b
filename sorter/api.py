"""What `import sorter` offers a program: load a model, classify pictures.

Owns the names and their defaults; the work belongs to `vision`. Must not print or exit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sorter.domain import Decision, Outcome
from sorter.host.cores import usable_cores
from sorter.vision import batch, images
from sorter.vision.model import LoadedModel, open_model

__all__ = ["Decision", "Outcome", "classify", "load"]

Picture = str | os.PathLike[str] | NDArray[np.uint8]
"""A file, a folder of files, or upright pixels: (height, width) grey, RGB or RGBA."""


def load(model: str | os.PathLike[str] | None = None, *, precision: str = "int8") -> LoadedModel:
    """Open a model folder and compile it for this machine; without a name the one that ships.

    `precision` is "int8" or "fp16". The model may be shared between threads and used many times.
    Raises `sorter.errors.BundleError` for a folder that holds no usable model.

    >>> model = load(precision="fp16")
    >>> len(model.taxonomy.categories), len(model.taxonomy.bins)
    (26, 4)
    """
    cores = usable_cores()
    folder = None if model is None else Path(model)
    return open_model(folder, precision=precision, threads=cores, streams=cores)


def classify(
    pictures: Picture | Iterable[Picture], *, model: LoadedModel | None = None
) -> Iterator[Outcome]:
    """One Outcome per picture, in the order given, while the rest is being worked on.

    A folder stands for every picture in it and in the folders inside, by path. Pixels get
    `<array N>` as their path, N counting from 0 what was given. A picture that cannot be read is
    an Outcome without a decision whose `error` says why; it never ends the others. `pictures` is
    read as needed, a bounded number ahead, so it may be endless. Without `model` the one that
    ships is loaded. Raises TypeError for anything that is neither path nor array.

    >>> for outcome in classify("sorter/samples/pictures/can.jpg"):
    ...     print(outcome.status, outcome.decision.label.name, outcome.decision.bin.name)
    sorted Cans Recyclable
    """
    opened = load() if model is None else model
    given: Iterable[Picture]
    if isinstance(pictures, str | os.PathLike):
        given = [pictures]
    elif isinstance(pictures, np.ndarray) and pictures.ndim in (2, 3):
        given = [pictures]  # one picture, not its rows
    elif isinstance(pictures, Iterable):
        given = pictures
    else:
        raise _neither(pictures)
    return batch.run(
        _sources(given),
        opened.classifier,
        opened.bundle,
        policy=opened.policy,
        workers=batch.workers_for(None),
    )


def _sources(given: Iterable[Picture]) -> Iterator[Path | batch.ArrayFrame]:
    for number, picture in enumerate(given):
        if isinstance(picture, np.ndarray):
            yield batch.ArrayFrame(Path(f"<array {number}>"), picture)
        elif isinstance(picture, str | os.PathLike):
            yield from images.find([Path(picture)])
        else:
            raise _neither(picture)


def _neither(thing: object) -> TypeError:
    return TypeError(
        f"{type(thing).__name__} is neither a path nor an array of pixels; numpy.asarray makes an "
        "array of a PIL image"
    )
