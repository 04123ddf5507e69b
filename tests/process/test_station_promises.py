"""The promises that a crash would break: never twice, never lost, durable before it is sent."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.soak.order import watch
from tests.soak.station import soak


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


@pytest.mark.parametrize(("synchronous", "durable"), [("FULL", True), ("NORMAL", False)])
def test_sent_is_on_the_disk_before_its_bytes_leave(
    synchronous: str, durable: bool, tmp_path: Path
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs the Debian package strace")
    order = watch(tmp_path, 15, synchronous=synchronous)
    assert len(order) == 15
    assert all(order) is durable
