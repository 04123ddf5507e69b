"""The ONNX file of the released network: the same answers in ONNX Runtime as the FP16 IR's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training extra is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the training extra is not installed")

from sorter.taxonomy import read_taxonomy  # noqa: E402
from sorter.vision import images  # noqa: E402
from sorter.vision.bundle import default_bundle, open_bundle  # noqa: E402
from sorter.vision.model import Classifier  # noqa: E402
from tests.support.train_pictures import write_taxonomy  # noqa: E402
from train.config import make_config  # noqa: E402
from train.judge.calibrate import Calibration  # noqa: E402
from train.networks import build  # noqa: E402
from train.networks.memory import remember  # noqa: E402
from train.release.onnx_file import save_onnx  # noqa: E402

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "weights" / "mobilenet_v2" / "checkpoint.pt"


def _export(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "sorter", "export", str(CHECKPOINT), *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_onnx_runtime_says_what_the_ir_says(tmp_path: Path) -> None:
    done = _export("--onnx", "model.onnx", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["conversion"]["onnx_max_delta"] <= 0.01
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"], "one file, weights inside"

    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (port,) = session.get_inputs()
    assert (port.name, port.type, port.shape) == ("image", "tensor(uint8)", [1, 224, 224, 3])
    bundle = open_bundle(default_bundle())
    notes = session.get_modelmeta().custom_metadata_map
    assert json.loads(notes["labels"]) == [item.name for item in bundle.taxonomy.categories]
    assert json.loads(notes["codes"]) == [item.code for item in bundle.taxonomy.categories]
    assert json.loads(notes["bin_thresholds"]) == list(bundle.policy.bin_thresholds)

    files = sorted((ROOT / "sorter" / "samples" / "pictures").glob("*.jpg"))[:5]
    pixels = np.stack([images.load(file, bundle.size_px).pixels for file in files])
    expected, expected_unknown, _ = Classifier(bundle, precision="fp16").predict(pixels)
    for row, picture in enumerate(pixels):
        probabilities, unknown = session.run(None, {"image": picture[None]})
        assert np.abs(probabilities[0] - expected[row]).max() <= 0.01
        assert probabilities[0].argmax() == expected[row].argmax()
        assert abs(float(unknown[0, 0]) - expected_unknown[row]) <= 0.01


def test_a_network_that_never_saw_a_thing_of_no_class(tmp_path: Path) -> None:
    """Its memory has no evidence of such: its logarithm must stay a number in every runtime."""
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    torch.manual_seed(0)
    network = build("cnn", 3, size_px=32).eval()
    features, labels = torch.rand(20, network.head.in_features), np.arange(20) % 3
    groups = [str(i) for i in range(20)]
    network.memory = remember(features, labels, groups, np.ones(20), 3, make_config({}))
    calibration = Calibration(1.0, (0.5, 0.5), 0.5, (1.0, 0.0, -0.1, 0.0, 0.0, 0.0))
    assert save_onnx(network, calibration, taxonomy, tmp_path / "model.onnx") <= 0.01


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    done = _export("--onnx", "taken/model.onnx", cwd=tmp_path)
    assert done.returncode == 5
    assert "taken/model.onnx: not written" in done.stderr and "Traceback" not in done.stderr
