"""A jam at a running station: a command is told, and the fault is cleared through the station."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.processes import process
from tests.support.station_folder import live
from tests.support.tiny import colour_of, paint, taxonomy3
from tests.support.waiting import wait_for


def sorter(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sorter", "actuator", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_fault_is_told_and_cleared_without_a_stop(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "camera").mkdir()
    (tmp_path / "state").mkdir()
    told, fifo = tmp_path / "told.jsonl", tmp_path / "control"
    journal = str(tmp_path / "state" / "journal.sqlite")

    def heard() -> list[tuple[str, str]]:
        lines = told.read_text().splitlines() if told.exists() else []
        found: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [(line["event"], line["kind"]) for line in found]

    gate = process(
        *("actuator", "simulate", "--link", str(tmp_path / "gate"), "--control", str(fifo)),
        *("--move-ms", "60", "--bins", "2"),
        log=tmp_path / "gate.log",
    )
    tell = f"cat >> {told}"
    more = ["--on-problem", tell, "--on-clear", tell, "--problem-after", "1", "--problem-every"]
    more += ["1", "--expect-every", "20"]
    station = process(
        *("watch", str(tmp_path / "camera"), "--serial", str(tmp_path / "gate"), *more),
        *("--journal", journal, "--model", str(bundle), "--unsure", "hold"),
        log=tmp_path / "watch.log",
    )
    with gate, station as running:
        wait_for(lambda: (live(tmp_path) or {}).get("link_ready"))
        assert sorter("ping", "--journal", journal).returncode == 0
        fifo.write_text("stop\n")
        wait_for(lambda: ("problem", "jam") in heard(), told=lambda: str(heard()))
        refused = sorter("ping", "--journal", journal)
        assert (refused.returncode, refused.stderr.count("\n")) == (4, 1)
        cleared = sorter("clear", "--journal", journal)
        assert cleared.returncode == 0, cleared.stderr
        wait_for(lambda: ("clear", "jam") in heard())
        home = sorter("home", "--journal", journal, "--json")
        assert home.returncode == 0 and json.loads(home.stdout)["result"] == "done"
        wait_for(lambda: ("problem", "camera") in heard())
        paint(tmp_path / ".a.png", colour_of(taxonomy3(), 0)).rename(tmp_path / "camera" / "a.png")
        wait_for(lambda: ("clear", "camera") in heard())
        assert running.poll() is None
    counts = {pair: heard().count(pair) for pair in set(heard())}
    assert all(count == 1 for pair, count in counts.items() if pair[1] != "device")
    nobody = sorter("clear", "--journal", journal)
    assert (nobody.returncode, "name the port with --serial" in nobody.stderr) == (2, True)
