"""How fast this machine is with a bundle, against its own limit and against one from outside.

The limit is what the cores could do if nothing but decoding and inference cost time: cores divided
by the seconds one core needs for both, one picture at a time. `batch` asks about several at once,
which is cheaper, so the share may pass 1. The outside limit is that of libjpeg-turbo's own scaled
decoder and of a plain INT8 network (`yardstick`), so that a slow decoder or network of ours shows.
Owns measuring; shows nothing.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from sorter.errors import DataError, ImageError
from sorter.host.cores import usable_cores
from sorter.host.processor import processor
from sorter.vision import engine, images, yardstick
from sorter.vision.batch import open_classifier, run, workers_for
from sorter.vision.bundle import Bundle
from sorter.vision.model import Classifier

ALONE = 50
"""Pictures that are decoded and inferred alone in each round, at most."""

ROUNDS = 8
"""Turns of decoding alone, inferring alone and both together; medians of them are given."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds per picture alone on one core, pictures per second together, and their share.

    `outside_share` is of the outside limit; None where no picture is a JPEG.
    """

    pictures: int
    cores: int
    decode_s: float
    infer_s: float
    limit_per_s: float
    rate_per_s: float
    share: float
    first_s: float
    outside_share: float | None


def measure(
    paths: Sequence[Path], bundle: Bundle, *, precision: str, jobs: int | None = None
) -> Speed:
    """Measure on `paths`, each read once for warming up. Raises DataError without a picture."""
    cores = max(1, jobs or usable_cores())
    alone = paths[:ALONE]
    pixels = []
    for path in alone:
        try:
            pixels.append(images.load(path, bundle.size_px).pixels)
        except ImageError:
            continue
    if not pixels:
        raise DataError("no picture to measure with could be opened; name folders of pictures")
    alone_on_one = Classifier(bundle, precision=precision, threads=1)
    classifier = open_classifier(bundle, precision=precision, cores=cores)
    workers = workers_for(jobs)

    def together(part: Sequence[Path]) -> tuple[int, float]:
        """Pictures done, and seconds to the first of them."""
        begun, first_s, count = time.perf_counter(), 0.0, 0
        for outcome in run(part, classifier, bundle, policy=bundle.policy, workers=workers):
            # A file that cannot be opened costs next to nothing, and does not count as a picture.
            count += outcome.decision is not None
            first_s = first_s or time.perf_counter() - begun
        return count, first_s

    outside = _Outside(alone)
    together(paths[: 2 * workers])
    for one in pixels[:5]:
        alone_on_one.predict(one[None])
    # In turns: a machine that is shared, or warm, changes its speed within seconds, and a limit
    # measured at one speed says nothing of a rate measured at another.
    rounds = []
    step = -(-len(paths) // ROUNDS)
    count = 0
    for start in range(0, len(paths), step):
        decode_s = _decode_alone(alone, bundle.size_px)
        infer_s = _infer_alone(pixels, alone_on_one)
        outside_s = outside.seconds()
        begun = time.perf_counter()
        done, first_s = together(paths[start : start + step])
        count += done
        rounds.append((decode_s, infer_s, done / (time.perf_counter() - begun), first_s, outside_s))
    decode_s, infer_s, rate, first_s, outside_s = (
        median(column) for column in zip(*rounds, strict=True)
    )
    limit = cores / (decode_s + infer_s)
    share = rate * outside_s / cores if outside.jpegs else None
    return Speed(count, cores, decode_s, infer_s, limit, rate, rate / limit, first_s, share)


class _Outside:
    """Decoding and inference that owe nothing to us but the call."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.jpegs = [data for data in map(_jpeg, paths) if data]
        settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        compiled = engine.core().compile_model(yardstick.network(), "CPU", settings)
        self._request = compiled.create_infer_request()
        self._pixels = np.zeros((1, yardstick.SIDE_PX, yardstick.SIDE_PX, 3), np.uint8)
        self.seconds()

    def seconds(self) -> float:
        """Seconds per picture for both, on one thread; 0 without a JPEG."""
        begun = time.perf_counter()
        for data in self.jpegs:
            height, width = simplejpeg.decode_jpeg_header(data)[:2]
            # As far as libjpeg scales by halves without going below the network's side.
            scale = max(
                s for s in (1, 2, 4, 8) if s == 1 or min(height, width) >= s * yardstick.SIDE_PX
            )
            simplejpeg.decode_jpeg(
                data, min_height=-(-height // scale), min_width=-(-width // scale)
            )
            self._request.infer([self._pixels], share_inputs=True)
        return (time.perf_counter() - begun) / max(1, len(self.jpegs))


def _jpeg(path: Path) -> bytes:
    """The file's bytes where it is a sound JPEG, otherwise none."""
    try:
        data = images.read(path)
        simplejpeg.decode_jpeg(data)
    except (ImageError, ValueError):
        return b""
    return data


def machine() -> dict[str, str]:
    """Processor, instruction sets and versions, as a report needs them."""
    this = processor()
    known = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimd")
    versions = {name: metadata.version(name) for name in ("openvino", "simplejpeg", "pillow")}
    return {
        "cpu": this.model,
        "isa": " ".join(name for name in known if name in this.flags),
        "python": platform.python_version(),
        **versions,
    }


def _decode_alone(paths: Sequence[Path], size_px: int) -> float:
    """Seconds a picture from file to pixels, on one thread."""
    begun, count = time.perf_counter(), 0
    for path in paths:
        try:
            images.load(path, size_px)
        except ImageError:
            continue
        count += 1
    return (time.perf_counter() - begun) / count


def _infer_alone(pixels: Sequence[NDArray[np.uint8]], classifier: Classifier) -> float:
    """Seconds a picture through the network, one after the other."""
    begun = time.perf_counter()
    for one in pixels:
        classifier.predict(one[None])
    return (time.perf_counter() - begun) / len(pixels)
