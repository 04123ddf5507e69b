"""The page of `sorter report` in a real browser: a telephone, a desk, light, dark, no error."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorter.report.numbers import By, Release, begin, numbers
from sorter.report.numbers_page import page
from sorter.station.journal.history import read_counts
from tests.soak.report import make
from tests.support.browser import Browser


@pytest.mark.parametrize("by", [By.WEEK, By.HOUR])
def test_it_reads_on_every_screen(tmp_path: Path, by: By) -> None:
    make(tmp_path / "j.sqlite", 2000)
    counted = read_counts(tmp_path / "j.sqlite", lambda hour: begin(hour, by))
    keys = ["recyclable", "residual", "hazardous", "food"]
    found = numbers(counted, by=by, bins=keys, release=Release(0.29))
    file = tmp_path / "report.html"
    file.write_text(page(found, lang="en", bin_name=str, class_name=str), encoding="utf-8")
    with Browser(tmp_path / "profile") as browser:
        browser.open(file.as_uri())
        assert browser.run("document.querySelectorAll('svg').length") == 2
        browser.assert_readable_everywhere(f"report-{by.value}", tmp_path)
        small = browser.run(
            "Math.min(...[...document.querySelectorAll('p, dd, dt, td, li, span')]"
            ".map(e => parseFloat(getComputedStyle(e).fontSize)))"
        )
        assert small >= 13
        assert browser.console == []
        assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
