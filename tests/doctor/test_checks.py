"""`sorter doctor`: each check against a real small fault, and the command as a whole."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from sorter.doctor import folder, machine, port, unit
from sorter.doctor.finding import ACTUATOR, MODEL, Level, exit_code, fail, ok, warn
from sorter.doctor.model import check_model
from sorter.service import units
from tests.support.tiny import write_bundle


@pytest.fixture
def pty_name() -> Iterator[str]:
    """A real character device that this user may open."""
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_the_exit_code_is_the_first_failure_s() -> None:
    assert exit_code([ok("a", ""), warn("b", "", "")]) == 0
    findings = [warn("b", "", ""), fail("p", "", "", exit_code=4), fail("m", "", "", exit_code=3)]
    assert exit_code(findings) == 4


def test_a_good_model_is_timed_and_a_torn_one_is_named(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "m")
    good = check_model(bundle)
    assert good.level is Level.OK, good
    assert "3 kinds, 2 bins" in good.says
    assert "int8" in good.says
    weights = bundle / "model.bin"
    weights.write_bytes(weights.read_bytes()[:10])
    torn = check_model(bundle)
    assert (torn.level, torn.exit_code) == (Level.FAIL, MODEL)
    assert torn.fix
    (bundle / "model.xml").unlink()
    (bundle / "model-int8.xml").unlink()
    assert check_model(bundle).level is Level.FAIL
    assert check_model(write_bundle(tmp_path / "f", precisions=("fp16",))).level is Level.WARN


@pytest.mark.parametrize(
    ("arch", "line", "level", "word"),
    [
        ("x86_64", "flags : fpu avx2 avx512f avx512_vnni amx_int8", Level.OK, "avx512-vnni amx"),
        ("x86_64", "flags : fpu sse4_2 avx2 avx_vnni", Level.OK, "avx2 avx-vnni"),
        ("x86_64", "flags : fpu sse4_2 avx2 avx512f", Level.WARN, "avx2 avx512"),
        ("x86_64", "flags : fpu sse4_2", Level.WARN, "no vector units"),
        ("aarch64", "Features : fp asimd asimddp", Level.OK, "neon dotprod"),
        ("aarch64", "Features : fp asimd", Level.WARN, "neon"),
    ],
)
def test_cpu(tmp_path: Path, arch: str, line: str, level: Level, word: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{line}\n")
    found = machine.check_cpu(proc=tmp_path, machine=arch)
    if found.fix.startswith("a quota"):
        pytest.skip("a quota holds cores back here")
    assert (found.level, word in found.says) == (level, True), found


def test_this_machine_s_cpu_and_clock_say_something() -> None:
    assert "cores usable" in machine.check_cpu().says
    assert machine.check_clock().level in (Level.OK, Level.WARN)


def test_clock() -> None:
    now = 1_800_000_000.0
    assert machine.check_clock(now=now, synchronised=True).level is Level.OK
    assert machine.check_clock(now=now, synchronised=False).level is Level.WARN
    assert machine.check_clock(now=86_400.0, synchronised=True).level is Level.FAIL


def test_disk(tmp_path: Path) -> None:
    journal = tmp_path / "not" / "yet" / "journal.sqlite"
    assert machine.check_disk(journal, free_bytes=1 << 40).level is Level.OK
    assert machine.check_disk(journal, free_bytes=1 << 29).level is Level.WARN
    assert machine.check_disk(journal, free_bytes=1 << 20).level is Level.FAIL
    assert "nfs4" in machine.check_disk(journal, kind="nfs4").says
    (tmp_path / "file").touch()
    assert machine.check_disk(tmp_path / "file" / "journal").level is Level.FAIL


def test_folder(tmp_path: Path) -> None:
    good = folder.check_folder(tmp_path, kind="ext4")
    assert (good.level, "inotify works" in good.says) == (Level.OK, True), good
    mounted = folder.check_folder(tmp_path, kind="nfs4")
    assert (mounted.level, "nfs4" in mounted.says) == (Level.WARN, True)
    gone = folder.check_folder(tmp_path / "my camera")
    assert gone.level is Level.FAIL
    assert gone.fix == f"mkdir -p '{tmp_path}/my camera'"
    (tmp_path / "a.jpg").touch()
    assert "not a folder" in folder.check_folder(tmp_path / "a.jpg").says
    (tmp_path / "max_user_instances").write_text("2\n")
    (tmp_path / "max_user_watches").write_text("8192\n")
    few = folder.check_folder(tmp_path, kind="ext4", limits=tmp_path)
    assert (few.level, "2 instances" in few.says) == (Level.WARN, True)


def test_pictures_that_the_station_will_not_see(tmp_path: Path) -> None:
    for name in ("a.jpg", "day/b.jpg", "other/c.png", "@eaDir/d.jpg", "notes/e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = folder.check_overlooked(tmp_path, recursive=False)
    assert found is not None and found.level is Level.WARN
    assert found.says == f"{tmp_path}/day and 1 more: pictures that are not watched"
    assert "--recursive" in found.fix
    assert folder.check_overlooked(tmp_path, recursive=True) is None
    (tmp_path / "f.jxl").touch()
    found = folder.check_overlooked(tmp_path, recursive=True)
    assert found is not None and ".jxl" in found.says
    assert folder.check_overlooked(tmp_path / "none", recursive=True) is None


def test_a_folder_that_this_user_may_not_read(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    if os.access(closed, os.R_OK):
        pytest.skip("root reads everything")
    assert "not readable" in folder.check_folder(closed).says


def test_what_the_unit_s_user_sees(tmp_path: Path) -> None:
    units = tmp_path / "units"
    units.mkdir()
    camera = tmp_path / "camera"
    camera.mkdir()
    assert folder.check_service_sees(camera, unit_dir=units) is None
    (units / "sorter-watch.service").touch()
    camera.chmod(0o700)
    closed = folder.check_service_sees(camera, unit_dir=units)
    assert closed is not None
    assert (closed.level, str(camera) in closed.says) == (Level.FAIL, True)
    home = folder.check_service_sees(Path("/home/ann/camera"), unit_dir=units)
    assert home is not None
    assert "under a home" in home.says
    (units / "sorter-watch.service.d").mkdir()
    (units / "sorter-watch.service.d" / "sorter-home.conf").touch()
    shown = folder.check_service_sees(Path("/home/ann/camera"), unit_dir=units)
    assert shown is not None
    assert shown.level is Level.OK
    root = folder.check_service_sees(Path("/usr/share"), unit_dir=units)
    assert root is not None
    assert root.level is Level.OK


def test_a_free_port_and_no_port(pty_name: str) -> None:
    assert port.check_port("none").level is Level.OK
    assert port.check_port(pty_name).level is Level.OK, port.check_port(pty_name)


def test_a_port_that_is_not_there_or_no_port(tmp_path: Path) -> None:
    gone = port.check_port(str(tmp_path / "ttyUSB0"))
    assert (gone.level, gone.exit_code) == (Level.FAIL, ACTUATOR)
    assert "plug" in gone.fix
    (tmp_path / "file").touch()
    no_port = port.check_port(str(tmp_path / "file"))
    assert (no_port.level, no_port.fix) == (Level.FAIL, "name the device: ls /dev/serial/by-id")


@pytest.mark.process
def test_a_port_that_another_program_holds(pty_name: str) -> None:
    script = f"f = open({pty_name!r}, 'rb', buffering=0); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        held = port.check_port(pty_name)
        other.communicate(b"\n", timeout=10)
    assert held.level is Level.WARN
    assert str(other.pid) in held.says


def test_an_unstable_name_gets_the_stable_one(tmp_path: Path, pty_name: str) -> None:
    by_id = tmp_path / "serial" / "by-id"
    by_id.mkdir(parents=True)
    (by_id / "usb-gate").symlink_to(pty_name)
    found = port.check_port(pty_name, dev=tmp_path)
    assert (found.level, found.fix) == (Level.WARN, f"--serial {by_id}/usb-gate")
    assert port.check_port(str(by_id / "usb-gate"), dev=tmp_path).level is Level.OK


def test_a_port_on_the_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        assert port.check_port(f"socket://127.0.0.1:{number}").level is Level.OK
    refused = port.check_port(f"socket://127.0.0.1:{number}")
    assert (refused.level, refused.exit_code) == (Level.FAIL, ACTUATOR)
    assert port.check_port("socket://127.0.0.1:notaport").level is Level.FAIL


def test_meddlers(tmp_path: Path) -> None:
    for pid, name in ((7, "bash"), (8, "ModemManager")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(f"{name}\n")
    rule = tmp_path / "70-sorter.rules"
    assert port.check_meddlers(proc=tmp_path, rules=(rule,)).level is Level.WARN
    rule.touch()
    assert port.check_meddlers(proc=tmp_path, rules=(rule,)).level is Level.OK
    (tmp_path / "8" / "comm").write_text("brltty\n")
    assert "brltty" in port.check_meddlers(proc=tmp_path, rules=(rule,)).says


def test_unit(tmp_path: Path) -> None:
    nowhere = tmp_path / "run"
    assert unit.check_unit(unit_dir=tmp_path, run_dir=nowhere).level is Level.WARN
    file = tmp_path / "sorter-watch.service"
    file.write_text("[Service]\nExecStart=/nowhere/sorter watch ${SORTER_DIR}\n")
    assert "/nowhere/sorter" in unit.check_unit(unit_dir=tmp_path, run_dir=nowhere).says
    file.write_text("[Service]\nSupplementaryGroups=root nosuchgroup\n")
    assert unit.check_unit(unit_dir=tmp_path, run_dir=nowhere).fix.endswith(" nosuchgroup")
    file.write_text('[Service]\nExecStart="/usr/bin/env" watch\n')
    assert "not enabled" in unit.check_unit(unit_dir=tmp_path, run_dir=nowhere).says
    wants = tmp_path / "multi-user.target.wants"
    wants.mkdir()
    (wants / file.name).symlink_to(file)
    assert unit.check_unit(unit_dir=tmp_path, run_dir=nowhere).level is Level.OK


def test_the_service_s_own_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    odd = '/srv/a "quoted" $HOME\\back'
    done = units.files(
        command=PurePosixPath("/opt/sorter/bin/sorter"),
        settings={"SORTER_DIR": odd, "SORTER_SERIAL": "none"},
    )
    file = tmp_path / "sorter.env"
    file.write_text(units.marked(done[-1].text))
    found = unit.settings(file)
    assert found == {"SORTER_DIR": odd, "SORTER_SERIAL": "none"}
    assert unit.settings(tmp_path / "gone") == {}


def _doctor(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sorter", "doctor", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.process
def test_the_command_prints_a_line_each_and_answers_with_the_code(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "m")
    camera = tmp_path / "red[bold]\n\x1b[31m"
    camera.mkdir()
    journal = tmp_path / "journal.sqlite"
    base = ("--model", bundle, "--watch", camera, "--journal", journal)
    good = _doctor(*base, "--serial", "none")
    assert good.returncode == 0, good.stdout + good.stderr
    assert "\x1b" not in good.stdout
    assert "red[bold]\\n\\x1b[31m" in good.stdout
    levels = {line.split()[0] for line in good.stdout.splitlines()}
    assert levels <= {"ok", "warn"}
    bad = _doctor(*base, "--serial", tmp_path / "gone", "--json")
    assert bad.returncode == ACTUATOR
    rows = {row["check"]: row for row in json.loads(bad.stdout)}
    assert rows["port"]["level"] == "fail"
    assert rows["port"]["fix"]
    assert rows["model"]["level"] == "ok"
    assert not journal.exists()
    assert _doctor("--model", tmp_path / "gone").returncode == MODEL
