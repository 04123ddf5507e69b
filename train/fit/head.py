"""Train the linear head alone, on cached features.

Multinomial logistic regression by L-BFGS, or the paper's momentum SGD with its schedules. Owns the
fit; must not compute features (`features`).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # torch's own convention
from numpy.typing import NDArray
from torch import Tensor, nn

from train.config import Config
from train.data.sampling import random_stream
from train.fit.schedules import rate
from train.fit.targets import Targets, loss

_STEPS = 60
"""Of L-BFGS, at most: the head of the release has converged by then."""


def fit_head(
    head: nn.Linear,
    features: Tensor,
    targets: Targets,
    weight: NDArray[np.float64],
    config: Config,
) -> None:
    """Fit `head` in place to features (N, views, F), one target and one weight a picture.

    Features are standardised for the fit, and that is folded into the weights afterwards.
    """
    views = features.shape[1] if config.head_flips else 1
    x = features[:, :views].flatten(0, 1).float()
    mean, std = x.mean(0), x.std(0).clamp_min(1e-4)
    x = (x - mean) / std
    repeated = Targets(
        targets.classes.repeat_interleave(views, 0), targets.unknown.repeat_interleave(views)
    )
    scale = torch.from_numpy(weight / weight.mean()).float().repeat_interleave(views)
    torch.manual_seed(config.seed)
    work = nn.Linear(head.in_features, head.out_features)
    nn.init.zeros_(work.weight)
    nn.init.zeros_(work.bias)
    if config.head_solver == "lbfgs":
        _solve(work, x, repeated, scale, config)
    else:
        _descend(work, x, repeated, scale, config)
    with torch.no_grad():
        head.weight.copy_(work.weight / std)
        head.bias.copy_(work.bias - (work.weight / std) @ mean)


def mix_in(head: nn.Linear, fresh: nn.Linear, features: Tensor, share: float) -> None:
    """Move the class rows of `head` by `share` towards `fresh`, which first gets their spread.

    `fresh` (F → C) has no row of unknown score; that of `head` stays. Spreads are those of the
    scores of `features` (N, views, F), within each picture.
    """
    classes = fresh.out_features
    x = features.flatten(0, 1).float()
    with torch.no_grad():
        # Features stay in the CPU's memory, wherever the network is.
        spreads = []
        for layer in (head, fresh):
            scores = F.linear(x, layer.weight.cpu(), layer.bias.cpu())[:, :classes]
            spreads.append((scores - scores.mean(1, keepdim=True)).std())
        scale = float(spreads[0] / spreads[1].clamp_min(1e-6))
        for ours, theirs in ((head.weight, fresh.weight), (head.bias, fresh.bias)):
            ours[:classes].lerp_(theirs.to(ours.device) * scale, share)


def _solve(work: nn.Linear, x: Tensor, targets: Targets, scale: Tensor, config: Config) -> None:
    optimizer = torch.optim.LBFGS(
        work.parameters(),
        max_iter=_STEPS,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = _weighted(work(x), targets, scale, config)
        total = total + 0.5 * config.head_decay * work.weight.square().sum()
        total.backward()
        return total

    optimizer.step(closure)


def _descend(work: nn.Linear, x: Tensor, targets: Targets, scale: Tensor, config: Config) -> None:
    optimizer = torch.optim.SGD(
        work.parameters(), lr=1.0, momentum=config.momentum, weight_decay=config.head_decay
    )
    curve = dataclasses.replace(config, lr=config.head_lr)
    per_epoch = -(-len(x) // config.batch)
    steps = config.head_epochs * per_epoch
    for epoch in range(config.head_epochs):
        order = torch.from_numpy(random_stream(config.seed, 2, epoch).permutation(len(x)))
        for i, rows in enumerate(order.split(config.batch)):
            step = epoch * per_epoch + i
            optimizer.param_groups[0]["lr"] = rate(step, steps, curve, steps_per_epoch=per_epoch)
            part = Targets(targets.classes[rows], targets.unknown[rows])
            optimizer.zero_grad()
            _weighted(work(x[rows]), part, scale[rows], config).backward()
            optimizer.step()


def _weighted(scores: Tensor, targets: Targets, scale: Tensor, config: Config) -> Tensor:
    weighted = Targets(targets.classes * scale[:, None], targets.unknown)
    return loss(scores, weighted, config)
