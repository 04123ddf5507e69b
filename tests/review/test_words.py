"""What the labelling page says: the same in both languages, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sorter.errors import FolderError
from sorter.files import write_whole
from sorter.review.words import PlaceError, RefusedError, of, told

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


def test_no_chinese_word_is_english() -> None:
    chinese = of("zh")
    for key in [key for key in chinese if key != "lang"]:
        said = re.sub(r"\{\w+\}|sorter review|Ctrl-C", "", chinese[key])
        assert not re.search("[A-Za-z]{2,}", said), key


def test_a_refusal_is_told_in_the_reader_s_language() -> None:
    refused = RefusedError("changed", file="a.jpg")
    assert str(refused) == told(refused, "en")
    assert told(refused, "zh") == "a.jpg 之后被修改或移动；请手动撤销"
    assert told(FolderError("/x: no space"), "en") == "/x: no space"
    assert told(FolderError("/x: no space"), "zh") == "无法完成：/x: no space"
    gone = PlaceError("no folder", folder="/ring")
    assert isinstance(gone, FolderError) and gone.exit_code == 5
    assert told(gone, "zh") == "没有图片文件夹 /ring"


def test_what_a_disk_answers_is_told_in_the_reader_s_language(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError) as refused:
        write_whole(tmp_path / "file" / "a.jpg", b"picture")
    assert told(refused.value, "en") == str(refused.value)
    assert told(refused.value, "zh") == f"无法写入 {tmp_path}/file/a.jpg：不是文件夹"
