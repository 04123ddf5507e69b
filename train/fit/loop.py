"""Train a whole network: one loop that reads top to bottom, resumable at any step.

Every random choice of a step comes from (seed, epoch, step), so a run that is killed and resumed
ends with the same weights as one never killed. Owns the loop; what it shows comes from `sampling`
and `augment`, what it aims at from `targets`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sorter.errors import ModelError, UsageError
from train import checkpoint
from train.config import Config, recipe_digest
from train.data.augment import augment
from train.data.corpus import UNKNOWN, Corpus, Pixels
from train.data.sampling import epoch_batches, random_stream
from train.fit.schedules import rate
from train.fit.targets import Targets, Teacher, make_targets, mix
from train.fit.update import (
    Average,
    Say,
    Updates,
    Weights,
    make_optimizer,
    restore_optimizer,
    set_rate,
)
from train.interrupt import Interrupt
from train.machine import Machine
from train.networks import Network
from train.progress import Epoch, Steps

_EVAL_BATCH = {"cpu": 64, "cuda": 256}
_GLANCE = 400
"""About so many validation pictures are judged after an epoch whose figures decide nothing."""


@dataclass
class Job:
    """What one training works on. `rows` are trained on, `val` judged after each epoch.

    `teacher` says what each picture shows, `viewer` what it sees in each changed picture.
    """

    corpus: Corpus
    pixels: Pixels
    eval_pixels: Pixels
    rows: NDArray[np.int64]
    val: NDArray[np.int64]
    folder: Path
    teacher: Teacher | None = None
    viewer: Network | None = None


@dataclass
class TrainState:
    """Where a training stands. All of it is in a checkpoint, so that it goes on exactly there.

    `begun_with` are the weights before the first step, `average` the moving average where the
    recipe has one. `step` counts within `epoch`; `loss_sum` is over the steps of this epoch.
    """

    network: Network
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    begun_with: Weights
    average: Average | None
    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: float = -1.0
    history: list[Epoch] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def begin(cls, network: Network, config: Config, machine: Machine) -> TrainState:
        """Before the first step of training `network`, which is on the machine's device."""
        begun_with = {k: v.detach().clone() for k, v in network.state_dict().items()}
        return cls(
            network,
            make_optimizer(network, config),
            torch.amp.GradScaler(machine.device.type, enabled=machine.amp is torch.float16),
            begun_with,
            Average(copy.deepcopy(begun_with), network) if config.ema else None,
        )

    def candidate(self, config: Config) -> Weights:
        """The weights that would be released now."""
        tuned = self.network.state_dict() if self.average is None else self.average.weights
        share = config.blend if config.stage == "both" else 1.0
        weights = interpolate(self.begun_with, tuned, share)
        return {k: v.detach().clone() for k, v in weights.items()}

    def save(self, file: Path, config: Config) -> None:
        """Write the checkpoint `file`. Raises FolderError."""
        parts: dict[str, Any] = {
            "recipe": recipe_digest(config),
            "model": self.network.state_dict(),
            "start": self.begun_with,
            "average": {} if self.average is None else self.average.weights,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": [asdict(epoch) for epoch in self.history],
        }
        checkpoint.save(file, parts | {name: getattr(self, name) for name in _COUNTERS})

    def load(self, file: Path, config: Config) -> None:
        """Go on from the checkpoint `file`. Raises UsageError where another recipe made it."""
        stored = checkpoint.load(file)
        if stored.get("recipe") != recipe_digest(config):
            raise UsageError(
                f"{file}: made with other settings; resume with the same, or use a new --out"
            )
        self.network.load_state_dict(stored["model"])
        restore_optimizer(self.optimizer, stored["optimizer"])
        self.scaler.load_state_dict(stored["scaler"])
        averages = {} if self.average is None else self.average.weights
        for weights, saved in ((self.begun_with, stored["start"]), (averages, stored["average"])):
            for name, value in saved.items():
                weights[name].copy_(value)
        self.history = [Epoch(**row) for row in stored["history"]]
        for name in _COUNTERS:
            setattr(self, name, stored[name])


_COUNTERS = ("epoch", "step", "loss_sum", "best", "seconds")


def fit(
    network: Network,
    job: Job,
    config: Config,
    machine: Machine,
    *,
    stop: Interrupt,
    say: Say,
    resume: bool = False,
) -> list[Epoch]:
    """Train `network` in place and leave it with the weights to release; the history comes back.

    Writes `last.pt` and `best.pt` into the job's folder. Raises KeyboardInterrupt after saving
    when `stop` is set, and ModelError, saving nothing, when the loss or a weight is not a number:
    what was saved before stays.
    """
    network.freeze_norm = config.freeze_norm
    network.to(machine.device)
    network.to(memory_format=torch.channels_last)
    state = TrainState.begin(network, config, machine)
    last = job.folder / "last.pt"
    if resume and last.is_file():
        state.load(last, config)
        say(f"resumed at epoch {state.epoch + 1}, step {state.step}")

    loss_sum = torch.tensor(state.loss_sum, dtype=torch.float64, device=machine.device)

    def refuse_divergence(loss: float, weights: Weights | None = None) -> None:
        where = f"at epoch {state.epoch + 1}, step {state.step}"
        refuse_no_numbers(loss, weights or {}, config, where=where)

    def save() -> None:
        state.loss_sum = float(loss_sum)
        refuse_divergence(state.loss_sum)
        if machine.rank == 0:
            state.save(last, config)

    def loss_so_far() -> str:  # on a GPU to look at it is to wait
        return f"loss {float(loss_sum) / state.step:.4f}  "

    per_epoch = len(epoch_batches(job.corpus.examples, job.rows, config, 0, world=machine.world))
    steps = config.epochs * per_epoch
    update = Updates(
        network, state.optimizer, state.scaler, config, machine, say=say, viewer=job.viewer
    )
    while state.epoch < config.epochs:
        begun, first = time.perf_counter(), state.step
        what = f"epoch {state.epoch + 1}/{config.epochs}"
        ticker = Steps(say, what, "pictures", first=first * config.batch)
        network.train()
        for pictures, targets in batches(job, config, machine, state.epoch, state.step):
            at = state.epoch * per_epoch + state.step
            set_rate(state.optimizer, rate(at, steps, config, steps_per_epoch=per_epoch))
            torch.manual_seed(int(random_stream(config.seed, 4, at, machine.rank).integers(2**62)))
            loss_sum += update(pictures, targets)
            if state.average is not None:
                state.average(min(config.ema, (1 + at) / (10 + at)))
            if loss_sum.is_cpu:  # elsewhere to look is to wait for the device
                refuse_divergence(float(loss_sum))
            state.step += 1
            ticker.show(state.step * config.batch, per_epoch * config.batch, note=loss_so_far)
            if machine.agree(stop.wanted):
                save()
                say(f"saved {last} at epoch {state.epoch + 1}, step {state.step}")
                raise KeyboardInterrupt
        machine.share_weights(network)
        mean = float(loss_sum) / per_epoch  # waits for the device: what follows is timed
        state.seconds += time.perf_counter() - begun
        candidate = state.candidate(config)
        refuse_divergence(mean, candidate)
        rate_now = float(state.optimizer.param_groups[0]["lr"])
        speed = config.batch * (per_epoch - first) / (time.perf_counter() - begun)
        last_one = state.epoch + 1 == config.epochs
        whole = last_one or config.select == "best"
        right = _judge(network, candidate, job, machine, whole=whole)
        done = Epoch(state.epoch + 1, mean, rate_now, speed, *right)
        state.history.append(done)
        state.epoch, state.step = state.epoch + 1, 0
        loss_sum.zero_()
        better = (done.val_top1 or 0.0) >= state.best
        state.best = max(state.best, done.val_top1 or 0.0)
        if better and machine.rank == 0:
            checkpoint.save(job.folder / "best.pt", {"model": candidate, "epoch": state.epoch})
        save()
        say(done.line(state.seconds, config))
        machine.wait()
    best = job.folder / "best.pt"
    chosen = config.select == "best" and len(job.val) and best.is_file()
    network.load_state_dict(checkpoint.load(best)["model"] if chosen else state.candidate(config))
    return state.history


def refuse_no_numbers(loss: float, weights: Weights, config: Config, *, where: str) -> None:
    """Raise ModelError where the loss, or one of `weights`, is not a number."""
    if math.isfinite(loss) and all(w.isfinite().all() for w in weights.values()):
        return
    what = "a weight is not a number" if math.isfinite(loss) else f"the loss is {loss}"
    raise ModelError(
        f"the training diverged: {what} {where}; what was saved before stays; begin again with a "
        f"lower --lr (it is {config.lr:g}) or --amp off"
    )


def predict(
    network: Network, pixels: Pixels, rows: NDArray[np.int64], machine: Machine
) -> NDArray[np.float32]:
    """Scores (rows, outputs) before softmax, one plain pass a picture."""
    network.to(machine.device).eval()
    parts = [torch.zeros((0, network.outputs), device=machine.device)]
    size = _EVAL_BATCH[machine.device.type]
    with torch.inference_mode():
        for at in range(0, len(rows), size):
            batch = pixels.batch(rows[at : at + size], machine.device)
            parts.append(network(network.normalise(batch.permute(0, 3, 1, 2))).float())
    return cast(NDArray[np.float32], torch.cat(parts).cpu().numpy())


def interpolate(start: Weights, end: Weights, share: float) -> Weights:
    """`start` moved `share` of the way to `end` (WiSE-FT: Wortsman et al., 2022)."""
    return {
        k: v + (end[k] - v) * share if v.is_floating_point() else end[k] for k, v in start.items()
    }


def batches(
    job: Job, config: Config, machine: Machine, epoch: int, first: int
) -> Iterator[tuple[Tensor, Targets]]:
    """The epoch's batches from number `first` on.

    On a CPU other threads make them a little ahead. A GPU makes them itself, in turn with the
    steps, and the host only says what to do.
    """
    batches = epoch_batches(job.corpus.examples, job.rows, config, epoch, world=machine.world)
    side = config.train_px or config.size_px or job.eval_pixels.size_px
    classes = len(job.corpus.taxonomy.categories)
    labels, device = job.corpus.labels, machine.device
    strong = config.augment == "strong" and (config.backdrop > 0 or config.paste > 0)
    if strong:
        job.pixels.backdrops(job.rows[:0], device)  # found here once, not by each thread

    def make(step: int) -> tuple[Tensor, Targets]:
        rows = batches[step][machine.rank :: machine.world]
        stream = random_stream(config.seed, 3, epoch, step, machine.rank)
        taught = job.teacher.view(rows) if job.teacher else None
        targets = make_targets(labels[rows], classes, config, taught).send(device)
        pictures = augment(
            job.pixels.batch(rows, device),
            side,
            config,
            stream,
            backdrops=job.pixels.backdrops(rows, device) if strong else None,
            unknown=labels[rows] == UNKNOWN,
        )
        return mix(pictures, targets, config, stream)

    if device.type != "cpu":
        yield from map(make, range(first, len(batches)))
        return
    workers = max(1, config.workers)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        ahead: list[Future[tuple[Tensor, Targets]]] = []
        for step in range(first, len(batches) + workers):
            if step < len(batches):
                ahead.append(pool.submit(make, step))
            if step - first >= workers or step >= len(batches):
                if not ahead:
                    return
                yield ahead.pop(0).result()


def _judge(
    network: Network, candidate: Weights, job: Job, machine: Machine, *, whole: bool
) -> tuple[float | None, float | None]:
    """Validation accuracy of the candidate, by class and bin; `network` itself is not changed.

    Not `whole`, about `_GLANCE` pictures spread over the split are enough: nothing is chosen by it.
    """
    val = job.val[job.corpus.labels[job.val] != UNKNOWN]
    if not whole:
        val = val[:: max(1, len(val) // _GLANCE)]
    if not len(val):
        return None, None
    own = {k: v.detach().clone() for k, v in network.state_dict().items()}
    network.load_state_dict(candidate)
    classes = len(job.corpus.taxonomy.categories)
    scores = predict(network, job.eval_pixels, val, machine)[:, :classes]
    network.load_state_dict(own)
    labels = job.corpus.labels[val]
    bin_of = np.asarray(job.corpus.taxonomy.bin_indices())
    probabilities = torch.softmax(torch.from_numpy(scores), 1).numpy()
    in_bins = np.stack([probabilities[:, bin_of == b].sum(1) for b in np.unique(bin_of)], 1)
    placed = np.unique(bin_of)[in_bins.argmax(1)]
    return float((scores.argmax(1) == labels).mean()), float((placed == bin_of[labels]).mean())
