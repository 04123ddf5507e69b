"""What a station says over MQTT: where to, in which words, and how far the journal was told."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sorter.domain import ItemState, Record
from sorter.errors import MissingExtraError, UsageError
from sorter.station.health.status import StationStatus
from sorter.station.journal.history import COLUMNS, read_ended, read_items, read_newest
from sorter.station.journal.opening import open_journal
from sorter.station.mqtt.broker import BrokerAddress, paho, read_address
from sorter.station.mqtt.cursor import Cursor, cursor_path, further, load, parsed, save
from sorter.station.mqtt.topics import Topics, item_text, last_text, status_text
from tests.support.items import DECISION, picture

ETHERNET_BYTES = 1448
"""What one packet carries on most networks."""

WELL = StationStatus("camera", "inotify", "", "ready", True, True, "", "", "c0103", "", 0, 0, 1)


@pytest.mark.parametrize(
    ("given", "host", "port", "tls"),
    [
        ("broker", "broker", 1883, False),
        ("broker:1884", "broker", 1884, False),
        ("mqtt://192.0.2.7", "192.0.2.7", 1883, False),
        ("mqtts://broker", "broker", 8883, True),
        ("mqtts://broker:443/", "broker", 443, True),
        ("[2001:db8::1]:1884", "2001:db8::1", 1884, False),
    ],
)
def test_addresses(given: str, host: str, port: int, tls: bool) -> None:
    address = read_address(given)
    assert (address.host, address.port, address.tls) == (host, port, tls)
    assert read_address(f"{'mqtts' if tls else 'mqtt'}://{address}") == address


@pytest.mark.parametrize(
    "given",
    [
        "",
        ":1883",
        "broker:",
        "broker:0",
        "broker:70000",
        "broker:x",
        "http://broker",
        "a b",
        "user@broker",
        "broker/topic",
        "[::1",
        "mqtt://",
        "broker?x=1",
    ],
)
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(UsageError, match=r"--mqtt .*: give HOST, HOST:PORT or mqtts://"):
        read_address(given)


def test_a_password_is_read_from_its_file_and_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    address = read_address("broker", user="ann", password_file=secret)
    assert (address.user, address.password) == ("ann", "s3cret")
    assert "s3cret" not in repr(address)
    secret.write_bytes(b"\xff")
    for file, user, why in (
        (secret, "ann", "not text"),
        (tmp_path, "ann", "directory"),
        (tmp_path / "gone", "ann", "No such file"),
        (secret, "", "--mqtt-user"),
    ):
        with pytest.raises(UsageError, match=why):
            read_address("broker", user=user, password_file=file)
    with pytest.raises(UsageError, match="no such file"):
        read_address("mqtts://broker", ca=tmp_path / "gone")
    with pytest.raises(UsageError, match="--mqtt mqtts://broker"):
        read_address("broker", ca=secret)


@pytest.mark.parametrize("name", ["", "a/b", "a+b", "a#", "a\nb", "$SYS", "x" * 300])
def test_names_that_no_topic_can_have(name: str) -> None:
    with pytest.raises(UsageError, match="--station"):
        Topics(name).check()
    Topics("left 1 左").check()


def test_stations_are_told_apart_whatever_their_letters() -> None:
    names = ["left", "left 1", "left_1", "左", "右", "LEFT"]
    found = {(Topics(name).client, Topics(name).discovered()[0]) for name in names}
    assert len(found) == len(names)
    for _, topic in found:
        assert topic.replace("/", "").replace("_", "").isalnum() and topic.isascii()


def test_what_home_assistant_reads_is_there() -> None:
    topics = Topics("left")
    topic, text = topics.discovered()
    assert topic == "homeassistant/device/sorter_left/config"
    message = json.loads(text)
    row = dict.fromkeys(COLUMNS, "x")
    told = {
        topics.status: json.loads(status_text(WELL)),
        topics.last: json.loads(last_text(row, Cursor("5", 7))),
    }
    ids = set()
    for component in message["components"].values():
        ids.add(component["unique_id"])
        names = component["value_template"].split("value_json.")[1:]
        assert names, component
        for name in names:
            assert name.split()[0] in told[component["state_topic"]], component
    assert len(ids) == len(message["components"])
    (available,) = message["availability"]
    assert available["topic"] == topics.status
    assert json.loads(status_text(None))["state"] == "offline"
    assert json.loads(status_text(None)).keys() == told[topics.status].keys()


def test_a_station_in_trouble_says_so() -> None:
    found = json.loads(status_text(replace(WELL, folder_problem="gone", jam="n=3: stuck")))
    assert found["state"] == "degraded"
    assert found["kinds"] == ["folder", "jam"]
    assert json.loads(status_text(WELL))["state"] == "online"


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sorter\[mqtt\]'"):
        paho()


def test_an_item_and_how_far_all_were_told_fit_one_packet(tmp_path: Path) -> None:
    with_long_names = replace(
        picture("x"), path=Path("/srv/sorter/camera/2026-11-27") / f"{'long' * 12}.jpg"
    )
    journal = open_journal(tmp_path / "journal.sqlite")
    journal.station = "a hall's left line"
    ended = Record(
        with_long_names, ItemState.DONE, decision=DECISION, reason="low_confidence", model="e" * 64
    )
    journal.end(replace(ended, boot="b" * 8))
    journal.close()
    (row,) = read_items(tmp_path / "journal.sqlite")
    size = len(item_text(row, "12345678")) + len(last_text(row, Cursor("12345678", 4_000_000_000)))
    assert size + 2 * 40 < ETHERNET_BYTES


def test_what_ended_late_is_told_late_and_only_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = open_journal(path)
    for name in "abcde":
        state = ItemState.ARRIVED if name in "bd" else ItemState.REJECTED
        journal.add(Record(picture(name), state))
    first = read_ended(path, 0, waiting=(), limit=4)
    assert [row["n"] for row in first.rows] == [1, 3]
    assert (first.after, first.waiting, first.is_all) == (4, (2, 4), False)
    journal.finish(2, ItemState.EXPIRED, "stopped")
    second = read_ended(path, first.after, waiting=first.waiting, limit=4)
    assert [row["n"] for row in second.rows] == [2, 5]
    assert (second.after, second.waiting, second.is_all) == (5, (4,), True)
    assert read_newest(path) == (journal.sid, 5, (4,))
    journal.forget([1, 2, 3, 5])
    third = read_ended(path, 5, waiting=(2, 4), limit=4)  # Forgotten meanwhile: no more to wait.
    assert (third.rows, third.waiting) == ([], (4,))
    journal.close()


def test_the_cursor_that_knows_more_wins(tmp_path: Path) -> None:
    path = cursor_path(tmp_path / "journal.sqlite")
    assert load(path) is None
    old = Cursor("5", 7, (3, 4))
    save(path, old)
    assert load(path) == old
    assert further(old, None) == further(None, old) == old
    assert further(old, Cursor("5", 8, (3, 4, 6))) == Cursor("5", 8, (3, 4, 6))
    assert further(old, Cursor("5", 7, (4,))) == further(Cursor("5", 7, (4,)), old)
    assert further(old, Cursor("5", 7, (4,))) == Cursor("5", 7, (4,))
    assert further(old, Cursor("6", 99)) == old  # Of another journal.
    row = dict.fromkeys(COLUMNS, "x")
    assert parsed(last_text(row, old).encode()) == old
    for text in (b"", b"[]", b"{", b'{"sid": 1}', b"\xff", b'{"sid": 1, "after": 1e999}'):
        assert parsed(text) is None
    assert str(BrokerAddress("::1", 1883)) == "[::1]:1883"
