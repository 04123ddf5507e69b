"""`sorter report` as a command: a real journal in, text, JSON, CSV and a page out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.report import make


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "j.sqlite"
    make(file, 1000)
    return file


def report(journal: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sorter", "report", "--journal", str(journal), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_all_that_it_writes(journal: Path, tmp_path: Path) -> None:
    page, table = tmp_path / "r.html", tmp_path / "r.csv"
    words = ("--since", "all", "--by", "week", "--html", str(page), "--csv", str(table))
    done = report(journal, *words, "--excel", "--lang", "zh")
    assert done.returncode == 0, done.stderr
    assert "不确定" in done.stdout and "可回收物" in done.stdout
    assert table.read_bytes().startswith(b"\xef\xbb\xbfstart,items,sorted,")
    assert '<html lang="zh-CN">' in page.read_text(encoding="utf-8")
    again = report(journal, *words)
    assert again.returncode == 0, again.stderr
    assert table.read_bytes().startswith(b"start,items,sorted,")
    document = json.loads(report(journal, "--since", "all", "--json").stdout)
    total = document["total"]
    ended = ("done", "failed", "unsure_held", "uncertain", "expired", "rejected", "duplicate")
    assert sum(total[name] for name in ended) == 1000
    assert total["items"] + total["unknown_object"] == 1000
    some = json.loads(report(journal, "--since", "30d", "--json").stdout)
    assert 60 <= some["total"]["items"] + some["total"]["unknown_object"] <= 100


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--since", "soon"), 2, "--since soon"),
        (("--excel",), 2, "give --csv F too"),
        (("--html", "mine.html"), 2, "mine.html"),
        (("--csv", "photo.jpg"), 2, "photo.jpg"),
    ],
)
def test_a_mistake_is_one_line(
    journal: Path, tmp_path: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    (tmp_path / "mine.html").write_text("<!doctype html>\n<p>my own page")
    placed = [str(tmp_path / w) if "." in w else w for w in words]
    done = report(journal, *placed)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1)
    assert says in done.stderr


def test_no_journal_is_said(tmp_path: Path) -> None:
    done = report(tmp_path / "none.sqlite")
    assert (done.returncode, "no journal there" in done.stderr) == (5, True)
