"""`sorter demo`: a real station for a few seconds, judged by the simulated gate's own log."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from sorter.demo.pictures import DemoPicture, bundled, of_folder, with_trouble
from sorter.demo.stage import DemoProof, play
from sorter.display.demo_screen import closing
from sorter.domain import ItemState, Record
from sorter.errors import EnvironmentFault, FolderError
from sorter.taxonomy import default_taxonomy
from sorter.vision.model import open_model
from tests.support.tiny import colour_of, write_bundle26

PICTURES = 3


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real tiny model that knows painted pictures."""
    return write_bundle26(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of three classes."""
    path = tmp_path_factory.mktemp("pictures")
    for i in range(PICTURES):
        file = io.BytesIO()
        colour = colour_of(default_taxonomy(), 9 * i)
        Image.new("RGB", (120, 90), colour).save(file, "JPEG", quality=95)
        (path / f"p{i}.jpg").write_bytes(file.getvalue())
    return path


def _command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "sorter", "demo", *map(str, words)]


def test_the_station_sorts_and_tells_trouble_apart(bundle: Path, folder: Path) -> None:
    records: list[Record] = []
    shots = with_trouble(of_folder(folder))
    proof = play(open_model(bundle), shots, seconds=30, tell=records.append)
    assert proof.honest, (proof, records)
    assert proof.states == Counter(
        {ItemState.DONE: PICTURES, ItemState.DUPLICATE: 1, ItemState.REJECTED: 1}
    )
    for record in records:
        if record.state is ItemState.DONE:
            assert record.decision is not None
            wanted = default_taxonomy().categories[9 * int(record.picture.path.name[1])]
            assert record.decision.label == wanted
    assert not Path(records[0].picture.path).parent.exists()  # Nothing is left behind.


def test_a_lie_would_be_seen() -> None:
    done = Counter({ItemState.DONE: 2, ItemState.REJECTED: 1})
    assert DemoProof(3, done, [1, 2]).honest
    assert DemoProof(4, done, [1, 2], cut_short=True).honest
    for proof in (
        DemoProof(4, done, [1, 2]),
        DemoProof(3, done, [1]),
        DemoProof(3, done, [1, 1]),
        DemoProof(2, done, [1, 2], cut_short=True),
    ):
        assert not proof.honest
        assert "do not agree" in closing(proof)


def test_json_is_one_object_and_nothing_else(bundle: Path, folder: Path) -> None:
    words = ("--model", bundle, "--pictures", folder, "--json")
    result = subprocess.run(
        _command(*words), capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    answer = json.loads(result.stdout)
    assert answer["agree"] is True
    assert answer["moves"] == answer["records"]["DONE"] == PICTURES
    assert answer["pictures"] == PICTURES + 2


def test_a_terminal_gets_one_screen_and_ctrl_c_ends_it(bundle: Path, folder: Path) -> None:
    master, slave = pty.openpty()
    temporary = Path(tempfile.mkdtemp())
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        _command("--model", bundle, "--pictures", folder, "--seconds", "30"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environ,
    )
    os.close(slave)
    seen = b""
    sent = False
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if select.select([master], [], [], 0.2)[0]:
            try:
                seen += os.read(master, 65536)
            except OSError:  # The other side is closed.
                break
        if not sent and b"DONE" in seen:
            process.send_signal(signal.SIGINT)
            sent = True
    assert process.wait(timeout=20) == 0, seen[-500:]
    os.close(master)
    text = seen.decode()
    assert "\x1b[" in text
    assert "recyclable" in text
    assert "ended before the last picture" in text
    assert "Traceback" not in text
    assert list(temporary.iterdir()) == []
    temporary.rmdir()


def test_no_pictures_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(FolderError, match="name a folder of pictures"):
            of_folder(path)


def test_the_bundled_pictures_are_whole() -> None:
    try:
        shots = bundled()
    except EnvironmentFault:
        pytest.skip("no bundled pictures yet")
    assert len(shots) >= 4
    assert len({shot.data for shot in shots}) == len(shots)
    for shot in shots:
        Image.open(io.BytesIO(shot.data)).load()


def test_trouble_is_added_and_nothing_taken() -> None:
    shots = [DemoPicture(f"{i}.jpg", bytes([i]) * 10) for i in range(4)]
    made = with_trouble(shots)
    assert [s for s in made if s in shots] == shots
    assert len(made) == 6
    assert len({s.name for s in made}) == 6
