"""The journal on a real disk: durable, never a number twice, readable after the worst."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sorter.domain import Identity, ItemState, Record
from sorter.errors import JournalError
from sorter.station.journal.history import read_items, summarise
from sorter.station.journal.journal import Journal, JournalDamagedError
from sorter.station.journal.opening import open_journal
from sorter.station.journal.retention import Retention
from tests.support.items import DECISION, picture
from tests.support.old_journal import make_old


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = open_journal(tmp_path / "journal.sqlite")
    yield opened
    opened.close()


def test_a_life_from_arrival_to_done(journal: Journal) -> None:
    n = journal.add(Record(picture(), ItemState.ARRIVED))
    journal.decide(Record(picture(), n=n, decision=DECISION, bin=DECISION.bin, model="m1"))
    journal.sent(n, "b00t")
    assert [(r.n, r.state, r.boot) for r in journal.unfinished()] == [(n, ItemState.SENT, "b00t")]
    journal.finish(n, ItemState.DONE)
    assert journal.unfinished() == []
    (row,) = read_items(journal.path)
    assert (row["state"], row["label"], row["bin"], row["model"]) == ("DONE", "can", "metal", "m1")
    assert row["arrived_at"] == "2023-11-14T22:13:20.000Z"
    assert row["sent_at"] and row["done_at"]


def test_a_terminal_record_is_the_last(journal: Journal) -> None:
    n = journal.add(Record(picture(), ItemState.SENT, decision=DECISION, boot="b"))
    journal.finish(n, ItemState.UNCERTAIN, "no answer")
    with pytest.raises(JournalDamagedError):
        journal.finish(n, ItemState.DONE)
    with pytest.raises(JournalDamagedError):
        journal.sent(n, "b")
    (row,) = read_items(journal.path)
    assert (row["state"], row["reason"]) == ("UNCERTAIN", "no answer")


def test_numbers_are_never_used_again(tmp_path: Path) -> None:
    file = tmp_path / "j.sqlite"
    with contextlib.closing(open_journal(file)) as journal:
        first = journal.add(Record(picture(), ItemState.DONE))
        journal.forget([first])
        assert journal.next_n == first + 1
        sid = journal.sid
    with contextlib.closing(open_journal(file)) as journal:
        assert journal.add(Record(picture("b.jpg"), ItemState.DONE)) == first + 1
        assert (journal.sid, journal.starts) == (sid, 2)


def test_the_same_bytes_are_known_by_path_and_as_a_twin(journal: Journal) -> None:
    n = journal.add(Record(picture("a.jpg", "aa"), ItemState.DONE))
    assert journal.same(Path("/camera/a.jpg"), "aa") == n
    assert journal.same(Path("/camera/b.jpg"), "aa") is None
    assert journal.twin("aa") == n
    assert journal.twin("bb") is None
    assert journal.recorded(Path("/camera/a.jpg"), picture().identity)
    changed = Identity(inode=1, size=2, mtime_ns=3, ctime_ns=5)
    assert not journal.recorded(Path("/camera/a.jpg"), changed)


def test_what_could_not_be_read_is_known_by_all_but_its_ctime(journal: Journal) -> None:
    """Mended rights change the ctime alone, and are no new picture."""
    journal.add(Record(picture("a.jpg", ""), ItemState.REJECTED, reason="cannot be read"))
    was = picture().identity
    assert journal.recorded(Path("/camera/a.jpg"), replace(was, ctime_ns=99))
    assert not journal.recorded(Path("/camera/a.jpg"), replace(was, mtime_ns=99))
    assert not journal.recorded(Path("/camera/b.jpg"), replace(was, ctime_ns=99))


def test_a_picture_that_joined_a_burst_has_a_twin(journal: Journal) -> None:
    """Its record is DUPLICATE and the only one of its bytes: a new name of it moves nothing."""
    n = journal.add(Record(picture("b.jpg", "bb"), ItemState.DUPLICATE, reason="burst of n=1"))
    assert journal.twin("bb") == n
    journal.add(Record(picture("c.jpg", "cc"), ItemState.REJECTED))
    assert journal.twin("cc") is None


def test_a_name_that_is_no_text(journal: Journal) -> None:
    odd = os.fsdecode(b"\xff\n[red].jpg")
    journal.add(Record(picture(odd), ItemState.REJECTED, reason="two\nlines"))
    (row,) = read_items(journal.path)
    assert row["path"] == f"/camera/{odd}"
    assert row["reason"] == "two lines"


def test_retention_takes_small_bites_and_stops_at_an_open_row(journal: Journal) -> None:
    for i in range(5):
        journal.add(Record(picture(f"{i}.jpg", str(i)), ItemState.DONE))
    journal.add(Record(picture("open.jpg", "o"), ItemState.SENT, decision=DECISION))
    journal.add(Record(picture("later.jpg", "l"), ItemState.DONE))
    retention = Retention(journal, batch=2)
    left = []
    for _ in range(4):
        retention.step(before=4e9)
        left.append(len(list(read_items(journal.path))))
    assert left == [5, 3, 2, 2]
    assert [r.state for r in journal.unfinished()] == [ItemState.SENT]


def test_the_record_of_a_picture_that_stays_stays(journal: Journal, tmp_path: Path) -> None:
    """Else a restart would take the picture for a new one, and might move for it again."""
    stays = tmp_path / "stays.jpg"
    stays.touch()
    journal.add(Record(replace(picture(), path=stays), ItemState.DONE))
    for i in range(3):
        journal.add(Record(picture(f"{i}.jpg", str(i)), ItemState.DONE))
    retention = Retention(journal, batch=2)
    assert [retention.step(before=4e9) for _ in range(3)] == [True, True, False]
    assert [row["path"] for row in read_items(journal.path)] == [str(stays)]
    stays.unlink()
    retention.step(before=4e9)
    assert list(read_items(journal.path)) == []


def test_an_older_journal_is_brought_up_to_date(tmp_path: Path) -> None:
    file = tmp_path / "j.sqlite"
    with contextlib.closing(open_journal(file)) as journal:
        sid = journal.sid
        for name in ("a.jpg", "b.jpg"):
            journal.add(Record(picture(name, name), ItemState.DONE, decision=DECISION))
    make_old(file, 1)
    before = summarise(file)
    with contextlib.closing(open_journal(file)) as journal:
        assert journal.sid == sid
        assert summarise(file).counts == before.counts == {("metal", "DONE"): 2}
        n = journal.add(Record(picture("c.jpg", "c"), ItemState.ARRIVED))
        journal.finish(n, ItemState.EXPIRED)
        journal.forget([1])
        assert summarise(file).counts == {("metal", "DONE"): 1, ("", "EXPIRED"): 1}
        assert summarise(file).items == 2


@pytest.mark.parametrize("damage", [b"", b"\0" * 8192, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_journal_is_set_aside_loudly(damage: bytes, tmp_path: Path) -> None:
    file = tmp_path / "j.sqlite"
    with contextlib.closing(open_journal(file)) as journal:
        old = journal.sid
    for side in ("-wal", "-shm"):
        file.with_name(file.name + side).unlink(missing_ok=True)
    file.write_bytes(damage)
    with contextlib.closing(open_journal(file)) as journal:
        assert journal.sid != old
        assert "set aside" in journal.warnings[0]
        assert journal.add(Record(picture(), ItemState.DONE)) == 1
    assert [p for p in tmp_path.iterdir() if p.read_bytes() == damage]


def test_one_station_a_journal(journal: Journal) -> None:
    with pytest.raises(JournalError, match=f"process {os.getpid()}"):
        open_journal(journal.path)


@pytest.mark.parametrize("way", ["symlink", "symlinked folder", "hard link", "lock file removed"])
def test_one_station_a_journal_by_any_name(way: str, journal: Journal, tmp_path: Path) -> None:
    name = tmp_path / "other.sqlite"
    if way == "symlink":
        name.symlink_to(journal.path)
    elif way == "symlinked folder":
        (tmp_path / "link").symlink_to(tmp_path)
        name = tmp_path / "link" / journal.path.name
    elif way == "hard link":
        name.hardlink_to(journal.path)
    else:
        for path in tmp_path.glob("*.lock"):
            path.unlink()
        name = journal.path
    with pytest.raises(JournalError, match=f"another station .process {os.getpid()}"):
        open_journal(name)
    # SQLite's own locks still stand, and readers read.
    journal.add(Record(picture(), ItemState.DONE))
    assert len(list(read_items(journal.path))) == 1


def test_the_lock_moves_on_with_a_journal_that_is_set_aside(tmp_path: Path) -> None:
    file = tmp_path / "j.sqlite"
    file.write_bytes(b"no journal at all" * 1000)
    with contextlib.closing(open_journal(file)), pytest.raises(JournalError, match="another"):
        open_journal(file)


def test_a_symlink_to_a_journal_keeps_its_side_files_together(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "journal.sqlite"
    link.symlink_to("disk/real.sqlite")
    with contextlib.closing(open_journal(link)) as journal:
        journal.add(Record(picture(), ItemState.DONE))
        sid = journal.sid
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["journal.sqlite"]
    with contextlib.closing(open_journal(tmp_path / "disk" / "real.sqlite")) as journal:
        assert journal.sid == sid


@pytest.mark.parametrize("lost", ["log of a young one", "journal beside its log", "journal"])
def test_what_was_lost_is_said_and_its_pictures_may_have_moved(lost: str, tmp_path: Path) -> None:
    file = tmp_path / "j.sqlite"
    wal = file.with_name("j.sqlite-wal")
    if lost == "log of a young one":  # As a version that wrote everything into the log left it.
        with contextlib.closing(sqlite3.connect(file)) as db:
            db.execute("PRAGMA journal_mode = WAL")
    else:
        open_journal(file).close()
        file.unlink()
        if lost == "journal beside its log":
            wal.write_bytes(b"frames")
    for _ in range(2):  # The warning is said once, what it means holds on.
        with contextlib.closing(open_journal(file)) as journal:
            assert journal.predecessor.startswith("j.sqlite.damaged-")
            warnings = journal.warnings
    assert warnings == ()
    (tmp_path / journal.predecessor).unlink()
    for side in tmp_path.glob("*.damaged-*"):
        side.unlink()
    with contextlib.closing(open_journal(file)) as journal:
        assert journal.predecessor == ""


def test_a_young_journal_does_not_live_in_its_log_alone(tmp_path: Path) -> None:
    with contextlib.closing(open_journal(tmp_path / "j.sqlite")) as journal:
        shutil.copy(journal.path, tmp_path / "copy.sqlite")
        with contextlib.closing(open_journal(tmp_path / "copy.sqlite")) as copy:
            assert (copy.sid, copy.warnings) == (journal.sid, ())


def test_damage_that_only_a_later_statement_meets_sets_it_aside_then(tmp_path: Path) -> None:
    """A large journal is not read whole at start; here a row is not what it was."""
    file = tmp_path / "j.sqlite"
    with contextlib.closing(open_journal(file)) as journal:
        n = journal.add(Record(picture(), ItemState.ARRIVED))
        with contextlib.closing(sqlite3.connect(file)) as db:
            db.execute("UPDATE items SET state = 'DONE'")
            db.commit()
        with pytest.raises(JournalDamagedError, match="the next start sets it aside"):
            journal.finish(n, ItemState.EXPIRED)
        old = journal.sid
    with contextlib.closing(open_journal(file)) as journal:
        assert journal.sid != old
        assert "found damaged while in use; set aside" in journal.warnings[0]
    with contextlib.closing(open_journal(file)) as journal:
        assert journal.warnings == ()


def test_a_newer_journal_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "j.sqlite"
    open_journal(file).close()
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="newer"):
        open_journal(file)
    with pytest.raises(JournalError, match="newer"):
        summarise(file)


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_file_that_is_gone_takes_no_record(how: str, tmp_path: Path) -> None:
    file = tmp_path / "j.sqlite"
    with contextlib.closing(open_journal(file)) as journal:
        n = journal.add(Record(picture(), ItemState.ARRIVED))
        file.rename(tmp_path / "away")
        if how == "replaced":
            shutil.copy(tmp_path / "away", file)
        for write in (
            lambda: journal.add(Record(picture("b.jpg", "b"), ItemState.DONE)),
            lambda: journal.finish(n, ItemState.EXPIRED),
        ):
            with pytest.raises(JournalError, match=f"was {how} while in use"):
                write()


@pytest.mark.process
def test_every_write_survives_kill_9(tmp_path: Path) -> None:
    file = tmp_path / "j.sqlite"
    code = (
        "import sys, os, signal\n"
        "from pathlib import Path\n"
        "from tests.support.items import picture\n"
        "from sorter.domain import ItemState, Record\n"
        "from sorter.station.journal.opening import open_journal\n"
        f"journal = open_journal(Path({str(file)!r}))\n"
        "for i in range(10**6):\n"
        "    print(journal.add(Record(picture(str(i), str(i)), ItemState.DONE)), flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = [int(child.stdout.readline()) for _ in range(25)]
    child.kill()
    said += [int(line) for line in child.stdout if line.strip()]
    child.stdout.close()
    child.wait()
    kept = {row["n"] for row in read_items(file)}
    assert set(said) <= kept
    assert summarise(file).unclean == 1


@pytest.mark.process
def test_a_full_disk_takes_last_words_and_no_new_item(tmp_path: Path) -> None:
    """A file-size limit of this process stands in for the disk's end."""
    file = tmp_path / "j.sqlite"
    code = f"""
import resource, signal
from pathlib import Path
from tests.support.items import DECISION, picture
from sorter.domain import ItemState, Record
from sorter.station.journal.journal import JournalStuckError
from sorter.station.journal.opening import open_journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = open_journal(Path({str(file)!r}))
n = journal.add(Record(picture(), ItemState.SENT, decision=DECISION))
wal = Path({str(file)!r} + "-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (wal, resource.RLIM_INFINITY))
try:
    for i in range(100):
        journal.add(Record(picture(str(i), str(i)), ItemState.DONE))
except JournalStuckError as error:
    print("stuck:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.finish(n, ItemState.DONE)
print("done")
journal.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "stuck:" in done.stdout
    assert "check the disk" in done.stdout or "free some space" in done.stdout
    assert done.stdout.endswith("done\n")


def test_no_journal_there(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no journal there"):
        summarise(tmp_path / "none.sqlite")
    (tmp_path / "text.sqlite").write_text("no database")
    with pytest.raises(JournalError, match="cannot read"):
        summarise(tmp_path / "text.sqlite")


def test_one_whose_station_ended_before_its_first_byte_is_begun(tmp_path: Path) -> None:
    """Nothing is set aside: a reader that has the renamed file open deletes the new one's log."""
    file = tmp_path / "journal.sqlite"
    file.touch()
    with contextlib.closing(open_journal(file)) as journal:
        assert journal.warnings == ()
    assert not list(tmp_path.glob("*damaged*"))
    file.write_bytes(b"")  # what a power cut leaves, with the reserve beside it
    with contextlib.closing(open_journal(file)) as journal:
        assert "empty, as after a power cut" in journal.warnings[0]
    assert list(tmp_path.glob("*damaged*"))
