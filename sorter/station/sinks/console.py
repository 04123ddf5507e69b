"""One line a record, as an operator or journald reads it.

Owns the wording. Writes to the stream it is given and nowhere else.
"""

from __future__ import annotations

import json
from typing import TextIO

from sorter.domain import Record
from sorter.station.sinks.nonblocking import NonblockingWriter
from sorter.text import bin_word, escape, named


class Console:
    """A sink that prints. `lang` "zh" gives Chinese class and bin names; `as_json` a JSON line."""

    def __init__(self, stream: TextIO, *, lang: str = "en", as_json: bool = False) -> None:
        self._lang, self._json = lang, as_json
        self._out = (
            NonblockingWriter(stream, note='{"lost": %d}') if as_json else NonblockingWriter(stream)
        )

    def __call__(self, record: Record) -> None:
        """Print one record; a reader that stopped or went away must not stop a station."""
        self._out.write((self._as_json(record) if self._json else self._as_text(record)) + "\n")

    def _as_text(self, record: Record) -> str:
        parts = [f"n={record.n}", record.state.value]
        if record.bin is not None:
            parts.append(f"bin={record.bin.number}:{bin_word(record.bin, self._lang)}")
        if record.decision is not None:
            name = named(record.decision.label, self._lang)
            parts.append(f"{name!r} {record.decision.bin_confidence:.3f}")
        parts += [f"age={record.age_s:.2f}s", escape(record.picture.path.name)]
        if record.reason:
            parts.append(f"({escape(record.reason)})")
        return " ".join(parts)

    def _as_json(self, record: Record) -> str:
        decision = record.decision
        document = {
            "n": record.n,
            "state": record.state.value,
            "path": escape(str(record.picture.path)),
            "label": named(decision.label, self._lang) if decision else "",
            "code": decision.label.code if decision else "",
            "bin": record.bin.key if record.bin else "",
            "confidence": round(decision.confidence, 4) if decision else None,
            "bin_confidence": round(decision.bin_confidence, 4) if decision else None,
            "reason": escape(record.reason),
            "age_s": round(record.age_s, 3),
            "model": record.model,
        }
        return json.dumps(document, ensure_ascii=False)
