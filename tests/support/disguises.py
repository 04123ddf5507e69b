"""Fifty ways in which old pictures get new stamps, modes, links, names, inodes or folders.

Owns what happens to the files. Each takes a folder full of pictures, changes what a file system or
a tool would change, and leaves every picture's bytes somewhere in the folder.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

Disguise = Callable[[Path], None]


def _each(change: Callable[[Path], object]) -> Disguise:
    """`change` for every picture."""

    def apply(folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            change(path)

    return apply


def _stamped(mtime: float) -> Callable[[Path], None]:
    return lambda path: os.utime(path, (mtime, mtime))


def _nudged(nanoseconds: int) -> Callable[[Path], None]:
    def nudge(path: Path) -> None:
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + nanoseconds))

    return nudge


def _ten(path: Path, prefix: str) -> Path:
    return path.with_name(f"{prefix}{path.name}")


def _write_in_place(path: Path, *, pieces: int = 1, truncate: bool = False) -> None:
    data = path.read_bytes()
    with path.open("wb" if truncate else "r+b") as stream:
        for i in range(pieces):
            stream.write(data[len(data) * i // pieces : len(data) * (i + 1) // pieces])
            stream.flush()


def _grow_and_shrink(path: Path) -> None:
    size = path.stat().st_size
    with path.open("ab") as stream:
        stream.write(b"more")
    os.truncate(path, size)


def _close_only(path: Path) -> None:
    with path.open("ab"):
        pass


def _xattr(path: Path) -> None:
    try:
        os.setxattr(path, b"user.seen", b"1")
    except OSError:  # A file system without them changes its mode instead.
        path.chmod(0o640)


def _by_hidden_name(path: Path, *, copy: Callable[[Path, Path], object]) -> None:
    """What rsync, editors and downloads do: a hidden name, then a rename over the old one."""
    part = path.with_name(f".{path.name}.Xa1b2c")
    copy(path, part)
    part.replace(path)


def _copy_and_remove(path: Path, *, copy: Callable[[Path, Path], object]) -> None:
    copy(path, _ten(path, "copy-"))
    path.unlink()


def _out_and_back(path: Path, *, name: str = "") -> None:
    outside = path.parent.parent / f"outside-{path.name}"
    path.rename(outside)
    outside.rename(path.with_name(name + path.name))


def _in_a_circle(folder: Path) -> None:
    """Each gets the name of the next."""
    paths = sorted(folder.iterdir())
    paths[0].rename(folder / ".aside")
    for to, path in itertools.pairwise(paths):
        path.rename(to)
    (folder / ".aside").rename(paths[-1])


def _into_sub_folder_and_back(folder: Path) -> None:
    inner = folder / "day"
    inner.mkdir()
    for path in [p for p in folder.iterdir() if p.is_file()]:
        path.rename(inner / path.name)
    for path in list(inner.iterdir()):
        path.rename(folder / path.name)
    inner.rmdir()


def _folder(change: Callable[[Path, Path], object], *, away_s: float = 0.0) -> Disguise:
    """The folder is renamed away; `change(old, folder)` then brings it back."""

    def apply(folder: Path) -> None:
        old = folder.with_name(folder.name + ".old")
        folder.rename(old)
        time.sleep(away_s)
        change(old, folder)

    return apply


def _linked_tree(old: Path, new: Path) -> None:
    shutil.copytree(old, new, copy_function=os.link)


def _plain_tree(old: Path, new: Path) -> None:
    shutil.copytree(old, new, copy_function=shutil.copyfile)
    shutil.rmtree(old)


def _kept_tree(old: Path, new: Path) -> None:
    shutil.copytree(old, new)
    shutil.rmtree(old)


def _renamed_tree(old: Path, new: Path) -> None:
    """Restored with each file under another name, stamps kept."""
    new.mkdir()
    for path in old.iterdir():
        shutil.copy2(path, new / f"restored-{path.name}")
    shutil.rmtree(old)


def _symlinked(old: Path, new: Path) -> None:
    new.symlink_to(old.name)


def _file_by_file(old: Path, new: Path) -> None:
    new.mkdir()
    for path in list(old.iterdir()):
        path.rename(new / path.name)
    old.rmdir()


def _both(*changes: Callable[[Path], object]) -> Disguise:
    """Every change, one after the other, for every picture."""

    def change(path: Path) -> None:
        for one in changes:
            one(path)

    return _each(change)


def _link(prefix: str) -> Callable[[Path], None]:
    return lambda path: os.link(path, _ten(path, prefix))


def _copy(path: Path) -> None:
    shutil.copyfile(path, _ten(path, "copy-"))


DISGUISES: dict[str, Disguise] = {
    # Stamps.
    "touched": _each(Path.touch),
    "stamped in an hour": _each(_stamped(time.time() + 3600)),
    "stamped an hour ago": _each(_stamped(time.time() - 3600)),
    "stamped in 1970": _each(_stamped(0.0)),
    "stamped in 2100": _each(_stamped(4_102_444_800.0)),
    "all stamped alike": _each(_stamped(1_700_000_000.0)),
    "stamp moved by a nanosecond": _each(_nudged(1)),
    "stamp moved back by a second": _each(_nudged(-1_000_000_000)),
    "stamp kept, written again": _each(_nudged(0)),
    "only read": _each(Path.read_bytes),
    "opened for writing and closed": _each(_close_only),
    # Modes and owners.
    "chmod 600": _each(lambda p: p.chmod(0o600)),
    "chmod 777": _each(lambda p: p.chmod(0o777)),
    "chmod 000 and back": _both(lambda p: p.chmod(0), lambda p: p.chmod(0o644)),
    "chown to ourselves": _each(lambda p: os.chown(p, os.getuid(), os.getgid())),
    "an extended attribute": _each(_xattr),
    # Links.
    "hard-linked outside": _each(lambda p: os.link(p, p.parent.parent / f"backup-{p.name}")),
    "hard-linked inside": _each(_link("second-")),
    "hard-linked and unlinked": _both(_link("link-"), Path.unlink),
    "hard-linked, unlinked, linked back": _both(
        _link(".l-"), Path.unlink, lambda p: _ten(p, ".l-").rename(p)
    ),
    "symlinked inside": _each(lambda p: _ten(p, "sym-").symlink_to(p.name)),
    # Renames.
    "renamed": _each(lambda p: p.rename(_ten(p, "renamed-"))),
    "renamed to capitals": _each(lambda p: p.rename(p.with_suffix(p.suffix.upper()))),
    "renamed twice": _each(lambda p: p.rename(_ten(p, "x-")).rename(_ten(p, "y-"))),
    "renamed and back": _each(lambda p: p.rename(_ten(p, "x-")).rename(p)),
    "renamed and touched": _both(Path.touch, lambda p: p.rename(_ten(p, "t-"))),
    "renamed and chmod": _both(lambda p: p.chmod(0o600), lambda p: p.rename(_ten(p, "c-"))),
    "renamed in a circle": _in_a_circle,
    "moved out and back": _each(_out_and_back),
    "moved out, back renamed": _each(lambda p: _out_and_back(p, name="again-")),
    "into a sub-folder and back": _into_sub_folder_and_back,
    # Copies and writing the same bytes.
    "copied beside": _each(_copy),
    "copied beside, stamps kept": _each(lambda p: shutil.copy2(p, _ten(p, "copy-"))),
    "copied, the original removed, stamps kept": _each(
        lambda p: _copy_and_remove(p, copy=shutil.copy2)
    ),
    "copied over itself": _each(lambda p: _by_hidden_name(p, copy=shutil.copyfile)),
    "copied over itself, stamps kept": _each(lambda p: _by_hidden_name(p, copy=shutil.copy2)),
    "written in place": _each(_write_in_place),
    "written in place in pieces": _each(lambda p: _write_in_place(p, pieces=4)),
    "truncated and written": _each(lambda p: _write_in_place(p, truncate=True)),
    "grown and shrunk": _each(_grow_and_shrink),
    "copied beside and touched": _both(_copy, Path.touch),
    # The folder.
    "folder touched": lambda folder: folder.touch(),
    "folder chmod": lambda folder: folder.chmod(0o700),
    "folder renamed and back": _folder(lambda old, new: old.rename(new)),
    "folder away for a while": _folder(lambda old, new: old.rename(new), away_s=1.5),
    "folder a symlink to itself": _folder(_symlinked),
    "folder hard-linked anew": _folder(_linked_tree),
    "folder copied anew": _folder(_plain_tree),
    "folder restored with its stamps": _folder(_kept_tree, away_s=0.5),
    "folder restored under other names": _folder(_renamed_tree),
    "folder filled file by file": _folder(_file_by_file),
}
"""By name; fifty and one."""
