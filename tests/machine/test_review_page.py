"""The labelling page in a real browser, with nothing but the keyboard."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.browser import Browser
from tests.support.review_stand import Sitting, make_ring, sitting


@pytest.fixture
def stage(tmp_path: Path) -> Generator[tuple[Browser, Sitting, Path]]:
    ring, into = make_ring(tmp_path / "ring"), tmp_path / "data"
    with (
        Browser(tmp_path / "profile") as browser,
        sitting(ring, into, "--taxonomy", str(_taxonomy(tmp_path))) as running,
    ):
        browser.open(running.url)
        wait(browser, 0)
        yield browser, running, into


def _taxonomy(folder: Path) -> Path:
    """The model's classes, named so that one must be searched for."""
    file = folder / "words.toml"
    file.write_text(
        'name = "tiny"\n'
        '[[bins]]\nkey = "metal"\nname = "Metal"\nname_zh = "金属"\n'
        '[[bins]]\nkey = "rest"\nname = "Rest"\nname_zh = "其他"\n'
        '[[items]]\ncode = "0001"\nname = "can"\nname_zh = "罐"\nbin = "metal"\n'
        '[[items]]\ncode = "0101"\nname = "peel"\nname_zh = "皮"\nbin = "rest"\n'
        '[[items]]\ncode = "0102"\nname = "pill"\nname_zh = "药"\nbin = "rest"\n'
        '[[items]]\ncode = "0103"\nname = "<b>pillow</b>"\nname_zh = "枕头"\nbin = "rest"\n'
    )
    return file


def wait(browser: Browser, number: int) -> None:
    """Until picture `number` of the ring is on the screen and may be answered for."""
    browser.until(
        f"document.getElementById('caption').textContent.includes('_n{number}_') && !busy"
    )


def filed(into: Path) -> list[str]:
    """`class/n<number>` of every picture in the data folder."""
    files = (p for p in into.glob("*/*") if not p.name.startswith("."))
    return sorted(f"{p.parent.name}/{p.name.split('_')[1]}" for p in files)


def test_a_ring_is_labelled_by_keyboard_alone(stage: tuple[Browser, Sitting, Path]) -> None:
    browser, running, into = stage
    browser.press("1")  # the model's first: a can
    wait(browser, 1)
    assert filed(into) == ["0001/n0"]
    browser.press(" ")
    wait(browser, 2)
    browser.press("Backspace")  # the skip
    wait(browser, 1)
    browser.press("Backspace")  # the can
    wait(browser, 0)
    assert filed(into) == []
    browser.write("pil")
    assert browser.run("matches.map((m) => m.code).join()") == "0102,0103"
    browser.press("ArrowDown")
    browser.press("Enter")
    wait(browser, 1)
    assert filed(into) == ["0103/n0"]
    assert browser.run("document.getElementById('last').textContent").endswith("<b>pillow</b>")
    browser.write("1")
    wait(browser, 2)
    browser.press("1")
    wait(browser, 3)
    browser.press("3")
    browser.until("!document.getElementById('empty').hidden")
    assert len(filed(into)) == 4
    for _ in range(20):
        if browser.run("document.activeElement.id") == "finish":
            break
        browser.press("Tab")
    browser.press("Enter")
    assert running.end()[0] == 0
    assert browser.console == []
    assert all(url.startswith(running.url) for url in browser.requests if "about:" not in url)


def test_a_key_held_down_answers_once(stage: tuple[Browser, Sitting, Path]) -> None:
    browser, _, into = stage
    held = {"type": "keyDown", "key": "1", "windowsVirtualKeyCode": 49, "text": "1"}
    browser.call("Input.dispatchKeyEvent", **held)
    wait(browser, 1)
    for _ in range(5):
        browser.call("Input.dispatchKeyEvent", **held, autoRepeat=True)
    browser.run("new Promise((done) => setTimeout(done, 200))")
    assert len(filed(into)) == 1


def test_in_chinese_nothing_on_it_is_english(tmp_path: Path) -> None:
    ring, into = make_ring(tmp_path / "ring"), tmp_path / "data"
    words = (
        "--taxonomy",
        str(_taxonomy(tmp_path)),
        "--lang",
        "zh",
        "--teach",
        str(tmp_path / "new"),
    )
    with (
        Browser(tmp_path / "profile") as browser,
        sitting(ring, into, *words, "--teach", str(tmp_path / "new")) as running,
    ):
        browser.open(running.url)
        wait(browser, 0)
        browser.press("1")
        wait(browser, 1)
        seen = browser.run("document.documentElement.lang + document.body.innerText")
        assert "zh-CN" in seen and "这是什么？" in seen and "剩余" in seen
        for path in ring.iterdir():  # a picture's name is its own
            seen = seen.replace(path.name, "")
        assert set(re.findall(r"[A-Za-z]{2,}", seen)) == {"zh", "CN"}
        assert running.answer("skip", id="0" * 64)["notice"] == "这张图片已有回答"
        browser.assert_readable_everywhere("review-zh", tmp_path)


def test_it_is_readable_small_large_light_and_dark(
    stage: tuple[Browser, Sitting, Path], tmp_path: Path
) -> None:
    browser, _, _ = stage
    browser.write("p")
    browser.assert_readable_everywhere("review", tmp_path)
    assert browser.console == []
