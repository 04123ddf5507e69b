"""The learning rate at each step: linear warm-up, then one of the paper's curves. Pure."""

from __future__ import annotations

import math

from train.config import Config


def rate(step: int, steps: int, config: Config, *, steps_per_epoch: int = 1) -> float:
    """The rate at `step` of `steps` (from 0).

    Source: the paper's cosine and square formulas, with N the last step, so that the end is
    reached; poly is square with `power`; exp falls to a hundredth by equal factors; step
    multiplies by `gamma` each `step_every` epochs.
    """
    warm = int(config.warmup * steps)
    if step < warm:
        return config.lr * (step + 1) / warm
    share = (step - warm) / max(1, steps - warm)
    match config.schedule:
        case "cosine":
            return config.lr * 0.5 * (1.0 + math.cos(math.pi * share))
        case "square":
            return config.lr * (1.0 - share) ** 2
        case "poly":
            return float(config.lr * (1.0 - share) ** config.power)
        case "exp":
            return float(config.lr * 0.01**share)
        case "step":
            drops = (step - warm) // max(1, config.step_every * steps_per_epoch)
            return float(config.lr * config.gamma**drops)
    return config.lr
