"""The unit as it is installed, run by a real systemd: sandbox, watchdog, the whole station."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from PIL import Image

from sorter.cli.app import app
from sorter.taxonomy import default_taxonomy
from tests.support.booted import Booted, boot
from tests.support.tiny import colour_of, write_bundle26

JOURNAL = "--journal /var/lib/sorter/journal.sqlite"
PREPARE = "systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload"

PROBE = '''#!/opt/python/bin/PYTHON
"""A station that says what its sandbox lets it do, and hangs when told to."""
import json, os, socket, sqlite3, sys, time
from pathlib import Path
sys.path[:0] = ["/opt/checkout", "/opt/site"]
from sorter.station.intake.events import Inotify
from sorter.station.health.metrics import Metrics
from sorter.station.health.systemd import Notifier, Watchdog
from sorter.station.reload import self_test
from sorter.vision.model import open_model

can = {"pycache": sys.pycache_prefix, "uid": os.getuid()}

def attempt(name, action):
    try:
        can[name] = bool(action()) or True
    except OSError as error:
        can[name] = error.strerror or str(error)

def opens(path):
    return os.close(os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))

camera = Path(sys.argv[2])
self_test(open_model(Path("/opt/extra/model")))
journal = sqlite3.connect(os.environ["SORTER_JOURNAL"])
journal.execute("PRAGMA journal_mode = WAL")
journal.execute("CREATE TABLE seen (x)")
hints = Inotify(lambda: None)
can["inotify"] = hints.watch(camera) == ""
hints.stop()
attempt("list", lambda: os.listdir(camera))
attempt("archive", (Path("/srv/sorter/archive/x")).touch)
attempt("metrics", lambda: Metrics().write(Path("/run/sorter/sorter.prom")))
attempt("etc", Path("/etc/x").touch)
attempt("home", lambda: os.listdir("/home"))
attempt("root", lambda: os.listdir("/root"))
attempt("serial", lambda: opens("/dev/ttyUSB9"))
attempt("modem", lambda: opens("/dev/ttyACM9"))
attempt("other", lambda: opens("/dev/other"))
attempt("network", lambda: socket.socket(socket.AF_INET).close())
notifier, watchdog = Notifier(), Watchdog()
watchdog.register("loop", 1)
print(json.dumps(can), flush=True)
notifier.ready()
notifier.status("standing by")
while True:
    time.sleep(0.1)
    if not (camera / "hang").exists():
        watchdog.beat("loop")
    if watchdog.earned():
        notifier.ping()
'''


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Booted]:
    """A booted systemd with a tiny model and the probe at /opt/extra."""
    extra = tmp_path / "extra"
    extra.mkdir()
    write_bundle26(extra / "model")
    probe = extra / "probe"
    probe.write_text(PROBE.replace("PYTHON", f"python3.{sys.version_info.minor}"))
    probe.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):  # pytest's own folders are for one user only.
        if os.access(folder, os.W_OK) and folder.name.startswith("pytest-"):
            folder.chmod(0o755)
    with boot(tmp_path) as booted:
        yield booted


def test_the_sandbox_gives_what_is_needed_and_nothing_else(machine: Booted) -> None:
    machine.run("mknod -m 660 /dev/ttyUSB9 c 188 9 && mknod -m 660 /dev/ttyACM9 c 166 9")
    machine.run("chgrp dialout /dev/ttyUSB9 && chgrp plugdev /dev/ttyACM9")
    machine.run("mknod -m 666 /dev/other c 10 200")  # By its mode open to everybody.
    machine.run("sorter service install --exec /opt/extra/probe --serial none")
    machine.run(f"{PREPARE} && systemctl start sorter-watch")
    log = machine.run("journalctl -u sorter-watch -o cat --no-pager").stdout
    can = json.loads(next(line for line in log.splitlines() if line.startswith("{")))
    for needed in ("inotify", "list", "archive", "metrics"):
        assert can[needed] is True, can
    # No such hardware, which is another answer than no permission.
    for port in ("serial", "modem"):
        assert can[port] in ("No such device or address", "No such device"), can
    assert can["other"] == "Operation not permitted", can
    assert can["etc"] == "Read-only file system", can
    assert can["network"] == "Address family not supported by protocol", can
    for closed in ("home", "root"):
        assert can[closed] == "Permission denied", can
    assert can["uid"] > 1000
    assert can["pycache"] == "/run/sorter/pycache"
    assert "standing by" in machine.run("systemctl status sorter-watch --no-pager").stdout
    assert machine.run("stat -c %a /run/sorter/sorter.prom").stdout == "644\n"


def test_a_stuck_thread_is_restarted_and_leaves_its_traceback(machine: Booted) -> None:
    machine.run("sorter service install --exec /opt/extra/probe --serial none")
    drop_in = "/run/systemd/system/sorter-watch.service.d"
    lines = r"[Service]\nWatchdogSec=3\nRestartSec=1\n"
    machine.run(f"mkdir -p {drop_in} && printf '{lines}' > {drop_in}/quick.conf")
    machine.run(f"{PREPARE} && systemctl start sorter-watch && touch /srv/sorter/camera/hang")
    show = "systemctl show sorter-watch -p NRestarts -p ActiveState"
    machine.wait_for(show, "NRestarts=1")
    log = machine.run("journalctl -u sorter-watch -o cat --no-pager").stdout
    assert "Fatal Python error: Aborted" in log
    assert "/opt/extra/probe" in log
    machine.run("rm /srv/sorter/camera/hang; systemctl stop sorter-watch")


def _deliver(machine: Booted, tmp_path: Path, index: int) -> None:
    """One painted picture, written under another name and renamed."""
    file = io.BytesIO()
    Image.new("RGB", (80, 60), colour_of(default_taxonomy(), index)).save(file, "PNG")
    (tmp_path / "extra" / f"p{index}.png").write_bytes(file.getvalue())
    camera = "/srv/sorter/camera"
    machine.run(f"cp /opt/extra/p{index}.png {camera}/.p.part")
    machine.run(f"mv {camera}/.p.part {camera}/p{index}.png")


def _moves(machine: Booted) -> list[int]:
    lines = machine.run("cat /tmp/moves.jsonl").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    return [event["n"] for event in events if event["event"] == "move"]


def _await_moves(machine: Booted, count: int) -> None:
    until = time.monotonic() + 30
    while len(_moves(machine)) < count:
        log = machine.run("journalctl -u sorter-watch -o cat --no-pager -n 20").stdout
        assert time.monotonic() < until, log
        time.sleep(0.2)


def _await_done(machine: Booted, count: int) -> None:
    machine.wait_for(
        f"sorter journal export {JOURNAL} --csv /tmp/out.csv; grep -o ,DONE, /tmp/out.csv | wc -l",
        f"{count}\n",
    )


@pytest.mark.skipif(
    "watch" not in getattr(typer.main.get_command(app), "commands", {}), reason="no watch yet"
)
def test_from_a_simulated_device_to_a_running_unit(machine: Booted, tmp_path: Path) -> None:
    gate = "sorter actuator simulate --link /run/gate --log /tmp/moves.jsonl"
    machine.run(f"systemd-run --quiet --unit=gate /opt/sorter/bin/{gate}")
    machine.wait_for("test -e /run/gate && echo there", "there")
    machine.run('chmod 666 "$(readlink -f /run/gate)"')
    machine.run("sorter service install --exec /opt/sorter/bin/sorter --serial /run/gate")
    machine.run("echo SORTER_MODEL=/opt/extra/model >> /etc/sorter/sorter.env")
    machine.run(f"{PREPARE} && systemctl enable --now sorter-watch")
    machine.wait_for("systemctl status sorter-watch --no-pager", "device ready")
    for index in (0, 9, 18):
        _deliver(machine, tmp_path, index)
    _await_moves(machine, 3)
    _await_done(machine, 3)  # a kill between a movement and its reply rightly says UNCERTAIN
    machine.run("systemctl reload sorter-watch")
    machine.run("systemctl kill --signal=KILL sorter-watch")
    machine.wait_for("systemctl show sorter-watch -p NRestarts", "NRestarts=1")
    machine.wait_for("systemctl status sorter-watch --no-pager", "device ready")
    _deliver(machine, tmp_path, 25)
    _await_moves(machine, 4)
    assert len(set(_moves(machine))) == 4
    _await_done(machine, 4)
    assert "DONE" in machine.run(f"sorter status {JOURNAL}").stdout
    doctor = "sorter doctor --model /opt/extra/model --watch /srv/sorter/camera --serial /run/gate"
    assert "sorter-watch active" in machine.run(f"{doctor} {JOURNAL}", check=False).stdout
    machine.run("systemctl disable --now sorter-watch")
    ended = machine.run("systemctl show sorter-watch -p Result -p ExecMainStatus").stdout
    assert ended.split() == ["Result=success", "ExecMainStatus=0"]
    machine.run("rm /etc/sorter/sorter.env && sorter service uninstall && systemctl daemon-reload")
    assert machine.run("ls -A /etc/sorter", check=False).stdout == ""
