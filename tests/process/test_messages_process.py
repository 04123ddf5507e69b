"""Mistakes that need a process of their own: streams, rights, a lost folder, a bare install."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.mishaps import check_line
from tests.support.tiny import colour_of, paint, taxonomy3

UNPRIVILEGED = "--bounding-set=-dac_override,-dac_read_search,-net_bind_service"
"""Root without what lets root past permissions; anybody else has none of it anyway."""

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from sorter.cli.app import main; main()"


@pytest.fixture
def pics(tmp_path: Path) -> Path:
    folder = tmp_path / "pics"
    folder.mkdir()
    paint(folder / "a.png", colour_of(taxonomy3(), 0))
    return folder


def run(
    *words: str | Path,
    program: tuple[str, ...] = ("-m", "sorter"),
    before: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*before, sys.executable, *program, *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **(env or {})},
        check=False,
        timeout=120,
        stderr=subprocess.PIPE,
        **{"stdout": subprocess.PIPE, **options},
    )


@pytest.fixture(scope="module")
def unprivileged() -> tuple[str, ...]:
    """What to put before a command so that permissions hold, for root as for anybody."""
    if os.geteuid() != 0:
        return ()
    before = ("setpriv", UNPRIVILEGED)
    tried = shutil.which("setpriv") and subprocess.run([*before, "true"], check=False)
    if not tried or tried.returncode:
        pytest.skip("root cannot give up its rights here (setpriv)")
    return before


def test_a_full_disk_behind_stdout(bundle: Path, pics: Path) -> None:
    rows: tuple[tuple[str | Path, ...], ...] = (
        ("classify", pics, "--model", bundle, "-q"),
        ("doctor", "--model", bundle),
    )
    for words in rows:
        with Path("/dev/full").open("wb") as full:
            done = run(*words, stdout=full)
        check_line(done.stderr.decode(), done.returncode, (5, "stdout", "send it elsewhere"))


def test_closed_streams_do_not_end_up_in_a_report(bundle: Path, pics: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    line = f'exec "$0" -m sorter classify {pics} --model {bundle} --json --csv {out} >&- 2>&-'
    done = subprocess.run(["sh", "-c", line, sys.executable], check=False, timeout=120)
    assert done.returncode == 0
    rows = out.read_text(encoding="utf-8").splitlines()
    assert len(rows) == 2
    assert rows[0].startswith("path,status,")


def test_a_reader_that_went_away_is_no_error_to_show(bundle: Path, pics: Path) -> None:
    line = f'"$0" -m sorter classify {pics} --model {bundle} -q --json | true; echo ${{PIPESTATUS}}'
    done = subprocess.run(
        ["bash", "-c", line, sys.executable], check=False, capture_output=True, timeout=120
    )
    assert done.stderr == b""
    assert done.stdout in (b"1\n", b"0\n")  # 0 where all was written before the reader went


def test_a_terminal_without_chinese(bundle: Path, pics: Path) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = run("classify", pics, "--model", bundle, "--lang", "zh", env=ascii_only)
    assert done.returncode == 0, done.stderr
    assert b"\\u7f50" in done.stdout  # 罐, a can


def test_names_that_are_no_utf8_in_every_output(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xff"))
    for code in ("00_00", "00_01"):
        (folder / code).mkdir(parents=True)
        paint(folder / code / "a.png", (200, 10, 10), size=(40, 40 + len(code)))
    (folder / "00_00" / os.fsdecode(b"\xfe\n=.png")).write_bytes(b"none")
    groups = tmp_path / "g.csv"
    done = run("data", "check", folder, "--no-keypoints", "--json", "--groups-out", groups)
    assert done.returncode == 1
    assert done.stderr == b""
    named = json.loads(done.stdout)["unreadable"][0]["path"]
    assert os.fsencode(named).endswith(b"d\xff/00_00/\xfe\n=.png")
    assert b"d\xff/00_00/a.png" in groups.read_bytes()


def test_the_current_folder_is_gone(bundle: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    line = f'cd {here} && rmdir {here} && exec "$0" -m sorter classify . --model {bundle}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
        capture_output=True,
        timeout=120,
    )
    check_line(done.stderr.decode(), done.returncode, (5, "this folder", "cd to another"))


def test_folders_that_this_user_may_not_enter(
    bundle: Path, pics: Path, tmp_path: Path, unprivileged: tuple[str, ...]
) -> None:
    closed = tmp_path / "closed"
    (closed / "in").mkdir(parents=True)
    closed.chmod(0)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    model = ("--model", bundle)
    watch = ("watch", "--serial", "none", "--unsure", "hold", *model)
    rows: list[tuple[tuple[str | Path, ...], Path, str]] = [
        (("classify", closed / "in" / "a.jpg", *model), closed, "permissions"),
        (("classify", pics, "--csv", closed / "x" / "o.csv", *model), closed, "another"),
        (("classify", pics, "--csv", locked / "o.csv", *model), locked, "name another file"),
        ((*watch, closed, "--journal", tmp_path / "j"), closed, "permissions"),
        ((*watch, pics, "--journal", locked / "j"), locked, "--journal"),
        (("status", "--journal", closed / "j"), closed, "permissions"),
        (("evaluate", closed, *model), closed, "permissions"),
        (("review", pics, "--into", locked / "data", *model), locked, "--into"),
        (("actuator", "firmware", "--out", locked / "x"), locked, "--out"),
        (("demo", "--pictures", closed, *model), closed, "permissions"),
    ]
    try:
        for words, where, remedy in rows:
            done = run(*words, before=unprivileged)
            check_line(done.stderr.decode(), done.returncode, (5, str(where), remedy))
        listed = run("classify", closed, *model, "--json", "-q", before=unprivileged)
        assert listed.returncode == 1  # a row, not an end: other folders may be fine
        assert "Permission denied" in json.loads(listed.stdout)["error"]
    finally:
        closed.chmod(0o700)


def test_a_port_of_the_system(
    bundle: Path, pics: Path, tmp_path: Path, unprivileged: tuple[str, ...]
) -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first <= 80:
        pytest.skip("this kernel gives port 80 to everybody")
    into = ("--into", tmp_path / "into")
    model = ("--model", bundle)
    done = run("review", pics, *into, *model, "--port", "80", "--no-open", before=unprivileged)
    check_line(done.stderr.decode(), done.returncode, (5, "port 80", "--port"))


@pytest.mark.parametrize(
    "words", ["train {pics}", "export {pics}/x.pt", "evaluate {data} --precision torch"]
)
def test_torch_is_not_installed(words: str, bundle: Path, pics: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "0001").mkdir(parents=True)
    shutil.copy(pics / "a.png", data / "0001")
    line = words.format(pics=pics, data=data).split()
    done = run(
        *line, program=("-c", WITHOUT_TORCH), env={"SORTER_MODEL": str(bundle)}, cwd=tmp_path
    )
    check_line(done.stderr.decode(), done.returncode, (5, "torch", "pip install 'sorter[train]'"))


def test_ctrl_c_says_so(tmp_path: Path) -> None:
    link = tmp_path / "gate"
    simulator = subprocess.Popen(
        [sys.executable, "-m", "sorter", "actuator", "simulate", "--link", str(link)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60
        while not link.exists() and time.monotonic() < until:
            time.sleep(0.05)
        words = [sys.executable, "-m", "sorter", "actuator", "monitor", "-s", str(link)]
        monitor = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert monitor.stdout is not None
        monitor.stdout.readline()  # the device speaks first
        monitor.send_signal(signal.SIGINT)
        _, said = monitor.communicate(timeout=60)
    finally:
        simulator.terminate()
        simulator.wait(timeout=60)
    check_line(said.decode(), monitor.returncode, (130, "sorter", "interrupted"))
