"""The rules about files: what is a picture, where we may write, and that writing is whole."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sorter.errors import FolderError, UsageError
from sorter.files import (
    begins,
    claim_name,
    free_names,
    is_housekeeping,
    is_not_taken,
    is_picture_name,
    open_report,
    part_name,
    place_for,
    read_user_text,
    refuse_inside,
    refuse_overlap,
    signature,
    write_whole,
)


@contextmanager
def _small_disk() -> Iterator[None]:
    """A file may grow to 4 KiB and no further: the kernel refuses as a full disk would."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize(
    ("name", "taken"),
    [("a.JPG", True), ("IMG_1.HIF", True), ("b.dib", True), (".a.jpg", False), ("jpg", False)],
)
def test_a_picture_is_told_by_its_name(name: str, taken: bool) -> None:
    assert is_picture_name(name) is taken


def test_pictures_of_other_formats_are_known_as_such() -> None:
    assert is_not_taken("DSC_0001.NEF")
    assert not is_not_taken("notes.txt")
    assert not is_not_taken("a.jpg")


@pytest.mark.parametrize("name", ["@eaDir", "#recycle", "$RECYCLE.BIN", ".Trash-1000", "__MACOSX"])
def test_housekeeping_folders_are_known(name: str) -> None:
    assert is_housekeeping(name)
    assert not is_housekeeping("photos")


def test_a_file_that_the_disk_refuses_leaves_the_earlier_one(tmp_path: Path) -> None:
    file = tmp_path / "wrong.csv"
    write_whole(file, "earlier\n")
    with _small_disk(), pytest.raises(FolderError, match=r"cannot be written.*--mistakes"):
        write_whole(file, "x" * 100_000, option="--mistakes")
    with (
        _small_disk(),
        pytest.raises(FolderError, match=r"cannot be written.*--mistakes"),
        open_report(file, option="--mistakes", ours=begins(b"earlier")) as stream,
    ):
        stream.write("x" * 100_000)
    assert file.read_text() == "earlier\n"
    assert [p.name for p in tmp_path.iterdir()] == ["wrong.csv"]


def test_a_failing_body_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        open_report(tmp_path / "new.csv", option="--csv", ours=begins(b"a,b")) as stream,
    ):
        stream.write("half")
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    name = "ü" * 125 + ".csv"
    assert len(os.fsencode(name)) == 254
    write_whole(tmp_path / name, "x")
    assert (tmp_path / name).read_text() == "x"
    assert len(os.fsencode(part_name(name))) <= 255


@pytest.mark.parametrize("name", ["photo.jpg", "raw.DNG", "shot.hif"])
def test_a_picture_is_never_replaced(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is a picture's name"):
        place_for(tmp_path / name, option="--csv")
    link = tmp_path / "out.csv"
    link.symlink_to(tmp_path / name)
    with pytest.raises(UsageError, match="is a picture's name"):
        place_for(link, option="--csv")


def test_a_foreign_file_is_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    ours = begins(b"path,group")
    file.write_text("my;own;table\n")
    with pytest.raises(UsageError, match=r"--csv .*is no such file of sorter"):
        place_for(file, option="--csv", ours=ours)
    file.write_text("")
    assert place_for(file, ours=ours) == file
    file.write_text("path,group\na,b\n")
    assert place_for(file, ours=ours) == file


def test_no_output_inside_the_input(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "link").symlink_to(data)
    for place in (data, data / "out", tmp_path / "link" / "out"):
        with pytest.raises(UsageError, match="lies inside"):
            refuse_inside(place, [data], option="--out")
    refuse_inside(tmp_path, [data], option="--out")
    with pytest.raises(UsageError, match="lies inside it"):
        refuse_overlap(tmp_path, [data], option="--out")
    refuse_overlap(tmp_path / "other", [data], option="--out")


def test_a_name_is_claimed_once(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_text("new")
    names = free_names(tmp_path, "a.jpg")
    first = next(names)
    assert claim_name(part, first)
    assert not claim_name(part, first)
    second = next(names)
    assert second.name == "a-1.jpg"
    assert claim_name(part, second)
    long = free_names(tmp_path, "ü" * 125 + ".jpg")
    next(long)
    assert len(os.fsencode(next(long).name)) <= 255


def test_a_signature_changes_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    assert signature([file]) == ()
    file.write_bytes(b"one")
    before = signature([file])
    status = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert signature([file]) != before


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_user_may_save_text_with_a_bom(tmp_path: Path, coding: str) -> None:
    file = tmp_path / "groups.csv"
    file.write_text("path,group\nä.jpg,1\n", encoding=coding)
    assert read_user_text(file) == "path,group\nä.jpg,1\n"
