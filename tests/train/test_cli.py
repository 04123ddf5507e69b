"""The command line of training: help without torch, defaults that are the recipe's own."""

from __future__ import annotations

import dataclasses
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sorter.cli import train as command
from sorter.errors import UsageError
from train.config import Config, make_config

ROOT = Path(__file__).parents[2]


def run_without_torch(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command where importing torch fails, as on an edge box."""
    (folder / "torch.py").write_text("raise ImportError('No module named torch')\n")
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200", "TERM": "dumb"}
    return subprocess.run(
        [sys.executable, "-m", "sorter", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_works_without_torch_and_shows_defaults(tmp_path: Path) -> None:
    result = run_without_torch(tmp_path, "train", "--help")
    assert result.returncode == 0
    assert "mobilenet_v2" in result.stdout and "0.0003" in result.stdout
    assert "Example" in result.stdout


@pytest.mark.parametrize("words", [("train", "x"), ("export", "x.pt")])
def test_without_torch_it_says_how_to_install(tmp_path: Path, words: tuple[str, ...]) -> None:
    result = run_without_torch(tmp_path, *words)
    assert result.returncode == 5
    assert "pip install 'sorter[train]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_defaults_shown_are_the_recipes() -> None:
    recipe = Config()
    for name, parameter in inspect.signature(command.train).parameters.items():
        if name in command._NOT_SETTINGS or name == "context":
            continue
        field = command._FIELDS.get(name, name)
        assert parameter.default == getattr(recipe, field), name


def test_a_preset_gives_way_to_what_was_given() -> None:
    paper = make_config({"network": "mobilenet_v2"}, preset="paper")
    assert (paper.pool, paper.batch, paper.schedule, paper.optimizer) == (
        "max",
        26,
        "square",
        "sgd",
    )
    assert make_config({"network": "mobilenet_v2", "pool": "mean"}, preset="paper").pool == "mean"
    assert make_config({"network": "cnn"}, preset="paper").lr == 1e-4


@pytest.mark.parametrize(
    "values",
    [
        {"network": "vgg"},
        {"epochs": 0},
        {"blend": 2.0},
        {"nothing": 1},
        {"lr": "fast"},
        {"folds": 1},
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        make_config(values)


def test_text_is_read_as_the_fields_type() -> None:
    config = make_config({"blur": "0.5", "int8": "false", "head_steps": "9"})
    assert (config.blur, config.int8, config.head_steps) == (0.5, False, 9)


def test_the_readme_names_every_setting() -> None:
    text = (ROOT / "train" / "README.md").read_text(encoding="utf-8")
    named = set(text[text.index("## Settings") :].replace("`", " ").split())
    assert {field.name for field in dataclasses.fields(Config)} <= named
