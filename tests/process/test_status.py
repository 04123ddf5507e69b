"""`sorter status`: one look, the following through a pipe, and the live screen on a real pty."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sorter.cli.app import app
from sorter.domain import ItemState, Record
from sorter.station.health.status import live_path
from sorter.station.journal.history import summarise
from sorter.station.journal.journal import Journal
from sorter.station.journal.opening import open_journal
from tests.support.items import DECISION, picture
from tests.support.processes import SORTER
from tests.support.terminal import LEFT, Terminal


def add(journal: Journal, name: str) -> None:
    n = journal.add(Record(picture(name, name), ItemState.SENT, decision=DECISION, boot="b"))
    journal.finish(n, ItemState.DONE)


def speak(file: Path, **words: object) -> None:
    """As a running station would; our own process stands in for it."""
    said = {"pid": os.getpid(), "at": 0.0, "folder": "/camera", "link": "ready", "problems": []}
    live_path(file).write_text(json.dumps({**said, **words}))


def test_one_look(tmp_path: Path) -> None:
    file = tmp_path / "j.sqlite"
    with contextlib.closing(open_journal(file)) as journal:
        add(journal, "[red]\n.jpg")
        speak(file, problems=["folder: gone"])
        words = ["status", "--journal", str(file)]
        shown = CliRunner().invoke(app, words).stdout
        for wanted in ("link: ready", "problem: folder: gone", "[red]\\n.jpg", "no sign of life"):
            assert wanted in shown
        answer = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert answer["counts"] == {"metal": {"DONE": 1}}
    assert (answer["running"], answer["respond_s"]["max"] > 0) == (True, True)


def test_the_pace_is_that_of_the_newest_items(tmp_path: Path) -> None:
    now = 1_700_000_100.0
    clock = iter(now + 0.5 * i for i in range(100))
    with contextlib.closing(open_journal(tmp_path / "j", wall=lambda: next(clock))) as journal:
        for i in range(3):
            sent = replace(picture(str(i), str(i)), arrived_at=now + i)
            n = journal.add(Record(sent, ItemState.SENT, decision=DECISION))
            journal.finish(n, ItemState.DONE)
        held = journal.add(
            Record(picture("held", "held"), ItemState.UNSURE_HELD, decision=DECISION)
        )
        pace = summarise(journal.path, wall=lambda: now + 5).pace
    assert held == 4
    assert (pace.per_minute, pace.move) == (4, (0.5, 0.5))
    assert pace.respond is not None
    assert list(pace.respond) == [pytest.approx(0.5)] * 2


def test_a_live_screen_outlives_its_journal(tmp_path: Path) -> None:
    file = tmp_path / "j.sqlite"
    with Terminal("status", "--journal", str(file), "--follow") as terminal:
        terminal.wait_for("no journal there")
        with contextlib.closing(open_journal(file)) as journal:
            add(journal, "a.jpg")
        terminal.wait_for("a.jpg")
        terminal.resize(10, 60)
        terminal.wait_for("a.jpg")
        file.write_bytes(b"\xff" * 8192)
        terminal.wait_for("cannot read the journal")
        with contextlib.closing(open_journal(file)) as journal:  # As a restarted station does.
            add(journal, "b.jpg")
            speak(file)
            terminal.resize(20, 80)
            terminal.wait_for("running, pid")
            terminal.wait_for("b.jpg")
        assert terminal.end(signal.SIGINT) == 130
        assert "Traceback" not in terminal.text
        # It leaves the screen as it was, with one line.
        assert terminal.raw.rpartition(LEFT)[2].strip() == b"sorter: interrupted"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_given_back_whoever_ends_it(number: signal.Signals, tmp_path: Path) -> None:
    with Terminal("status", "--journal", str(tmp_path / "j"), "--follow") as terminal:
        terminal.wait_for("no journal there")
        assert terminal.end(number) == 130
        assert LEFT in terminal.raw


def test_through_a_pipe_one_block_a_change_or_one_object_a_second(tmp_path: Path) -> None:
    file = tmp_path / "j.sqlite"
    words = [*SORTER, "status", "--journal", str(file), "--follow"]
    blocks = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    objects = subprocess.Popen([*words, "--json"], stdout=subprocess.PIPE, text=True)
    assert blocks.stdout is not None
    assert objects.stdout is not None
    try:
        assert "no journal there" in blocks.stdout.readline()
        assert "no journal there" in json.loads(objects.stdout.readline())["problem"]
        with contextlib.closing(open_journal(file)) as journal:
            add(journal, "a.jpg")
        while "items" not in (answer := json.loads(objects.stdout.readline())):
            pass
        assert [row["path"] for row in answer["last"]] == ["/camera/a.jpg"]
        assert json.loads(objects.stdout.readline()) == {**answer, "per_minute": 1}
        while "a.jpg" not in (line := blocks.stdout.readline()):
            assert line
    finally:
        for process in (blocks, objects):
            process.send_signal(signal.SIGINT)
    rest = blocks.stdout.read()
    assert "a.jpg" not in rest, "nothing changed, yet it was said again"
    assert [process.wait() for process in (blocks, objects)] == [130, 130]
    for process in (blocks, objects):
        assert process.stdout is not None
        process.stdout.close()
