"""Each network of the paper learns for two steps; short cuts give the same numbers."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from train.config import make_config  # noqa: E402
from train.fit.features import OnCpu  # noqa: E402
from train.fit.head import mix_in  # noqa: E402
from train.fit.schedules import rate  # noqa: E402
from train.fit.targets import make_targets  # noqa: E402
from train.fit.training import _keep_old  # noqa: E402
from train.fit.update import Updates, make_optimizer  # noqa: E402
from train.machine import Machine  # noqa: E402
from train.networks import build  # noqa: E402


@pytest.mark.parametrize(
    ("name", "side"), [("dnn", 32), ("cnn", 64), ("mobilenet_v2", 64), ("swin_t", 64)]
)
def test_two_steps_change_every_part_and_lower_the_loss(name: str, side: int) -> None:
    torch.manual_seed(0)
    config = make_config({"network": name, "lr": 1e-4, "warmup": 0.0, "clip": 1.0})
    network = build(name, 3, size_px=side, dropout=0.0)
    before = {k: v.clone() for k, v in network.named_parameters()}
    optimizer = make_optimizer(network, config)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    machine = Machine(torch.device("cpu"), None)
    pictures = torch.rand(4, 3, side, side) * 255
    targets = make_targets(torch.tensor([0, 1, 2, 0]).numpy(), 3, config)
    network.train()
    losses = []
    update = Updates(network, optimizer, scaler, config, machine, say=print)
    for _ in range(2):
        torch.manual_seed(1)
        losses.append(float(update(pictures, targets)))
    assert losses[1] < losses[0]
    same = [k for k, v in network.named_parameters() if torch.equal(v, before[k])]
    assert same == []


@pytest.mark.parametrize("name", ["dnn", "cnn", "mobilenet_v2", "swin_t"])
def test_openvino_sees_the_same_features(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, 3, size_px=64).eval()
    ramp = torch.linspace(-2, 2, 64).expand(3, 64, 64)
    pictures = torch.stack([torch.rand(3, 64, 64), ramp])
    with torch.inference_mode():
        wanted = network.features(pictures)
        got = OnCpu(network)(pictures)
    wrong = (got - wanted).abs().max()
    assert wrong < 1e-3
    assert (got[0] - got[1]).abs().max() > 10 * wrong, "each picture has its own"


def test_a_head_goes_part_of_the_way_to_another() -> None:
    torch.manual_seed(0)
    head, fresh = torch.nn.Linear(8, 4), torch.nn.Linear(8, 3)
    features = torch.randn(20, 2, 8)
    scores, other = head(features[:, 0]).detach(), fresh(features[:, 0]).detach()
    mix_in(head, fresh, features, 0.0)
    assert torch.allclose(head(features[:, 0]), scores)
    mix_in(head, fresh, features, 1.0)
    after = head(features[:, 0]).detach()
    assert torch.allclose(after[:, 3], scores[:, 3]), "the row of strangeness stays"
    scale = (after[:, :3] / other).mean()
    assert torch.allclose(after[:, :3], other * scale, atol=1e-5)
    spread = [s - s.mean(1, keepdim=True) for s in (scores[:, :3], after[:, :3])]
    assert float(spread[1].std() / spread[0].std()) == pytest.approx(1.0, abs=0.2)


def test_a_refreshed_head_keeps_as_much_of_the_old_as_asked() -> None:
    torch.manual_seed(0)
    old, fitted = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
    features = torch.randn(20, 2, 8)
    for share in (0.0, 0.5):
        head = copy.deepcopy(fitted)
        _keep_old(head, copy.deepcopy(old), features, 3, share)
        assert torch.equal(head.weight[3], fitted.weight[3]), "strangeness is learnt anew"
        assert torch.equal(head.weight[:3], old.weight[:3]) is (share == 0.0)


def test_the_papers_cnn_flattens_to_the_papers_width() -> None:
    assert build("cnn", 26).state_dict()["hidden.2.weight"].shape == (2048, 12_544)


@pytest.mark.parametrize("training", [False, True])
def test_folded_norm_is_the_same_function_with_the_same_gradients(training: bool) -> None:
    torch.manual_seed(0)
    network = build("mobilenet_v2", 3, size_px=64, dropout=0.0)
    for name, value in network.state_dict().items():
        if name.endswith("running_mean"):
            value.uniform_(-0.2, 0.2)
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
    network.freeze_norm = True
    network.train(training)
    pictures = torch.rand(2, 3, 64, 64)
    results = []
    for plain in (True, False):
        network.plain = plain
        network.zero_grad()
        scores = network(pictures)
        scores.square().sum().backward()
        grads = {k: v.grad.clone() for k, v in network.named_parameters() if v.grad is not None}
        results.append((scores.detach(), grads["backbone.3.conv.1.0.weight"]))
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5 * float(a.abs().max()))


def test_every_schedule_starts_warm_and_ends_where_it_says() -> None:
    for name in ("cosine", "square", "poly", "exp", "step", "constant"):
        config = make_config({"schedule": name, "lr": 0.1, "warmup": 0.1, "step_every": 40})
        rates = [rate(i, 100, config) for i in range(101)]
        assert rates[0] == pytest.approx(0.01)
        assert max(rates) == pytest.approx(0.1)
        ends = {"constant": 0.1, "exp": 0.001, "step": 0.001}
        assert rates[100] == pytest.approx(ends.get(name, 0.0), rel=0.01, abs=1e-9)
        assert all(a >= b for a, b in pairwise(rates[10:]))


def test_max_pooling_differs_from_mean() -> None:
    torch.manual_seed(0)
    mean = build("mobilenet_v2", 3, size_px=64, pool="mean").eval()
    largest = build("mobilenet_v2", 3, size_px=64, pool="max").eval()
    largest.load_state_dict(mean.state_dict())
    pictures = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert bool((largest.features(pictures) >= mean.features(pictures)).all())
        assert not torch.equal(largest.features(pictures), mean.features(pictures))
