"""The contact sheet in a real browser: what a person sees and finds, and what no name can do."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sorter.cli.app import app
from sorter.domain import Decision, Outcome, Status
from sorter.errors import FolderError
from sorter.report.cards import OutcomeSheet
from sorter.report.html import Card, ContactSheet
from tests.support.browser import Browser
from tests.support.corpus import write_bad
from tests.support.tiny import colour_of, paint, taxonomy3

TAXONOMY = taxonomy3()
HOSTILE = '<img src=x onerror="document.title=1">.png'


@pytest.fixture
def browser(tmp_path: Path) -> Generator[Browser]:
    with Browser(tmp_path / "profile") as running:
        yield running


def classify(*words: str | Path) -> Any:
    return CliRunner().invoke(app, ["classify", *map(str, words), "-q"])


def write_pictures(folder: Path) -> None:
    """Nine sure ones of three classes, a grey one, bad files, and names that try something."""
    folder.mkdir()
    for i in range(9):
        paint(folder / f"p{i}.png", colour_of(TAXONOMY, i % 3), size=(60, 30))
    paint(folder / "grey.png", (128, 128, 128))
    paint(folder / HOSTILE, colour_of(TAXONOMY, 0))
    paint(folder / os.fsdecode(b"a\xff\xe2\x80\xaeb.png"), colour_of(TAXONOMY, 1))
    write_bad(folder)


def seen(browser: Browser) -> list[str]:
    """File names of the cards that are not hidden, in the order of the page."""
    names: list[str] = browser.run(
        "[...document.querySelectorAll('main li:not([hidden]) small')].map((n) => n.textContent)"
    )
    return names


def test_the_page_by_bin_filtered_sorted_and_walked_by_keyboard(
    browser: Browser, bundle: Path, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "in")
    page, table = tmp_path / "out" / "page.html", tmp_path / "o.csv"
    done = classify(tmp_path / "in", "--model", bundle, "--html", page, "--csv", table)
    assert done.exit_code == 1, done.output
    browser.open(page.as_uri())
    heads = browser.run("[...document.querySelectorAll('h2')].map((n) => n.textContent)")
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    for name, count in (heading.rsplit(" ", 1) for heading in heads):
        status = {"Unsure": "unsure", "Errors": "error"}.get(name, "sorted")
        at = [r for r in rows if r["status"] == status and (status != "sorted" or r["bin"] == name)]
        assert len(at) == int(count), name
    assert [heading.split()[0] for heading in heads] == ["Unsure", "Errors", "Metal", "Rest"]
    assert len(seen(browser)) == len(rows)

    drawn = "[...document.images].map((i) => [i.complete, i.naturalWidth, i.naturalHeight])"
    browser.until(f"{drawn}.every((i) => i[0] && i[1] > 0)")
    assert browser.run(drawn).count([True, 32, 16]) == 9, "thumbnails keep their proportions"
    here = browser.run("document.querySelector('a[title$=\"p0.png\"]').href")
    assert here == (tmp_path / "in" / "p0.png").as_uri()

    browser.press("/")
    browser.write("p PEEL")
    found = ["grey.png", "a\\xff\\u202eb.png", "p1.png", "p4.png", "p7.png"]
    assert seen(browser) == found
    assert browser.run("document.getElementById('shown').textContent").startswith("5 of ")
    browser.press("Enter")
    focused = "document.activeElement.querySelector('small')?.textContent"
    assert browser.run(focused) == found[0]
    for name in found[1:4]:
        browser.press("ArrowRight")
        assert browser.run(focused) == name
    browser.press("ArrowLeft")
    browser.press("Escape")
    assert len(seen(browser)) == len(rows)
    assert browser.run(focused) == "p1.png"
    before = browser.run("document.activeElement.getBoundingClientRect().left")
    browser.press("ArrowUp")  # into the section above: its last row
    assert browser.run("document.activeElement.closest('section').id") == "s2"
    browser.press("ArrowDown")
    assert browser.run(focused) == "p1.png"
    assert browser.run("document.activeElement.getBoundingClientRect().left") == before
    browser.run(
        "(document.getElementById('sort').value = 'name', "
        "document.getElementById('sort').dispatchEvent(new Event('change')))"
    )
    rest = [name for name in seen(browser) if re.fullmatch(r"p\d.png", name)][3:]
    assert rest == ["p1.png", "p2.png", "p4.png", "p5.png", "p7.png", "p8.png"]
    assert browser.console == []
    assert all(url.startswith(("file:", "data:", "about:")) for url in browser.requests)
    assert browser.run("document.title") == "Contact sheet", "a name must not act"


def test_it_reads_without_its_script(browser: Browser, bundle: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in")
    page = tmp_path / "page.html"
    classify(tmp_path / "in", "--model", bundle, "--html", page, "--lang", "zh")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(page.as_uri())
    document = browser.call("DOM.getDocument", depth=-1)["root"]
    text = browser.call("DOM.getOuterHTML", nodeId=document["nodeId"])["outerHTML"]
    assert 'id="controls" role="search" hidden' in text
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    said = " ".join(str(node.get("name", {}).get("value", "")) for node in tree)
    for name in ("不确定", "金属", "其他", "罐", "grey.png", HOSTILE):
        assert name in said, name
    assert "筛选" not in said


def test_light_dark_narrow_and_wide(browser: Browser, bundle: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in")
    page = tmp_path / "page.html"
    classify(tmp_path / "in", "--model", bundle, "--html", page)
    browser.open(page.as_uri())
    browser.press("Tab")
    browser.assert_readable_everywhere("sheet", tmp_path)
    assert browser.console == []
    words = ["evaluate", tmp_path / "data", "--model", bundle, "--html", tmp_path / "wrong.html"]
    (tmp_path / "data" / "pill").mkdir(parents=True)
    paint(tmp_path / "data" / "pill" / "b.png", colour_of(TAXONOMY, 0))
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, done.output
    browser.open((tmp_path / "wrong.html").as_uri())
    browser.assert_readable_everywhere("mistakes", tmp_path)
    assert browser.console == []


def test_the_least_sure_are_kept_where_there_are_too_many(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    with ContactSheet(page, title="t", sections=["a", "b"], limit=3) as sheet:
        for i, rank in enumerate((5, 1, 4, 1, 3, 2, 9)):
            sheet.add(Card(Path(f"n{i}"), 1, "x", rank=rank))
    text = page.read_text(encoding="utf-8")
    assert [f"n{i}" for i in (1, 3, 5)] == [
        part.split("<")[0] for part in text.split("<small>")[1:]
    ]
    assert "3 of 7 are shown" in text
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_run_that_fails_leaves_the_earlier_page(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    outcome = Outcome(Path("a.jpg"), Status.ERROR, error="cut")
    with OutcomeSheet(page, TAXONOMY) as sheet:
        sheet.show(outcome)
    earlier = page.read_bytes()
    with pytest.raises(KeyboardInterrupt), OutcomeSheet(page, TAXONOMY) as sheet:
        raise KeyboardInterrupt
    assert page.read_bytes() == earlier
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(FolderError, match="folder"):
        OutcomeSheet(tmp_path, TAXONOMY)


def test_a_full_disk_is_one_line_and_leaves_no_part(tmp_path: Path) -> None:
    import resource

    page = tmp_path / "page.html"
    item = TAXONOMY.categories[0]
    decision = Decision(Status.SORTED, item, 1.0, TAXONOMY.bin_of(item), 1.0)
    outcome = Outcome(Path("a.jpg"), Status.SORTED, decision)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        refused = pytest.raises(FolderError, match=r"page\.html: cannot be written")
        with refused, OutcomeSheet(page, TAXONOMY) as sheet:
            for _ in range(1000):
                sheet.show(outcome, bytes(4000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["--csv", "--jsonl"])
def test_resume_shows_kept_rows_too(kind: str, bundle: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in")
    words: list[str | Path] = [tmp_path / "in", "--model", bundle, kind, tmp_path / "rows"]
    classify(*words, "--html", tmp_path / "whole.html")
    classify(*words, "--html", tmp_path / "again.html", "--resume")
    whole, again = ((tmp_path / f"{n}.html").read_text() for n in ("whole", "again"))
    # Why a kept row was unsure is in no column of the CSV.
    assert again.replace(", unknown object", "") == whole.replace(", unknown object", "")


def test_resume_with_rows_of_another_model_is_refused(bundle: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in")
    words: list[str | Path] = [tmp_path / "in", "--model", bundle, "--csv", tmp_path / "o.csv"]
    classify(*words)
    (tmp_path / "o.csv").write_text((tmp_path / "o.csv").read_text().replace(",0001,", ",0009,"))
    done = classify(*words, "--html", tmp_path / "page.html", "--resume")
    assert "names no class of this model" in str(done.exception)
    assert not (tmp_path / "page.html").exists()


def test_mistakes_as_a_page(browser: Browser, bundle: Path, tmp_path: Path) -> None:
    """By what they cost, with the true and the given label; two precisions share a card."""
    for name, paints in (("can", {"a": 0, "b": 1}), ("peel", {"c": 2, "d": 1}), ("pill", {"e": 2})):
        (tmp_path / "data" / name).mkdir(parents=True)
        for stem, index in paints.items():
            paint(tmp_path / "data" / name / f"{stem}.png", colour_of(TAXONOMY, index))
    (tmp_path / "data" / "pill" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "strange").mkdir()
    paint(tmp_path / "strange" / "f.png", colour_of(TAXONOMY, 0))
    page = tmp_path / "page.html"
    words = ["evaluate", tmp_path / "data", "--unknown", tmp_path / "strange", "--model", bundle]
    done = CliRunner().invoke(app, [*map(str, words), "--html", str(page), "--lang", "zh"])
    assert done.exit_code == 1, done.output
    browser.open(page.as_uri())
    cards = browser.run(
        "[...document.querySelectorAll('main section')].map((s) =>"
        " [s.querySelector('h2').innerText, ...[...s.querySelectorAll('li')].map((c) =>"
        " c.querySelector('b').textContent + ' ' + c.querySelector('small').textContent)])"
    )
    assert cards == [
        ["分错垃圾桶 1", "罐 → 皮 b.png"],
        ["未知物品却被分类 1", "未知 → 罐 f.png"],
        ["垃圾桶正确，类别错误 1", "皮 → 药 c.png"],
        ["错误 1", "无法读取 cut.png"],
    ]
    assert browser.run("document.querySelectorAll('em')[0].textContent") == "fp16, int8"
    assert browser.console == []
