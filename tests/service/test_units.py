"""The files of systemd/ before systemd's own judges, and against each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import typer

from sorter.cli.app import app
from sorter.service import units
from sorter.service.install import install

FOLDER = Path(__file__).parents[2] / "systemd"
EXPOSURE_LIMIT = 10  # Of 100: what `systemd-analyze security` prints as 1.0.


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        package = "udev" if name == "udevadm" else "systemd"
        pytest.skip(f"no {name}: install the package {package}")
    return path


def _run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(w) for w in words], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder of unit files as `sorter service install` leaves it, with an instance."""
    command = shutil.which("true")
    assert command is not None
    files = units.files(
        command=PurePosixPath(command), station="left", settings={"SORTER_DIR": "/home/a/cam"}
    )
    install(files, root=tmp_path)
    folder = tmp_path / "etc/systemd/system"
    (folder / "sorter-watch@left.service").symlink_to("sorter-watch@.service")
    return folder


@pytest.mark.parametrize("name", ["sorter-watch.service", "sorter-watch@left.service"])
@pytest.mark.process
def test_systemd_finds_nothing_wrong(installed: Path, name: str) -> None:
    result = _run(_tool("systemd-analyze"), "verify", "--man=no", installed / name)
    assert result.returncode == 0, result.stderr
    assert not re.search(r"sorter.*(unknown|ignoring|failed)", result.stderr, re.I), result.stderr


@pytest.mark.process
def test_verify_would_notice(installed: Path) -> None:
    unit = installed / "sorter-watch.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=60", "WatchdogSec=sixty"))
    result = _run(_tool("systemd-analyze"), "verify", "--man=no", unit)
    assert re.search(r"sorter.*(unknown|ignoring|failed)", result.stderr, re.I), result.stderr


@pytest.mark.parametrize("name", ["sorter-watch.service", "sorter-watch@left.service"])
@pytest.mark.process
def test_exposure_is_at_most_one(installed: Path, name: str) -> None:
    result = _run(
        _tool("systemd-analyze"),
        "security",
        "--offline=true",
        f"--threshold={EXPOSURE_LIMIT}",
        installed / name,
    )
    assert result.returncode == 0, result.stdout[-300:] + result.stderr
    assert "Overall exposure level" in result.stdout


@pytest.mark.process
def test_the_exposure_limit_would_notice(installed: Path) -> None:
    unit = installed / "sorter-watch.service"
    lines = [x for x in unit.read_text().splitlines() if not x.startswith(("Protect", "Restrict"))]
    unit.write_text("\n".join(lines) + "\n")
    result = _run(
        _tool("systemd-analyze"),
        "security",
        "--offline=true",
        f"--threshold={EXPOSURE_LIMIT}",
        unit,
    )
    assert result.returncode != 0


def _settings(name: str) -> list[str]:
    """The unit's lines that systemd reads."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [x for x in lines if x and not x.startswith("#")]


def test_the_template_differs_only_where_stations_must_not_share() -> None:
    single, template = _settings("sorter-watch.service"), _settings("sorter-watch@.service")
    assert len(single) == len(template)
    for one, other in zip(single, template, strict=True):
        if one.startswith("Description="):
            assert other == f"{one} %i"
        elif one.startswith("EnvironmentFile="):
            assert other == "EnvironmentFile=/etc/sorter/%i.env"
        elif re.match(r"(State|Cache|Runtime)Directory=", one):
            assert other == f"{one}-%i"
        else:
            assert other == re.sub(r"(%[StC])/sorter\b", r"\1/sorter-%i", one)


def test_what_the_field_taught_is_in_the_unit() -> None:
    lines = _settings("sorter-watch.service")
    for needed in (
        "Type=notify",
        "NotifyAccess=main",
        "Restart=always",
        "RestartSec=5",
        "StartLimitIntervalSec=0",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "DeviceAllow=char-188 rw",
        "DeviceAllow=char-166 rw",
        "DynamicUser=yes",
    ):
        assert needed in lines
    text = "\n".join(lines)
    for forbidden in ("MemoryDenyWriteExecute", "PrivateDevices", "BindsTo", "char-tty"):
        assert forbidden not in text
    assert lines.index("StartLimitIntervalSec=0") < lines.index("[Service]")


@pytest.mark.process
def test_sysusers_and_tmpfiles_make_the_group_and_the_folders(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    made = _run(_tool("systemd-sysusers"), f"--root={tmp_path}", FOLDER / "sysusers.conf")
    if made.returncode and "ermission" in made.stderr:
        pytest.skip("systemd-sysusers --root needs root here")
    assert made.returncode == 0, made.stderr
    assert "sorter:" in (tmp_path / "etc/group").read_text()
    laid = _run(
        _tool("systemd-tmpfiles"), f"--root={tmp_path}", "--create", FOLDER / "tmpfiles.conf"
    )
    assert laid.returncode == 0, laid.stderr
    camera = tmp_path / "srv/sorter/camera"
    assert camera.stat().st_mode & 0o7777 == 0o2775


def test_the_udev_rule_reads() -> None:
    for line in (FOLDER / "70-sorter.rules").read_text().splitlines():
        if line and not line.startswith("#"):
            for part in line.split(", "):
                assert re.fullmatch(r'[A-Z]+(\{\w+\})?(==|!=|=)"[^"]+"', part), part


@pytest.mark.process
def test_udev_finds_nothing_wrong() -> None:
    tool = _tool("udevadm")
    if "verify" not in _run(tool, "--help").stdout:
        pytest.skip("this udevadm cannot verify: needs systemd 254")
    result = _run(tool, "verify", FOLDER / "70-sorter.rules")
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_setting_of_the_example_is_an_option_of_watch() -> None:
    command: Any = typer.main.get_command(app)
    if "watch" not in command.commands:
        pytest.skip("sorter watch is not written yet")
    watch = command.commands["watch"]
    known = {e for p in watch.params for e in ([p.envvar] if isinstance(p.envvar, str) else [])}
    text = (FOLDER / "sorter.env.example").read_text() + (FOLDER / "README.md").read_text()
    text += (FOLDER / "sorter-watch.service").read_text()
    told = {"SORTER_EVENT", "SORTER_KIND", "SORTER_WHAT"}  # what a command of --on-problem gets
    for name in sorted(set(re.findall(r"SORTER_[A-Z][A-Z_]*[A-Z]", text)) - {"SORTER_DIR"} - told):
        assert name in known or watch.context_settings.get("auto_envvar_prefix"), name
