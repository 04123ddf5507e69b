"""One step of training: forward, backward, the optimizer, and the average of the weights.

Owns what happens to the weights. Nothing in a step waits for the device, so that the host runs
ahead of it; on a GPU a step of full size is recorded once and replayed, because starting its
thousand operations one by one takes longer than they do. Must not know where pictures come from or
when to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own convention
from torch import Tensor

from sorter.text import counted, first_line
from train.config import Config
from train.fit.targets import Targets, loss
from train.machine import Machine
from train.networks import Network

Say = Callable[[str], None]
Weights = dict[str, Tensor]

_WARM_STEPS = 3
"""Real steps before one is recorded: the optimizer makes its state, cuDNN chooses its ways."""


class Updates:
    """The updates of one training: call it with each batch, on the machine's device.

    `viewer` is a frozen network whose scores of the same pictures teach `network`.
    """

    def __init__(
        self,
        network: Network,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        config: Config,
        machine: Machine,
        *,
        say: Say,
        viewer: Network | None = None,
    ) -> None:
        self._network, self._optimizer, self._scaler = network, optimizer, scaler
        self._config, self._machine, self._say = config, machine, say
        self._viewer = viewer
        self.split = 1
        """Into so many parts a batch goes, for want of memory."""
        can_record = machine.device.type == "cuda" and config.cuda_graphs
        self._records = can_record and machine.world == 1 and not scaler.is_enabled()
        self._warm = 0
        self._recorded: _Recorded | None = None

    def __call__(self, pictures: Tensor, targets: Targets) -> Tensor:
        """One update; out of memory, the batch goes through in parts. Its loss, not waited for.

        The loss is good until the next call.
        """
        if self._records and self.split == 1 and len(pictures) == self._config.batch:
            return self._replay(pictures, targets)
        return self._update(pictures, targets)

    def _update(self, pictures: Tensor, targets: Targets) -> Tensor:
        while True:
            self._optimizer.zero_grad(set_to_none=True)
            try:
                total = self._backward(pictures, targets)
                break
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                if not _is_out_of_memory(error) or self.split >= len(pictures):
                    raise
            self.split *= 2
            torch.cuda.empty_cache()
            most = max(1, len(pictures) // self.split)
            self._say(f"out of memory: {counted(most, 'picture')} at a time, same update")
        self._scaler.unscale_(self._optimizer)
        self._machine.share_gradients(self._network)
        if self._config.clip:
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), self._config.clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return total

    def _backward(self, pictures: Tensor, targets: Targets) -> Tensor:
        total = torch.zeros((), device=pictures.device)
        size = -(-len(pictures) // self.split)
        for at in range(0, len(pictures), size):
            part = pictures[at : at + size]
            with self._machine.autocast():
                scores = self._network(_prepared(self._network, part))
                view = None if self._viewer is None else _scores_of(self._viewer, part)
            value = loss(scores, targets.part(slice(at, at + size)), self._config, view)
            share = len(part) / len(pictures)
            self._scaler.scale(value * share).backward()
            total += value.detach() * share
        return total

    def _replay(self, pictures: Tensor, targets: Targets) -> Tensor:
        if self._recorded is None and self._warm < _WARM_STEPS:
            self._warm += 1
            return self._warm_up(pictures, targets)
        if self._recorded is None:
            try:
                self._recorded = _Recorded.of(self._update, pictures, targets)
            except RuntimeError as error:
                self._records = False
                why = first_line(error)
                self._say(f"warning: steps are not recorded, and slower for it: {why}")
                return self._update(pictures, targets)
        return self._recorded.replay(pictures, targets)

    def _warm_up(self, pictures: Tensor, targets: Targets) -> Tensor:
        """A real step on a stream of its own, as recording wants; cuDNN measures its ways."""
        aside, main = torch.cuda.Stream(), torch.cuda.current_stream()
        aside.wait_stream(main)
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True
        try:
            with torch.cuda.stream(aside):
                total = self._update(pictures, targets)
        finally:
            torch.backends.cudnn.benchmark = before
        main.wait_stream(aside)
        return total


@dataclass(frozen=True)
class _Recorded:
    """A recorded update with the tensors that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    pictures: Tensor
    targets: Targets
    total: Tensor

    @classmethod
    def of(
        cls, update: Callable[[Tensor, Targets], Tensor], pictures: Tensor, targets: Targets
    ) -> _Recorded:
        """Record `update` on pictures and targets of these shapes; no weight changes yet."""
        inside = pictures.clone()
        wanted = Targets(targets.classes.clone(), targets.unknown.clone())
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            total = update(inside, wanted)
        return cls(graph, inside, wanted, total)

    def replay(self, pictures: Tensor, targets: Targets) -> Tensor:
        self.pictures.copy_(pictures)
        self.targets.classes.copy_(targets.classes)
        self.targets.unknown.copy_(targets.unknown)
        self.graph.replay()
        return self.total


def _prepared(network: Network, pictures: Tensor) -> Tensor:
    return network.normalise(pictures).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _scores_of(viewer: Network, pictures: Tensor) -> Tensor:
    """What `viewer` says of the pictures, at the size that it was made for."""
    side, wanted = pictures.shape[-1], viewer.size_px
    if side != wanted:
        pictures = F.interpolate(pictures, size=wanted, mode="bilinear", antialias=side > wanted)
    scores: Tensor = viewer(_prepared(viewer, pictures))
    return scores.float()


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text


def make_optimizer(network: Network, config: Config) -> torch.optim.Optimizer:
    """One rate a block, smaller towards the input; norms and biases do not decay.

    On a GPU all parameters of a group move in one operation, and rates lie there too: a recorded
    step must find them.
    """
    network.freeze(config.freeze_blocks)
    blocks: Sequence[Any] = [*network.blocks(), network.head]
    groups = []
    for depth, block in enumerate(reversed(blocks)):
        scale = config.layer_decay**depth
        for decays in (True, False):
            params = [p for p in block.parameters() if p.requires_grad and (p.ndim > 1) is decays]
            if params:
                decay = config.weight_decay if decays else 0.0
                groups.append({"params": params, "weight_decay": decay, "scale": scale})
    device = network.head.weight.device
    on_gpu = device.type == "cuda"
    optimizer: torch.optim.Optimizer
    match config.optimizer:
        case "adamw":
            optimizer = torch.optim.AdamW(
                groups, lr=config.lr, fused=on_gpu or None, capturable=on_gpu
            )
        case "adam":
            optimizer = torch.optim.Adam(
                groups, lr=config.lr, fused=on_gpu or None, capturable=on_gpu
            )
        case _:
            optimizer = torch.optim.SGD(
                groups, lr=config.lr, momentum=config.momentum, fused=on_gpu or None
            )
    if on_gpu:
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(config.lr, device=device)
    return optimizer


def restore_optimizer(optimizer: torch.optim.Optimizer, stored: Mapping[str, Any]) -> None:
    """Go on with a stored state, in the way that this device wants its operations."""
    for group, old in zip(optimizer.param_groups, stored["param_groups"], strict=True):
        old |= {k: group[k] for k in ("lr", "fused", "foreach", "capturable") if k in group}
    optimizer.load_state_dict(dict(stored))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Every group's rate for the next step, from that of the head."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate * group["scale"])
        else:
            group["lr"] = rate * group["scale"]


class Average:
    """The moving average `weights` of a network's weights, of whatever device."""

    def __init__(self, weights: Weights, network: Network) -> None:
        self.weights = weights
        current = network.state_dict()
        pairs = [(v, current[k]) for k, v in weights.items()]
        self._floats = [(a, b) for a, b in pairs if a.is_floating_point()]
        self._others = [(a, b) for a, b in pairs if not a.is_floating_point()]

    @torch.no_grad()
    def __call__(self, decay: float) -> None:
        """Towards the weights as they are now."""
        averages, current = ([pair[i] for pair in self._floats] for i in (0, 1))
        torch._foreach_lerp_(averages, current, 1.0 - decay)
        for average, value in self._others:
            average.copy_(value)
