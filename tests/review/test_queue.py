"""`sorter review`, the real command: what an answer leaves on disk, and how it is taken back."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sorter.audit import AUDITED, Audit
from sorter.dataset.layout import read_answered, read_labelled
from sorter.review.log import NAME, ReviewLog, read_audit
from sorter.review.looks import Look, Looks
from sorter.review.page import Page
from sorter.review.queue import Queue
from sorter.review.shelf import Shelf
from sorter.station.journal.history import summarise
from sorter.station.journal.opening import open_journal
from sorter.station.journal.verdicts import write_verdict
from tests.support.recorded import record
from tests.support.review_stand import ROOT, make_ring, sitting
from tests.support.tiny import colour_of, paint, taxonomy3


def listing(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and time of every file below `folder`."""
    return {
        str(p.relative_to(folder)): (
            hashlib.sha256(p.read_bytes()).hexdigest(),
            p.stat().st_mtime_ns,
        )
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def filed(into: Path) -> list[str]:
    """`class/number` of every picture in DATA."""
    found = (p for p in into.rglob("*.png") if p.is_file())
    return sorted(f"{p.parent.name}/{re.findall('_(n[0-9]+)_', p.name)[0]}" for p in found)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "sorter", "review", *words]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.process
def test_labels_are_what_train_reads_and_the_ring_is_untouched(tmp_path: Path) -> None:
    ring, into = make_ring(tmp_path / "ring"), tmp_path / "data"
    before = listing(ring)
    with sitting(ring, into) as it:
        state = it.state()
        assert state["counts"]["left"] == 4
        assert state["picture"]["station"]["code"] == "0101"
        assert state["picture"]["station"]["score"] == 0.4
        assert state["picture"]["choices"][0]["code"] == "0001"
        for code in ("0001", "0101", "0102"):
            state = it.answer("label", id=state["picture"]["id"], code=code)
        state = it.answer("skip", id=state["picture"]["id"])
        assert state["picture"] is None
        assert state["counts"] == {"labelled": 3, "skipped": 1, "broken": 0, "left": 0}
        it.ask("POST", "finish", {})
        status, out, _ = it.end()
    assert status == 0
    assert out.strip() == f"3 labelled into {into}, 1 skipped, 0 cannot be shown, 0 left"
    assert listing(ring) == before
    assert filed(into) == ["0001/n0", "0101/n1", "0102/n2"]
    samples = read_labelled(into, taxonomy3())
    assert [s.index for s in samples] == [0, 1, 2]
    for sample in samples:
        digest = hashlib.sha256(sample.path.read_bytes()).hexdigest()
        assert sample.path.name.startswith(digest[:16] + "-")


@pytest.mark.process
def test_a_restart_goes_on_and_can_still_undo(tmp_path: Path) -> None:
    ring, into = make_ring(tmp_path / "ring"), tmp_path / "data"
    with sitting(ring, into) as it:
        state = it.answer("label", id=it.state()["picture"]["id"], code="0102")
        it.answer("skip", id=state["picture"]["id"])
        it.process.kill()  # nothing is left to be written at the end
        it.process.wait()
    with sitting(ring, into) as it:
        state = it.state()
        assert "_n2_" in state["picture"]["name"] and state["counts"]["left"] == 2
        assert "_n1_" in it.answer("undo")["picture"]["name"]
        state = it.answer("undo")
        assert "_n0_" in state["picture"]["name"] and state["counts"]["left"] == 4
        assert filed(into) == []
        assert it.answer("undo")["notice"] == "nothing to take back"
        it.answer("label", id=state["picture"]["id"], code="0001")
        it.process.send_signal(signal.SIGINT)
        code, out, err = it.end()
    assert code == 130
    assert "1 labelled" in out and "Traceback" not in err
    assert filed(into) == ["0001/n0"]


@pytest.mark.process
def test_sigterm_ends_it_well_and_skipped_ones_come_again_if_asked(tmp_path: Path) -> None:
    ring, into = make_ring(tmp_path / "ring", 2), tmp_path / "data"
    with sitting(ring, into) as it:
        it.answer("skip", id=it.state()["picture"]["id"])
        it.process.send_signal(signal.SIGTERM)
        assert it.end()[0] == 0
    with sitting(ring, into, "--again") as it:
        assert "_n0_" in it.state()["picture"]["name"]


@pytest.mark.process
def test_a_late_or_second_answer_changes_nothing(tmp_path: Path) -> None:
    ring, into = make_ring(tmp_path / "ring", 2), tmp_path / "data"
    with sitting(ring, into) as it:
        first = it.state()["picture"]["id"]
        states: list[dict[str, object]] = []
        threads = [
            threading.Thread(
                target=lambda: states.append(it.answer("label", id=first, code="0001"))
            )
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(bool(s["notice"]) for s in states) == [False, True, True, True, True, True]
        assert it.state()["counts"]["labelled"] == 1
    assert len(filed(into)) == 1


@pytest.mark.process
def test_a_picture_that_the_ring_dropped_is_filed_as_it_was_shown(tmp_path: Path) -> None:
    ring, into = make_ring(tmp_path / "ring", 1), tmp_path / "data"
    file = next(ring.iterdir())
    content = file.read_bytes()
    with sitting(ring, into) as it:
        shown = it.state()["picture"]["id"]
        file.unlink()
        it.answer("label", id=shown, code="0101")
        assert next(into.rglob("*.png")).read_bytes() == content
        # A new one appears while the page waits.
        paint(ring / "later.png", colour_of(taxonomy3(), 2))
        assert it.state()["picture"]["name"] == "later.png"


@pytest.mark.process
def test_a_broken_picture_is_told_and_costs_exit_code_1(tmp_path: Path) -> None:
    ring, into = make_ring(tmp_path / "ring", 1), tmp_path / "data"
    (ring / "0.jpg").write_text("<html><script>alert(1)</script>")
    with sitting(ring, into) as it:
        assert it.state()["counts"]["broken"] == 1
        it.ask("POST", "finish", {})
        code, _, err = it.end()
    assert code == 1
    assert "0.jpg" in err and "Traceback" not in err


@pytest.mark.process
def test_divided_data_gets_new_pictures_in_train_and_never_what_val_has(tmp_path: Path) -> None:
    ring, into = make_ring(tmp_path / "ring"), tmp_path / "data"
    pictures = sorted(ring.iterdir())
    for split in ("train", "val"):
        (into / split / "Peel").mkdir(parents=True)
    paint(into / "train" / "Peel" / "old.png", (1, 2, 3))
    (into / "val" / "Peel" / "other name.png").write_bytes(pictures[1].read_bytes())
    with sitting(ring, into) as it:
        state = it.answer("label", id=it.state()["picture"]["id"], code="0101")
        assert "_n2_" in state["picture"]["name"]
        it.answer("label", id=state["picture"]["id"], code="0102")
    assert [p.parent.name for p in sorted((into / "train").rglob("*_n*.png"))] == ["0102", "Peel"]


@pytest.mark.parametrize(
    ("folder", "into", "code", "says"),
    [
        ("gone", "data", 5, "no such folder"),
        ("ring", "ring/inside", 2, "which is read from"),
        ("ring", ".", 2, "which is read from"),
        ("ring", "file", 5, "cannot be made"),
        ("ring", "strange", 5, "is not a class"),
    ],
)
@pytest.mark.process
def test_what_cannot_be_is_said_in_one_line(
    tmp_path: Path, folder: str, into: str, code: int, says: str
) -> None:
    make_ring(tmp_path / "ring", 1)
    (tmp_path / "file").write_text("")
    (tmp_path / "strange" / "sofa").mkdir(parents=True)
    paint(tmp_path / "strange" / "sofa" / "a.png", (1, 1, 1))
    result = run(str(tmp_path / folder), "--into", str(tmp_path / into), "--no-open")
    assert result.returncode == code
    assert says in result.stderr and result.stderr.count("\n") == 1, result.stderr


@pytest.mark.process
def test_a_folder_that_cannot_be_taught_into_is_refused_before_anything_is_labelled(
    tmp_path: Path,
) -> None:
    ring, new = make_ring(tmp_path / "ring", 1), tmp_path / "new"
    new.mkdir()
    (new / "notes.txt").write_text("mine")
    into = tmp_path / "data"
    result = run(str(ring), "--into", str(into), "--teach", str(new), "--no-open")
    assert result.returncode == 5 and "with --teach" in result.stderr, result.stderr
    assert not into.exists()


@pytest.mark.process
def test_one_data_folder_takes_one_sitting_and_a_taken_port_is_said(tmp_path: Path) -> None:
    ring, into = make_ring(tmp_path / "ring", 1), tmp_path / "data"
    with sitting(ring, into) as it:
        result = run(str(ring), "--into", str(into), "--no-open")
        assert result.returncode == 5 and "another sorter review" in result.stderr
        port = it.url.split(":")[2].split("/")[0]
        result = run(str(ring), "--into", str(tmp_path / "other"), "--no-open", "--port", port)
        assert result.returncode == 5 and "--port" in result.stderr
        result = run(str(ring), "--into", str(tmp_path / "other"), "--host", "no.invalid")
        assert result.returncode == 5 and "--host" in result.stderr


def test_a_damaged_log_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    ring, into = make_ring(tmp_path / "ring", 2), tmp_path / "data"
    outside = paint(tmp_path / "outside.png", (9, 9, 9))
    shelf = Shelf(into, taxonomy3())
    with ReviewLog(into) as book:
        queue = Queue(ring, shelf, book)
        shown = queue.current()
        assert shown is not None
        queue.label(shown.seen.sha256, taxonomy3().categories[0])
    row = json.loads((into / NAME).read_text())
    row |= {
        "file": "../outside.png",
        "sha256": hashlib.sha256(outside.read_bytes()).hexdigest(),
    }
    text = "\n".join(["{", "[]", "{}", '{"do": 1}', json.dumps(row), '{"at": "2026'])
    (into / NAME).write_text(text)
    with ReviewLog(into) as book:
        assert len(book.answers) == 1
        with pytest.raises(Exception, match="by hand"):
            Queue(ring, shelf, book).undo()
        book.append(book.answers[0])
    assert outside.exists()
    assert json.loads((into / NAME).read_text().splitlines()[-1])["do"] == "label"


def test_names_from_outside_do_not_leave_the_data_folder(tmp_path: Path) -> None:
    ring, into = tmp_path / "ring", tmp_path / "data"
    ring.mkdir()
    for i, name in enumerate(
        [b"-..\n-\xff\x1b[31m.PNG", b"$(x) `y`.png", b"e\xcc\x81" * 40 + b".png"]
    ):
        paint(tmp_path / "a.png", (i, 99, 7)).rename(ring / os.fsdecode(name))
    shelf = Shelf(into, taxonomy3())
    with ReviewLog(into) as book:
        queue = Queue(ring, shelf, book)
        while (shown := queue.current()) is not None:
            queue.label(shown.seen.sha256, taxonomy3().categories[1])
    names = [p.name for p in (into / "0101").iterdir()]
    assert len(names) == 3
    assert all(re.fullmatch(r"[0-9a-f]{16}-[A-Za-z0-9._-]+\.png", n) for n in names), names


def test_what_was_sorted_is_judged_without_the_answer_and_counts(tmp_path: Path) -> None:
    ring, into = tmp_path / "ring", tmp_path / "data"
    ring.mkdir()
    names = [
        "20261127T063000Z_n1_0001_40.png",
        "20261127T063001Z_n2_0001_20.png",
        "20261127T063002Z_n3_0001_97_audit.png",
        "20261127T063003Z_n4_0101_98_audit.png",
        "20261127T063004Z_n5_0101_99_audit.png",
    ]
    for i, name in enumerate(names):
        paint(ring / name, (10 * i, 20, 30))
    shelf = Shelf(into, taxonomy3())
    taught: list[str] = []

    def teach() -> str:
        taught.append("once")
        return "both figures"

    with ReviewLog(into) as book:
        page = Page(Queue(ring, shelf, book), taxonomy3(), lambda _: (), teach=teach)
        # Right; of another class of the same bin, so right; an empty tray, so wrong.
        for code in ("0001", "0102", "empty"):
            shown = page.state()["picture"]
            assert shown["station"] is None
            assert not shown["choices"]
            assert not any(word in shown["name"] for word in ("0001", "0101", "n3", "audit"))
            state = page.act("label", shown["id"], code)
            assert not state["notice"]
        assert read_audit(into) == Audit(3, 1)
        assert state["picture"]["name"] == names[1], "the least sure first"
        page.act("undo", "", "")
        assert read_audit(into) == Audit(2, 0)
        page.act("label", page.state()["picture"]["id"], "unknown")
        page.act("label", page.state()["picture"]["id"], "0001")
        assert page.act("teach", "", "")["taught"] == "both figures"
    assert taught == ["once"]
    assert len(list((into / "unknown").iterdir())) == 1
    assert Shelf(into, taxonomy3()).find((ring / names[2]).read_bytes()) is not None
    again = read_answered(into, taxonomy3())
    assert sorted(s.index for s in again) == [-1, 0, 0, 2]


def test_what_was_found_of_an_audited_item_stands_in_the_journal(tmp_path: Path) -> None:
    journal, ring, into = tmp_path / "j.sqlite", tmp_path / "ring", tmp_path / "data"
    for folder in (ring, into):
        folder.mkdir()
    with contextlib.closing(open_journal(journal)) as opened:
        item = record(paint(tmp_path / "camera.png", (1, 2, 3)), 0)
        for sha256 in ("", "f" * 64):  # the item whose picture is shown, and one of other bytes
            n = item.n + 1
            file = paint(ring / f"20261127T063002Z_n{n}_0001_97_audit.png", (n, 20, 30))
            digest = sha256 or hashlib.sha256(file.read_bytes()).hexdigest()
            item = replace(item, picture=replace(item.picture, sha256=digest), n=n)
            assert opened.add(replace(item, reason=AUDITED)) == n
        assert summarise(journal).audit == Audit(), "waiting is not judged"
        tell = functools.partial(write_verdict, journal)
        with ReviewLog(into) as book:
            page = Page(
                Queue(ring, Shelf(into, taxonomy3()), book, tell=tell), taxonomy3(), lambda _: ()
            )
            for _ in range(2):
                assert not page.act("label", page.state()["picture"]["id"], "0101")["notice"]
            assert summarise(journal).audit == Audit(1, 1)
            for _ in range(2):
                page.act("undo", "", "")
            assert summarise(journal).audit == Audit()
            journal.unlink()
            state = page.act("label", page.state()["picture"]["id"], "0101")
            assert "cannot be recorded" in state["notice"] and state["counts"]["labelled"] == 1


def test_alike_ones_are_answered_together_and_what_teaches_most_comes_first(
    tmp_path: Path,
) -> None:
    ring, into = tmp_path / "ring", tmp_path / "data"
    for folder in (ring, into):
        folder.mkdir()
    looks = {}
    stream = np.random.default_rng(0)
    # Three kinds: one of its own, least sure; five alike, unsure; five alike, surer.
    for i, kind in enumerate([0, *[1] * 5, *[2] * 5]):
        score = (30, 45, 80)[kind]
        path = paint(ring / f"20261127T0630{i:02d}Z_n{i}_0001_{score}.png", (20 * i, 20, 30))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        features = np.eye(8)[kind] + stream.normal(0, 0.05, 8)
        looks[path] = Look(digest, features.astype(np.float32))
    with ReviewLog(into) as book, Looks(looks.get) as seen:
        queue = Queue(ring, Shelf(into, taxonomy3()), book, looks=seen)
        while len(seen) < len(looks):
            time.sleep(0.01)
        page = Page(queue, taxonomy3(), lambda _: ())
        shown = page.state()["picture"]
        kinds = {look.sha256: int(look.features.argmax()) for look in looks.values()}
        assert kinds[shown["id"]] == 1, "unsure and like others"
        assert [kinds[one] for one in shown["alike"]] == [1, 1, 1, 1]
        assert page.thumb(shown["alike"][0]) and page.thumb(shown["id"]) is None
        state = page.act("label", shown["id"], "0101", [*shown["alike"][:3], "0" * 64])
        assert state["counts"] == {"labelled": 4, "skipped": 0, "broken": 0, "left": 7}
        assert len(list((into / "0101").iterdir())) == 4
        assert kinds[state["picture"]["id"]] != 1, "what is like the answered teaches less"
        late = page.act("label", shown["id"], "0101", shown["alike"][3:])
        assert "has its answer already" in late["notice"] and late["counts"]["labelled"] == 4
        assert page.act("undo", "", "")["counts"]["labelled"] == 3
