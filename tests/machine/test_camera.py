"""From a camera to the gate, by the units that `sorter service install --camera` writes.

What stands for a camera: an upload, a folder that gphoto2 takes for one, and for rpicam, whose
camera is hardware, a script that writes as rpicam-still does. motion's is in test_paths.py.
"""

from __future__ import annotations

import ftplib
import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from sorter.taxonomy import default_taxonomy
from tests.support.booted import Booted, boot
from tests.support.tiny import colour_of, write_bundle26

PREPARE = "systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload"
CAMERA = "/srv/sorter/camera"
RPICAM = r"""#!/bin/sh
for word; do pattern=$word; done
n=0
trap 'n=$((n + 1)); cp /opt/extra/p0.png "$(printf "$pattern" "$n")"' USR1
while true; do sleep 0.1; done
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Booted]:
    """A booted systemd with a running station on a simulated gate, and a picture, p0.png."""
    extra = tmp_path / "extra"
    extra.mkdir()
    write_bundle26(extra / "model")
    Image.new("RGB", (80, 60), colour_of(default_taxonomy(), 0)).save(extra / "p0.png")
    for folder in (tmp_path, *tmp_path.parents):  # pytest's own folders are for one user only.
        if os.access(folder, os.W_OK) and folder.name.startswith("pytest-"):
            folder.chmod(0o755)
    with boot(tmp_path) as booted:
        gate = "sorter actuator simulate --link /run/gate --log /tmp/moves.jsonl"
        booted.run(f"systemd-run --quiet --unit=gate /opt/sorter/bin/{gate}")
        booted.wait_for("test -e /run/gate && echo there", "there")
        booted.run('chmod 666 "$(readlink -f /run/gate)"')
        yield booted


def _begin(machine: Booted, camera: str) -> None:
    """Install the station and `camera`, and start both."""
    command = "sorter service install --exec /opt/sorter/bin/sorter --serial /run/gate"
    machine.run(f"{command} --camera '{camera}'")
    machine.run("echo SORTER_MODEL=/opt/extra/model >> /etc/sorter/sorter.env")
    machine.run(f"{PREPARE} && systemctl restart sorter-watch")
    machine.wait_for("systemctl status sorter-watch --no-pager", "device ready")


def _moves(machine: Booted, count: int) -> list[int]:
    """The records that moved, once there are `count` records and all are DONE."""
    export = "sorter journal export --journal /var/lib/sorter/journal.sqlite --csv /tmp/out.csv"
    machine.wait_for(f"{export}; grep -c '' /tmp/out.csv", f"{count + 1}\n")
    machine.wait_for(f"{export}; grep -c DONE /tmp/out.csv", f"{count}\n")
    lines = machine.run("cat /tmp/moves.jsonl").stdout.splitlines()
    return [e["n"] for e in map(json.loads, lines) if e["event"] == "move"]


def _needs(program: str, package: str) -> None:
    if shutil.which(program) is None and not Path("/usr/sbin", program).exists():
        pytest.skip(f"no {program}: install the package {package}")


def test_an_upload_arrives_whole_or_not_at_all(machine: Booted, tmp_path: Path) -> None:
    _needs("proftpd", "proftpd-core")
    _begin(machine, "ftp:belt")
    group = '--gid="$(getent group sorter | cut -d: -f3)"'
    words = "--passwd --file=/etc/sorter/sorter.camera.passwd --name=belt --uid=65534"
    rest = f"--home={CAMERA} --shell=/bin/false --stdin"
    machine.run(f"echo secret | ftpasswd {words} {group} {rest}")
    # The booted system has this machine's network, whose port 21 may be another's.
    change = "s/^Port 21$/Port 2121/; s/^TimeoutStalled 30$/TimeoutStalled 2/"
    machine.run(f"sed -i '{change}' /etc/sorter/sorter.camera.conf")
    machine.run("systemctl start sorter-camera")
    machine.wait_for("systemctl is-active sorter-camera", "active")
    picture = (tmp_path / "extra" / "p0.png").read_bytes()
    with ftplib.FTP(timeout=20) as camera:
        _connect(camera)
        upload = camera.transfercmd("STOR a.png")
        upload.sendall(picture[:50])
        machine.wait_for(f"ls -A {CAMERA}", ".in.a.png.")
        # Nothing more is heard of it, as after a cable was pulled.
        machine.wait_for(f"test -e {CAMERA}/.in.a.png. || echo gone", "gone")
        upload.close()
    with ftplib.FTP(timeout=20) as camera:
        _connect(camera)
        assert camera.nlst() == [], "what broke off is removed"
        with pytest.raises(ftplib.error_perm):
            camera.cwd("/etc")
        camera.storbinary("STOR b.png", io.BytesIO(picture))
    assert len(_moves(machine, 1)) == 1


def test_what_gphoto2_and_rpicam_save_arrives_by_a_rename(machine: Booted, tmp_path: Path) -> None:
    _needs("gphoto2", "gphoto2")
    _needs("inotifywait", "inotify-tools")
    (tmp_path / "extra" / "dcim").mkdir()
    shutil.copy(tmp_path / "extra" / "p0.png", tmp_path / "extra" / "dcim")
    _begin(machine, "gphoto2:disk:/opt/extra/dcim")
    # A folder has no shutter; all else of the unit's line stays.
    change = 's/--capture-tethered/--camera "Directory Browse" --get-all-files/'
    machine.run(f"sed -i '{change}' /etc/systemd/system/sorter-camera.service")
    machine.run("systemctl daemon-reload && systemctl start sorter-camera")
    assert len(_moves(machine, 1)) == 1
    machine.run("systemctl stop sorter-camera && rm /etc/systemd/system/sorter-camera.service")

    (tmp_path / "extra" / "rpicam-still").write_text(RPICAM)
    machine.run("install -m 755 /opt/extra/rpicam-still /usr/bin/rpicam-still")
    machine.run("rm /etc/sorter/sorter.env")
    _begin(machine, "rpicam")
    machine.run("systemctl start sorter-camera")
    machine.wait_for("systemctl is-active sorter-camera", "active")
    time.sleep(1)  # until inotifywait listens
    machine.run("systemctl kill --kill-whom=main --signal=USR1 sorter-camera")
    machine.wait_for(f"ls {CAMERA}/*.jpg", ".jpg")
    machine.wait_for(f"ls -A {CAMERA}/.camera | wc -l", "0")


def _connect(camera: ftplib.FTP) -> None:
    until = time.monotonic() + 20
    while True:
        try:
            camera.connect("127.0.0.1", 2121)
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.2)
        else:
            camera.login("belt", "secret")
            return
