"""Which kind of file system a path lives on, and which folder a name leads to.

Owns the reading of the mount table; decides nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

MOUNT_TABLE = Path("/proc/self/mountinfo")

NETWORK = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs"}
    | {"nfs", "nfs3", "nfs4", "orangefs", "smb3", "smbfs"}
    | {"fuse.ceph", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs"}
    | {"fuse.smbnetfs", "fuse.sshfs"}
)
"""File systems whose locks and write order are another machine's promise."""

SILENT = NETWORK | {"9p", "drvfs", "fuse", "fuse.vmhgfs-fuse", "prl_fs", "vboxsf", "virtiofs"}
"""File systems where writers may be invisible to inotify."""


def file_system(path: Path, *, table: Path = MOUNT_TABLE) -> str:
    """The file-system type under `path` (which need not exist yet), "" where it is unknown."""
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    wanted = os.path.realpath(path)
    best, kind = "", ""
    for line in lines:
        head, _, tail = line.partition(" - ")
        fields = head.split(" ")
        if len(fields) < 5 or not tail:
            continue
        point = _unescape(fields[4])
        inside = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        # The last of several mounts on one point is the visible one, hence >=.
        if inside and len(point) >= len(best):
            best, kind = point, tail.split(" ")[0]
    return kind


def place_of(folder: Path) -> tuple[int, int] | None:
    """Which folder this name leads to now: its device and inode; None where there is none."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
