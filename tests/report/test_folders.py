"""`classify --sort-into`: every picture in its folder, none lost, none overwritten, a way back."""

from __future__ import annotations

import csv
import errno
import os
import resource
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sorter.cli.app import app
from sorter.domain import Decision, Outcome, Status
from sorter.errors import FolderError, ImageError, SorterError, UsageError
from sorter.report.folders import MANIFEST, SortedFolders
from sorter.text import uncell
from tests.support.corpus import write_bad
from tests.support.tiny import colour_of, paint, taxonomy3

TAXONOMY = taxonomy3()


def classify(*words: str | Path) -> Any:
    return CliRunner().invoke(app, ["classify", *map(str, words), "-q"])


def write_pictures(folder: Path) -> Path:
    """Six sure ones in two folders, each name twice; a grey one; bad files; an odd name."""
    for inside in ("one", "two"):
        (folder / inside).mkdir(parents=True)
        for i in range(3):
            side = 40 if inside == "one" else 50
            paint(folder / inside / f"p{i}.png", colour_of(TAXONOMY, i), size=(side, 40))
    paint(folder / "grey.png", (128, 128, 128))
    paint(folder / os.fsdecode(b"=a\xff\nb.png"), colour_of(TAXONOMY, 0))
    write_bad(folder)
    return folder


def tree(folder: Path) -> list[tuple[str, int, int, bytes]]:
    """Every file: name, inode, change time, bytes."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    found = [(os.fspath(p.relative_to(folder)), p.stat(), p.read_bytes()) for p in files]
    return [(name, s.st_ino, s.st_mtime_ns, data) for name, s, data in found]


def names(folder: Path) -> list[str]:
    return [entry[0] for entry in tree(folder)]


def manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / MANIFEST).open(encoding="utf-8", newline="") as stream:
        return [{k: uncell(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def outcome(path: Path, status: Status = Status.SORTED) -> Outcome:
    item = TAXONOMY.categories[0]
    return Outcome(path, status, Decision(status, item, 1.0, TAXONOMY.bin_of(item), 1.0))


def test_each_in_its_folder_a_second_run_changes_nothing_and_there_is_a_way_back(
    bundle: Path, tmp_path: Path
) -> None:
    source, into = write_pictures(tmp_path / "in"), tmp_path / "out"
    before = tree(source)
    words: list[str | Path] = [
        source,
        "--model",
        bundle,
        "--sort-into",
        into,
        "--csv",
        tmp_path / "o.csv",
    ]
    assert classify(*words).exit_code == 1  # the bad files
    assert tree(source) == before, "a picture is copied, never moved"
    filed = names(into)
    odd = os.fsdecode(b"=a\xff\nb.png")
    for name in ("p0.png", "p0-1.png", odd):
        assert f"Metal/can/{name}" in filed
    assert {"Rest/peel/p1.png", "Rest/peel/p1-1.png", "unsure/grey.png"} <= set(filed)
    rows = manifest(into)
    assert sorted([MANIFEST, *(row["filed"] for row in rows)]) == filed
    for row in rows:
        back = Path(row["source"])
        assert back.read_bytes() == (into / row["filed"]).read_bytes()
        assert back.stat().st_mtime_ns == (into / row["filed"]).stat().st_mtime_ns
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as stream:
        good = [uncell(r["path"]) for r in csv.DictReader(stream) if r["status"] != "error"]
    assert [row["path"] for row in rows] == good, "every picture but errors, by its report's path"

    first = tree(into)
    classify(*words)
    assert tree(into) == first


def test_what_lies_there_already_is_never_overwritten(bundle: Path, tmp_path: Path) -> None:
    picture = paint(tmp_path / "a.png", colour_of(TAXONOMY, 0))
    place = tmp_path / "out" / "Metal" / "can"
    place.mkdir(parents=True)
    (place / "a.png").write_bytes(b"mine")
    (place / "a-1.png").symlink_to(tmp_path / "nowhere")
    assert classify(picture, "--model", bundle, "--sort-into", tmp_path / "out").exit_code == 0
    assert (place / "a.png").read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()
    assert (place / "a-2.png").read_bytes() == picture.read_bytes()


def test_two_pictures_of_one_name_and_the_same_bytes_share_a_file(tmp_path: Path) -> None:
    for inside in ("a", "b"):
        (tmp_path / inside).mkdir()
        paint(tmp_path / inside / "p.png", (1, 2, 3))
    with SortedFolders(tmp_path / "out") as folders:
        for inside in ("a", "b"):
            folders.file(outcome(tmp_path / inside / "p.png"))
    assert names(tmp_path / "out") == ["Metal/can/p.png", MANIFEST]
    assert [Path(row["source"]).parent.name for row in manifest(tmp_path / "out")] == ["a", "b"]


def test_a_link_shares_the_picture_and_a_longest_name_takes_a_number(tmp_path: Path) -> None:
    name = "é" * 125 + ".jpeg"
    assert len(os.fsencode(name)) == 255
    for inside in ("a", "b"):
        (tmp_path / inside).mkdir()
        (tmp_path / inside / name).write_bytes(inside.encode())
    (tmp_path / "a" / "link.jpg").symlink_to(name)
    with SortedFolders(tmp_path / "out", link=True) as folders:
        filed = [folders.file(outcome(tmp_path / inside / name)) for inside in ("a", "b")]
        through = folders.file(outcome(tmp_path / "a" / "link.jpg"))
    for inside, file in zip(("a", "b"), filed, strict=True):
        assert file is not None and file.samefile(tmp_path / inside / name)
        assert file.suffix == ".jpeg"
    assert through is not None and not through.is_symlink()
    assert through.samefile(tmp_path / "a" / name)


def test_a_link_across_file_systems_says_what_to_do(bundle: Path, tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    picture = paint(tmp_path / "a.png", colour_of(TAXONOMY, 0))
    into = memory / f"sorter-test-{os.getpid()}"
    try:
        done = classify(picture, "--model", bundle, "--sort-into", into, "--link")
        assert isinstance(done.exception, FolderError)
        assert "leave out --link" in str(done.exception)
        assert names(into) == [MANIFEST]
        assert classify(picture, "--model", bundle, "--sort-into", into).exit_code == 0
        assert names(into) == ["Metal/can/a.png", MANIFEST]
    finally:
        for path in sorted(into.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        into.rmdir()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["in", "--sort-into", "in/sorted"], "lies inside in"),
        (["in", "--sort-into", "in"], "lies inside in"),
        (["in/one", "--sort-into", "in"], "lies inside it"),
        (["in", "--sort-into", "inside"], "lies inside in"),
        (["in", "--link"], "--sort-into"),
        (["s3://b/p", "--engine", "ray", "--sort-into", "out"], "cannot file a URL"),
        (
            ["s3://b/p", "--engine", "ray", "--csv", "c", "--html", "h", "--resume"],
            "cannot read a URL",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in" / "one").mkdir(parents=True)
    (tmp_path / "inside").symlink_to("in/one")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = classify(*words)
    assert isinstance(done.exception, UsageError)
    assert says in str(done.exception)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_cannot_be_made_or_entered_is_one_line(bundle: Path, tmp_path: Path) -> None:
    picture = paint(tmp_path / "a.png", (128, 128, 128))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "unsure").write_bytes(b"a file where a folder belongs")
    for into in (Path("/proc/none"), tmp_path / "out"):
        done = classify(picture, "--model", bundle, "--sort-into", into)
        assert isinstance(done.exception, SorterError), done.output
        assert done.exception.exit_code == 5
        assert str(into) in str(done.exception)


def test_a_full_disk_leaves_no_half_copy(tmp_path: Path) -> None:
    big = tmp_path / "big.jpg"
    big.write_bytes(os.urandom(50_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with SortedFolders(tmp_path / "out") as folders:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            with pytest.raises(FolderError, match="nothing more can be filed"):
                folders.file(outcome(big))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path / "out") == [MANIFEST]
    assert manifest(tmp_path / "out") == []


def test_what_a_kill_left_is_cleared_away(tmp_path: Path) -> None:
    into, picture = tmp_path / "out", paint(tmp_path / "a.png", (1, 2, 3))
    with SortedFolders(into) as folders:
        folders.file(outcome(picture))
    whole = (into / MANIFEST).read_bytes()
    # Killed in the middle of a copy, and in the middle of a row.
    (into / "unsure").mkdir()
    (into / "unsure" / ".sorter.part").write_bytes(b"half")
    (into / MANIFEST).write_bytes(whole[:-9])
    with SortedFolders(into) as folders:
        folders.file(outcome(picture))
    assert (into / MANIFEST).read_bytes() == whole
    assert names(into) == ["Metal/can/a.png", MANIFEST]


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        SortedFolders(tmp_path / "out"),
        pytest.raises(FolderError, match="another run"),
    ):
        SortedFolders(tmp_path / "out")
    SortedFolders(tmp_path / "out").__exit__(None, None, None)


def test_a_picture_that_is_gone_or_a_pipe_by_now_is_said_and_ends_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with SortedFolders(tmp_path / "out") as folders:
        for name in ("gone.jpg", "pipe.jpg"):
            with pytest.raises(ImageError):
                folders.file(outcome(tmp_path / name))
        left = folders.file(outcome(paint(tmp_path / "a.png", (1, 2, 3)), Status.UNSURE))
    assert left == tmp_path / "out" / "unsure" / "a.png"


def test_resume_files_kept_rows_too(bundle: Path, tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "in")
    words: list[str | Path] = [source, "--model", bundle, "--csv", tmp_path / "o.csv"]
    classify(*words, "--sort-into", tmp_path / "whole")
    classify(*words, "--sort-into", tmp_path / "later", "--resume")
    assert names(tmp_path / "later") == names(tmp_path / "whole")


def test_names_that_are_no_folder_are_made_one(tmp_path: Path) -> None:
    from dataclasses import replace

    item = replace(TAXONOMY.categories[0], name_zh="../玻璃/瓶")
    bin_ = replace(TAXONOMY.bins[0], name_zh="")
    picture = paint(tmp_path / "a.png", (1, 2, 3))
    decision = Decision(Status.SORTED, item, 1.0, bin_, 1.0)
    with SortedFolders(tmp_path / "out", lang="zh") as folders:
        filed = folders.file(Outcome(picture, Status.SORTED, decision))
    assert filed == tmp_path / "out" / "-" / "-玻璃-瓶" / "a.png"


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a memory card answers; none can be mounted for a test."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    picture = paint(tmp_path / "a.png", (1, 2, 3))
    place = tmp_path / "out" / "Metal" / "can"
    place.mkdir(parents=True)
    (place / "a.png").write_bytes(b"mine")
    for _ in range(2):
        with SortedFolders(tmp_path / "out") as folders:
            assert folders.file(outcome(picture)) == place / "a-1.png"
    assert (place / "a-1.png").read_bytes() == picture.read_bytes()
    assert sorted(p.name for p in place.iterdir()) == ["a-1.png", "a.png"]
    linked = SortedFolders(tmp_path / "linked", link=True)
    with linked, pytest.raises(FolderError, match="leave out --link"):
        linked.file(outcome(picture))
