"""How fast this machine trains: changing pictures, the steps, and both, in pictures per second.

    python -m tests.benchmarks.training --size full
    python -m tests.benchmarks.training --size full --data DIR   # also trains on real pictures

Pictures are random. On a GPU the steps are measured one operation at a time and recorded. With
--data a short training follows on the device, and on the CPU where that is another, with the
accuracy of each on the pictures held out. At full size it takes at most six minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from sorter.taxonomy import default_taxonomy, read_taxonomy
from train.config import Config, make_config, to_dict
from train.data.augment import augment
from train.data.corpus import UNKNOWN, Pixels, Sources, gather
from train.data.sampling import random_stream
from train.fit.loop import Job, fit, predict
from train.fit.targets import Targets, make_targets
from train.fit.update import Updates, make_optimizer, set_rate
from train.interrupt import Interrupt
from train.machine import Machine, choose_amp, open_machine
from train.networks import build
from train.networks.start_weights import load_start

CLASSES = 26


@dataclass(frozen=True, slots=True)
class Size:
    """How many pictures of which sides, in batches of how many, and epochs of real training."""

    pictures: int
    store_px: int
    side_px: int
    batch: int
    epochs: int
    shown: int


SIZES = {"full": Size(14_272, 256, 224, 128, 4, 4000), "small": Size(96, 72, 64, 16, 1, 64)}


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.0, help="Of each measurement.")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--batch", type=int, help="Pictures a step; else the size's own.")
    parser.add_argument("--data", type=Path, help="Labelled pictures for a real training.")
    parser.add_argument("--taxonomy", type=Path, help="Of those pictures; else sorter's own.")
    words = parser.parse_args(arguments)
    size = SIZES[words.size]
    size = replace(size, batch=words.batch or size.batch)
    seconds = words.seconds or (5.0 if words.size == "full" else 0.3)
    amp = "off" if words.size == "small" else "auto"  # to choose takes longer than all else here
    config = make_config(
        {"device": words.device, "batch": size.batch, "size_px": size.side_px, "amp": amp}
    )
    with tempfile.TemporaryDirectory(prefix="sorter-training-") as folder:
        with open_machine(config) as machine:
            _measure(size, config, machine, seconds, Path(folder))
        if words.data:
            device = machine.device.type
            for name in dict.fromkeys((device, "cpu")):
                config = make_config({**to_dict(config), "device": name})
                _train(words.data, words.taxonomy, size, config, Path(folder))
    return 0


def _measure(size: Size, config: Config, machine: Machine, seconds: float, folder: Path) -> None:
    device = machine.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    _say(f"{name}, {machine.cores} cores, torch {torch.__version__}, batch {size.batch}")
    pixels = _random_pictures(size, folder)
    network = build(config.network, CLASSES + 1, size_px=size.side_px)
    labels = np.random.default_rng(0).integers(-1, CLASSES, size.pictures)
    begun = time.perf_counter()
    pixels.backdrops(np.arange(1), device)
    pixels.batch(np.arange(1), device)
    _say(f"backgrounds found, pictures in place: {time.perf_counter() - begun:.1f} s")

    def make(step: int) -> tuple[Tensor, Targets]:
        stream = random_stream(0, step)
        rows = stream.integers(0, size.pictures, size.batch)
        pictures = augment(
            pixels.batch(rows, device),
            size.side_px,
            config,
            stream,
            backdrops=pixels.backdrops(rows, device),
            unknown=labels[rows] == UNKNOWN,
        )
        return pictures, make_targets(labels[rows], CLASSES, config).send(device)

    alone = _rate(make, size.batch, seconds, device)
    _say(f"changing pictures alone: {alone:,.0f} pictures/s")
    fixed = make(0)
    for graphs in (False, True) if device.type == "cuda" else (False,):
        for frozen in (0, 7):
            settings = replace(config, cuda_graphs=graphs, freeze_blocks=frozen)
            machine = choose_amp(machine, network, settings, say=_say)
            update = _updates(settings, size, machine)
            step = _rate(lambda _: update(*fixed), size.batch, seconds, device)  # noqa: B023
            both = _rate(lambda k: update(*make(k)), size.batch, seconds, device)  # noqa: B023
            how = "recorded" if graphs else "one by one"
            _say(
                f"steps {how}, {frozen} blocks frozen: {step:,.0f} alone, "
                f"{both:,.0f} pictures/s with changing"
            )
    update = _updates(config, size, machine)
    for k in range(5):
        update(*make(k))
    kinds = [ProfilerActivity.CPU]
    if device.type == "cuda":
        kinds.append(ProfilerActivity.CUDA)
    with profile(activities=kinds) as seen:
        for k in range(5):
            update(*make(k))
        _wait(device)
    by = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    _say(seen.key_averages().table(sort_by=by, row_limit=12, max_name_column_width=60))


def _random_pictures(size: Size, folder: Path) -> Pixels:
    """Noise, every other picture with a frame of one colour."""
    file = folder / "pixels.npy"
    shape = (size.pictures, size.store_px, size.store_px, 3)
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    stream = np.random.default_rng(0)
    edge = size.store_px // 5
    for at in range(0, len(array), 256):
        part = array[at : at + 256]
        part[:] = stream.integers(0, 255, part.shape, np.uint8)
        for side in (np.s_[::2, :edge], np.s_[::2, -edge:]):
            part[side] = 240
            part.swapaxes(1, 2)[side] = 240
    array.flush()
    return Pixels.from_file(file)


def _updates(config: Config, size: Size, machine: Machine) -> Updates:
    torch.manual_seed(0)
    network = build(config.network, CLASSES + 1, size_px=size.side_px)
    network.freeze_norm = config.freeze_norm
    network.to(machine.device)
    network.to(memory_format=torch.channels_last)
    network.train()
    optimizer = make_optimizer(network, config)
    set_rate(optimizer, 1e-5)
    scaler = torch.amp.GradScaler(machine.device.type, enabled=False)
    return Updates(network, optimizer, scaler, config, machine, say=_say)


def _rate(do: Callable[[int], object], batch: int, seconds: float, device: torch.device) -> float:
    """Pictures a second of `do`, which is given its number, warm."""
    for k in range(6 if device.type == "cuda" else 1):
        do(k)
    _wait(device)
    begun, count = time.perf_counter(), 0
    while time.perf_counter() < begun + seconds:
        for _ in range(10 if device.type == "cuda" else 1):
            do(count)
            count += 1
        _wait(device)
    return count * batch / (time.perf_counter() - begun)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _train(data: Path, taxonomy: Path | None, size: Size, config: Config, folder: Path) -> None:
    """A short training on DATA; every fifth photograph group is held out."""
    config = replace(config, epochs=size.epochs, epoch_size=size.shown, batch=min(32, size.batch))
    with open_machine(config) as machine, Interrupt() as stop:
        kinds = read_taxonomy(taxonomy) if taxonomy else default_taxonomy()
        corpus = gather(Sources(data), kinds, say=_say)
        store, side = (Pixels(corpus, px, folder) for px in (size.store_px, size.side_px))
        network = build(config.network, len(kinds.categories), size_px=size.side_px)
        codes = [category.code for category in kinds.categories]
        load_start(network, config.network, config.init, folder, codes=codes, say=_say)
        machine = choose_amp(machine, network, config, say=_say)
        val = corpus.rows("val")
        job = Job(corpus, store, side, corpus.rows("train"), val, folder / machine.device.type)
        begun = time.perf_counter()
        history = fit(network, job, config, machine, stop=stop, say=_say)
        took = time.perf_counter() - begun
        said = predict(network, side, val, machine)[:, : len(kinds.categories)].argmax(1)
        right = float((said == corpus.labels[val]).mean())
        _say(
            f"{machine.device.type}: {right:.2%} of {len(val)} held out, {took:.0f} s, "
            f"{history[-1].pictures_per_s:,.0f} pictures/s in the last epoch"
        )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
