"""The socket beside the journal: who may ask, what, and what is answered."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
import stat
from pathlib import Path

import pytest

from sorter.station.control import Ask, Control, ask_station, socket_path
from tests.support.station_bench import Clock, Gate


@pytest.fixture
def gate() -> Gate:
    return Gate(Clock(), sqlite3.connect(":memory:"))


@pytest.mark.parametrize("depth", [0, 12])
def test_it_answers_however_deep_the_folder_lies(gate: Gate, tmp_path: Path, depth: int) -> None:
    journal = tmp_path.joinpath(*["a-rather-long-name"] * depth) / "j.sqlite"
    journal.parent.mkdir(parents=True, exist_ok=True)
    assert ask_station(journal, Ask.PING) is None
    with contextlib.closing(Control(socket_path(journal), gate)):
        assert stat.S_IMODE(socket_path(journal).stat().st_mode) == 0o660
        answer = ask_station(journal, Ask.PING)
        assert answer is not None and (answer["ready"], answer["boot"]) == (True, "b1")
        for ask in (Ask.CLEAR, Ask.HOME):
            answer = ask_station(journal, ask)
            assert answer is not None and answer["result"] == "done"
    assert not socket_path(journal).exists()
    assert ask_station(journal, Ask.PING) is None
    assert gate.moved == []


def test_what_a_killed_station_left_is_replaced(gate: Gate, tmp_path: Path) -> None:
    path = socket_path(tmp_path / "j.sqlite")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert ask_station(tmp_path / "j.sqlite", Ask.PING) is None
    with contextlib.closing(Control(path, gate)):
        assert ask_station(tmp_path / "j.sqlite", Ask.PING) is not None


@pytest.mark.parametrize(
    "line", [b"\n", b"GO 1\n", b'{"do": "move"}\n', b'{"do": ["home"]}\n', b"[" * 4000 + b"\n"]
)
def test_anything_else_is_refused_and_the_next_one_served(
    gate: Gate, tmp_path: Path, line: bytes
) -> None:
    journal = tmp_path / "j.sqlite"
    with contextlib.closing(Control(socket_path(journal), gate)):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(socket_path(journal)))
            peer.sendall(line)
            assert json.loads(peer.recv(4096)) == {"error": "ask one of ping, clear, home"}
        assert ask_station(journal, Ask.PING) is not None


def test_where_no_socket_can_be_the_station_lives_without(gate: Gate, tmp_path: Path) -> None:
    (tmp_path / "j.sqlite.socket").mkdir()
    Control(socket_path(tmp_path / "j.sqlite"), gate).close()
