"""A real broker on loopback: it goes away, a cable is cut, a login refused, a station killed."""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sorter.station.health.metrics import Metrics
from sorter.station.journal.history import read_items
from sorter.station.mqtt.broker import read_address
from sorter.station.mqtt.publisher import Publisher
from sorter.station.mqtt.topics import Topics
from tests.soak.mqtt import STATUS, soak
from tests.support.mqtt import MOSQUITTO, Listener, broker
from tests.support.processes import process
from tests.support.tiny import paint, write_bundle

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="needs the Debian package mosquitto")


def until(what: Callable[[], bool], patience_s: float = 20.0) -> None:
    """Wait for `what`; fail where it does not come."""
    end = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < end, "did not come"
        time.sleep(0.05)


def test_a_broker_that_is_away_costs_nothing(tmp_path: Path) -> None:
    found = soak(tmp_path, down_s=3.0, rate=10.0, stations=3, cuts=12)
    assert (found["lost"], found["twice"]) == (0, 0)
    assert found["online"] == found["offline_at_the_end"] == 3
    assert isinstance(found["told_late"], int) and found["told_late"] > 60
    assert isinstance(found["cuts"], int) and found["cuts"] >= 9


def test_killed_and_started_again_it_tells_each_item_once(tmp_path: Path) -> None:
    camera, journal, log = tmp_path / "camera", tmp_path / "journal.sqlite", tmp_path / "log"
    camera.mkdir()
    bundle = write_bundle(tmp_path / "bundle")
    with broker(tmp_path / "broker") as there:
        listener = Listener(there.port)
        words = ["watch", str(camera), "--serial", "none", "--journal", str(journal)]
        words += ["--model", str(bundle), "--unsure", "hold", "--station", "left"]
        words += ["--mqtt", f"127.0.0.1:{there.port}", "--settle", "0.05"]
        status = "sorter/left/status"

        def heard() -> int:
            return len(listener.heard.get("left", ()))

        for turn in (1, 2):
            with process(*words, log=log) as station:
                until(lambda: listener.kept.get(status, {}).get("state") == "online")
                until(lambda turn=turn: log.read_text().count("telling") == turn)  # type: ignore[misc]
                for index in range(5):
                    part = paint(camera / f".{turn}{index}.png", (turn * 60, index * 40, 9))
                    part.rename(camera / f"{turn}{index}.png")
                until(lambda turn=turn: heard() == 5 * turn)  # type: ignore[misc]
                if turn == 2:
                    station.send_signal(signal.SIGTERM)
                    station.wait(30)
            # Killed, the broker says it for the station; stopped, it says so itself.
            until(lambda: listener.kept[status]["state"] == "offline")
        listener.close()
        assert set(listener.heard["left"].values()) == {1}
        rows = {row["n"]: row for row in read_items(journal)}
        assert sorted(listener.heard["left"]) == sorted(rows)
        item = listener.kept["sorter/left/item"]
        assert {k: v for k, v in item.items() if k != "sid"} == rows[item["n"]]
        assert "homeassistant/device/sorter_left/config" in listener.kept


# paho lets the socket of a failed handshake go without closing it.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in.*SSLSocket:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.skipif(
    not shutil.which("openssl") or not shutil.which("mosquitto_passwd"),
    reason="needs the Debian packages openssl and mosquitto",
)
def test_a_login_over_tls_and_what_is_said_where_it_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "broker"
    run.mkdir()
    certificate, key, names = run / "cert.pem", run / "key.pem", run / "names"
    for command in (
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        ["mosquitto_passwd", "-c", "-b", str(names), "ann", "s3cret"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("s3cret\n")
    wrong.write_text("other\n")
    more = f"password_file {names}\ncertfile {certificate}\nkeyfile {key}"
    with broker(run, more=more) as there:
        url = f"mqtts://127.0.0.1:{there.port}"
        for file, ca, said in (
            (wrong, certificate, "check --mqtt-user and --mqtt-password-file"),
            (right, None, "check --mqtt-ca"),
            (right, certificate, "telling"),
        ):
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                teller = Publisher(
                    _journal(tmp_path),
                    read_address(url, user="ann", password_file=file, ca=ca),
                    Topics("left"),
                    status=lambda: STATUS,
                    meter=Metrics(strict=True),
                )
                until(lambda said=said: said in caplog.text)  # type: ignore[misc]
                teller.close()
            assert len(caplog.records) == 1, caplog.text


def _journal(folder: Path) -> Path:
    from sorter.station.journal.opening import open_journal

    journal = open_journal(folder / "journal.sqlite")
    journal.close()
    return journal.path
