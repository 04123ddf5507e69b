"""What a person is told of a trouble, when, and that no command of theirs holds anything up."""

from __future__ import annotations

import http.server
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from sorter.station.health.alarms import GIVES_WAY, Alarms, Orders
from sorter.station.health.status import StationStatus, Trouble
from tests.support.waiting import wait_for

pytestmark = pytest.mark.process

EXAMPLES = Path(__file__).parents[2] / "systemd" / "examples"

WELL = StationStatus(
    folder="/camera",
    mode="inotify",
    folder_problem="",
    link="ready",
    link_ready=True,
    link_wanted=True,
    link_detail="",
    journal_problem="",
    model="m",
    model_refused="",
    pending=0,
    unresolved=0,
    starts=1,
)
LOST = replace(WELL, link="closed", link_ready=False, link_detail="no such port")
GONE = replace(WELL, folder_problem="gone")


@dataclass
class Told:
    """Alarms whose clock is the test's and whose command writes down what it was told."""

    file: Path
    now: float = 1000.0
    alarms: Alarms = field(init=False)

    def open(self, command: str = "", **orders: Any) -> Alarms:
        run = command or f"cat >> {self.file}"
        given = {"on_problem": run, "on_clear": run, "station": "left", "limit_s": 1.0, **orders}
        self.alarms = Alarms(Orders(**given), clock=lambda: self.now)
        return self.alarms

    def look(self, status: StationStatus, *, after_s: float = 0.0) -> None:
        self.now += after_s
        self.alarms.look(status)

    def heard(self, count: int) -> list[tuple[str, str]]:
        """All messages, once there are `count`."""
        wait_for(lambda: len(self.lines()) >= count, told=lambda: str(self.lines()))
        return [(line["event"], line["kind"]) for line in self.lines()]

    def lines(self) -> list[dict[str, str]]:
        text = self.file.read_text() if self.file.exists() else ""
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    told = Told(tmp_path / "told.jsonl")
    yield told
    told.alarms.close()


def test_a_trouble_that_lasts_is_told_once_and_cleared_once(told: Told) -> None:
    told.open()
    for _ in range(20):
        told.look(LOST, after_s=0.5)
    for _ in range(20):
        told.look(WELL, after_s=0.5)
    assert told.heard(2) == [("problem", "device"), ("clear", "device")]
    first = told.lines()[0]
    assert first["what"] == "device not ready: closed (no such port)"
    assert (first["station"], first["folder"]) == ("left", "/camera")
    assert first["since"] <= first["at"]


def test_what_comes_and_goes_is_not_told_again_and_again(told: Told) -> None:
    told.open(after_s=1.0, every_s=60.0)
    for _ in range(10):  # Each too short to be worth a word.
        told.look(LOST, after_s=0.5)
        told.look(WELL, after_s=0.5)
    for _ in range(3):  # Long enough, but within a minute of each other.
        for status in (LOST, LOST, LOST, WELL):
            told.look(status, after_s=1.0)
    told.look(GONE, after_s=60.0)
    told.look(GONE, after_s=2.0)
    expected = [("problem", "device"), ("clear", "device"), ("problem", "folder")]
    assert told.heard(3) == expected
    for status in (LOST, LOST):
        told.look(status, after_s=2.0)
    assert told.heard(5)[3:] == [("clear", "folder"), ("problem", "device")]


def test_a_command_that_hangs_is_killed_with_all_it_started(told: Told, tmp_path: Path) -> None:
    """And a look costs nothing meanwhile."""
    told.open(f"sleep 987654 & echo $! > {tmp_path}/child; wait", after_s=0.0)
    begun = time.monotonic()
    for _ in range(100):
        told.look(LOST)
    assert time.monotonic() - begun < 1.0
    child = int(wait_for(lambda: _text(tmp_path / "child")))
    told.now += 100.0
    wait_for(lambda: _is_gone(child))
    told.look(WELL)
    told.look(GONE, after_s=1.0)  # And the next one is run.
    wait_for(lambda: int(_text(tmp_path / "child") or child) != child)


def test_a_command_that_fails_is_said(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    told.open("echo no route >&2; exit 7", after_s=0.0)
    told.look(LOST)
    wait_for(lambda: "ended with 7: no route" in caplog.text)


def test_a_command_gives_way_to_the_station(told: Told, tmp_path: Path) -> None:
    told.open(f"sleep 0.3; nice > {tmp_path}/nice", after_s=0.0, limit_s=30.0)
    told.look(LOST)
    found = int(wait_for(lambda: _text(tmp_path / "nice")))
    assert found == min(19, os.getpriority(os.PRIO_PROCESS, 0) + GIVES_WAY)


def test_every_trouble_has_its_kind() -> None:
    statuses = {
        Trouble.DISK: replace(WELL, journal_problem="full"),
        Trouble.FOLDER: GONE,
        Trouble.DEVICE: LOST,
        Trouble.JAM: replace(WELL, link="fault", link_ready=False),
        Trouble.CAMERA: replace(WELL, camera_problem="silent"),
        Trouble.JOURNAL: replace(WELL, set_aside="j.damaged"),
        Trouble.WEIGHTS: replace(WELL, model_refused="bad"),
    }
    assert {kind: list(status.troubles()) for kind, status in statuses.items()} == {
        kind: [kind] for kind in Trouble
    }
    assert list(replace(WELL, jam="n=3: JAM").troubles()) == [Trouble.JAM]
    assert WELL.troubles() == {}


def _text(path: Path) -> str:
    """What a file says; "" while it is not there."""
    return path.read_text().strip() if path.exists() else ""


def _is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


# The examples of systemd/examples/, run as an operator would.


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a small stand-in for a program of the machine into the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))

    def put(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return put


def test_the_letter(told: Told, tmp_path: Path, programs: Callable[[str, str], None]) -> None:
    programs(
        "sendmail",
        f"[ $1 = -t ] && cat > {tmp_path}/letter.part && cd {tmp_path} && mv letter.part letter",
    )
    told.open(f"{EXAMPLES}/mail.sh operator@example.org", after_s=0.0)
    told.look(LOST)
    letter = wait_for(lambda: _text(tmp_path / "letter"))
    head, _, body = letter.partition("\n\n")
    assert head.splitlines()[:2] == [
        "To: operator@example.org",
        "Subject: sorter left: device problem",
    ]
    assert body.startswith("device not ready: closed (no such port)")
    assert json.loads(body.splitlines()[-1])["kind"] == "device"


def test_the_lamp_is_on_while_anything_is_wrong(
    told: Told, tmp_path: Path, programs: Callable[[str, str], None]
) -> None:
    programs("gpioset", f'echo "$@" > {tmp_path}/line; exec sleep 300')
    told.open(f"{EXAMPLES}/lamp.sh gpiochip0 17", after_s=0.0)
    told.look(replace(LOST, folder_problem="gone"))
    line = wait_for(lambda: _text(tmp_path / "line"))
    assert line == "--chip gpiochip0 17=1"
    lamp = int(wait_for(lambda: _text(tmp_path / "lamp" / "pid")))
    wait_for(lambda: len(list((tmp_path / "lamp").glob("*.on"))) == 2)
    told.look(LOST)
    wait_for(lambda: len(list((tmp_path / "lamp").glob("*.on"))) == 1)
    assert not _is_gone(lamp)
    told.look(WELL)
    wait_for(lambda: _is_gone(lamp))


def test_the_webhook(told: Told) -> None:
    got: list[Any] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told.open(f"{EXAMPLES}/webhook.sh http://127.0.0.1:{server.server_port}/hook", after_s=0.0)
    told.look(LOST)
    told.look(WELL)
    wait_for(lambda: len(got) == 2)
    server.shutdown()
    server.server_close()
    assert [message["event"] for message in got] == ["problem", "clear"]
