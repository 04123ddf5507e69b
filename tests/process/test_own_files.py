"""No command replaces a file of the user's, whatever option names it; nor runs one.

Every option of every command that takes a path is tried with a picture, by its name and by its
bytes alone, with a table, JSON, another program's database, and with a folder of such: whatever the
command does, each still holds what it held. The options are read from the command line itself, so
that a new one is tried from the day it is there.
"""

from __future__ import annotations

import csv
import inspect
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer

from sorter.cli.app import app
from sorter.station.journal.opening import open_journal
from tests.support.tiny import write_bundle
from tests.support.tried import tried

REPOSITORY = Path(__file__).parents[2]

LINES = {
    "classify": "{pictures}",
    "watch": "{pictures} --serial none --dry-run --model {bundle} --unsure hold",
    "status": "",
    "journal export": "--journal {journal} --csv {free}",
    "report": "--journal {journal} --since all",
    "actuator ping": "--serial {free}",
    "actuator cycle": "--serial {free}",
    "actuator home": "--serial {free}",
    "actuator clear": "--serial {free}",
    "actuator monitor": "--serial {free}",
    "actuator simulate": "",
    "actuator firmware": "--out {free}",
    "train": "{data} --set epochs=1",
    "export": "{free}",
    "teach": "{data} --out {free}",
    "bundle map": "0001=rest --model {bundle} --out {free}",
    "evaluate": "{data} --model {bundle}",
    "data check": "{data} --no-keypoints",
    "demo": "--seconds 1 --model {bundle}",
    "doctor": "",
    "bench": "{pictures} --model {bundle}",
    "service install": "--watch {pictures} --serial none --root {free}",
    "service uninstall": "--root {free}",
    "review": "{pictures} --into {free} --no-open --model {bundle}",
}
"""What each command needs beside the option that is tried. A new command needs a line here."""

SECONDS = 3.0
"""A command that takes the file for its own may run for ever."""

VALUES = ("photo.jpg", "photo.txt", "table.csv", "own.json", "own.db", "folder")


def _commands(group: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for word, command in group.commands.items():
        path = f"{name} {word}".strip()
        yield from _commands(command, path) if hasattr(command, "commands") else [(path, command)]


COMMANDS = dict(_commands(typer.main.get_command(app)))


def _options(command: Any) -> list[str]:
    """The options that take a path, and that of the port, which may be one."""
    hints = get_type_hints(inspect.unwrap(command.callback))
    return [
        max(option.opts, key=len)
        for option in command.params
        if option.param_type_name == "option"
        and ("Path" in str(hints.get(option.name)) or option.name == "serial")
    ]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("own")
    samples = sorted((REPOSITORY / "sorter/samples/pictures").glob("*.jpg"))
    for code, sample in zip(("00_01", "03_01"), samples, strict=False):
        (home / "data" / code).mkdir(parents=True)
        shutil.copy(sample, home / "data" / code)
    (home / "pictures").mkdir()
    shutil.copy(samples[0], home / "pictures")
    open_journal(home / "journal.sqlite").close()
    return {
        "journal": home / "journal.sqlite",
        "pictures": home / "pictures",
        "data": home / "data",
        "bundle": write_bundle(home / "bundle"),
        "picture": samples[0],
    }


def _write_own_files(folder: Path, picture: Path) -> None:
    folder.mkdir()
    shutil.copy(picture, folder / "photo.jpg")
    shutil.copy(picture, folder / "photo.txt")
    (folder / "table.csv").write_text("name;age\nx;1\n")
    (folder / "own.json").write_text('{"sorter": 1}\n')
    with sqlite3.connect(folder / "own.db") as db:
        db.execute("CREATE TABLE photos (path TEXT)")
    db.close()
    for name in ("filed.csv", "config.json", "history.csv", "metrics.json", "card.json"):
        (folder / name).write_text("mine as well\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "photo.jpg").write_bytes(picture.read_bytes())
    (folder / "sub" / "filed.txt").write_text("mine too\n")


def _content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_command_has_a_line() -> None:
    assert set(COMMANDS) == set(LINES)
    assert sum(len(_options(command)) for command in COMMANDS.values()) >= 40


@pytest.mark.parametrize("name", COMMANDS)
def test_no_option_replaces_what_is_not_ours(
    name: str, places: dict[str, Path], tmp_path: Path
) -> None:
    cases: list[tuple[str, str, Path, dict[str, bytes]]] = []
    lines = []
    for number, option in enumerate(_options(COMMANDS[name])):
        base = [w.format(free=tmp_path / "free" / option, **places) for w in LINES[name].split()]
        if option in base:
            at = base.index(option)
            del base[at : at + 2]
        # A picture by its name, and two of the others: each option is guarded by the same rules.
        for value in (VALUES[0], *(VALUES[1 + (number + more) % 5] for more in (0, 3))):
            place = tmp_path / f"{option}-{value}".replace(".", "_")
            _write_own_files(place, places["picture"])
            cases.append((option, value, place, _content(place)))
            target = place if value == "folder" else place / value
            lines.append([*name.split(), *base, option, str(target)])
    for (option, value, place, before), said in zip(cases, tried(lines, SECONDS), strict=True):
        after = _content(place)
        lost = {file for file, data in before.items() if after.get(file) != data}
        assert not lost, (option, value, said)
        assert "Traceback" not in said, (option, value, said)


@pytest.mark.parametrize(
    "words",
    [
        "classify {pictures} --model {bundle} --csv -",
        "classify {pictures} --model {bundle} --jsonl -",
        "classify {pictures} --model {bundle} --html -",
        "data check {data} --no-keypoints --groups-out -",
        "journal export --journal {journal} --csv -",
    ],
)
def test_a_dash_writes_no_file(words: str, places: dict[str, Path], tmp_path: Path) -> None:
    line = [word.format(**places) for word in words.split()]
    done = subprocess.run(
        [sys.executable, "-m", "sorter", *line],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert list(tmp_path.iterdir()) == [], done.stderr
    rows = done.stdout.splitlines()
    assert rows, done.stderr
    if "--csv" in words or "--groups-out" in words:  # nothing else stands between the rows
        assert {len(cells) for cells in csv.reader(rows)} == {len(rows[0].split(","))}


def test_train_runs_no_file_of_the_folder_it_stands_in(
    places: dict[str, Path], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    (tmp_path / "train.py").write_text("raise SystemExit('my own training script')\n")
    done = subprocess.run(
        [sys.executable, "-m", "sorter", "train", str(tmp_path / "gone")],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "my own training script" not in done.stderr + done.stdout
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr
