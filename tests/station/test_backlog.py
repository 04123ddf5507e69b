"""Old pictures are known by their bytes, new ones are not taken for old: real files, no waiting."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from sorter.domain import Identity
from sorter.station.intake.backlog import Backlog
from sorter.station.intake.reading import is_taken, listing, look, read_whole
from tests.support.disguises import DISGUISES

SLOW = ("folder away for a while", "folder restored with its stamps")
NAMES = [pytest.param(n, marks=pytest.mark.waits) if n in SLOW else n for n in DISGUISES]


def bmp(number: int) -> bytes:
    """Pictures of one length, whatever is in them: the hardest to tell apart."""
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), (number % 256, number // 256, 7)).save(stream, "BMP")
    return stream.getvalue()


def gif(number: int) -> bytes:
    """Pictures of many lengths."""
    return b"GIF89a" + bytes(number)


def filled(folder: Path, make: type[bytes] | object, count: int = 6) -> Backlog:
    """A folder of pictures that are old by now, none of them read."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:03}.bmp").write_bytes(make(number))  # type: ignore[operator]
    backlog = Backlog(folder)
    for name, status in listing(folder):
        backlog.add(name, Identity.of(status))
    backlog.prepare()
    assert len(backlog) == count
    return backlog


def claims(backlog: Backlog, path: Path) -> bool:
    """What the watcher asks once it has read a file."""
    whole = read_whole(path)
    assert whole is not None
    return backlog.claims(path.name, whole.identity, whole.data)


@pytest.mark.parametrize("make", [bmp, gif], ids=["of one length", "of many"])
@pytest.mark.parametrize("name", NAMES)
def test_an_old_picture_in_any_disguise(tmp_path: Path, name: str, make: object) -> None:
    folder = tmp_path / "camera"
    backlog = filled(folder, make)
    DISGUISES[name](folder)
    found = [path for path in sorted(folder.iterdir()) if is_taken(path.name)]
    # A copy beside its original is told from it by the journal, which knows the bytes by then.
    told: set[bytes] = set()
    for path in found:
        data = path.read_bytes()
        assert claims(backlog, path) or data in told, path.name
        told.add(data)
    assert told == {make(number) for number in range(6)}  # type: ignore[operator]
    new = folder / "new.bmp"
    new.write_bytes(bmp(999))
    assert not claims(backlog, new)


@pytest.mark.parametrize("length", [500, 60_000])
@pytest.mark.parametrize("prepared", [True, False], ids=["pages read", "no time for pages"])
def test_copies_whose_inodes_are_those_of_others(
    tmp_path: Path, length: int, prepared: bool
) -> None:
    """Each copy gets the inode of the original removed before it; lengths repeat."""
    folder = tmp_path / "camera"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:03}.bmp").write_bytes(b"%03d" % number * (length + number % 3))
    backlog = Backlog(folder)
    for name, status in listing(folder):
        backlog.add(name, Identity.of(status))
    if prepared:
        backlog.prepare()
    DISGUISES["copied, the original removed, stamps kept"](folder)
    assert all(claims(backlog, path) for path in sorted(folder.iterdir()))


def test_the_next_picture_of_an_old_name_and_length_is_new_and_the_old_one_old(
    tmp_path: Path,
) -> None:
    """A camera that keeps one name and one length, its last picture not read yet."""
    folder = tmp_path / "camera"
    backlog = filled(folder, bmp, 3)
    last = folder / "001.bmp"
    last.rename(folder / "kept.bmp")
    last.write_bytes(bmp(77))
    assert not claims(backlog, last)
    assert claims(backlog, folder / "kept.bmp")
    last.write_bytes(bmp(78))
    assert not claims(backlog, last)


def test_a_new_picture_under_an_old_name_is_new(tmp_path: Path) -> None:
    backlog = filled(tmp_path / "camera", gif)
    path = tmp_path / "camera" / "003.bmp"
    path.write_bytes(gif(500))
    assert not claims(backlog, path)


def test_thousands_of_one_length_cost_a_page_each_and_only_once(tmp_path: Path) -> None:
    """Told from a new picture without reading any of them whole; the second costs no look."""
    backlog = filled(tmp_path / "camera", bmp, 500)
    folder = tmp_path / "camera"
    for name in ("a.bmp", "b.bmp"):
        (folder / name).write_bytes(bmp(3000 + ord(name[0])))
    assert not claims(backlog, folder / "a.bmp")
    for number in range(500):  # Were they looked at again, this would be seen.
        os.truncate(folder / f"{number:03}.bmp", 0)
    assert not claims(backlog, folder / "b.bmp")


def test_what_cannot_be_told_in_time_stays_put(tmp_path: Path) -> None:
    folder = tmp_path / "camera"
    filled(folder, bmp, 3)
    ticks = iter(range(100))
    slow = Backlog(folder, clock=lambda: float(next(ticks)))
    for name, status in listing(folder):
        slow.add(name, Identity.of(status))
    (folder / "new.bmp").write_bytes(bmp(999))
    assert claims(slow, folder / "new.bmp")


def test_an_unreadable_old_picture_does_not_stop_new_ones_of_its_length(tmp_path: Path) -> None:
    backlog = filled(tmp_path / "camera", bmp, 2)
    old = tmp_path / "camera" / "000.bmp"
    old.unlink()
    old.mkdir()  # Root reads any mode; nobody reads a folder.
    new = tmp_path / "camera" / "new.bmp"
    new.write_bytes(bmp(999))
    assert not claims(backlog, new)


def test_the_journal_knows_it_so_we_need_not(tmp_path: Path) -> None:
    backlog = filled(tmp_path / "camera", bmp, 2)
    for path in sorted((tmp_path / "camera").iterdir()):
        status = look(path)
        assert status is not None
        backlog.forget(path.name, Identity.of(status))
    assert len(backlog) == 0
