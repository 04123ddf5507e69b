"""One step of training: forward, backward, the optimizer, and the pulls on the weights after it.

Owns what happens to the weights. Must not know where pictures come from or when to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from train.config import Config
from train.fit.targets import Targets, loss
from train.machine import Machine
from train.networks import Network

Say = Callable[[str], None]
Weights = dict[str, Tensor]


def step(
    network: Network,
    pictures: Tensor,
    targets: Targets,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    config: Config,
    machine: Machine,
    split: int,
    say: Say,
) -> tuple[float, int]:
    """One update; out of memory, the batch goes through in halves. The loss, and the split."""
    while True:
        optimizer.zero_grad(set_to_none=True)
        try:
            total = 0.0
            size = -(-len(pictures) // split)
            for at in range(0, len(pictures), size):
                part = pictures[at : at + size].to(machine.device)
                share = len(part) / len(pictures)
                with machine.autocast():
                    inside = network.normalise(part).contiguous(memory_format=torch.channels_last)
                    scores = network(inside)
                value = loss(scores, targets.part(slice(at, at + size)).to(machine.device), config)
                scaler.scale(value * share).backward()
                total += float(value.detach()) * share
            break
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error) or split >= len(pictures):
                raise
            split *= 2
            torch.cuda.empty_cache()
            say(f"out of memory: {max(1, len(pictures) // split)} pictures at a time, same update")
    scaler.unscale_(optimizer)
    machine.share_gradients(network)
    if config.clip:
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
    scaler.step(optimizer)
    scaler.update()
    return total, split


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text


def make_optimizer(network: Network, config: Config) -> torch.optim.Optimizer:
    """One rate a block, smaller towards the input; norms and biases do not decay."""
    blocks: Sequence[Any] = [*network.blocks(), network.head]
    groups = []
    for block in blocks[: min(config.freeze_blocks, len(blocks) - 1)]:
        block.requires_grad_(False)  # no backward pass comes this far: most of its cost is here
    for depth, block in enumerate(reversed(blocks)):
        scale = config.head_lr_scale if depth == 0 else config.layer_decay**depth
        for decays in (True, False):
            params = [p for p in block.parameters() if p.requires_grad and (p.ndim > 1) is decays]
            if params:
                decay = config.weight_decay if decays else 0.0
                groups.append({"params": params, "weight_decay": decay, "scale": scale})
    match config.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, lr=config.lr)
        case "adam":
            return torch.optim.Adam(groups, lr=config.lr)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)


def pull(
    network: Network, start: Weights, optimizer: torch.optim.Optimizer, config: Config
) -> None:
    """L2-SP (Li et al., 2018), decoupled from the gradient as AdamW's decay is."""
    if not config.l2sp:
        return
    lr = max(float(group["lr"]) for group in optimizer.param_groups)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.startswith("head."):
                parameter.add_(start[name] - parameter, alpha=min(1.0, lr * config.l2sp))


def follow(average: Weights, current: Weights, decay: float) -> None:
    with torch.no_grad():
        for name, value in average.items():
            if value.is_floating_point():
                value.lerp_(current[name], 1.0 - decay)
            else:
                value.copy_(current[name])
