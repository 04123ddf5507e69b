"""The promises that a crash would break: never twice, never lost, durable before it is sent."""

from __future__ import annotations

import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.soak.station import deliver, gate, soak, start, states, wait_for_all, wait_ready


@pytest.mark.soak
def test_kill_9_at_random_instants() -> None:
    tally = soak("kill", runs=40, items=20, seed=20261125)
    assert tally.broken == []
    assert tally.kills >= 40
    assert tally.states["DONE"] > 100  # It did work between the kills.


@pytest.mark.soak
def test_sigterm_at_random_instants() -> None:
    tally = soak("sigterm", runs=8, items=12, seed=20261125)
    assert tally.broken == []


def _synced_before_go(trace: str) -> list[bool]:
    """For each GO written to the port: was the journal synced after its last write?"""
    synced, found = True, []
    for line in trace.splitlines():
        if "-wal>" in line and re.search(r"\bpwrite64\(", line):
            synced = False
        elif "-wal>" in line and re.search(r"\bf(data)?sync\(", line):
            synced = True
        elif re.search(r'\bwrite\(\d+<[^>]*>, "GO ', line):
            found.append(synced)
    return found


@pytest.mark.parametrize(("synchronous", "durable"), [("FULL", True), ("NORMAL", False)])
def test_sent_is_on_the_disk_before_its_bytes_leave(
    synchronous: str, durable: bool, tmp_path: Path
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs the Debian package strace")
    (tmp_path / "camera").mkdir()
    names = [f"p{i:02d}" for i in range(15)]
    calls = "trace=pwrite64,fdatasync,fsync,write"
    prefix = ["strace", "-f", "-y", "-s", "48", "-e", calls, "-o", str(tmp_path / "trace")]
    with gate(tmp_path / "moves.jsonl") as port:
        station = start(tmp_path, port, prefix=prefix, synchronous=synchronous)
        wait_ready(tmp_path, 60)
        deliver(tmp_path, names, random.Random(1))
        wait_for_all(tmp_path, len(names))
        child = Path(f"/proc/{station.pid}/task/{station.pid}/children").read_text().split()
        _signal(int(child[0]))
        assert station.wait(30) == 0
    sent = [state for _, _, state in states(tmp_path)].count("DONE")
    assert sent == len(names)
    order = _synced_before_go((tmp_path / "trace").read_text(errors="replace"))
    assert len(order) >= len(names)
    assert all(order) is durable


def _signal(pid: int) -> None:
    import os

    os.kill(pid, signal.SIGTERM)
    time.sleep(0.1)
