"""Three classes and two bins: folders in, a bundle out that the edge and Model API both run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sorter.errors import ExportError, UsageError  # noqa: E402
from sorter.vision import images  # noqa: E402
from sorter.vision.bundle import open_bundle  # noqa: E402
from sorter.vision.model import Classifier  # noqa: E402
from tests.support.train_pictures import draw, write_folder, write_taxonomy, write_unknown  # noqa: E402
from tests.support.train_runs import train  # noqa: E402
from train.release.again import export_again  # noqa: E402
from train.release.export import loses_more  # noqa: E402
from train.run_folder import write_json  # noqa: E402

SMALL = {
    "network": "cnn",
    "size_px": 64,
    "init": "none",
    "stage": "full",
    "epochs": 8,
    "batch": 8,
    "lr": 1e-3,
    "layer_decay": 1.0,
    "blend": 1.0,
    "freeze_norm": False,
    "augment": "none",
    "select": "last",
    "epoch_size": 48,
    "max_drop": 100.0,
    "calibration_size": 18,
    "label_smoothing": 0.0,
    "unknown_share": 0.25,
    "memory_weight": 0.5,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("train")
    write_folder(root / "data", train=12, val=4)
    write_unknown(root / "strange")
    write_taxonomy(root)
    before = _listing(root / "data")
    train(
        data=root / "data",
        unknown=(root / "strange",),
        taxonomy=root / "shapes.toml",
        out=root / "run",
        cache=root / "cache",
        settings=SMALL,
    )
    assert _listing(root / "data") == before, "training must not write into DATA"
    return root


def _listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(p), p.stat().st_mtime_ns) for p in folder.rglob("*"))


def test_the_run_folder_holds_what_a_person_needs(place: Path) -> None:
    have = {p.name for p in (place / "run").iterdir()}
    assert have >= {
        *("config.json", "history.csv", "curves.png", "confusion.png", "reliability.png"),
        *("mistakes.html", "metrics.json", "last.pt", "best.pt", "final.pt", "bundle", "log.txt"),
    }
    card = json.loads((place / "run" / "bundle" / "card.json").read_text())
    assert card["seed"] == 0 and len(card["data_digest"]) == 64
    assert card["conversion"]["fp16_max_delta"] <= 0.01
    assert str(place) not in (place / "run" / "bundle" / "card.json").read_text()


def test_the_bundle_classifies_with_both_precisions(place: Path) -> None:
    bundle = open_bundle(place / "run" / "bundle")
    assert [i.name for i in bundle.taxonomy.categories] == ["Disc", "Square", "Stripe"]
    assert bundle.size_px == 64 and len(bundle.policy.bin_thresholds) == 2
    files = sorted((place / "data" / "train").rglob("*.png"))
    pixels = np.stack([images.load(p, 64).pixels for p in files])
    labels = np.repeat([0, 1, 2], 12)
    for precision in ("fp16", "int8"):
        probabilities, unknown, _ = Classifier(bundle, precision=precision, batch=4).predict(pixels)
        assert np.allclose(probabilities.sum(1), 1.0, atol=1e-4)
        assert (probabilities.argmax(1) == labels).mean() > 0.8
        assert ((unknown >= 0) & (unknown <= 1)).all()


def test_model_api_reads_the_same_labels_and_probabilities(place: Path) -> None:
    pytest.importorskip("model_api")
    script = (
        "import json, sys, warnings; warnings.simplefilter('ignore')\n"
        "import numpy as np\n"
        "import openvino\n"
        "from model_api.adapters import OpenvinoAdapter\n"
        "from model_api.models import Model\n"
        "whole = {'INFERENCE_PRECISION_HINT': 'f32'}  # else bf16, where the processor has it\n"
        "core = openvino.Core()\n"
        "adapter = OpenvinoAdapter(core, sys.argv[1], device='CPU', plugin_config=whole)\n"
        "model = Model.create_model(adapter, 'Classification')\n"
        "picture = np.load(sys.argv[2])\n"
        "result = model(np.ascontiguousarray(picture[..., ::-1]))\n"
        "top = result.top_labels[0]\n"
        "print(json.dumps([top.name, float(top.confidence)]))\n"
    )
    bundle = open_bundle(place / "run" / "bundle")
    file = place / "picture.npy"
    pixels = images.load(next((place / "data" / "val" / "Stripe").iterdir()), 64).pixels
    np.save(file, pixels)
    command = [sys.executable, "-c", script, str(bundle.path / "model.xml"), str(file)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr[-800:]
    name, confidence = json.loads(result.stdout.splitlines()[-1])
    mine = Classifier(bundle, precision="fp16").predict(pixels[None])[0][0]
    assert name in {"Disc", "Square", "Stripe"}
    assert name == bundle.taxonomy.categories[int(mine.argmax())].name
    assert confidence == pytest.approx(float(mine.max()), abs=1e-3)


def test_export_again_gives_the_same_network(place: Path) -> None:
    checkpoint = place / "run" / "bundle" / "checkpoint.pt"
    figures = export_again(checkpoint, None, place / "again", int8=False, max_drop=0.5)
    assert figures.fp16_max_delta <= 0.01
    pixels = np.stack([np.asarray(draw("Disc", i).resize((64, 64))) for i in range(3)])
    first, second = (
        Classifier(open_bundle(place / name), precision="fp16").predict(pixels)[0]
        for name in ("run/bundle", "again")
    )
    assert np.array_equal(first, second)


def test_a_network_that_disagrees_is_not_released(place: Path) -> None:
    from train.release import export as gate

    expected = np.tile(np.array([[0.6, 0.3, 0.1]], np.float32), (12, 1))
    pixels = np.zeros((12, 64, 64, 3), np.uint8)
    proof = gate.Proof(pixels, np.zeros(12, np.int64), pixels)
    with pytest.raises(ExportError, match="not released"):
        gate._check_fp16(place / "run" / "bundle", proof, expected)


@pytest.mark.parametrize(
    ("lost", "of", "allowed", "convinces"),
    [
        *((1, 12, 0.5, False), (2, 12, 0.5, True), (1, 130, 0.5, False), (3, 130, 0.5, True)),
        *((30, 5000, 0.5, False), (40, 5000, 0.5, True), (1, 12, 0.0, True), (0, 12, 0.0, False)),
    ],
)
def test_int8_is_judged_by_what_so_many_pictures_can_show(
    lost: int, of: int, allowed: float, convinces: bool
) -> None:
    assert loses_more(100 * lost / of, of, allowed) == convinces


def test_what_is_no_number_is_null_in_json(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    write_json(file, {"val": {"loss": float("nan"), "curve": [1.0, float("-inf")]}, "n": 2})

    def refuse(word: str) -> None:
        raise AssertionError(word)

    document = json.loads(file.read_text(), parse_constant=refuse)
    assert document == {"val": {"loss": None, "curve": [1.0, None]}, "n": 2}


def test_a_run_is_never_overwritten_nor_put_among_the_pictures(place: Path) -> None:
    common: dict[str, Any] = {
        "data": place / "data",
        "taxonomy": place / "shapes.toml",
        "settings": SMALL,
    }
    with pytest.raises(UsageError, match="--resume"):
        train(out=place / "run", cache=place / "cache", **common)
    with pytest.raises(UsageError, match="lies inside"):
        train(out=place / "data" / "run", **common)


def test_a_refreshed_head_keeps_its_memory(place: Path, tmp_path: Path) -> None:
    """Whatever the recipe says of a memory."""
    start = place / "run" / "bundle" / "checkpoint.pt"
    train(
        data=place / "data",
        unknown=(place / "strange",),
        taxonomy=place / "shapes.toml",
        out=tmp_path / "run",
        cache=place / "cache",
        settings={
            **{k: SMALL[k] for k in ("network", "size_px", "max_drop", "calibration_size")},
            "init": str(start),
            "stage": "head",
            "memory_weight": 0.0,
        },
    )
    assert not list((tmp_path / "run").glob("curves.png")), "no epoch, no curve"
    before = torch.load(start, weights_only=True)["model"]
    after = torch.load(tmp_path / "run" / "final.pt", weights_only=True)["model"]
    assert torch.equal(before["memory.settings"], after["memory.settings"])
    mass = after["memory.values"].sum(0)
    assert (mass > 0).all(), "every class, and the strange ones"
    assert len(after["memory.keys"]) <= 51 + len(before["memory.keys"])
    card = json.loads((tmp_path / "run" / "bundle" / "card.json").read_text())
    assert card["memory"]["weight"] == 0.5


def test_folds_give_thresholds_and_an_error_bar(place: Path, tmp_path: Path) -> None:
    settings = {**SMALL, "stage": "head", "folds": 2, "int8": True, "int8_skip": 1}
    result = train(
        data=place / "data",
        unknown=(place / "strange",),
        taxonomy=place / "shapes.toml",
        out=tmp_path / "run",
        cache=place / "cache",
        settings=settings,
    )
    assert result["grouped_folds"]["n"] == 48, "every picture is held out once"
    assert result["grouped_folds"]["unknown"]["n"] == 15
    assert "label_accuracy_spread" in result["grouped_folds"]
    assert result["grouped_folds"]["ece_uncalibrated"] != result["grouped_folds"]["ece"]
    with np.load(tmp_path / "run" / "oof.npz") as stored:
        assert stored["scores"].shape == stored["torch_scores"].shape == (63, 6)
        assert not np.array_equal(stored["scores"], stored["torch_scores"]), "INT8 is judged"
        assert np.abs(stored["scores"] - stored["torch_scores"]).mean() < 0.5
    cost = result["conversion_over_folds"]
    assert cost["pictures"] == 48
    drop = 100 * (cost["torch_label_accuracy"] - cost["int8_label_accuracy"])
    assert cost["int8_drop_points"] == pytest.approx(drop, abs=1e-3)
    card = json.loads((tmp_path / "run" / "bundle" / "card.json").read_text())
    assert card["figures"]["conversion_over_folds"] == cost
    policy = open_bundle(tmp_path / "run" / "bundle").policy
    assert policy.bin_thresholds == result["calibration"]["bin_thresholds"]


def test_interrupt_saves_and_resume_finishes(place: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "train", str(place / "data"), "--out", str(tmp_path / "run")]
    words += ["--taxonomy", str(place / "shapes.toml"), "--cache", str(place / "cache")]
    words += ["--network", "cnn", "--size", "32", "--epochs", "400", "--no-int8"]
    words += ["--set", "store_px=36", "--batch", "6", "--device", "cpu"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(words, cwd=root, stderr=subprocess.PIPE, text=True) as process:
        begun = time.monotonic()
        while not (tmp_path / "run" / "last.pt").is_file() and time.monotonic() - begun < 90:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "--resume" in told and "Traceback" not in told
    content = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert content["epoch"] < 400


def test_two_processes_train_together(place: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    words += ["--standalone", "-m", "train", str(place / "data"), "--out", str(tmp_path / "run")]
    words += ["--taxonomy", str(place / "shapes.toml"), "--cache", str(place / "cache")]
    words += ["--network", "cnn", "--size", "32", "--epochs", "2", "--no-int8", "--batch", "6"]
    words += ["--device", "cpu", "--json"]
    root = Path(__file__).parents[2]
    result = subprocess.run(
        words, cwd=root, capture_output=True, text=True, timeout=200, check=False
    )
    assert result.returncode == 0, result.stderr[-1500:]
    lines = [line for line in result.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == 1, "one process speaks"
    assert json.loads(lines[0])["val"]["n"] == 12
