"""Names from outside made safe to show: one line, printable, and back again.

Owns the escapes that every report and the terminal share. A file name may hold a newline, a
terminal's control sequence or bytes that are no text; none of them reaches a screen or a table.
"""

from __future__ import annotations

import re
import unicodedata

_SHORT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LONG = {escape[1]: character for character, escape in _SHORT.items()}
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)

# Control, format (among them the marks that turn text right to left), surrogates, line separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def escape(text: str) -> str:
    """`text` as one printable line: `\\n`, `\\x1b`, `\\u202e`; a backslash is doubled.

    A byte that is no UTF-8 (a surrogate, as `os.fsdecode` gives it) becomes `\\xNN`. `unescape`
    takes it back exactly.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_escape_one(character) for character in text)


def one_line(text: str) -> str:
    """A message as one printable line. Backslashes stay: names in it may be escaped already."""
    if text.isprintable():
        return text
    return "".join(c if c == "\\" else _escape_one(c) for c in text)


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes: a Chinese character takes two."""
    return len(text) + sum(unicodedata.east_asian_width(c) in "WF" for c in text)


def pad(text: str, width: int) -> str:
    """`text`, with spaces up to `width` columns."""
    return text + " " * (width - columns(text))


def unescape(text: str) -> str:
    """The text that `escape` was given."""
    return _ESCAPE.sub(_unescape_one, text) if "\\" in text else text


def _escape_one(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _unescape_one(match: re.Match[str]) -> str:
    byte, short, long, letter = match.groups()
    if byte:
        code = int(byte, 16)
        return chr(code if code < 0x80 else 0xDC00 + code)
    if short or long:
        return chr(int(short or long, 16))
    return _LONG.get(letter, letter)
