"""What a run goes on with, and what it refuses: other pictures, other settings, an early Ctrl-C."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sorter.errors import DataError, FolderError, UsageError  # noqa: E402
from sorter.taxonomy import read_taxonomy  # noqa: E402
from tests.support.train_pictures import draw, write_folder, write_taxonomy  # noqa: E402
from tests.support.train_runs import train  # noqa: E402
from train.config import make_config  # noqa: E402
from train.data.corpus import Example, Sources, gather  # noqa: E402
from train.data.sampling import epoch_batches  # noqa: E402
from train.data.siblings import know_siblings  # noqa: E402
from train.interrupt import Interrupt  # noqa: E402
from train.judge import folds  # noqa: E402
from train.machine import Machine, _probe, amp_name, choose_amp  # noqa: E402
from train.networks import build  # noqa: E402
from train.progress import Steps  # noqa: E402
from train.run_folder import write_arrays  # noqa: E402

SMALL: dict[str, Any] = {
    "network": "cnn",
    "size_px": 32,
    "store_px": 36,
    "epochs": 1,
    "batch": 6,
    "folds": 2,
    "int8": False,
    "device": "cpu",
    "amp": "off",
}


def quiet(line: str) -> None:
    del line


def test_a_finished_run_goes_on_with_the_same_pictures_and_settings_alone(tmp_path: Path) -> None:
    data, taxonomy = write_folder(tmp_path / "data", train=3, val=1), write_taxonomy(tmp_path)

    def go(**changes: Any) -> dict[str, Any]:
        return train(
            data=data,
            taxonomy=taxonomy,
            out=tmp_path / "run",
            cache=tmp_path / "cache",
            resume=(tmp_path / "run").exists(),
            settings={**SMALL, **changes},
        )

    first = go()
    again = go(threads=1)
    assert again["grouped_folds"] == first["grouped_folds"], "a fold is read, not repeated"
    for changes in ({"lr": 0.5}, {"stage": "head"}, {"folds": 3}):
        with pytest.raises(UsageError, match="other settings"):
            go(**changes)
    draw("Disc", 77).save(data / "train" / "Disc" / "00.png")
    with pytest.raises(UsageError, match="pictures"):
        go()


def test_a_head_that_goes_on_to_a_fresh_one_leaves_the_net_alone(tmp_path: Path) -> None:
    data, taxonomy = write_folder(tmp_path / "data", train=3, val=1), write_taxonomy(tmp_path)
    cooked = {"stage": "both", "folds": 0, "blend": 1.0, "max_drop": 100.0}

    def go(name: str, refit: float, *, resume: bool = False) -> dict[str, Any]:
        train(
            data=data,
            taxonomy=taxonomy,
            out=tmp_path / name,
            cache=tmp_path / "cache",
            resume=resume,
            settings={**SMALL, **cooked, "refit": refit},
        )
        content = torch.load(tmp_path / name / "final.pt", weights_only=True)
        return dict(content["model"])

    plain = go("plain", 0.0)
    moved = go("moved", 0.5)
    assert torch.equal(moved["hidden.2.weight"], plain["hidden.2.weight"])
    assert not torch.equal(moved["head.weight"], plain["head.weight"])
    again = go("moved", 0.5, resume=True)
    assert all(torch.equal(moved[k], v) for k, v in again.items())


def test_without_pictures_to_judge_by_it_says_so_before_it_trains(tmp_path: Path) -> None:
    data, taxonomy = write_folder(tmp_path / "data", train=2, val=0), write_taxonomy(tmp_path)
    with pytest.raises(DataError, match="--folds"):
        train(
            data=data,
            taxonomy=taxonomy,
            out=tmp_path / "run",
            cache=tmp_path / "cache",
            settings={**SMALL, "folds": 0},
        )
    assert not (tmp_path / "run" / "last.pt").exists()


def test_ctrl_c_waits_for_a_step_and_for_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def press() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with Interrupt(), pytest.raises(KeyboardInterrupt):
        press()
    with Interrupt() as stop, pytest.raises(KeyboardInterrupt), stop.hold():
        press()
        press()  # torchrun's, of the same key
        assert stop.wanted, "the step goes on"
        reached = True
    assert reached
    monkeypatch.setattr("train.interrupt._ECHO_S", 0.0)
    with Interrupt() as stop, pytest.raises(KeyboardInterrupt), stop.hold():
        press()
        press()
        pytest.fail("the second ends it at once")


def test_measuring_the_number_format_leaves_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    # The real passes, but none in bf16, which this processor may lack.
    monkeypatch.setattr("train.machine._has_bf16", lambda: True)
    monkeypatch.setattr("train.machine._probe", lambda m, network, _amp: _probe(m, network, None))
    network = build("cnn", 3, size_px=32)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    said: list[str] = []
    plain, config = Machine(torch.device("cpu"), None), make_config({"network": "cnn"})
    assert amp_name(choose_amp(plain, network, config, say=said.append)) in ("off", "bf16")
    assert said[0].startswith("a step of 32 takes ")
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_a_resumed_run_keeps_its_number_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.machine._has_bf16", lambda: True)
    network = build("cnn", 3, size_px=32)
    plain, config = Machine(torch.device("cpu"), None), make_config({"network": "cnn"})
    said: list[str] = []
    for kept in ("off", "bf16"):
        machine = choose_amp(plain, network, config, say=said.append, kept=kept)
        assert amp_name(machine) == kept
    assert said == [], "nothing is measured again"


def test_arrays_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "scores.npz"
    write_arrays(file, scores=np.ones(3))
    before = file.read_bytes()

    class Full:
        """Cannot be written, as to a full disk."""

        def __array__(self, *_: Any, **__: Any) -> np.ndarray:
            raise OSError(28, "No space left on device")

    with pytest.raises(FolderError, match="No space"):
        write_arrays(file, scores=np.zeros(3), more=Full())
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["scores.npz"]


def test_a_long_stage_says_how_fast_it_is_and_how_long_it_takes() -> None:
    said: list[str] = []
    steps = Steps(said.append, "features", "pictures", every_s=0.0)
    for done in (0, 50, 100):
        steps.show(done, 100)
    assert len(said) == 2, "of nothing done there is nothing to say"
    assert said[0].startswith("features: 50/100  ") and "pictures/s  about " in said[0]
    assert said[1].endswith("about 0 s left")


def test_a_step_has_pictures_enough_for_batch_norm_in_every_process() -> None:
    examples = [Example(Path("x"), f"d{i}", i % 2, "", f"g{i}", "train") for i in range(9)]
    config = make_config({"batch": 4})
    rows = np.arange(9)
    assert [len(b) for b in epoch_batches(examples, rows, config, 0)] == [4, 4]
    assert [len(b) for b in epoch_batches(examples, rows, config, 0, world=2)] == [4, 4]
    with pytest.raises(UsageError, match="--batch"):
        epoch_batches(examples, rows, replace(config, batch=1), 0)
    with pytest.raises(UsageError, match="needs 6"):
        epoch_batches(examples, rows, config, 0, world=3)


def test_a_copy_among_the_extra_pictures_is_held_out_with_its_original(tmp_path: Path) -> None:
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    data = write_folder(tmp_path / "data", train=4, val=1)
    copy = tmp_path / "more" / "web" / "Disc" / "copy.png"
    copy.parent.mkdir(parents=True)
    copy.write_bytes((data / "val" / "Disc" / "00.png").read_bytes())
    rows = ["path,group", "data/val/Disc/00.png,one", "data/train/Disc/00.png,one"]
    rows += [f"data/train/Square/{i:02d}.png,s{i}" for i in range(4)]
    (tmp_path / "groups.csv").write_text("\n".join(rows) + "\n")
    said: list[str] = []
    sources = Sources(data, extra=(tmp_path / "more",), groups=tmp_path / "groups.csv")
    config = make_config({"folds": 3})
    corpus = gather(sources, taxonomy, say=said.append)
    corpus = know_siblings(corpus, config, tmp_path / "cache", given=True, say=said.append)
    fold = folds.assign(corpus, config)
    family = {int(fold[i]) for i, e in enumerate(corpus.examples) if e.group == "one"}
    assert len(family) == 1 and family != {folds.ALWAYS}
    assert sum(e.group == "one" for e in corpus.examples) == 3
    assert any("9 of DATA's 15 pictures are not in groups.csv" in line for line in said)


def test_a_groups_file_of_other_folders_is_refused(tmp_path: Path) -> None:
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    data = write_folder(tmp_path / "data", train=2, val=1)
    (tmp_path / "groups.csv").write_text("path,group\nelsewhere/train/Disc/00.png,one\n")
    with pytest.raises(DataError, match=r"groups\.csv.*none of DATA"):
        gather(Sources(data, groups=tmp_path / "groups.csv"), taxonomy, say=quiet)
