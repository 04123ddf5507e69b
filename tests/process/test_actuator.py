"""`sorter actuator` as a user meets it: real processes, a real pty, plain words when it fails."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sorter.actuator.protocol import seal
from sorter.actuator.simulator.endpoints import PtySocket

PAGE = Path(__file__).parents[2] / "sorter" / "actuator" / "README.md"


def sorter(*args: str, timeout: float = 40) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sorter", "actuator", *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@contextmanager
def simulated(*args: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """(port, process) of a simulated device."""
    command = [sys.executable, "-m", "sorter", "actuator", "simulate", *args]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        port = process.stdout.readline().strip()
        try:
            yield port, process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=10)
            assert process.returncode == 0


def test_cycle_home_and_log(tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    with simulated("--link", str(gate), "--log", str(log), "--move-ms", "20") as (port, _):
        assert port == str(gate)
        done = sorter("cycle", "--serial", port, "--rounds", "2", "--json")
        assert done.returncode == 0, done.stderr
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert [(r["n"], r["bin"], r["result"]) for r in rows] == [
            (n, (n - 1) % 4 + 1, "done") for n in range(1, 9)
        ]
        home = sorter("home", "--serial", port)
        assert (home.returncode, "at home after" in home.stdout) == (0, True)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [e["bin"] for e in events if e["event"] == "move"] == [1, 2, 3, 4] * 2
    assert sum(e["event"] == "home" for e in events) == 1
    assert not gate.is_symlink()


def test_ping_tells_what_is_there_and_changes_nothing(tmp_path: Path) -> None:
    cells = tmp_path / "cells"
    cells.write_text('{"sid": "s7", "hwm": 41}')
    with simulated("--eeprom", str(cells), "--name", "gate-7") as (port, _):
        found = json.loads(sorter("ping", "--serial", port, "--json").stdout)
        assert found["answers"] is True
        assert (found["device"], found["session"], found["mark"]) == ("gate-7", "s7", "41")
        said = sorter("ping", "-s", port).stdout
        assert "'gate-7' answers and is IDLE" in said
        assert "highest number: 41" in said
    assert json.loads(cells.read_text()) == {"sid": "s7", "hwm": 41}


def test_ping_over_tcp() -> None:
    with simulated("--tcp", "0", "--no-reset-on-open", "--boot-ms", "0") as (port, _):
        assert port.startswith("socket://")
        assert "answers" in sorter("ping", "--serial", port, "--wait", "0.2").stdout


def test_ping_diagnoses_silence_and_strangers() -> None:
    end = PtySocket()
    silent = sorter("ping", "--serial", end.name, "--wait", "0.3")
    assert silent.returncode == 4
    assert "nothing answers" in silent.stderr
    assert "sorter actuator firmware" in silent.stderr
    assert silent.stderr.count("\n") == 1
    command = [sys.executable, "-m", "sorter", "actuator", "ping", "--serial", end.name]
    command += ["--wait", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            if end.poll():
                end.write(b"Marlin ready\x1b[31m\n")
            time.sleep(0.2)
        assert process.stderr
        strange = process.stderr.read()
    end.close()
    assert process.returncode == 4
    assert "not WS1 (it said" in strange
    assert "\x1b" not in strange


def test_a_wrong_name_and_a_wrong_protocol_are_refused() -> None:
    with simulated("--name", "gate-7") as (port, _):
        wrong = sorter("cycle", "--serial", port, "--device", "gate-8")
        assert wrong.returncode == 4
        assert "'gate-7', not 'gate-8'" in wrong.stderr


def test_a_missing_port_is_one_line(tmp_path: Path) -> None:
    for command in ("ping", "cycle", "home", "monitor"):
        gone = sorter(command, "--serial", str(tmp_path / "none"))
        assert gone.returncode == 4
        assert re.fullmatch(r"sorter: .*no such port.*\n", gone.stderr)


def test_fault_is_cleared_by_home(tmp_path: Path) -> None:
    control = tmp_path / "control"
    with simulated("--no-reset-on-open", "--control", str(control), "--move-ms", "20") as (port, _):
        time.sleep(0.3)
        control.write_text("stop\n")
        time.sleep(0.3)
        stuck = sorter("home", "--serial", port)
        assert stuck.returncode == 4
        assert "FAULT" in stuck.stderr
        assert sorter("home", "--serial", port, "--clear").returncode == 0


def test_monitor_shows_lines_and_damage() -> None:
    with simulated("--boot-ms", "300") as (port, _):
        seen = sorter("monitor", "--serial", port, "--seconds", "1.6", "--heartbeat", "--json")
        rows = [json.loads(line) for line in seen.stdout.splitlines()]
        assert any(r["line"].startswith("BOOT WS1") for r in rows)
        assert any(r["line"].startswith("HB ") for r in rows)
    end = PtySocket()
    command = [sys.executable, "-m", "sorter", "actuator", "monitor", "-s", end.name]
    with subprocess.Popen(
        [*command, "--seconds", "1"], stdout=subprocess.PIPE, text=True
    ) as process:
        while not end.poll():
            time.sleep(0.02)
        time.sleep(0.1)
        end.write(b"\x1b]0;x\x07\n" + seal("ACK 1"))
        assert process.stdout
        said = process.stdout.read()
    end.close()
    assert "damaged line: bytes" in said
    assert "ACK 1" in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("args", "code", "why"),
    [
        (("--fault", "nonsense=1"), 2, "not known"),
        (("--fault", "drop=3"), 2, "at most 1"),
        (("--link", "a", "--tcp", "1"), 2, "exclude"),
        (("--ram", "--eeprom", "x"), 2, "exclude"),
        (("--name", "a b"), 2, "--name"),
        (("--log", "/no/such/folder/log"), 5, "--log"),
        (("--link", "/no/such/folder/gate"), 5, "--link"),
        (("--control", "/no/such/folder/control"), 5, "--control"),
        (("--eeprom", "/no/such/folder/cells"), 5, "--eeprom"),
    ],
)
def test_simulate_refuses_in_one_line(args: tuple[str, ...], code: int, why: str) -> None:
    wrong = sorter("simulate", *args, timeout=10)
    assert wrong.returncode == code
    assert why in wrong.stderr
    assert wrong.stderr.count("\n") == 1


def test_firmware_is_written_once(tmp_path: Path) -> None:
    out = tmp_path / "gate"
    wrote = sorter("firmware", "--out", str(out))
    assert wrote.returncode == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == ["README.md", "gate.ino", "keep.c", "keep.h", "ws1.c", "ws1.h"]
    again = sorter("firmware", "--out", str(out))
    assert (again.returncode, "--force" in again.stderr) == (5, True)
    (out / "ws1.c").write_text("old")
    assert sorter("firmware", "--out", str(out), "--force").returncode == 0
    assert (out / "ws1.c").read_text() != "old"


def test_every_command_has_help_with_an_example() -> None:
    listed = sorter("--help").stdout
    for command in ("ping", "cycle", "home", "monitor", "simulate", "firmware"):
        assert command in listed
        assert "Example: sorter actuator " + command in sorter(command, "--help").stdout


def test_the_page_s_transcript_is_what_the_wire_says() -> None:
    page = PAGE.read_text(encoding="utf-8")
    transcript = page.split("```transcript\n")[1].split("```")[0]
    lines = [line[2:] for line in transcript.splitlines() if line[:2] in ("> ", "< ")]
    assert len(lines) >= 15
    for line in lines:
        body, star, _ = line.rpartition("*")
        if star:
            assert seal(body) == line.encode() + b"\n"
        else:
            assert line == "!"


def test_the_page_names_every_fault_word_and_command() -> None:
    page = PAGE.read_text(encoding="utf-8")
    help_text = sorter("simulate", "--help").stdout
    for word in re.findall(
        r"[a-z-]+",
        "drop drop-in drop-out flip duplicate noise stray rejected "
        "reset delay late deaf reset-now stall unplug stop none",
    ):
        assert f"`{word}" in page
        assert word in help_text
    for line in page.splitlines():
        if line.startswith("    sorter actuator "):
            command = shlex.split(line)[2]
            assert command in ("ping", "cycle", "home", "monitor", "simulate", "firmware")


def test_interrupt_ends_the_simulator_cleanly(tmp_path: Path) -> None:
    with simulated("--link", str(tmp_path / "gate")) as (_, process):
        os.kill(process.pid, signal.SIGINT)
        process.wait(10)
    assert not (tmp_path / "gate").is_symlink()
