"""systemd really booted: in namespaces of its own, on a throw-away overlay of this machine's files.

Owns the boot and its clean-up. Everything that is written inside goes to memory and is gone at the
end; the checkout and its Python are mounted inside, read-only, at places that a hardened unit sees.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest

BOOT_S = 60.0

# Runs as process 1 of the new namespaces until systemd takes its place. $1 is an empty folder.
_BOOT = r"""
set -e
mount --make-rprivate /
base="$1"; checkout="$2"; site="$3"; python="$4"; extra="$5"
mount -t tmpfs tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
cd "$base/root"
mkdir -p opt/checkout opt/site opt/python opt/extra opt/sorter/bin
for pair in "$checkout:checkout" "$site:site" "$python:python" "$extra:extra"; do
  mount --bind "${pair%:*}" "opt/${pair##*:}"
  mount -o remount,bind,ro "opt/${pair##*:}"
done
printf '%s\n' "#!/opt/python/bin/$6" 'import sys' 'sys.path[:0] = ["/opt/checkout", "/opt/site"]' \
  'from sorter.cli.app import main' 'main()' > opt/sorter/bin/sorter
chmod 755 opt/sorter/bin/sorter
mount -t proc proc proc
mount -t sysfs sysfs sys
if [ -n "$7" ]; then
  mount -t tmpfs tmpfs sys/fs/cgroup
  printf '%s\n' "$7" | while read -r name kind options; do
    mkdir -p "sys/fs/cgroup/$name"
    mount -t "$kind" ${options:+-o "$options"} cgroup "sys/fs/cgroup/$name"
  done
else
  mount -t cgroup2 cgroup2 sys/fs/cgroup
fi
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mknod -m 666 dev/null c 1 3; mknod -m 666 dev/zero c 1 5; mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8; mknod -m 666 dev/urandom c 1 9; mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666,gid=5,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mkdir -p oldroot
pivot_root . oldroot
umount -l /oldroot
mount --make-rshared /  # Of a container systemd expects it; credentials are mounted through it.
# The machine's own services are none of our business, its devices least of all.
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-sysctl.service \
  systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-modules-load.service; do
  ln -sf /dev/null "/etc/systemd/system/$unit"
done
exec env -i container=sorter-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=basic.target --show-status=no
"""


class Booted:
    """A running systemd. Commands run inside, as root."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def run(
        self, command: str, *, check: bool = True, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command inside; AssertionError with its output where it fails and `check`."""
        words = ["nsenter", "-t", str(self._pid), "-m", "-p", "-u", "-i", "-C", "-r", "-w"]
        words += ["env", "-i", "PATH=/opt/sorter/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=dumb"]
        words += ["HOME=/root", "LANG=C.UTF-8", "sh", "-c", command]
        result = subprocess.run(
            words, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if check:
            assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
        return result

    def wait_for(self, command: str, wanted: str, *, within_s: float = 30.0) -> str:
        """Run `command` until its output holds `wanted`; AssertionError with the last output."""
        until = time.monotonic() + within_s
        while True:
            result = self.run(command, check=False)
            if wanted in result.stdout:
                return result.stdout
            assert time.monotonic() < until, f"{command}: no {wanted!r} in\n{result.stdout}"
            time.sleep(0.2)


@contextlib.contextmanager
def boot(tmp_path: Path) -> Iterator[Booted]:
    """A booted systemd with `sorter` at /opt/sorter/bin and `tmp_path / "extra"` at /opt/extra.

    Skips the test, with the reason, where this machine does not allow it.
    """
    for tool in ("unshare", "nsenter", "systemctl", "systemd-run"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}: install the packages util-linux and systemd")
    if os.geteuid() != 0 or not Path("/lib/systemd/systemd").exists():
        pytest.skip("needs root and systemd to boot one of its own")
    base, extra = tmp_path / "boot", tmp_path / "extra"
    base.mkdir()
    extra.mkdir(exist_ok=True)
    groups, mounts = _control_groups(f"sorter-test-{os.getpid()}")
    arguments = [str(base), str(Path(__file__).parents[2]), str(Path(numpy.__file__).parents[1])]
    arguments += [sys.base_prefix, str(extra), f"python3.{sys.version_info.minor}", mounts]
    join = " && ".join(f"echo $$ > {group}/cgroup.procs" for group in groups)
    unshare = "exec unshare --mount --pid --uts --ipc --cgroup --fork --kill-child"
    log = (tmp_path / "boot.log").open("wb")
    process = subprocess.Popen(
        ["bash", "-c", f'{join} && {unshare} bash -c "$0" boot "$@"', _BOOT, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield _wait_until_up(process, tmp_path / "boot.log")
    finally:
        process.kill()  # Its child, process 1 inside, goes with it, and everything with that.
        process.wait()
        log.close()
        for group in groups:
            _remove_group(group)


def _wait_until_up(process: subprocess.Popen[bytes], log: Path) -> Booted:
    until = time.monotonic() + BOOT_S
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError):
            for word in children.read_text().split():
                if Path(f"/proc/{word}/comm").read_text().strip() == "systemd":
                    booted = Booted(int(word))
                    state = booted.run("systemctl is-system-running", check=False).stdout
                    if state.strip() in ("running", "degraded"):
                        return booted
        time.sleep(0.2)
    words = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no word from it"]
    pytest.skip(f"this machine does not let systemd boot: {words[0]}")


def _control_groups(name: str) -> tuple[list[Path], str]:
    """New control groups for the boot, and the mounts (name, type, options) to see them inside."""
    groups, lines, only_v2 = [], [], True
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        head, _, tail = line.partition(" - ")
        kind, _, options = tail.split(" ")[:3]
        # A new cpuset takes no process before it is given processors; nothing here needs one.
        if kind not in ("cgroup", "cgroup2") or "cpuset" in options.split(","):
            continue
        point = Path(head.split(" ")[4])
        group = point / name
        group.mkdir()
        groups.append(group)
        if kind == "cgroup":
            only_v2 = False
            kept = [o for o in options.split(",") if o not in ("rw", "xattr")]
            kept = [o for o in kept if not o.startswith("release_agent")]
            named = ["none"] if any(o.startswith("name=") for o in kept) else []
            lines.append(f"{point.name} cgroup {','.join(named + kept)}")
        else:
            lines.append(f"{point.name} cgroup2")
    return groups, "" if only_v2 else "\n".join(lines)


def _remove_group(group: Path) -> None:
    for _ in range(50):
        for folder in sorted(group.rglob("*"), reverse=True):
            if folder.is_dir():
                with contextlib.suppress(OSError):
                    folder.rmdir()
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:  # The last process is still on its way out.
            time.sleep(0.1)
        else:
            return
