"""Names and messages from outside: one line, harmless in a spreadsheet, and back."""

from __future__ import annotations

import pytest

from sorter.domain import Bin
from sorter.text import Lang, cell, counted, csv_row, first_line, last_line, named, one_line, uncell


@pytest.mark.parametrize(
    "text",
    ["=1+1", "＝1+1", "＋1", "－1", "＠x", "-1", "+1", "@x", "'quoted", "a\nb", "\udcff", "\\"],
)
def test_a_cell_is_harmless_and_reversible(text: str) -> None:
    safe = cell(text)
    assert not safe.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
    assert "\n" not in safe
    assert uncell(safe) == text


def test_a_row_is_one_line() -> None:
    assert csv_row(["a,b", "c"]) == '"a,b",c\n'


def test_the_lines_of_a_library_s_error() -> None:
    error = ValueError("\n first \n\n last \n")
    assert (first_line(error), last_line(error)) == ("first", "last")
    assert first_line(ValueError()) == "ValueError"
    assert last_line(ValueError("x" * 500), limit=10) == "x" * 10


def test_a_message_is_one_line_and_cut() -> None:
    assert one_line("a\nb\x1b") == "a\\nb\\x1b"
    assert one_line("abcdef", limit=3) == "abc"


def test_names_by_language() -> None:
    residual = Bin("residual", 4, "04", "Residual waste", "其他垃圾")
    assert named(residual, Lang.EN) == "Residual waste"
    assert named(residual, "zh") == "其他垃圾"


def test_one_of_a_kind_has_no_plural() -> None:
    assert [counted(n, "picture") for n in (0, 1, 2)] == ["0 pictures", "1 picture", "2 pictures"]
    assert [counted(n, "class") for n in (1, 2)] == ["1 class", "2 classes"]
