"""`sorter service install --camera`: which program, which files, and what they may not hold.

That the units take pictures is shown in tests/machine/test_camera.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from typer.testing import CliRunner

from sorter.cli.app import app
from sorter.errors import UsageError
from sorter.service import cameras
from sorter.service.install import Fate, install, uninstall

UNITS = PurePosixPath("/etc/systemd/system")
FOLDER = PurePosixPath("/srv/sorter/camera")
EVERY = ("/dev/video0", "rtsp://192.0.2.8/s", "libcamera", "rpicam", "gphoto2", "ftp:belt")


def _install(root: Path, camera: str, *, station: str = "") -> dict[str, Fate]:
    files = cameras.files(cameras.parse(camera), folder=FOLDER, unit_dir=UNITS, station=station)
    return {path.name: fate for path, fate in install(files, root=root)}


@pytest.mark.process
@pytest.mark.parametrize("camera", EVERY)
def test_systemd_finds_nothing_wrong(tmp_path: Path, camera: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze: install the package systemd")
    _install(tmp_path, camera)
    unit = tmp_path / "etc/systemd/system/sorter-camera.service"
    text = unit.read_text()
    for word in ("RUN", "CONFIG", "UNIT", "FOLDER", "SOURCE", "PASSWORDS"):
        assert not re.search(rf"\b{word}\b", text), word
    # Whether the programs are on this machine is not what is asked here.
    unit.write_text(re.sub(r"^(ExecStart=)\S+", r"\1/bin/true", text, flags=re.M))
    words = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "sorter-camera" not in done.stderr, done.stderr
    words = ["systemd-analyze", "security", "--offline=yes", "--threshold=40", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-200:]


def test_a_password_stands_in_a_file_that_root_alone_reads(tmp_path: Path) -> None:
    _install(tmp_path, "rtsp://ann:p%40ss@192.0.2.8:554/s?x=1", station="left")
    settings = tmp_path / "etc/sorter/left.camera.conf"
    assert settings.stat().st_mode & 0o777 == 0o600
    lines = settings.read_text().splitlines()
    assert "netcam_url rtsp://192.0.2.8:554/s?x=1" in lines
    assert "netcam_userpass ann:p@ss" in lines
    unit = tmp_path / "etc/systemd/system/sorter-camera@left.service"
    assert "p@ss" not in unit.read_text() and f"camera.conf:/{settings.relative_to(tmp_path)}" in (
        unit.read_text()
    )


def test_settings_that_hold_our_own_words_stay_as_they_are(tmp_path: Path) -> None:
    _install(tmp_path, "rtsp://FOLDER:UNIT@192.0.2.8/SOURCE")
    text = (tmp_path / "etc/sorter/sorter.camera.conf").read_text()
    assert "netcam_userpass FOLDER:UNIT" in text and "netcam_url rtsp://192.0.2.8/SOURCE" in text


@pytest.mark.parametrize(
    ("camera", "says"),
    [
        ("webcam", "name a device"),
        ("rtsp://", "no host"),
        ("http://[::1", "--camera"),
        ("ftp:Ann Lee", "no user's name"),
        ("/dev/video0\nnetcam_url x", "settings file"),
        ("rtsp://a:b%0ac@192.0.2.8/", "settings file"),
    ],
)
def test_what_no_program_serves_is_refused(camera: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        cameras.parse(camera)


def test_a_folder_that_a_unit_cannot_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plain characters"):
        cameras.files(cameras.parse("rpicam"), folder=PurePosixPath("/srv/a b"), unit_dir=UNITS)


def test_the_command_takes_the_folder_of_the_settings_and_says_what_is_next(tmp_path: Path) -> None:
    words = ["service", "install", "--exec", "/bin/true", "--root", str(tmp_path)]
    first = CliRunner().invoke(app, [*words, "--watch", "/srv/belt", "--camera", "ftp"])
    assert first.exit_code == 0, first.output
    again = CliRunner().invoke(app, [*words, "--camera", "ftp"])
    unit = (tmp_path / "etc/systemd/system/sorter-camera.service").read_text()
    assert 'ReadWritePaths="/srv/belt"' in unit
    for said in (first.output, again.output):
        assert "apt-get install -y --no-install-recommends proftpd-core" in said
        assert "ftpasswd" in said and "--home=/srv/belt" in said
        assert "enable --now sorter-watch sorter-camera" in said
    assert "updated" not in again.output


def test_it_goes_again_and_an_edited_file_stays(tmp_path: Path) -> None:
    _install(tmp_path, "/dev/video0")
    settings = tmp_path / "etc/sorter/sorter.camera.conf"
    settings.write_text(settings.read_text() + "threshold 9000\n")
    assert _install(tmp_path, "rtsp://192.0.2.8/s")["sorter.camera.conf"] is Fate.KEPT
    gone = {path.name: fate for path, fate in uninstall(root=tmp_path, unit_dir=UNITS)}
    assert gone == {"sorter-camera.service": Fate.REMOVED, "sorter.camera.conf": Fate.KEPT}
