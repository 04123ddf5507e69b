"""The watcher on real folders with real writers: each finished file once, whole, and no other."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sorter.domain import Identity, Picture
from sorter.errors import FolderError
from sorter.files import is_picture_name
from sorter.station.intake.pending import MAX_LISTED
from sorter.station.intake.reading import read_whole, shows_its_end
from sorter.station.intake.watcher import Watcher

DATA = bytes(range(256)) * 40


class Eyes:
    """A watcher, and what it has handed over; nothing is recorded unless `remember` is on."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.known: set[tuple[Path, Identity]] = set()
        self.seen: list[Picture] = []
        self.watcher = Watcher(
            folder,
            recorded=lambda path, identity: (path, identity) in self.known,
            settle_s=0.15,
            rescan_s=0.4,
            **options,  # type: ignore[arg-type]  # forwarded as they are
        )

    def look(self, until: Callable[[], bool], seconds: float = 15.0) -> list[Picture]:
        end = time.monotonic() + seconds
        for picture in self.watcher.pictures(idle_s=0.05):
            if picture is not None:
                self.seen.append(picture)
                self.known.add((picture.path, picture.identity))
            if until():
                return self.seen
            assert time.monotonic() < end, [p.path.name for p in self.seen]
        raise AssertionError

    def wait(self, count: int, *, settle_s: float = 0.6) -> list[Picture]:
        """Look until `count` pictures came, and a while longer, so that a surplus shows."""
        self.look(lambda: len(self.seen) >= count)
        after = time.monotonic() + settle_s
        return self.look(lambda: time.monotonic() > after)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "camera"
    place.mkdir()
    return place


@pytest.fixture
def eyes(folder: Path) -> Iterator[Eyes]:
    opened = Eyes(folder)
    opened.watcher.begin()
    yield opened
    opened.watcher.close()


def _slow(folder: Path) -> None:
    with (folder / "a.jpg").open("wb") as stream:
        for at in range(0, len(DATA), len(DATA) // 8):
            stream.write(DATA[at : at + len(DATA) // 8])
            stream.flush()
            time.sleep(0.08)


def _renamed(folder: Path) -> None:
    part = folder / ".a.jpg.Xy12Zq"
    part.write_bytes(DATA)
    part.rename(folder / "a.jpg")


def _filepart(folder: Path) -> None:
    part = folder / "a.jpg.filepart"
    part.write_bytes(DATA)
    time.sleep(0.3)
    part.rename(folder / "a.jpg")


def _moved_in(folder: Path) -> None:
    outside = folder.parent / "a.jpg"
    outside.write_bytes(DATA)
    outside.rename(folder / "a.jpg")


def _linked(folder: Path) -> None:
    outside = folder.parent / "outside.jpg"
    outside.write_bytes(DATA)
    os.link(outside, folder / "a.jpg")


def _appended(folder: Path) -> None:
    for at in range(10):
        with (folder / "a.jpg").open("ab") as stream:
            stream.write(DATA[at * len(DATA) // 10 : (at + 1) * len(DATA) // 10])
        time.sleep(0.03)


def _preallocated(folder: Path) -> None:
    with (folder / "a.jpg").open("wb") as stream:
        stream.truncate(len(DATA))
        stream.flush()
        for at in range(0, len(DATA), len(DATA) // 4):
            time.sleep(0.1)
            stream.write(DATA[at : at + len(DATA) // 4])
            stream.flush()


def _copied(folder: Path) -> None:
    outside = folder.parent / "a.jpg"
    outside.write_bytes(DATA)
    subprocess.run(["cp", str(outside), str(folder)], check=True)


def _rsync(folder: Path) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("rsync is missing")
    outside = folder.parent / "a.jpg"
    outside.write_bytes(DATA)
    subprocess.run(["rsync", "-a", str(outside), str(folder)], check=True)


WRITERS = [
    _slow,
    _renamed,
    _filepart,
    _moved_in,
    _linked,
    _appended,
    _preallocated,
    _copied,
    _rsync,
]


@pytest.mark.parametrize("writer", WRITERS, ids=lambda w: w.__name__.strip("_"))
@pytest.mark.process
def test_each_kind_of_writer_gives_one_whole_picture(
    writer: Callable[[Path], None], folder: Path, eyes: Eyes
) -> None:
    if writer is _rsync and shutil.which("rsync") is None:
        pytest.skip("rsync is missing")
    thread = threading.Thread(target=writer, args=(folder,))
    thread.start()
    seen = eyes.wait(1)
    thread.join()
    assert [p.path.name for p in seen] == ["a.jpg"]
    assert seen[0].sha256 == hashlib.sha256(DATA).hexdigest()
    assert not seen[0].backlog


def test_an_overwritten_name_is_a_new_picture(folder: Path, eyes: Eyes) -> None:
    (folder / "a.jpg").write_bytes(DATA)
    eyes.wait(1)
    (folder / "a.jpg").write_bytes(DATA[::-1])
    seen = eyes.wait(2)
    assert [p.sha256 for p in seen] == [hashlib.sha256(d).hexdigest() for d in (DATA, DATA[::-1])]


def test_what_lay_there_is_backlog_and_what_comes_is_not(folder: Path) -> None:
    (folder / "old.jpg").write_bytes(DATA)
    eyes = Eyes(folder)
    eyes.watcher.begin()
    (folder / "new.jpg").write_bytes(DATA[::-1])
    (folder / "copy.jpg").write_bytes(DATA)
    seen = {p.path.name: p.backlog for p in eyes.wait(3)}
    eyes.watcher.close()
    assert seen == {"old.jpg": True, "new.jpg": False, "copy.jpg": True}


def test_names_that_are_not_ours(folder: Path, eyes: Eyes) -> None:
    for name in ("a.txt", ".hidden.jpg", "b.jpg.part", "c.jpg~", "tmp.Ab12Cd", "d.jpg.tmp"):
        (folder / name).write_bytes(DATA)
    (folder / "dir.jpg").mkdir()
    os.mkfifo(folder / "fifo.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "ours.JPG").write_bytes(DATA)
    assert [p.path.name for p in eyes.wait(1)] == ["ours.JPG"]
    assert not is_picture_name("x.jpg.crdownload")


@pytest.mark.waits
def test_polling_sees_the_same_without_events(folder: Path) -> None:
    eyes = Eyes(folder, events=False)
    eyes.watcher.begin()
    assert eyes.watcher.mode.startswith("polling")
    _renamed(folder)
    (folder / "b.jpg").write_bytes(DATA)
    seen = eyes.wait(2)
    eyes.watcher.close()
    assert sorted(p.path.name for p in seen) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("how", ["removed", "renamed"])
@pytest.mark.waits
def test_a_folder_that_goes_and_comes_back(how: str, folder: Path, eyes: Eyes) -> None:
    for turn in range(3):
        (folder / f"{turn}.jpg").write_bytes(DATA + bytes([turn]))
        eyes.look(lambda n=turn + 1: len(eyes.seen) >= n)  # type: ignore[misc]
        if how == "removed":
            shutil.rmtree(folder)
        else:
            folder.rename(folder.with_name(f"old{turn}"))
        eyes.look(lambda: bool(eyes.watcher.problem))
        assert "No such file" in eyes.watcher.problem
        folder.mkdir()
        eyes.look(lambda: not eyes.watcher.problem)
    assert [p.path.name for p in eyes.seen] == ["0.jpg", "1.jpg", "2.jpg"]


def test_two_thousand_files_while_nobody_looks(folder: Path, eyes: Eyes) -> None:
    for i in range(2000):
        (folder / f"{i}.jpg").write_bytes(b"%d" % i)
    seen = eyes.look(lambda: len(eyes.seen) >= 2000, 60)
    assert len({p.path for p in seen}) == 2000


def test_a_broken_picture_is_looked_at_again_when_it_changes(folder: Path) -> None:
    eyes = Eyes(folder, reject_after_s=1.0)
    eyes.watcher.begin()
    (folder / "a.jpg").write_bytes(b"half")
    finals = []
    end = time.monotonic() + 15
    for picture in eyes.watcher.pictures(idle_s=0.05):
        assert time.monotonic() < end
        if picture is None:
            continue
        finals.append((picture.data, picture.final))
        if picture.final or picture.data == b"half and whole":
            break
        eyes.watcher.later(picture, "not whole")
        if len(finals) == 1:
            (folder / "a.jpg").write_bytes(b"half and whole")
    eyes.watcher.close()
    assert finals == [(b"half", False), (b"half and whole", False)]


def test_a_picture_that_stays_broken_comes_back_as_final(folder: Path) -> None:
    eyes = Eyes(folder, reject_after_s=0.5)
    eyes.watcher.begin()
    (folder / "a.jpg").write_bytes(b"half")
    finals = []
    for picture in eyes.watcher.pictures(idle_s=0.05):
        if picture is None:
            continue
        finals.append(picture.final)
        if picture.final:
            break
        eyes.watcher.later(picture, "not whole")
    eyes.watcher.close()
    assert finals[-1] is True
    assert len(finals) >= 2


@pytest.mark.waits
def test_a_writer_that_pauses_gives_one_picture(folder: Path) -> None:
    """It holds the file open and pauses for longer than a closed file gets to become whole."""
    eyes = Eyes(folder, reject_after_s=1.0)
    eyes.watcher.begin()
    whole = []

    def slow() -> None:
        with (folder / "a.jpg").open("wb") as stream:
            stream.write(b"half")
            stream.flush()
            time.sleep(1.9)
            stream.write(b" and whole")

    thread = threading.Thread(target=slow)
    thread.start()
    end = time.monotonic() + 15
    for picture in eyes.watcher.pictures(idle_s=0.05):
        assert time.monotonic() < end
        if picture is not None and picture.data == b"half":
            assert not picture.final
            eyes.watcher.later(picture, "not whole")
        elif picture is not None:
            whole.append(picture.data)
            break
    thread.join()
    eyes.watcher.close()
    assert whole == [b"half and whole"]


@pytest.mark.waits
def test_a_format_that_cannot_show_its_end_is_read_twice(folder: Path, eyes: Eyes) -> None:
    """The second half of a BMP of full length is still zero, and the writer lets go meanwhile."""
    half, whole = b"BM" + bytes(range(100)) + bytes(102), b"BM" + bytes(range(100)) * 2 + b"  "
    (folder / "a.bmp").write_bytes(half)
    eyes.look(lambda: not eyes.seen and eyes.watcher.pending == 1)
    time.sleep(0.4)
    status = (folder / "a.bmp").stat()
    (folder / "a.bmp").write_bytes(whole)
    os.utime(folder / "a.bmp", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert [p.data for p in eyes.wait(1)] == [whole]


@pytest.mark.parametrize(
    ("data", "shows"),
    [
        (b"BM....", False),
        (b"II*\0....", False),
        (b"MM\0*....", False),
        (b"\0\0\0\x20ftypavif", False),
        (b"\0\0\0\x18ftypheic", False),
        (b"\xff\xd8\xff\xe0", True),
        (b"\x89PNG\r\n\x1a\n", True),
        (b"GIF89a", True),
        (b"RIFF....WEBP", True),
    ],
)
def test_which_formats_show_their_end(data: bytes, shows: bool) -> None:
    assert shows_its_end(data) is shows


@pytest.mark.parametrize("events", [True, False], ids=["events", "polling"])
@pytest.mark.waits
def test_sub_folders_a_day(folder: Path, events: bool) -> None:
    """Old ones, and one made after the start; hidden and housekeeping ones are nobody's."""
    for name in ("2026-11-26", "@eaDir", ".Trash-1000", "#recycle", ".hidden"):
        (folder / name).mkdir()
        (folder / name / "old.jpg").write_bytes(name.encode())
    eyes = Eyes(folder, recursive=True, events=events)
    eyes.watcher.begin()
    (folder / "2026-11-27" / "noon").mkdir(parents=True)
    (folder / "2026-11-27" / "noon" / "new.jpg").write_bytes(DATA)
    (folder / "lost+found").mkdir()
    (folder / "lost+found" / "no.jpg").write_bytes(DATA)
    seen = {str(p.path.relative_to(folder)): p.backlog for p in eyes.wait(2)}
    eyes.watcher.close()
    assert seen == {"2026-11-26/old.jpg": True, "2026-11-27/noon/new.jpg": False}


@pytest.mark.waits
def test_what_is_not_taken_is_said_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.jxl", "b.JXL", "c.dng", "notes.txt"):
        (folder / name).write_bytes(DATA)
    for name in ("day", "@eaDir", "empty"):
        (folder / name).mkdir()
    for name in ("day/a.jpg", "@eaDir/b.jpg"):
        (folder / name).write_bytes(DATA)
    eyes = Eyes(folder)
    eyes.watcher.begin()
    end = time.monotonic() + 1.0
    eyes.look(lambda: time.monotonic() > end)
    eyes.watcher.close()
    said = sorted(record.getMessage() for record in caplog.records)
    assert len(said) == 3
    assert (
        said[0] == f"{folder}/day: holds pictures and is not watched; --recursive watches "
        "sub-folders"
    )
    assert {line.split("opens no ")[1].split()[0] for line in said[1:]} == {".jxl", ".dng"}


class Walls:
    """A wall clock that can be set."""

    def __init__(self) -> None:
        self.off_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.off_s


@pytest.mark.parametrize("off_s", [-3600.0, -60.0, 60.0, 3600.0])
@pytest.mark.waits
def test_old_ones_stay_old_when_the_clock_is_set_and_the_folder_was_away(
    folder: Path, off_s: float
) -> None:
    """More of them than the table holds; pictures of one length; a new one is told from them."""
    count = MAX_LISTED + 300
    for number in range(count):
        (folder / f"{number:05}.jpg").write_bytes(b"%05d" % number)
    wall = Walls()
    eyes = Eyes(folder, wall=wall)
    eyes.watcher.begin()
    wall.off_s = off_s
    folder.rename(folder.with_name("away"))
    eyes.look(lambda: bool(eyes.watcher.problem))
    shutil.copytree(folder.with_name("away"), folder, copy_function=shutil.copyfile)
    eyes.look(lambda: not eyes.watcher.problem)
    (folder / "new.jpg").write_bytes(b"brand")
    seen = eyes.look(lambda: len({p.path for p in eyes.seen}) > count, 60)
    eyes.watcher.close()
    assert [p.path.name for p in seen if not p.backlog] == ["new.jpg"]


@pytest.mark.waits
def test_a_folder_that_somebody_filled_before_it_came_is_old(folder: Path, eyes: Eyes) -> None:
    """A disk that is mounted late, a folder renamed into place: nobody knows how old these are."""
    other = folder.with_name("other")
    other.mkdir()
    (other / "a.jpg").write_bytes(DATA)
    listings = eyes.watcher.listings
    eyes.look(lambda: eyes.watcher.listings > listings + 1)
    folder.rename(folder.with_name("gone"))
    other.rename(folder)
    (seen,) = eyes.wait(1)
    assert seen.backlog


@pytest.mark.waits
def test_a_new_picture_does_not_get_younger(folder: Path, eyes: Eyes) -> None:
    """Renamed, linked, chmod: it arrived when it was first met under any name."""
    (folder / "a.jpg").write_bytes(DATA)
    for _ in eyes.watcher.pictures(idle_s=0.01):
        if eyes.watcher.pending:
            break
    met = time.clock_gettime(time.CLOCK_BOOTTIME)
    time.sleep(0.5)
    (folder / "a.jpg").rename(folder / "b.jpg")
    (folder / "b.jpg").chmod(0o600)
    (seen,) = eyes.wait(1)
    assert seen.path.name == "b.jpg"
    assert seen.arrived <= met


def test_a_missing_folder_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="nowhere"):
        Eyes(tmp_path / "nowhere").watcher.begin()


def test_a_file_that_changes_while_it_is_read_is_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(bytes(40_000_000))
    stop = threading.Event()

    def scribble() -> None:
        with file.open("r+b") as stream:
            while not stop.is_set():
                stream.seek(0)
                stream.write(os.urandom(8))
                stream.flush()

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        assert all(read_whole(file) is None for _ in range(5))
    finally:
        stop.set()
        thread.join()
    assert read_whole(file) is not None


def test_events_make_it_quick(folder: Path) -> None:
    """With a rescan far away only events can explain a picture within seconds."""
    if not sys.platform.startswith("linux"):
        pytest.skip("inotify is Linux's")
    watcher = Watcher(folder, recorded=lambda *_: False, settle_s=0.1, rescan_s=3600)
    watcher.begin()
    assert watcher.mode == "inotify", watcher.mode
    begun = time.monotonic()
    (folder / "a.jpg").write_bytes(DATA)
    for picture in watcher.pictures(idle_s=0.05):
        assert time.monotonic() - begun < 20
        if picture is not None:
            break
    watcher.close()
