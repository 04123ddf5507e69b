"""What the command line calls: plain values in, figures out.

Owns the step from options to a run; everything else belongs to `run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sorter.domain import Prediction
from sorter.errors import ImageError
from sorter.files import refuse_inside
from sorter.taxonomy import default_taxonomy, read_taxonomy
from train.config import make_config
from train.data.corpus import Sources, default_cache
from train.judge.figures import read_scores
from train.release import again
from train.run import Paths, run


def train(
    *,
    data: Path,
    extra: tuple[Path, ...] = (),
    final: tuple[Path, ...] = (),
    unknown: tuple[Path, ...] = (),
    groups: Path | None = None,
    taxonomy: Path | None = None,
    out: Path,
    cache: Path | None = None,
    oof: Path | None = None,
    resume: bool = False,
    preset: str = "release",
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Run a training; `settings` are fields of `train.config.Config`. The metrics come back.

    Raises SorterError kinds for what a user can cause.
    """
    config = make_config(settings or {}, preset=preset)
    refuse_inside(out, [data, *extra, *final, *unknown], option="--out")
    if cache is not None:
        refuse_inside(cache, [data, *extra, *final, *unknown], option="--cache")
    words = read_taxonomy(taxonomy) if taxonomy else default_taxonomy()
    if oof is not None:
        read_scores(oof, len(words.categories))  # what cannot be used is said before the training
    sources = Sources(data, extra, final, unknown, groups)
    return run(Paths(sources, out, cache or default_cache(), oof), words, config, resume=resume)


def export(
    *,
    checkpoint: Path,
    data: Path | None,
    out: Path | None,
    onnx: Path | None,
    int8: bool,
    max_drop: float,
) -> dict[str, Any]:
    """Convert a finished checkpoint to the bundle `out` and to the file `onnx`, where named.

    The figures of the conversions come back.
    """
    figures: dict[str, Any] = {}
    if out is not None:
        figures |= again.export_again(checkpoint, data, out, int8=int8, max_drop=max_drop)
    if onnx is not None:
        figures |= again.export_onnx(checkpoint, onnx)
    return {"conversion": figures}


def predict(*, checkpoint: Path, pictures: Sequence[Path]) -> list[Prediction | ImageError]:
    """What the network of a bundle's `checkpoint.pt` says of `pictures`, before any conversion.

    An unreadable picture gives its error as a value. Raises ModelError.
    """
    return again.predict_again(checkpoint, pictures)
