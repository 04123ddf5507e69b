"""A network that INT8 can hold: the same answers, smaller ranges, and it learns to round."""

from __future__ import annotations

import copy

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from train.fit.rounding import settle
from train.networks import build
from train.networks.equalise import _centre, _streams, equalise
from train.networks.mobilenet_v2 import MobileNetV2
from train.networks.start_weights import StartWeights, fill

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def network(made: MobileNetV2) -> MobileNetV2:
    return copy.deepcopy(made)


@pytest.fixture(scope="module")
def made() -> MobileNetV2:
    """Small pictures, and bottlenecks that lie far from zero."""
    torch.set_flush_denormal(True)  # as a training does: random weights have many
    torch.manual_seed(0)
    net = build("mobilenet_v2", 3, size_px=64)
    assert isinstance(net, MobileNetV2)
    net.train()
    with torch.no_grad():
        for _ in range(40):  # batch norm learns what this network's maps are like
            net.features(net.normalise(torch.from_numpy(PIXELS).permute(0, 3, 1, 2)))
        net.eval()
        for writers, readers in _streams(net):
            width = len(writers[0].bias)
            _centre(writers, readers, torch.randn(width) * 30, torch.ones(width))
    return net


def features(net: MobileNetV2, *, rounding: bool = False) -> torch.Tensor:
    net.rounding = rounding
    with torch.inference_mode():
        pictures = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)
        out = net.features(net.normalise(pictures))
    net.rounding = False
    return out


def error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got - wanted).norm() / wanted.norm())


def test_equalised_it_gives_the_same_answers_and_rounds_better(network: MobileNetV2) -> None:
    wanted, before = features(network), error(features(network, rounding=True), features(network))
    equalise(network, PIXELS, torch.device("cpu"))
    assert error(features(network), wanted) < 1e-3
    assert error(features(network, rounding=True), wanted) < before / 2


def test_it_learns_to_answer_rounded_as_it_did_whole(network: MobileNetV2) -> None:
    equalise(network, PIXELS, torch.device("cpu"))
    wanted = features(network)
    before = error(features(network, rounding=True), wanted)
    pictures = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float()
    settle(network, [pictures] * 60, 60)  # of 22 some processors' rounding got worse
    assert error(features(network, rounding=True), wanted) < 0.8 * before
    assert not network.rounding


def test_a_channel_that_never_varied_is_a_constant(network: MobileNetV2) -> None:
    tensors = {k: v.clone() for k, v in network.state_dict().items()}
    name = "backbone.1.conv.0.1"
    tensors[f"{name}.running_var"][3] = 1e-40
    tensors[f"{name}.weight"][3] = 2.0
    fill(network, StartWeights(tensors))
    after = network.state_dict()
    assert not after[f"{name}.weight"][3] and not after["backbone.1.conv.0.0.weight"][3].any()
    assert after[f"{name}.weight"][4] == tensors[f"{name}.weight"][4]
