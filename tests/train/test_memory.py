"""A head that remembers photographs: what is near one is like it, and it survives a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from sorter.errors import ModelError  # noqa: E402
from sorter.taxonomy import taxonomy_from_dict  # noqa: E402
from sorter.teach.graph import find_places  # noqa: E402
from sorter.vision import engine  # noqa: E402
from train.config import Config  # noqa: E402
from train.data.corpus import UNKNOWN  # noqa: E402
from train.judge.calibrate import Calibration  # noqa: E402
from train.judge.figures import predictions  # noqa: E402
from train.networks import Network, build  # noqa: E402
from train.networks.memory import PREFIX, Memory, from_tensors, remember  # noqa: E402
from train.networks.start_weights import StartWeights, fill  # noqa: E402
from train.release.ir import Released, convert, save_ir  # noqa: E402
from train.release.quantize import post_training  # noqa: E402

CONFIG = replace(Config(), memory_weight=1.0, memory_dim=4, memory_balance=0.5)


def _corners() -> tuple[Any, NDArray[np.int64]]:
    """Four directions in four dimensions, opposite ones of one class: no plane parts them."""
    at = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]])
    return at, np.array([0, 0, 1, 1])


def _made(weight: float = 1.0) -> Memory:
    at, labels = _corners()
    unknown = torch.tensor([[1.0, 0, 0, 1]])
    return remember(
        torch.cat([at, unknown]),
        np.append(labels, UNKNOWN),
        list("abcde"),
        np.ones(5),
        2,
        replace(CONFIG, memory_weight=weight),
    )


def test_what_no_plane_parts_is_told_by_what_is_near() -> None:
    at, labels = _corners()
    seen = at * 3.0 + 0.1  # another length and a little off: only the direction counts
    scores = _made()(seen, torch.zeros(4, 2))
    assert scores.shape == (4, 5)
    assert (scores[:, :2].argmax(1).numpy() == labels).all()
    assert (scores[:, 2] == 0).all(), "a head without a score of strangeness has 0"
    unchanged = _made(weight=0.0)(seen, torch.tensor([[0.5, 0.25, 7.0]]).repeat(4, 1))
    assert torch.equal(unchanged[:, :3], torch.tensor([[0.5, 0.25, 7.0]]).repeat(4, 1))


def test_what_is_near_no_class_is_evidence_for_none() -> None:
    at, _ = _corners()
    memory = _made()
    scores = memory(torch.cat([at, torch.tensor([[1.0, 0, 0, 1]])]), torch.zeros(5, 2))
    any_class, none = scores[:, 3], scores[:, 4]
    assert (any_class[:4] > none[:4]).all() and any_class[4] < none[4]


def test_a_photograph_is_one_key_however_many_pictures_it_has() -> None:
    at, labels = _corners()
    memory = remember(
        at.repeat(4, 1), np.tile(labels, 4), list("abcd") * 4, np.full(16, 0.25), 2, CONFIG
    )
    assert len(memory.keys) == 4
    assert torch.allclose(memory.values.sum(1), torch.ones(4))
    for tensor in (memory.basis, memory.keys, memory.values):
        assert torch.equal(tensor, tensor.half().float()), "half precision keeps all of it"
    heavier = remember(at, labels, list("abcd"), np.array([4.0, 1, 1, 1]), 2, CONFIG)
    assert sorted(heavier.values.sum(1).tolist()) == [1, 1, 1, 2], "softened by memory_balance"


def test_a_state_dict_gives_it_back_and_new_keys_join_in_its_space() -> None:
    at, labels = _corners()
    memory = _made()
    tensors = {PREFIX + k: v for k, v in memory.state_dict().items()}
    again = from_tensors({**tensors, "head.weight": torch.zeros(2, 4)}, features=4, classes=2)
    assert again is not None
    wanted = memory(at, torch.zeros(4, 2))
    assert torch.equal(again(at, torch.zeros(4, 2)), wanted)
    more = remember(-at, labels, list("pqrs"), np.ones(4), 2, CONFIG, like=again)
    both = again.joined(more)
    assert len(both.keys) == 9
    assert len(again.joined(memory).keys) == 5, "nothing comes twice"
    other = remember(at, 1 - labels, list("pqrs"), np.ones(4), 2, CONFIG, like=again)
    assert len(again.joined(other).keys) == 9, "but for a correction"
    # Far keys say nothing, but for a mean over twice as many.
    columns = [0, 1, 3]
    halved = (wanted - torch.log(torch.tensor(2.0)))[:, columns]
    assert torch.allclose(both(at, torch.zeros(4, 2))[:, columns], halved, atol=1e-4)
    assert from_tensors({"head.weight": torch.zeros(2, 4)}, features=4, classes=2) is None
    with pytest.raises(ValueError, match="basis"):
        less = {k: v for k, v in tensors.items() if not k.endswith("basis")}
        from_tensors(less, features=4, classes=2)
    for name, wrong in (
        ("values", (3, 3)),
        ("settings", ()),
        ("basis", ()),
        ("keys", ()),
        ("keys", (5, 3)),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            broken = {**tensors, PREFIX + name: torch.zeros(wrong)}
            from_tensors(broken, features=4, classes=2)
    for features, classes in ((5, 2), (4, 3)):
        with pytest.raises(ValueError, match="do not fit"):
            from_tensors(tensors, features=features, classes=classes)


def test_the_released_graph_says_what_the_figures_are_of() -> None:
    torch.manual_seed(0)
    network = build("cnn", 3, size_px=32).eval()
    width = network.head.in_features
    network.memory = remember(
        torch.rand(8, width),
        np.array([0, 1, 0, 1, 0, 1, UNKNOWN, UNKNOWN]),
        list("abcdefgh"),
        np.ones(8),
        2,
        replace(CONFIG, memory_dim=6),
    )
    calibration = Calibration(
        1.7, (0.5, 0.5), 0.5, (0.3, 0.2, -0.1, 0.4, -0.3, 0.2), (0.4, 0.1, -0.05, 0.3)
    )
    pictures = torch.randint(0, 255, (5, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        chances, unknown = Released(network, 2, calibration)(pictures)
        scores = network(network.normalise(pictures.permute(0, 3, 1, 2))).numpy()
    assert scores.shape == (5, network.outputs) == (5, 5)
    for row, expected in enumerate(predictions(scores, 2, calibration)):
        assert chances[row].tolist() == pytest.approx(expected.probabilities, abs=1e-5)
        assert float(unknown[row]) == pytest.approx(expected.unknown, abs=1e-5)


def _in_int8(network: Network) -> Any:
    pictures = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    calibration = Calibration(1.0, (0.5, 0.5), 0.5, (0.1,) * 6, (0.1,) * 4)
    return post_training(
        convert(Released(network, 2, calibration)), pictures, replace(CONFIG, int8_skip=1)
    )


def test_of_all_that_follows_the_features_only_the_keys_are_quantised() -> None:
    """Names come from the converter; were they to change, nothing else would say so."""
    torch.manual_seed(0)
    network = build("cnn", 3, size_px=32).eval()
    features = torch.rand(40, network.head.in_features)
    network.memory = remember(
        features, np.arange(40) % 2, [str(i) for i in range(40)], np.ones(40), 2, CONFIG
    )
    small = _in_int8(network)
    names = set()
    for op in small.get_ordered_ops():
        if op.get_type_name() == "FakeQuantize":
            names |= {t.get_node().get_friendly_name() for t in op.output(0).get_target_inputs()}
    later = {n for n in names if ".memory/" in n or ".head/" in n or n.startswith("aten::")}
    assert later == {"__module.network.memory/aten::matmul/MatMul_1"}
    assert len(names) > len(later), "the convolutions are"


def test_weights_take_half_of_int8_s_range() -> None:
    """With all of it, answers on a processor without VNNI are others."""
    network = build("cnn", 2, size_px=32).eval()
    small = _in_int8(network)
    largest = [
        int(np.abs(op.data.astype(int)).max())
        for op in small.get_ordered_ops()
        if op.get_type_name() == "Constant" and str(op.get_element_type()) == "<Type: 'int8_t'>"
    ]
    assert largest
    assert max(largest) <= 64


def test_what_is_held_out_is_forgotten() -> None:
    at, _ = _corners()
    memory = _made()
    assert len(memory.without(at[1:3] * 7.0).keys) == 3
    assert len(memory.without(-at).keys) == 5


def test_start_weights_bring_a_memory_of_the_same_classes_in_any_order() -> None:
    network = build("cnn", 3, size_px=32)
    width = network.head.in_features
    memory = remember(
        torch.rand(6, width),
        np.array([0, 0, 1, 1, UNKNOWN, UNKNOWN]),
        list("abcdef"),
        np.ones(6),
        2,
        replace(CONFIG, memory_dim=6),
    )
    tensors = {**network.state_dict(), **{PREFIX + k: v for k, v in memory.state_dict().items()}}
    for outputs in (2, 3):  # with a score of unknown score of its own, or without
        fresh = build("cnn", outputs, size_px=32)
        fill(fresh, StartWeights(tensors, ("a", "b")), ("b", "a"))
        assert fresh.memory is not None
        assert torch.equal(fresh.memory.values[:, [1, 0, 2]], memory.values)
    other = build("cnn", 3, size_px=32)
    assert "memory" in fill(other, StartWeights(tensors, ("a", "b")), ("b", "c"))
    assert "does not name" in fill(other, StartWeights(tensors), ("a", "b"))
    assert other.memory is None
    with pytest.raises(ModelError, match="memory"):
        broken = {**tensors, PREFIX + "keys": torch.full_like(memory.keys, torch.nan)}
        fill(other, StartWeights(broken, ("a", "b")), ("a", "b"))


@pytest.mark.parametrize("kind", ["fp16", "int8"])
@pytest.mark.parametrize("remembers", [True, False])
def test_a_released_file_names_what_can_be_taught(
    tmp_path: Path, kind: str, *, remembers: bool
) -> None:
    torch.manual_seed(0)
    network = build("cnn", 3, size_px=32).eval()
    width = network.head.in_features
    if remembers:
        network.memory = remember(
            torch.rand(40, width),
            np.arange(40) % 2,
            list(map(str, range(40))),
            np.ones(40),
            2,
            CONFIG,
        )
    calibration = Calibration(1.0, (0.5, 0.5), 0.5, (0.1,) * 6, (0.1,) * 4)
    model = convert(Released(network, 2, calibration))
    if kind == "int8":
        pictures = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
        model = post_training(model, pictures, replace(CONFIG, int8_skip=1))
    taxonomy = taxonomy_from_dict(
        {
            "bins": [{"key": "a", "name": "A"}, {"key": "b", "name": "B"}],
            "items": [{"code": c, "name": c, "bin": c} for c in "ab"],
        },
        source="test",
    )
    notes = {"taxonomy": taxonomy, "policy": calibration.policy, "temperature": 1.0}
    save_ir(model, tmp_path / "model.xml", notes)
    saved = engine.core().read_model(tmp_path / "model.xml")
    named = {op.get_friendly_name(): op for op in saved.get_ops()}
    shapes = {"features": [1, width], "scores": [1, 2], "strangeness": [1, 1]}
    for name, shape in shapes.items():
        assert list(named[name].output(0).shape) == shape
    assert list(named["head.weight"].output(0).shape) == [3, width]
    assert ("memory.keys" in named) == remembers
    if remembers:
        assert list(named["memory.keys"].output(0).shape) == [40, 4]
        assert list(named["memory.values"].output(0).shape) == [3, 40]
    places = find_places(saved, 2)
    assert places.features.get_node().get_friendly_name() == "features"
