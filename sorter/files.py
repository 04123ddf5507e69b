"""The one home of every rule about files: what a picture is called, where we may write, and how.

Owns names (which suffixes are pictures, which folders are housekeeping), places (never over a
picture, never over a file that is not ours, never inside the folder that is read) and writing
(whole or not at all, on the disk when it is done). Knows no format and decodes nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import itertools
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from sorter.errors import FolderError, UsageError
from sorter.text import escape

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".mpo", ".png", ".apng", ".webp"}
    | {".bmp", ".dib", ".gif", ".tif", ".tiff", ".heic", ".heif", ".hif", ".avif", ".avifs"}
)
"""What a picture's name may end in, whatever the case of its letters: all that sorter opens."""

NOT_TAKEN = frozenset(
    {".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".jxr", ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw"}
    | {".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw", ".3fr", ".iiq", ".x3f"}
    | {".psd", ".xcf", ".svg", ".eps", ".ico", ".icns", ".tga", ".pcx", ".ppm", ".pgm", ".pbm"}
    | {".pnm", ".pam", ".exr", ".hdr", ".dds", ".qoi", ".sgi", ".raw"}
)
"""Suffixes of pictures that sorter does not open; whoever lists a folder says so."""

HOUSEKEEPING = frozenset(
    {"@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "$recycle.bin"}
    | {"system volume information", "recycler", "__macosx", "lost+found", ".thumbnails"}
)
"""Folders of a NAS, a desktop or a file system, in small letters: copies, thumbnails, rubbish."""

NAME_BYTES = 255
"""The longest name that Linux file systems take."""

NO_HARD_LINK = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})
"""What `link` says where the file system has no hard links, as on a memory card."""

STDOUT = Path("-")
"""Where a file is to be named: the standard output."""

_UNFINISHED = re.compile(
    r"""^\.                                    # hidden, rsync's .name.XXXXXX among them
        | ~$ | ^~                              # editors, Office
        | \.(part|partial|filepart|tmp|temp|crdownload|download|upload|swp|lock)$
        | ^(tmp|upload)\.[A-Za-z0-9]{6}$       # mktemp
    """,
    re.VERBOSE | re.IGNORECASE,
)

_HEAD_BYTES = 1 << 16


def suffix_of(name: str) -> str:
    """A name's suffix in small letters, with its dot; "" where it has none."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path a name costs too much here


def is_picture_name(name: str, suffixes: frozenset[str] = SUFFIXES) -> bool:
    """True where a file of this name is taken for a picture: by its suffix, and not hidden.

    >>> [is_picture_name(name) for name in ("IMG_1.HEIC", ".IMG_1.jpg", "notes.txt")]
    [True, False, False]
    """
    return not name.startswith(".") and suffix_of(name) in suffixes


def is_not_taken(name: str) -> bool:
    """True where the name is that of a picture in a format that sorter does not open."""
    return not name.startswith(".") and suffix_of(name) in NOT_TAKEN


def is_unfinished(name: str) -> bool:
    """True for the temporary names that writers give to what they have not finished."""
    return _UNFINISHED.search(name) is not None


def is_housekeeping(name: str) -> bool:
    """True for a folder that a NAS, a desktop or a file system keeps for itself."""
    folded = name.casefold()
    return folded in HOUSEKEEPING or folded.startswith(".trash")


def signature(files: Iterable[Path]) -> tuple[tuple[str, int, int, int, int], ...]:
    """Name, inode, size, mtime and ctime of each file that is there, sorted.

    It changes when one of them does; the ctime sees a copy that keeps the old mtime.
    """
    found = []
    for file in files:
        with contextlib.suppress(OSError):
            s = file.stat()
            found.append((file.name, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns))
    return tuple(sorted(found))


# Where we may write.


def refuse_picture_name(file: Path, *, option: str = "") -> None:
    """Raise UsageError where a report would take a picture's name.

    `--csv photos/*.jpg` makes the shell's first picture the report's name, and the report would
    replace that picture.
    """
    if suffix_of(file.name) in SUFFIXES | NOT_TAKEN:
        raise UsageError(
            f"{_by(option)}{escape(str(file))}: is a picture's name, and a report replaces its "
            "file; name another, such as out.csv"
        )


def refuse_inside(place: Path, folders: Iterable[Path], *, option: str) -> None:
    """Raise UsageError where `place` is one of `folders`, which are read from, or lies inside."""
    # Not resolve(), which raises at a loop of links.
    real = Path(os.path.realpath(place))
    for folder in folders:
        if real.is_relative_to(os.path.realpath(folder)):
            raise UsageError(
                f"{_by(option)}{escape(str(place))}: lies inside {escape(str(folder))}, which is "
                "read from; choose another place"
            )


def refuse_overlap(place: Path, folders: Iterable[Path], *, option: str) -> None:
    """As `refuse_inside`, and where one of `folders` lies inside `place`."""
    real = os.path.realpath(place)
    for folder in folders:
        refuse_inside(place, [folder], option=option)
        if Path(os.path.realpath(folder)).is_relative_to(real):
            raise UsageError(
                f"{_by(option)}{escape(str(place))}: {escape(str(folder))}, which is read from, "
                "lies inside it; choose another place"
            )


Ours = Callable[[bytes], bool]
"""Whether the first 64 KiB of a file are those of one that the same option wrote earlier."""


def begins(*heads: bytes) -> Ours:
    """Ours where the file begins with one of `heads`."""
    return lambda data: data.startswith(heads)


def place_for(path: Path, *, option: str = "", ours: Ours | None = None) -> Path:
    """The file that a report named `path` replaces, links followed.

    `option` is what the user named it by, "" where the caller says so itself. `ours` knows an
    earlier file of the same kind; anything else there is somebody's and stays. Raises UsageError
    for a picture's name or a foreign file, FolderError for what is not a file.
    """
    by = f" with {option}" if option else ""
    refuse_picture_name(path, option=option)
    try:
        place = Path(os.path.realpath(path)) if path.is_symlink() else path
        if not place.name or place.is_dir():
            raise FolderError(f"{path}: is a folder; name a file to write{by}")
        if path.exists() and not path.is_file():
            # Root, asked for a device, would put a file in its place.
            raise FolderError(
                f"{path}: is a device or a pipe; name a file{by}, or take what is printed"
            )
        refuse_picture_name(place, option=option)
        if ours is not None:
            refuse_foreign(place, ours, option=option)
    except OSError as error:
        raise FolderError(
            f"{path}: cannot be written: {error.strerror}; name another {option or 'file'}"
        ) from error
    return place


def refuse_foreign(path: Path, ours: Ours, *, option: str = "") -> None:
    """Raise UsageError where `path` is a file that `ours` does not know. An empty one is free."""
    if not path.is_file():
        return
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if head and not ours(head):
        raise UsageError(
            f"{_by(option)}{escape(str(path))}: is there already, and is no such file of sorter's; "
            "name another, or move that one away"
        )


# Writing.


@contextlib.contextmanager
def whole_path(
    path: Path, *, option: str = "", advice: str = "", sync: bool = True
) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place at the end, synced, or not at all.

    For libraries that want a path; `whole_file` gives a stream. The folder must be there.
    `option` is what the user named `path` by, `advice` what else to do where the disk refuses,
    which raises FolderError. Without `sync` a power cut may leave an empty file: for what is
    written anew all the time.
    """
    part = path.with_name(part_name(path.name))
    try:
        yield part
        if sync:
            make_durable(part)
        part.replace(path)
        if sync:
            make_durable(path.parent)
    except OSError as error:
        todo = advice or (f"name another {option}" if option else "make room, or name another")
        raise FolderError(
            f"{path}: cannot be written: {error.strerror or error}; {todo}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_file(
    path: Path, *, option: str = "", advice: str = "", sync: bool = True
) -> Iterator[BinaryIO]:
    """A stream to write, as `whole_path`."""
    with whole_path(path, option=option, advice=advice, sync=sync) as part, part.open("wb") as out:
        yield out


def write_whole(
    path: Path,
    content: str | bytes,
    *,
    option: str = "",
    advice: str = "",
    sync: bool = True,
    mode: int | None = None,
) -> None:
    """Write a file whole or not at all, as `whole_path`; text as UTF-8, lone bytes kept."""
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    with whole_file(path, option=option, advice=advice, sync=sync) as out:
        out.write(data)
        if mode is not None:
            os.fchmod(out.fileno(), mode)


@contextlib.contextmanager
def open_report(path: Path, *, option: str, ours: Ours) -> Iterator[TextIO]:
    """A UTF-8 text stream into a file that the user named: `-` is the standard output.

    Raises as `place_for` before anything is written, and FolderError where the disk refuses.
    """
    if path == STDOUT:
        yield sys.stdout
        sys.stdout.flush()
        return
    place = place_for(path, option=option, ours=ours)
    with whole_file(place, option=option) as raw:
        out = io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="")
        try:
            yield out
            out.flush()
        finally:
            with contextlib.suppress(OSError):
                out.detach()


def claim_name(part: Path, target: Path) -> bool:
    """Give `part` the name `target`; False where another file has it. Never overwrites.

    `part` may stay where the file system has hard links; the caller removes it. Raises OSError.
    """
    try:
        os.link(part, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_HARD_LINK:
            raise
    else:
        return True
    # A file system without hard links (a memory card): take the name, then fill it in one step.
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
    except FileExistsError:
        return False
    try:
        part.replace(target)
    except OSError:
        target.unlink()
        raise
    return True


def free_names(folder: Path, name: str) -> Iterator[Path]:
    """`name` and then numbered ones in `folder`, none longer than a file system takes."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    yield folder / name
    for number in itertools.count(1):
        tail = os.fsencode(f"-{number}{suffix}")
        yield folder / os.fsdecode(os.fsencode(stem)[: NAME_BYTES - len(tail)] + tail)


def replace_folder(part: Path, folder: Path) -> None:
    """`part`, a finished folder, takes the place of `folder`, which goes. Raises OSError.

    Where `folder` is there the two change names in one step (Linux, most file systems), so that
    whoever looks meets one of them whole; elsewhere the name is free for an instant.
    """
    old = part
    if folder.exists() and not _exchange(part, folder):
        old = folder.with_name(part_name(folder.name) + ".old")
        folder.replace(old)
        part.replace(folder)
    elif part.exists() and not folder.exists():
        part.replace(folder)
    make_durable(folder.absolute().parent)
    if old != folder:
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Two names change places at once; False where this system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    here = -100  # AT_FDCWD
    return bool(rename(here, os.fsencode(one), here, os.fsencode(other), 2) == 0)


def make_durable(path: Path) -> None:
    """A file's bytes, or a folder's names, onto the disk. Raises OSError where it fails.

    A file system that cannot sync a folder, as some network shares, has no more to give.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def part_name(name: str) -> str:
    """A hidden name for `name` while it is written: one of this thread, never too long."""
    tail = f".{threading.get_native_id()}.part"
    cut = os.fsencode(name)[: NAME_BYTES - len(tail) - 1]
    return f".{os.fsdecode(cut)}{tail}"


# Reading what a user wrote.


def read_user_text(path: Path, *, limit: int = 1 << 24) -> str:
    """The text of a file that a person or a spreadsheet wrote: a BOM is not part of it.

    UTF-8 with or without a BOM, UTF-16 with one; bytes that are not UTF-8 come as surrogates, as in
    file names. Raises OSError, or ValueError for more than `limit` bytes.
    """
    with path.open("rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"more than {limit} bytes")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    return data.decode("utf-8-sig", "surrogateescape")


def _by(option: str) -> str:
    return f"{option} " if option else ""
