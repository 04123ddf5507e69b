"""The station end to end: real processes, a real folder, a simulated device on a real pty."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import SORTER, process
from tests.support.station_folder import live, states
from tests.support.tiny import colour_of, paint, taxonomy3
from tests.support.waiting import wait_for

TAXONOMY = taxonomy3()


def gate(tmp_path: Path) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    return process(
        *("actuator", "simulate", "--link", str(tmp_path / "gate")),
        *("--log", str(tmp_path / "moves.jsonl"), "--move-ms", "60", "--bins", "2"),
        log=tmp_path / "gate.log",
    )


def station(
    tmp_path: Path, bundle: Path, *more: str, serial: str | None = None
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    return process(
        *("watch", str(tmp_path / "camera"), "--serial", serial or str(tmp_path / "gate")),
        *("--journal", str(tmp_path / "state" / "journal.sqlite"), "--model", str(bundle)),
        *("--unsure", "hold", *more),
        log=tmp_path / "watch.log",
    )


def drop(folder: Path, name: str, index: int) -> None:
    """Deliver as a camera does: written under another name, then renamed."""
    # A pixel apart, so that no two deliveries hold the same bytes.
    part = paint(folder / f".{name}.png", colour_of(TAXONOMY, index), size=(64 + drop_count(), 48))
    part.rename(folder / f"{name}.png")


def drop_count(counter: list[int] = [0]) -> int:  # noqa: B006 - a counter for the whole run.
    counter[0] += 1
    return counter[0]


def moves(tmp_path: Path) -> list[tuple[int, int]]:
    events = map(json.loads, (tmp_path / "moves.jsonl").read_text().splitlines())
    return [(e["n"], e["bin"]) for e in events if e["event"] == "move"]


def test_every_picture_moves_once_into_its_bin_and_ctrl_c_ends_both(
    tmp_path: Path, bundle: Path
) -> None:
    camera = tmp_path / "camera"
    camera.mkdir()
    with gate(tmp_path) as device, station(tmp_path, bundle) as watch:
        wait_for(lambda: live(tmp_path).get("link_ready") is True)
        for i in range(12):
            drop(camera, f"p{i:02d}", i % 3)
            wait_for(lambda n=i + 1: len(moves(tmp_path)) == n)  # type: ignore[misc]
        wait_for(lambda: [s for _, s, _ in states(tmp_path)] == ["DONE"] * 12)
        watch.send_signal(signal.SIGINT)
        assert watch.wait(10) == 0
        device.send_signal(signal.SIGINT)
        assert device.wait(10) == 0
    wanted = [{"metal": 1, "rest": 2}[TAXONOMY.categories[i % 3].bin] for i in range(12)]
    assert [bin_ for _, bin_ in moves(tmp_path)] == wanted
    assert len({n for n, _ in moves(tmp_path)}) == 12
    said = (tmp_path / "watch.log").read_text()
    assert "Traceback" not in said
    assert said.count(" DONE ") == 12
    out = tmp_path / "items.csv"
    journal = str(tmp_path / "state" / "journal.sqlite")
    subprocess.run(
        [*SORTER, "journal", "export", "--journal", journal, "--csv", str(out)], check=True
    )
    with out.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [r["state"] for r in rows] == ["DONE"] * 12
    assert all(r["sent_at"].endswith("Z") and r["sent_at"] <= r["done_at"] for r in rows)
    shown = subprocess.run(
        [*SORTER, "status", "--journal", journal, "--json"], capture_output=True, check=True
    )
    document = json.loads(shown.stdout)
    assert document["counts"]["metal"] == {"DONE": 4}
    assert document["running"] is False
    assert document["starts"] == 1


def test_what_lay_there_is_recorded_and_not_moved(tmp_path: Path, bundle: Path) -> None:
    camera = tmp_path / "camera"
    camera.mkdir()
    for i in range(3):
        drop(camera, f"old{i}", i)
    with gate(tmp_path), station(tmp_path, bundle) as watch:
        wait_for(lambda: len(states(tmp_path)) == 3)
        wait_for(lambda: live(tmp_path).get("link_ready") is True)
        drop(camera, "new", 0)
        wait_for(lambda: len(moves(tmp_path)) == 1)
        wait_for(lambda: len(states(tmp_path)) == 4 and states(tmp_path)[3][1] == "DONE")
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(10) == 0
    assert {s for name, s, _ in states(tmp_path) if name.startswith("old")} == {"EXPIRED"}


def test_broken_unknown_and_repeated_pictures_move_nothing(tmp_path: Path, bundle: Path) -> None:
    camera = tmp_path / "camera"
    camera.mkdir()
    with gate(tmp_path), station(tmp_path, bundle) as watch:
        wait_for(lambda: live(tmp_path).get("link_ready") is True)
        drop(camera, "first", 0)
        wait_for(lambda: len(states(tmp_path)) == 1)
        (camera / "again.png").write_bytes((camera / "first.png").read_bytes())
        paint(camera / "grey.png", (128, 128, 128))
        whole = (camera / "first.png").read_bytes()
        (camera / "cut.png").write_bytes(whole[: len(whole) - 30])
        (camera / "note.txt").write_text("no picture")
        (camera / "half.png.part").write_bytes(whole[:40])
        wait_for(lambda: len(states(tmp_path)) == 4, within_s=40)
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(10) == 0
    found = {name: state for name, state, _ in states(tmp_path)}
    assert found == {
        "first.png": "DONE",
        "again.png": "DUPLICATE",
        "grey.png": "UNSURE_HELD",
        "cut.png": "REJECTED",
    }
    assert len(moves(tmp_path)) == 1


def test_without_a_device_it_records_expired_and_recovers(tmp_path: Path, bundle: Path) -> None:
    camera = tmp_path / "camera"
    camera.mkdir()
    with station(tmp_path, bundle, "--max-age", "1") as watch:
        wait_for(lambda: bool(live(tmp_path)))
        drop(camera, "early", 0)
        wait_for(lambda: [s for _, s, _ in states(tmp_path)] == ["EXPIRED"])
        with gate(tmp_path):
            wait_for(lambda: live(tmp_path).get("link_ready") is True, within_s=40)
            drop(camera, "later", 1)
            wait_for(lambda: [s for _, s, _ in states(tmp_path)] == ["EXPIRED", "DONE"])
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(10) == 0
    assert len(moves(tmp_path)) == 1


def test_archive_and_ring(tmp_path: Path, bundle: Path) -> None:
    camera = tmp_path / "camera"
    camera.mkdir()
    more = ["--archive", str(tmp_path / "archive"), "--ring", str(tmp_path / "ring")]
    with station(tmp_path, bundle, *more, serial="none") as watch:
        wait_for(lambda: bool(live(tmp_path)))
        drop(camera, "a", 0)
        paint(camera / "grey.png", (128, 128, 128))
        wait_for(lambda: len(states(tmp_path)) == 2)
        wait_for(lambda: not list(camera.iterdir()))
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(10) == 0
    filed = sorted(
        p.relative_to(tmp_path / "archive").parts[1:] for p in (tmp_path / "archive").rglob("*.png")
    )
    assert filed == [("metal", "a.png"), ("unsure_held", "grey.png")]
    kept = [p.name for p in (tmp_path / "ring").iterdir()]
    assert len(kept) == 1
    assert kept[0].endswith(".png")


def test_settings_come_from_the_environment(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "camera").mkdir()
    environment = {
        "SORTER_DIR": str(tmp_path / "camera"),
        "SORTER_SERIAL": "none",
        "SORTER_JOURNAL": str(tmp_path / "camera" / "journal.sqlite"),
        "SORTER_MODEL": str(bundle),
    }
    done = subprocess.run(
        [*SORTER, "watch"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "which is read from" in done.stderr


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (("--serial", ""), 2, "--serial is empty"),
        (("--unsure", "moon"), 2, "moon"),
        (("--max-age", "0"), 2, "--max-age"),
        (("--burst", "9"), 2, "--burst"),
        (("--model", "NOWHERE"), 3, "NOWHERE"),
        (("--journal", "/proc/none/journal.sqlite"), 5, "journal"),
        (("MISSING",), 5, "MISSING"),
    ],
)
def test_what_a_user_can_get_wrong(
    change: tuple[str, ...], code: int, says: str, tmp_path: Path, bundle: Path
) -> None:
    (tmp_path / "camera").mkdir()
    words = {
        "": str(tmp_path / "camera"),
        "--serial": "none",
        "--model": str(bundle),
        "--journal": str(tmp_path / "state" / "j.sqlite"),
        "--unsure": "hold",
    }
    words |= {"": str(tmp_path / change[0])} if len(change) == 1 else {change[0]: change[1]}
    line = [words.pop(""), *(part for pair in words.items() for part in pair)]
    done = subprocess.run(
        [*SORTER, "watch", *line], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_burst_and_a_backlog_do_not_void_each_other_s_numbers(
    tmp_path: Path, bundle: Path
) -> None:
    """A device moves only for ever larger numbers; a group has its own from its first picture."""
    camera = tmp_path / "camera"
    camera.mkdir()
    for i in range(20):
        drop(camera, f"old{i:02d}", i % 3)
    more = ["--burst", "1", "--backlog", "actuate"]
    with gate(tmp_path), station(tmp_path, bundle, *more) as watch:
        wait_for(lambda: live(tmp_path).get("link_ready") is True)
        drop(camera, "new0", 0)
        drop(camera, "new1", 0)
        wait_for(lambda: len(states(tmp_path)) == 22 and len(moves(tmp_path)) == 21, within_s=60)
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(20) == 0
    found = {name: state for name, state, _ in states(tmp_path)}
    assert sorted(state for name, state in found.items() if name < "old") == ["DONE", "DUPLICATE"]
    assert {state for name, state in found.items() if name > "old"} == {"DONE"}
