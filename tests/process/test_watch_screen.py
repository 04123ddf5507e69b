"""The station on a real terminal: one live screen, given back at the end; lines everywhere else."""

from __future__ import annotations

import os
import pty
import signal
import threading
from pathlib import Path

import pytest

from sorter.station.sinks.nonblocking import NonblockingWriter
from tests.support.station_folder import live, states
from tests.support.terminal import LEFT, Terminal
from tests.support.tiny import colour_of, paint, taxonomy3
from tests.support.waiting import wait_for


def station(tmp_path: Path, bundle: Path) -> Terminal:
    (tmp_path / "camera").mkdir()
    return Terminal(
        *("watch", str(tmp_path / "camera"), "--serial", "none", "--model", str(bundle)),
        *("--journal", str(tmp_path / "state" / "journal.sqlite"), "--unsure", "hold"),
        lines=30,
    )


def show(tmp_path: Path, name: str, index: int = 0) -> None:
    hidden = tmp_path / "camera" / f".{name}"
    paint(hidden, colour_of(taxonomy3(), index))
    hidden.rename(tmp_path / "camera" / name)


def test_a_terminal_shows_the_station_and_is_given_back(tmp_path: Path, bundle: Path) -> None:
    with station(tmp_path, bundle) as terminal:
        terminal.wait_for("watching")
        show(tmp_path, "[red].png")
        terminal.wait_for("[red].png")
        terminal.wait_for("1 record in the last minute")
        terminal.resize(24, 70)
        (tmp_path / "camera").rename(tmp_path / "away")
        terminal.wait_for("! folder:")
        (tmp_path / "camera").mkdir()
        show(tmp_path, "b.png", 1)
        terminal.wait_for("b.png")
        assert terminal.end(signal.SIGINT) == 0
        assert "Traceback" not in terminal.text
        assert terminal.raw.rpartition(LEFT)[2].strip() == b"stopped after 2 records: 2 DONE"


@pytest.mark.parametrize("lost", ["halted", "closed"])
def test_a_terminal_that_takes_nothing_holds_up_no_item(
    lost: str, tmp_path: Path, bundle: Path
) -> None:
    with station(tmp_path, bundle) as terminal:
        terminal.wait_for("watching")
        if lost == "halted":
            terminal.press(b"\x13")  # Ctrl-S
        else:
            terminal.hang_up()
        for index in range(3):
            show(tmp_path, f"{index}.png", index)
            wanted = index + 1
            wait_for(lambda: len(states(tmp_path)) == wanted)  # noqa: B023
        terminal.process.send_signal(signal.SIGTERM)
        wait_for(lambda: live(tmp_path) == {})
        if lost == "halted":
            terminal.press(b"\x11")  # Ctrl-Q: who halted it sees the end.
        assert terminal.end() == 0


def test_a_reader_that_stops_reading_loses_lines_and_holds_nobody() -> None:
    reading, writing = os.pipe()
    with open(writing, "w") as stream:  # noqa: PTH123
        outlet = NonblockingWriter(stream)
        worker = threading.Thread(
            target=lambda: [outlet.write("x" * 999 + "\n") for _ in range(200)]
        )
        worker.start()
        worker.join(60)
        assert not worker.is_alive()
        kept = os.read(reading, 1 << 20).count(b"\n")
        assert 0 < kept < 200
        outlet.write("on again\n")
        assert os.read(reading, 4096).decode() == (
            f"# {200 - kept} lines not shown: nobody read\non again\n"
        )
        os.close(reading)
        outlet.write("into nothing\n")


def test_a_halted_terminal_has_no_room() -> None:
    master, slave = pty.openpty()
    with open(slave, "w") as stream:  # noqa: PTH123
        os.write(master, b"\x13")
        outlet = NonblockingWriter(stream)
        outlet.write("unseen\n")
        os.write(master, b"\x11")
        outlet.write("seen\n")
        assert b"1 lines not shown" in os.read(master, 4096)
    os.close(master)
