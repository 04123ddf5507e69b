"""The command line of training: help without torch, defaults that are the recipe's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup, TyperOption

from sorter.cli.app import app
from sorter.errors import UsageError
from train.config import Config, make_config, read_config, settings, to_dict

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
    assert "mobilenet_v2|cnn" in result.stdout and "[default: 0.0003]" in result.stdout
    assert "Example" in result.stdout


@pytest.mark.parametrize("words", [("train", "x"), ("export", "x.pt")])
def test_without_torch_it_says_how_to_install(tmp_path: Path, words: tuple[str, ...]) -> None:
    result = run_without_torch(tmp_path, *words)
    assert result.returncode == 5
    assert "pip install 'sorter[train]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_train_py_of_the_users_own_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("raise SystemExit('my own training script')\n")
    result = subprocess.run(
        [sys.executable, "-m", "sorter", "train", "--settings"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for setting in settings().values():
        assert f"  {setting.name}={setting.default_text}" in result.stdout


def test_only_what_was_given_overrides_a_preset() -> None:
    """Each option is None until it is given, and its help shows the recipe's own value."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    options = {p.name: p for p in group.commands["train"].params}
    for setting in settings().values():
        if setting.option:
            option = options[setting.name]
            assert isinstance(option, TyperOption) and option.default is None
            assert option.opts[0] == setting.option.partition("/")[0]
            assert f"[default: {setting.default_text}]" in (option.help or "")


def test_settings_of_another_version_are_left_out() -> None:
    text = json.dumps({**to_dict(Config(lr=0.5)), "soup": 3, "cutmix": 0.1})
    assert read_config(text) == Config(lr=0.5)


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
    config = make_config({"blur": "0.5", "int8": "false", "head_epochs": "9"})
    assert (config.blur, config.int8, config.head_epochs) == (0.5, False, 9)
