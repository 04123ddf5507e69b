"""`sorter bench` on a tiny model: the figures are there and belong together."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from sorter.cli.app import app
from sorter.vision import engine, yardstick
from tests.support.tiny import paint, write_bundle


def test_the_figures_are_of_this_machine_and_model(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    words = ["bench", "--model", str(bundle), "--count", "24", "--side", "64", "--json"]
    done = CliRunner().invoke(app, [*words, "--jobs", "1"])
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert figures["pictures"] == 24
    assert figures["cores"] == 1
    assert min(figures[name] for name in ("decode_s", "infer_s", "rate_per_s", "share")) > 0
    assert figures["outside_share"] > 0
    assert figures["precision"] == "int8"
    assert figures["openvino"]


def test_what_cannot_be_opened_is_no_picture_done(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    (tmp_path / "in").mkdir()
    for number in range(3):
        paint(tmp_path / "in" / f"{number}.png", (200, 30, 30))
        (tmp_path / "in" / f"{number}-cut.png").write_bytes(b"")
    words = ["bench", str(tmp_path / "in"), "--model", str(bundle), "--json"]
    done = CliRunner().invoke(app, words)
    figures = json.loads(done.stdout)
    assert (figures["pictures"], figures["outside_share"]) == (3, None)


def test_the_yardstick_is_int8_throughout() -> None:
    compiled = engine.core().compile_model(yardstick.network(), "CPU")
    nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    convolutions = [n for n in nodes if n["layerType"].astype(str) == "Convolution"]
    assert len(convolutions) == 53
    assert {n["runtimePrecision"].astype(str) for n in convolutions} <= {"u8", "i8"}
