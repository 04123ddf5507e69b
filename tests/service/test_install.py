"""`sorter service`: what it writes below a root, what it keeps, what it takes away."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from sorter.errors import EnvironmentFault, UsageError
from sorter.service import units
from sorter.service.install import Fate, current_settings, install, uninstall

COMMAND = PurePosixPath("/usr/local/bin/sorter")
UNITS = PurePosixPath("/etc/systemd/system")


def _install(root: Path, *, station: str = "", **settings: str) -> dict[str, Fate]:
    base = current_settings(station, root=root)
    files = units.files(
        command=COMMAND, station=station, unit_dir=UNITS, settings=settings, base=base
    )
    return {path.name: fate for path, fate in install(files, root=root)}


def _names(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}


def _cli(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sorter", "service", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_everything_lands_and_goes_again(tmp_path: Path) -> None:
    fates = _install(tmp_path, SORTER_DIR="/srv/sorter/camera", SORTER_SERIAL="none")
    assert set(fates.values()) == {Fate.WRITTEN}
    assert _names(tmp_path) == {
        "etc/systemd/system/sorter-watch.service",
        "etc/systemd/system/sorter-watch@.service",
        "etc/udev/rules.d/70-sorter.rules",
        "etc/sysusers.d/sorter.conf",
        "etc/tmpfiles.d/sorter.conf",
        "etc/sorter/sorter.env",
    }
    unit = (tmp_path / "etc/systemd/system/sorter-watch.service").read_text()
    assert "ExecStart=/usr/local/bin/sorter watch ${SORTER_DIR}\n" in unit
    assert units.SHIPPED_COMMAND not in unit
    assert set(_install(tmp_path).values()) == {Fate.SAME}
    gone = uninstall(root=tmp_path, unit_dir=UNITS)
    assert {fate for _, fate in gone} == {Fate.REMOVED}
    assert _names(tmp_path) == set()
    assert not (tmp_path / "etc/sorter").exists()
    assert (tmp_path / "etc/systemd/system").is_dir()
    assert uninstall(root=tmp_path, unit_dir=UNITS) == []


def test_an_edited_file_is_kept_by_install_and_by_uninstall(tmp_path: Path) -> None:
    _install(tmp_path, SORTER_SERIAL="none")
    env = tmp_path / "etc/sorter/sorter.env"
    env.write_text(env.read_text() + "SORTER_BURST=1\n")
    unit = tmp_path / "etc/systemd/system/sorter-watch.service"
    unit.write_text("[Service]\nExecStart=/mine\n")
    fates = _install(tmp_path, SORTER_SERIAL="/dev/x")
    assert fates["sorter.env"] is Fate.KEPT
    assert fates["sorter-watch.service"] is Fate.KEPT
    assert fates["70-sorter.rules"] is Fate.SAME
    assert env.read_text().endswith("SORTER_BURST=1\n")
    assert "/dev/x" not in env.read_text()
    after = dict(uninstall(root=tmp_path, unit_dir=UNITS))
    assert after[env] is Fate.KEPT
    assert after[unit] is Fate.KEPT
    assert _names(tmp_path) == {
        "etc/sorter/sorter.env",
        "etc/systemd/system/sorter-watch.service",
    }


def test_settings_of_an_earlier_install_survive_the_next(tmp_path: Path) -> None:
    _install(tmp_path, SORTER_DIR="/srv/a", SORTER_SERIAL="/dev/x")
    fates = _install(tmp_path, SORTER_SERIAL="/dev/y")
    assert fates["sorter.env"] is Fate.UPDATED
    text = (tmp_path / "etc/sorter/sorter.env").read_text()
    assert 'SORTER_DIR="/srv/a"\n' in text
    assert 'SORTER_SERIAL="/dev/y"\n' in text
    assert text.count("\nSORTER_SERIAL=") == 1


@pytest.mark.parametrize("value", ['a b"c', "back\\slash", "$HOME `x`", "分类", "a=b;#c", "it's"])
@pytest.mark.process
def test_the_settings_file_reads_back_as_written(tmp_path: Path, value: str) -> None:
    _install(tmp_path, SORTER_DIR=value, SORTER_NEW=value)
    text = (tmp_path / "etc/sorter/sorter.env").read_text()
    for name in ("SORTER_DIR", "SORTER_NEW"):
        (line,) = (x for x in text.splitlines() if x.startswith(f"{name}="))
        # systemd unescapes a double-quoted value as the shell does.
        script = f'{line}; printf %s "${name}"'
        read = subprocess.run(["sh", "-c", script], capture_output=True, check=True, timeout=10)
        assert read.stdout.decode() == value


def test_values_that_no_file_can_hold_are_refused(tmp_path: Path) -> None:
    for value in ("a\nSORTER_SERIAL=x", "a\0", "\udcff"):
        with pytest.raises(UsageError, match="SORTER_DIR"):
            _install(tmp_path, SORTER_DIR=value)
    for command in ("sorter", "/opt/$x/sorter", '/opt/"x', "/opt/%i/sorter"):
        with pytest.raises(UsageError, match="absolute path"):
            units.files(command=PurePosixPath(command))
    for station in ("../x", "a b", "-x", "sorter", "x/y"):
        with pytest.raises(UsageError, match="station"):
            units.files(command=COMMAND, station=station)
    assert _names(tmp_path) == set()


def test_a_station_of_several_has_its_own_settings(tmp_path: Path) -> None:
    _install(tmp_path, station="left", SORTER_SERIAL="/dev/l")
    _install(tmp_path, station="right", SORTER_SERIAL="/dev/r")
    folder = tmp_path / "etc/sorter"
    assert {p.name for p in folder.iterdir()} == {"left.env", "right.env"}
    assert "/dev/l" in (folder / "left.env").read_text()
    uninstall(root=tmp_path, unit_dir=UNITS)
    assert _names(tmp_path) == set()


def test_a_folder_under_a_home_gets_a_drop_in_and_nothing_else_of_the_home(tmp_path: Path) -> None:
    _install(tmp_path, station="left", SORTER_DIR="/home/ann/my camera")
    drop_in = tmp_path / "etc/systemd/system/sorter-watch@left.service.d/sorter-home.conf"
    lines = drop_in.read_text().splitlines()
    assert "ProtectHome=tmpfs" in lines
    assert 'BindReadOnlyPaths=-"/home/ann/my camera"' in lines
    with pytest.raises(UsageError, match="plain characters"):
        _install(tmp_path, SORTER_DIR="/home/ann/%h:x")
    uninstall(root=tmp_path, unit_dir=UNITS)
    assert not drop_in.parent.exists()
    assert not units.is_hidden(PurePosixPath("/homestead/x"))


def test_an_enabled_unit_is_not_pulled_away(tmp_path: Path) -> None:
    _install(tmp_path)
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "sorter-watch.service").symlink_to("/etc/systemd/system/sorter-watch.service")
    before = _names(tmp_path)
    with pytest.raises(EnvironmentFault, match=r"systemctl disable --now sorter-watch$"):
        uninstall(root=tmp_path, unit_dir=UNITS)
    assert _names(tmp_path) == before


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("not a folder")
    with pytest.raises(EnvironmentFault, match=r"etc.*Not a directory"):
        _install(tmp_path)


@pytest.mark.process
def test_the_command_line_writes_tells_and_names_the_next_step(tmp_path: Path) -> None:
    install_words = ("install", "--root", tmp_path, "--exec", "/usr/bin/env", "--serial")
    dry = _cli(*install_words, "/dev/ttyUSB0", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "dry run" in dry.stdout
    assert "by-id" in dry.stderr
    assert _names(tmp_path) == set()
    done = _cli(*install_words, "socket://192.0.2.7:7000", "--watch", tmp_path / "cam")
    assert done.returncode == 0, done.stderr
    assert "sudo systemctl enable --now sorter-watch\n" in done.stdout
    assert "no network" in done.stderr
    assert f'SORTER_DIR="{tmp_path}/cam"' in (tmp_path / "etc/sorter/sorter.env").read_text()
    (tmp_path / "etc/sorter/sorter.env").write_text("SORTER_DIR=/mine\n")
    kept = _cli(*install_words, "none", "--json")
    rows = {Path(r["path"]).name: r["fate"] for r in json.loads(kept.stdout)["files"]}
    assert rows["sorter.env"] == "kept"
    assert "SORTER_SERIAL=none" in kept.stderr
    gone = _cli("uninstall", "--root", tmp_path, "--json")
    assert {r["fate"] for r in json.loads(gone.stdout)["files"]} == {"removed", "kept"}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--exec", "/nowhere/sorter"), 5, "no such command"),
        (("--exec", "/usr/bin/env", "--station", "a/b"), 2, "station"),
    ],
)
@pytest.mark.process
def test_a_mistake_is_one_line(
    tmp_path: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    result = _cli("install", "--root", tmp_path, *words)
    assert result.returncode == code
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert _names(tmp_path) == set()
