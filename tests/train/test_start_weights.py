"""Start weights of another set of classes: what both know is kept, and the log says the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from train import checkpoint  # noqa: E402
from train.networks import Network, build  # noqa: E402
from train.networks.start_weights import load_start  # noqa: E402


def _start(codes: list[str], outputs: int, file: Path) -> tuple[Network, list[str]]:
    """A new network filled from `file`, and what was said."""
    torch.manual_seed(1)
    network = build("dnn", outputs, size_px=16)
    said: list[str] = []
    origin = load_start(network, "dnn", str(file), file.parent, codes=codes, say=said.append)
    assert origin.name == file.name
    return network, said


def _saved(folder: Path, codes: list[str], outputs: int) -> tuple[Path, Network]:
    torch.manual_seed(0)
    network = build("dnn", outputs, size_px=16)
    items = [{"code": code} for code in codes]
    file = folder / "checkpoint.pt"
    words = json.dumps({"items": items})
    checkpoint.save(file, {"taxonomy": words, "model": network.state_dict()})
    return file, network


def test_the_same_classes_take_the_whole_head_and_say_nothing(tmp_path: Path) -> None:
    file, old = _saved(tmp_path, ["a", "b", "c"], 4)
    network, said = _start(["a", "b", "c"], 4, file)
    assert said == []
    assert torch.equal(network.head.weight, old.head.weight)


def test_rows_of_classes_that_both_know_are_kept_by_code(tmp_path: Path) -> None:
    file, old = _saved(tmp_path, ["a", "b", "c"], 4)
    network, said = _start(["c", "new", "a", "more"], 5, file)
    assert said == [
        "warning: checkpoint.pt: its head has 3 classes and the unknown, this network's 4 classes "
        "and the unknown; 3 rows that both have are kept, the others are left out or start anew"
    ]
    for ours, theirs in ((0, 2), (2, 0), (4, 3)):
        assert torch.equal(network.head.weight[ours], old.head.weight[theirs])
        assert network.head.bias[ours] == old.head.bias[theirs]
    assert not any(torch.equal(network.head.weight[1], row) for row in old.head.weight)


def test_as_many_scores_of_other_meaning_are_not_taken_for_the_same(tmp_path: Path) -> None:
    file, old = _saved(tmp_path, ["a", "b"], 3)
    network, said = _start(["b", "a", "c"], 3, file)
    assert len(said) == 1 and "2 classes and the unknown, this network's 3 classes;" in said[0]
    assert torch.equal(network.head.weight[0], old.head.weight[1])
    assert not torch.equal(network.head.weight[2], old.head.weight[2])


def test_a_head_without_class_names_is_dropped_aloud(tmp_path: Path) -> None:
    torch.manual_seed(0)
    old = build("dnn", 7, size_px=16)
    file = tmp_path / "bare.pt"
    checkpoint.save(file, {"model": old.state_dict()})
    network, said = _start(["a", "b"], 2, file)
    assert len(said) == 1 and "7 scores" in said[0] and "2 classes" in said[0]
    own, start = network.state_dict(), old.state_dict()
    others = [k for k in own if not k.startswith("head.")]
    assert all(torch.equal(own[k], start[k]) for k in others)
