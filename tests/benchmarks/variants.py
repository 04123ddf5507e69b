"""Every way to keep the cores busy with one network, side by side, so that the best can be kept.

    python -m tests.benchmarks.variants --seconds 1 --rounds 3

Inference alone: worker threads with a request each against openvino's asynchronous queue, 1 to 8
pictures a request, 1 stream to one a core, pinned or not, both precisions. The rounds are
interleaved, and each variant's median counts. Prints a table, the fastest first.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sorter.host.cores import usable_cores
from sorter.vision.bundle import Bundle, default_bundle, model_file, open_bundle


@dataclass(frozen=True)
class Variant:
    """One way; `pictures` a request, `streams` requests side by side."""

    precision: str
    queue: str
    pictures: int
    streams: int
    pinned: bool


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--seconds", type=float, default=0.5, help="A variant and round.")
    parser.add_argument("--rounds", type=int, default=3)
    words = parser.parse_args()
    bundle = open_bundle(words.model or default_bundle())
    rates = measure(bundle, all_variants(bundle), seconds=words.seconds, rounds=words.rounds)
    print("| pictures/s | network | requests | pictures each | streams | pinned |")  # noqa: T201
    print("|---|---|---|---|---|---|")  # noqa: T201
    for v, rate in sorted(rates.items(), key=lambda pair: -pair[1]):
        pinned = "yes" if v.pinned else "no"
        row = f"{rate:.0f} | {v.precision} | {v.queue} | {v.pictures} | {v.streams} | {pinned}"
        print(f"| {row} |")  # noqa: T201


def all_variants(bundle: Bundle) -> list[Variant]:
    """The whole grid for this machine."""
    streams = sorted({1, usable_cores()})
    grid = itertools.product(
        bundle.precisions, ("threads", "async"), (1, 2, 4, 8), streams, (False, True)
    )
    return [Variant(*values) for values in grid]


def measure(
    bundle: Bundle, variants: list[Variant], *, seconds: float, rounds: int
) -> dict[Variant, float]:
    """Median pictures a second of each."""
    works: list[tuple[Variant, Callable[[float], float]]] = []
    for variant in variants:
        try:
            works.append((variant, prepare(bundle, variant)))
        except RuntimeError as error:  # a graph that cannot be reshaped
            sys.stderr.write(f"left out {variant}: {str(error).splitlines()[0]}\n")
    found: dict[Variant, list[float]] = {variant: [] for variant, _ in works}
    for _ in range(rounds):
        for variant, work in works:
            found[variant].append(work(seconds))
    return {variant: statistics.median(rates) for variant, rates in found.items()}


def prepare(bundle: Bundle, variant: Variant) -> Callable[[float], float]:
    """Compile one variant; what comes back measures it for some seconds."""
    import openvino
    from openvino import properties
    from openvino.properties import hint

    core = openvino.Core()
    model = core.read_model(model_file(bundle, variant.precision))
    shape = [variant.pictures, *list(model.inputs[0].shape)[1:]]
    if variant.pictures > 1:
        model.reshape(shape)
    settings = {
        hint.inference_precision: openvino.Type.f32,
        hint.enable_cpu_pinning: variant.pinned,
        properties.inference_num_threads: usable_cores(),
        properties.num_streams: variant.streams,
    }
    network = core.compile_model(model, "CPU", settings)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    network.create_infer_request().infer([pixels])  # warm, and before any thread
    run = _by_threads if variant.queue == "threads" else _by_queue
    return lambda seconds: run(network, pixels, variant, seconds)


def _by_threads(network: Any, pixels: Any, variant: Variant, seconds: float) -> float:
    def work(until: float) -> int:
        request, count = network.create_infer_request(), 0
        while time.perf_counter() < until:
            request.infer([pixels], share_inputs=True)
            count += len(pixels)
        return count

    begun = time.perf_counter()
    with ThreadPoolExecutor(variant.streams) as pool:
        counts = list(pool.map(work, [begun + seconds] * variant.streams))
    return sum(counts) / (time.perf_counter() - begun)


def _by_queue(network: Any, pixels: Any, variant: Variant, seconds: float) -> float:
    import openvino

    queue = openvino.AsyncInferQueue(network, 2 * variant.streams)
    begun, count = time.perf_counter(), 0
    while time.perf_counter() < begun + seconds:
        queue.start_async([pixels])
        count += len(pixels)
    queue.wait_all()
    return count / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
