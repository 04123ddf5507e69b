"""The README's session, pasted whole into a shell on a terminal, as a newcomer does."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from tests.support.processes import ROOT, with_sorter
from tests.support.terminal import Terminal


def _session() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^## One session\n.*?^```sh\n(.*?)^```", text, re.M | re.S)
    assert block is not None
    return block[1]


def test_the_session_pasted_whole_moves_every_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in with_sorter(tmp_path / "bin").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    # A busy machine may need more than five seconds for a picture.
    monkeypatch.setenv("SORTER_MAX_AGE", "60")
    monkeypatch.chdir(ROOT)
    with Terminal("--norc", "--noprofile", "-i", program=["bash"], columns=200) as shell:
        shell.press(_session().encode() + b"wait; echo $((40 + 2)) ended\n")
        shell.wait_for("42 ended", within_s=200)
        shell.press(b"exit\n")
        assert shell.end() == 0
    assert "Traceback" not in shell.text
    assert "n=12 DONE" in shell.text
    assert "station: running" in shell.text and "12 items" in shell.text
    (items,) = tmp_path.glob("*/items.csv")
    with items.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["state"] for row in rows] == ["DONE"] * 12
    assert len({row["bin"] for row in rows}) == 4
