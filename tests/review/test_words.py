"""What the labelling page says: the same in both languages, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from sorter.errors import FolderError
from sorter.review.words import RefusedError, of, told

ASSETS = Path(__file__).parents[2] / "sorter/review/assets"


def test_both_languages_say_the_same_and_all_that_the_page_asks_for() -> None:
    english, chinese = of("en"), of("zh")
    assert list(english) == list(chinese)
    for key, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", chinese[key])), key
    asked = set(re.findall(r"\{(\w+)\}", (ASSETS / "index.html").read_text(encoding="utf-8")))
    script = (ASSETS / "review.js").read_text(encoding="utf-8")
    asked |= set(re.findall(r"say\(\"([\w ]+)\"", script))
    assert asked and asked <= set(english)


def test_a_refusal_is_told_in_the_reader_s_language() -> None:
    refused = RefusedError("changed", file="a.jpg")
    assert str(refused) == told(refused, "en")
    assert told(refused, "zh") == "a.jpg 之后被修改或移动；请手动撤销"
    assert told(FolderError("/x: no space"), "en") == "/x: no space"
    assert told(FolderError("/x: no space"), "zh") == "无法完成：/x: no space"
