"""The README cannot rot: every command is in it and has help with an example; its table is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sorter.cli.app import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _commands() -> list[str]:
    """Every command's words, such as "actuator ping", from the command line itself."""

    def walk(group: object, words: str) -> list[str]:
        found = []
        for name, command in getattr(group, "commands", {}).items():
            inside = walk(command, f"{words} {name}".strip())
            found += inside or [f"{words} {name}".strip()]
        return found

    return sorted(walk(typer.main.get_command(app), ""))


@pytest.mark.parametrize("command", _commands())
def test_every_command_is_in_the_readme(command: str) -> None:
    assert re.search(rf"\bsorter {command}\b", README), f"README.md does not name sorter {command}"


@pytest.mark.parametrize("command", _commands())
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", result.output)
    assert f"sorter {command}" in text.split("Usage", 1)[1].split("\n", 1)[1], (
        f"sorter {command} --help shows no example"
    )


def test_the_csv_columns_are_those_of_the_code() -> None:
    from sorter.report.csv import COLUMNS

    assert ",".join(COLUMNS) in README


def test_no_path_of_a_developer_and_no_registry_host_is_in_the_project() -> None:
    import subprocess

    found = subprocess.run(
        ["git", "grep", "-nIE", r"/work/(main|shared)|/root/|pypi\.org|deb\.debian\.org"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode == 128:
        pytest.skip("not a git checkout")
    lines = [line for line in found.stdout.splitlines() if not line.startswith("tests/test_docs")]
    assert not lines
