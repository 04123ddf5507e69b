"""The pages cannot rot: every command is in the README and has help with an example; what a page
tells its reader to type exists, and is run by a test or marked as needing hardware."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from sorter.cli.app import app

pytestmark = pytest.mark.quick

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "systemd/README.md",
    "systemd/PLANT.md",
    "systemd/CAMERA.md",
    "train/README.md",
    "train/OWN.md",
    "weights/mobilenet_v2/README.md",
    "sorter/actuator/README.md",
    "sorter/teach/README.md",
    "sorter/actuator/firmware/README.md",
)


COMMAND_LINE: Any = typer.main.get_command(app)


def _commands() -> list[str]:
    """Every command's words, such as "actuator ping", from the command line itself."""

    def walk(group: object, words: str) -> list[str]:
        found = []
        for name, command in getattr(group, "commands", {}).items():
            inside = walk(command, f"{words} {name}".strip())
            found += inside or [f"{words} {name}".strip()]
        return found

    return sorted(walk(COMMAND_LINE, ""))


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


@pytest.mark.process
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
    lines = [
        line for line in found.stdout.splitlines() if not line.startswith("tests/process/test_docs")
    ]
    assert not lines


def _typed(page: str, *, marked: bool) -> list[str]:
    """The lines of a page's shell blocks; of those marked `sh hardware` too, if `marked`."""
    text = (ROOT / page).read_text(encoding="utf-8")
    kinds = "(?: hardware)?" if marked else ""
    blocks = re.findall(rf"^```sh{kinds}\n(.*?)^```", text, re.M | re.S)
    blocks += re.findall(r"(?:^    (?:sorter|python) .*\n)(?:^    .*\n)*", text, re.M)
    lines = [x.strip() for b in blocks for x in b.replace("\\\n", " ").splitlines()]
    return [part for x in lines if x for part in re.split(r"\s*&&\s*", x)]


@pytest.mark.parametrize("page", PAGES)
def test_every_call_of_sorter_in_a_page_has_its_command_and_options(page: str) -> None:
    lines = _typed(page, marked=True)
    prose = re.sub(r"^```.*?^```", "", (ROOT / page).read_text("utf-8"), flags=re.M | re.S)
    lines += re.findall(r"`([^`\n]+)`", prose)
    calls = [[w for w in line.split() if w != "sudo"] for line in lines]
    calls = [words[1:] for words in calls if words[:1] == ["sorter"] and len(words) > 1]
    assert calls or page == "CONTRIBUTING.md"
    for words in calls:
        command = COMMAND_LINE
        rest = list(words)
        while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
            assert rest[0] in command.commands, words
            command = command.commands[rest.pop(0)]
        known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
        for word in rest:
            if word.startswith("-"):
                assert word.split("=")[0] in known | {"--help", "--install-completion"}, words


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_place_that_a_page_of_the_house_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    inside = ("sorter", "train", "tests", *(p.name for p in (ROOT / "sorter").iterdir()))
    inside += tuple(p.name for p in (ROOT / "train").iterdir())
    named = [n for n in re.findall(r"`([\w./]+/[\w./]*)`", text) if n.split("/")[0] in inside]
    named += re.findall(r"\]\(([\w./]+)\)", text)
    assert len(named) > 3
    for name in named:
        assert any((ROOT / top / name).exists() for top in ("", "sorter", "train")), name


WITH_SUBCOMMAND = frozenset({"systemctl", "systemd-analyze", "udevadm", "pip", "apt-get"})


# train/OWN.md is run whole, by tests/machine/test_paths.py.
@pytest.mark.parametrize("page", [p for p in PAGES if p != "train/OWN.md"])
def test_every_other_program_of_a_page_is_run_by_a_test(page: str) -> None:
    files = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "tests").rglob("*.sh")]
    files += [ROOT / ".ci" / "run", ROOT / ".ci" / "bare"]
    run = "\n".join(f.read_text(encoding="utf-8") for f in files if f != Path(__file__))
    for line in _typed(page, marked=False):
        if re.match(r"\w+=", line):  # a variable
            continue
        words = [w for w in line.split() if w != "sudo" and not w.startswith("-")]
        program = words[0].rsplit("/", 1)[-1]
        if program == "sorter":
            continue
        pattern = rf"\b{re.escape(program)}\b"
        if program in WITH_SUBCOMMAND:
            pattern += rf"[^\n]*\b{re.escape(words[1])}\b"
        assert re.search(pattern, run), f"{page}: no test runs {line!r}; mark it `sh hardware`"
