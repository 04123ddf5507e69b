"""The page of formats says what the code writes: the same columns and keys, in the same order."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import sorter
from sorter.audit import Audit
from sorter.cli.status import _json
from sorter.domain import Bin, Category, Decision, Outcome, Reason, Status
from sorter.report import csv, jsonl
from sorter.report.numbers import Period
from sorter.station.health.alarms import Orders
from sorter.station.journal import history
from sorter.station.mqtt.cursor import Cursor
from sorter.station.mqtt.topics import Topics, item_text, last_text, status_text
from sorter.station.sinks.console import Console
from tests.support.recorded import camera, record

PAGE = (Path(sorter.__file__).parent / "report" / "README.md").read_text(encoding="utf-8")
EXAMPLES: list[dict[str, Any]] = [
    json.loads(text) for text in re.findall(r"```json\n(.*?)\n```", PAGE)
]
TABLES = [text.split("\n") for text in re.findall(r"```\n([a-z0-9_,]+\n.*?)\n```", PAGE)]


def example(key: str) -> dict[str, Any]:
    """The one example that has `key`."""
    (found,) = [document for document in EXAMPLES if key in document]
    return found


def test_rows_of_classify() -> None:
    bin_ = Bin("food", 4, "03", "Food", "湿垃圾")
    peel = Category("03_03", "Peel", "皮", "food")
    decision = Decision(Status.UNSURE, peel, 0.4, bin_, 0.5, Reason.RISK, 0.1, ((peel, 0.4),))
    outcome = Outcome(Path("a.jpg"), Status.UNSURE, decision, 1, 2, 3.0)
    written = json.loads(jsonl.to_line(outcome))
    shown = example("bin_number")
    assert list(shown) == list(written)
    assert list(shown["top"][0]) == list(written["top"][0])
    for kind in (Outcome, Decision):
        for field in dataclasses.fields(kind):
            assert f"`{field.name}`" in PAGE
    for reason in Reason:
        assert not reason or f"`{reason.value}`" in PAGE


def test_tables() -> None:
    heads = [table[0].split(",") for table in TABLES]
    assert heads[0] == list(csv.COLUMNS)
    assert heads[1] == list(history.COLUMNS)
    assert heads[2] == [*Period().to_row(), "moved_food"]
    for table, head in zip(TABLES, heads, strict=True):
        assert len(table) == 2 and len(table[1].split(",")) == len(head)


def test_a_line_for_each_record(tmp_path: Path) -> None:
    out = io.StringIO()
    console = Console(out, as_json=True)
    console(record(camera(tmp_path, "a.jpg"), 7))
    document = json.loads(console._as_json(record(tmp_path / "a.jpg", 7)))
    assert list(example("age_s")) == list(document)


def test_how_a_station_is() -> None:
    pace = history.Pace(0, None, None)
    seen = history.Summary("sid", 0, {}, [], 1, 0, None, 0.0, pace, Audit())
    assert list(example("unclean_stops")) == list(json.loads(_json(seen)))


def test_a_message_of_trouble() -> None:
    keys = ["event", "kind", "what", "since", "at", "station", "folder"]
    assert list(example("event")) == keys
    assert Orders().station == ""


def test_messages_of_mqtt() -> None:
    status = json.loads(status_text(None))
    assert list(example("kinds")) == list(status)
    row = dict.fromkeys(history.COLUMNS, "x")
    assert list(example("waiting")) == list(json.loads(last_text(row, Cursor("5"))))
    assert list(json.loads(item_text(row, "5"))) == [*history.COLUMNS, "sid"]
    topics = Topics("NAME")
    for topic in (topics.status, topics.item, topics.last, topics.discovered()[0]):
        assert f"`{topic}`" in PAGE
