"""What teaching came to, said in both languages."""

from __future__ import annotations

import re
import string

from sorter.teach.words import of


def test_both_languages_say_the_same() -> None:
    english, chinese = of("en"), of("zh")
    assert list(english) == list(chinese)
    for key, text in english.items():
        fields = [
            {f for _, f, _, _ in string.Formatter().parse(t) if f} for t in (text, chinese[key])
        ]
        assert fields[0] == fields[1], key
        assert not re.search(r"[A-Za-z]{3,}", re.sub(r"\{.*?\}", "", chinese[key])), key
