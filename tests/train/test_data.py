"""Which pictures take part, which are said to be broken, and how often each is shown."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from sorter.errors import DataError  # noqa: E402
from sorter.taxonomy import read_taxonomy  # noqa: E402
from tests.support.train_pictures import CLASSES, draw, write_folder, write_taxonomy  # noqa: E402
from train.config import make_config  # noqa: E402
from train.data.corpus import Corpus, Example, Pixels, Sources, gather  # noqa: E402
from train.data.sampling import epoch_rows  # noqa: E402
from train.fit.features import read_features  # noqa: E402
from train.judge.folds import ALWAYS, NEVER, assign, held_unknown  # noqa: E402
from train.machine import Machine  # noqa: E402
from train.networks import build  # noqa: E402


def quiet(line: str) -> None:
    del line


def example(label: int, group: str, source: str = "", role: str = "train") -> Example:
    return Example(Path("x"), group, label, source, group, role)


def test_a_broken_picture_is_named_counted_and_left_out(tmp_path: Path) -> None:
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    data = write_folder(tmp_path / "data")
    whole = (data / "train" / "Disc" / "00.png").read_bytes()
    (data / "train" / "Disc" / "broken.png").write_bytes(whole[: len(whole) // 2])
    said: list[str] = []
    corpus = gather(Sources(data), taxonomy, say=said.append)
    assert [p.name for p, _ in corpus.broken] == ["broken.png"]
    assert any("broken.png" in line for line in said)
    assert any("1 broken" in line for line in said)
    assert len(corpus.examples) == 24


def test_classes_without_a_picture_and_pictures_of_two_classes_are_named(tmp_path: Path) -> None:
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    data = write_folder(tmp_path / "data")
    for split in ("train", "val"):
        shutil.rmtree(data / split / "Stripe")
    twice = (data / "train" / "Disc" / "00.png").read_bytes()
    (data / "train" / "Square" / "twice.png").write_bytes(twice)
    said: list[str] = []
    gather(Sources(data), taxonomy, say=said.append)
    text = "\n".join(said)
    assert "no picture of 1 class, which cannot be learnt: t (Stripe)" in text
    assert "1 picture is in two classes" in text
    assert "Disc/00.png and" in text and "Square/twice.png" in text


def test_a_test_split_is_neither_trained_on_nor_validated_on(tmp_path: Path) -> None:
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    data = write_folder(tmp_path / "data")
    (data / "val").rename(data / "test")
    said: list[str] = []
    corpus = gather(Sources(data), taxonomy, say=said.append)
    assert (len(corpus.rows("val")), len(corpus.rows("test"))) == (6, 0)
    assert any("no val/ beside test/" in line for line in said)
    for kind in CLASSES:
        (data / "valid" / kind).mkdir(parents=True)
        draw(kind, 2000).save(data / "valid" / kind / "0.png")
    corpus = gather(Sources(data), taxonomy, say=quiet)
    assert (len(corpus.rows("val")), len(corpus.rows("test"))) == (3, 6)
    folds = assign(corpus, make_config({"folds": 2}))
    assert set(folds[corpus.rows("test")].tolist()) == {NEVER}


def test_a_class_in_val_alone_is_an_error_that_names_it(tmp_path: Path) -> None:
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    data = write_folder(tmp_path / "data")
    for file in (data / "train" / "Stripe").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="Stripe"):
        gather(Sources(data), taxonomy, say=quiet)


def test_a_split_goes_by_content_and_keeps_groups_whole(tmp_path: Path) -> None:
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    data = tmp_path / "data"
    rows = ["path,group"]
    for number, kind in enumerate(("Disc", "Square", "Stripe")):
        (data / kind).mkdir(parents=True)
        for i in range(20):
            draw(kind, 100 * number + i).save(data / kind / f"{i:02d}.png")
            rows.append(f"{kind}/{i:02d}.png,{kind}{i // 2}")
    (data / "groups.csv").write_text("\n".join(rows) + "\n")
    sources = Sources(data, groups=data / "groups.csv")
    first = gather(sources, taxonomy, say=quiet)
    roles: dict[str, set[str]] = {}
    for e in first.examples:
        roles.setdefault(e.group, set()).add(e.role)
    assert all(len(r) == 1 for r in roles.values())
    held = {e.digest for e in first.examples if e.role == "val"}
    assert {e.label for e in first.examples if e.role == "val"} == {0, 1, 2}
    for file in (data / "Disc").iterdir():
        file.rename(file.with_name(f"renamed{file.name}"))
    again = gather(Sources(data, groups=None), taxonomy, say=quiet)
    assert {e.digest for e in again.examples} == {e.digest for e in first.examples}
    assert len(held) == 6


def test_one_picture_a_group_an_epoch_takes_turns() -> None:
    examples = [example(0, f"g{i // 5}") for i in range(50)] + [
        example(1, f"h{i}") for i in range(10)
    ]
    config = make_config({"group_weight": "one", "balance_class": 0.0, "balance_source": 0.0})
    rows = np.arange(len(examples))
    shown: Counter[int] = Counter()
    for epoch in range(20):
        chosen = epoch_rows(examples, rows, config, epoch)
        assert len(chosen) == 20
        groups = Counter(examples[i].group for i in chosen)
        assert set(groups.values()) == {1}
        shown.update(chosen.tolist())
    assert len(shown) > 55, "other members of a group come in other epochs"


def test_balance_makes_classes_and_sources_alike() -> None:
    examples = [example(0, f"a{i}", "web") for i in range(90)]
    examples += [example(0, f"b{i}", "rig") for i in range(10)]
    examples += [example(1, f"c{i}", "web") for i in range(10)]
    config = make_config(
        {"balance_class": 1.0, "balance_source": 1.0, "group_weight": "all", "epoch_size": 400}
    )
    chosen = epoch_rows(examples, np.arange(len(examples)), config, 0)
    counts = Counter((examples[i].label, examples[i].source) for i in chosen)
    assert counts[1, "web"] == pytest.approx(200, abs=2)
    assert counts[0, "web"] == pytest.approx(100, abs=2)
    assert counts[0, "rig"] == pytest.approx(100, abs=2)


def test_a_group_never_lies_in_two_folds_and_sources_stay_whole(tmp_path: Path) -> None:
    examples = [example(i % 3, f"g{i // 4}") for i in range(60)]
    examples += [example(0, f"e{i}", f"src{i % 4}", "extra") for i in range(40)]
    examples += [example(-1, f"u{i}", f"src{i % 4}_tray", "unknown") for i in range(8)]
    examples += [example(1, f"f{i}", "more", "final") for i in range(5)]
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    corpus = Corpus(tuple(examples), (), taxonomy)
    fold = assign(corpus, make_config({"folds": 3, "leave_one_source_out": True}))
    for key in {e.group for e in examples[:60]}:
        assert len({int(f) for e, f in zip(examples, fold, strict=True) if e.group == key}) == 1
    for source in range(4):
        mine = {
            int(f)
            for e, f in zip(examples, fold, strict=True)
            if e.source.startswith(f"src{source}")
        }
        assert len(mine) == 1, "trays of a source are held out with it"
    assert set(fold[-5:].tolist()) == {NEVER}
    assert set(fold[:60].tolist()) == {0, 1, 2}
    only = assign(corpus, make_config({"leave_one_source_out": True}))
    assert set(only[:60].tolist()) == {ALWAYS}
    assert set(only[60:100].tolist()) == {0, 1, 2, 3}


def test_features_go_by_content_and_weights(tmp_path: Path) -> None:
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    data = write_folder(tmp_path / "data", train=2, val=1)
    machine = Machine(torch.device("cpu"), None)
    torch.manual_seed(0)
    network = build("mobilenet_v2", 3, size_px=32)
    cache = tmp_path / "cache"

    def compute() -> tuple[Tensor, str]:
        said: list[str] = []
        corpus = gather(Sources(data), taxonomy, say=quiet)
        rows = corpus.rows("train")
        pixels = Pixels(corpus, 32, cache)
        values = read_features(network, corpus, pixels, rows, machine, cache, say=said.append)
        return values, " ".join(said)

    first, said = compute()
    assert "6 pictures to compute" in said and first.shape == (6, 2, 1280)
    again, said = compute()
    assert said == "" and torch.equal(first, again)
    draw("Disc", 77).save(data / "train" / "Disc" / "00.png")
    edited, said = compute()
    assert "1 picture to compute, 5 kept" in said
    assert not torch.equal(first[0], edited[0]) and torch.equal(first[1:], edited[1:])
    with torch.no_grad():
        network.state_dict()["backbone.0.0.weight"].mul_(1.5)
    assert "6 pictures to compute" in compute()[1]


@pytest.mark.parametrize(("sources", "held"), [(1, []), (2, [1]), (3, [2]), (8, [2, 7])])
def test_without_folds_whole_sources_of_unknown_pictures_stay_out(
    tmp_path: Path, sources: int, held: list[int]
) -> None:
    examples = [example(i % 3, f"g{i}") for i in range(6)]
    examples += [example(-1, f"u{i}", f"src{i}", "unknown") for i in range(sources)]
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    rows = held_unknown(Corpus(tuple(examples), (), taxonomy))
    assert [int(r) - 6 for r in rows] == held
