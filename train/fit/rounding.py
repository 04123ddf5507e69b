"""The last lesson: a network learns to give its own answers in eight bits.

Quantisation-aware tuning (Jacob et al., 2018) by self-distillation: the network with rounded
weights and activations is drawn towards the features that it had without, on changed pictures of
every kind, so that neither labels nor what was generalised are needed again. Owns this stage; what
is rounded how is the network's own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor

from train.networks import Network
from train.networks.mobilenet_v2 import MobileNetV2

LR = 3e-5
"""Adam's largest step: weights move by a rounding step or two, not to another network. At 1e-4 a
small network forgot more than it learnt."""


def settle(network: Network, batches: Iterable[Tensor], steps: int, *, lr: float = LR) -> float:
    """Tune `network` in place over `steps` of `batches` of pictures (N, 3, side, side) in 0..255.

    The relative error of the features over the last tenth of the steps comes back. Networks that
    cannot round come back as they are, with 0.
    """
    if not isinstance(network, MobileNetV2) or not steps:
        return 0.0
    whole = copy.deepcopy(network).eval()
    network.eval()  # batch norm and dropout stay as they are judged
    network.rounding = True
    parameters = [p for p in network.backbone.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=lr)
    curve = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    errors = []
    for step, pictures in zip(range(steps), batches, strict=False):
        normal = network.normalise(pictures)
        with torch.no_grad():
            wanted = whole.features(normal)
        got = network.features(normal)
        error = (got - wanted).square().mean() / wanted.square().mean()
        optimizer.zero_grad(set_to_none=True)
        error.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        curve.step()
        if step >= steps - max(1, steps // 10):
            errors.append(error.detach())
    network.rounding = False
    return float(torch.stack(errors).mean().sqrt())
