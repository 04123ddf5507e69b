"""A run that is stopped and resumed ends with the weights of one never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from sorter.errors import FolderError, ModelError, UsageError  # noqa: E402
from sorter.host.cores import usable_cores  # noqa: E402
from sorter.taxonomy import read_taxonomy  # noqa: E402
from tests.support.train_pictures import write_folder, write_taxonomy, write_unknown  # noqa: E402
from train import checkpoint  # noqa: E402
from train.config import Config, make_config  # noqa: E402
from train.data.corpus import Corpus, Pixels, Sources, gather  # noqa: E402
from train.fit.loop import Job, fit, refuse_no_numbers  # noqa: E402
from train.interrupt import Interrupt  # noqa: E402
from train.machine import Machine, open_machine  # noqa: E402
from train.networks import build  # noqa: E402

SETTINGS = {
    "network": "cnn",
    "size_px": 32,
    "epochs": 3,
    "batch": 6,
    "lr": 1e-3,
    "ema": 0.9,
    "mixup": 0.2,
    "select": "last",
    "group_weight": "all",
}


class StopAfter(Interrupt):
    """Asks the run to stop once it has looked this often."""

    def __init__(self, looks: int) -> None:
        self._looks = looks
        super().__init__()

    @property
    def wanted(self) -> bool:
        self._looks -= 1
        return self._looks < 0

    @wanted.setter
    def wanted(self, value: bool) -> None:
        pass


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = tmp_path_factory.mktemp("pictures")
    taxonomy = read_taxonomy(write_taxonomy(root))
    data, unknown = write_folder(root / "data"), write_unknown(root / "strange")
    return gather(Sources(data, unknown=(unknown,)), taxonomy, say=lambda _: None)


def train(
    corpus: Corpus, folder: Path, cache: Path, *, stop: Interrupt, resume: bool, **more: object
) -> dict[str, Tensor]:
    config: Config = make_config({**SETTINGS, **more})
    torch.manual_seed(config.seed)
    network = build("cnn", 4, size_px=32)
    store, side = Pixels(corpus, 40, cache), Pixels(corpus, 32, cache)
    rows = corpus.rows("train", "unknown")
    job = Job(corpus, store, side, rows, corpus.rows("val"), folder)
    machine = Machine(torch.device("cpu"), None)
    fit(network, job, config, machine, stop=stop, say=lambda _: None, resume=resume)
    return network.state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a)


def test_stopped_at_any_step_and_resumed_is_never_stopped(corpus: Corpus, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    whole = train(corpus, tmp_path / "whole", cache, stop=Interrupt(), resume=False)
    again = train(corpus, tmp_path / "again", cache, stop=Interrupt(), resume=False)
    assert same(whole, again), "the same seed must give the same weights"
    other = train(corpus, tmp_path / "other", cache, stop=Interrupt(), resume=False, seed=1)
    assert not same(whole, other)
    for looks in (0, 3, 8):
        folder = tmp_path / f"stopped{looks}"
        with pytest.raises(KeyboardInterrupt):
            train(corpus, folder, cache, stop=StopAfter(looks), resume=False)
        with pytest.raises(KeyboardInterrupt):  # twice in one run
            train(corpus, folder, cache, stop=StopAfter(1), resume=True)
        resumed = train(corpus, folder, cache, stop=Interrupt(), resume=True)
        assert same(whole, resumed), f"stopped after {looks} steps"


def test_frozen_blocks_keep_their_weights_and_the_rest_learns(
    corpus: Corpus, tmp_path: Path
) -> None:
    settings = {"freeze_norm": True, "freeze_blocks": 2, "epochs": 1, "ema": 0.0}
    end = train(corpus, tmp_path / "run", tmp_path, stop=Interrupt(), resume=False, **settings)
    start = checkpoint.load(tmp_path / "run" / "last.pt")["start"]
    changed = {name for name in end if not torch.equal(start[name], end[name])}
    assert not any(name.startswith(("backbone.0.", "backbone.1.")) for name in changed)
    assert {"backbone.2.0.weight", "hidden.2.weight", "head.weight"} <= changed


def test_resume_with_other_settings_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        train(corpus, tmp_path / "run", cache, stop=StopAfter(0), resume=False)
    with pytest.raises(UsageError, match="other settings"):
        train(corpus, tmp_path / "run", cache, stop=Interrupt(), resume=True, lr=0.5)


def test_a_training_that_diverges_stops_and_keeps_what_was_saved(
    corpus: Corpus, tmp_path: Path
) -> None:
    far = {"lr": 2e9, "weight_decay": 2e9, "schedule": "constant", "warmup": 0.0, "clip": 0.0}
    with pytest.raises(KeyboardInterrupt):  # after one step, whose weights are numbers still
        train(corpus, tmp_path, tmp_path, stop=StopAfter(0), resume=False, **far)
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(ModelError, match=r"the training diverged: .* lower --lr"):
        train(corpus, tmp_path, tmp_path, stop=Interrupt(), resume=True, **far)
    assert (tmp_path / "last.pt").read_bytes() == before
    assert not (tmp_path / "best.pt").exists()


def test_weights_that_became_no_numbers_after_the_epochs_are_refused() -> None:
    network = build("cnn", 4, size_px=32)
    config = make_config({"lr": 7.0})
    refuse_no_numbers(0.0, network.state_dict(), config, where="after the last epoch")
    with torch.no_grad():
        network.head.bias[1] = torch.inf
    with pytest.raises(ModelError, match=r"a weight is not a number after .* \(it is 7\)"):
        refuse_no_numbers(0.0, network.state_dict(), config, where="after the last epoch")


def test_a_disk_that_refuses_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "last.pt"
    checkpoint.save(file, {"model": {"w": torch.ones(2)}})
    before = file.read_bytes()

    class Full:
        """Cannot be written, as a full disk cannot."""

        def __reduce__(self) -> tuple[object, ...]:
            raise OSError(28, "No space left on device")

    with pytest.raises(FolderError, match="previous one is kept"):
        checkpoint.save(file, {"model": {"w": torch.zeros(100_000)}, "more": Full()})
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(50)])
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.pt"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.pt"):
        checkpoint.load(file)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    file, trace = tmp_path / "evil.pt", tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (trace,))

    torch.save({"format": 1, "model": Evil()}, file)
    with pytest.raises(ModelError):
        checkpoint.load(file)
    assert not trace.exists()


def test_out_of_memory_halves_the_batch_and_keeps_the_update(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from train.fit.targets import make_targets
    from train.fit.update import Updates, make_optimizer

    config = make_config({"network": "dnn", "size_px": 32})
    lines: list[str] = []
    results = []
    for limit in (8, 3):
        torch.manual_seed(0)
        network = build("dnn", 3, size_px=32).eval()  # batch norm must not see the split
        forward = network.forward

        def limited(x: Tensor, limit: int = limit, forward: Any = forward) -> Any:
            if len(x) > limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(x)

        monkeypatch.setattr(network, "forward", limited)
        optimizer = make_optimizer(network, config)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        pictures = torch.linspace(0, 255, 8 * 3 * 32 * 32).view(8, 3, 32, 32)
        targets = make_targets(np.array([0, 1, 2, 0, 1, 2, 0, 1]), 3, config)
        machine = Machine(torch.device("cpu"), None)
        update = Updates(network, optimizer, scaler, config, machine, say=lines.append)
        value = float(update(pictures, targets))
        results.append((value, update.split))
    (loss_whole, split_whole), (loss_split, split) = results
    assert (split_whole, split) == (1, 4)
    assert loss_split == pytest.approx(loss_whole, rel=1e-5)
    assert lines and all("out of memory" in line for line in lines)


def test_processes_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines of two processes each: every process has half of its own machine."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with open_machine(make_config({"device": "cpu"})) as machine:
        assert machine.cores == max(1, usable_cores() // 2)
