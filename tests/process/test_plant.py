"""A plant of twenty stations: one Prometheus sees all, every panel shows something, alerts fire.

Real programs of Debian on loopback: promtool, prometheus, node_exporter. The numbers are written by
the station's own code.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sorter.domain import ItemState
from sorter.station.health.metrics import DECLARED, Metrics
from sorter.station.health.status import Trouble
from tests.support.mqtt import free_port

GRAFANA = Path(__file__).parents[2] / "systemd" / "grafana"
BOARD: dict[str, Any] = json.loads((GRAFANA / "stations.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = BOARD["panels"]
RULES = (GRAFANA / "alerts.yml").read_text(encoding="utf-8")
ALERTS = re.findall(r"^ +- alert: (\w+)$", RULES, re.M)
STATIONS = 20
SAMPLES = "min(count_over_time(sorter_queue_items[1m]))"
QUERIES = [(panel, target["expr"]) for panel in PANELS for target in panel["targets"]]

needs_prometheus = pytest.mark.skipif(
    not shutil.which("promtool"), reason="needs the Debian package prometheus"
)


def promtool(*words: str) -> str:
    """What it says; fails where it finds fault."""
    done = subprocess.run(
        ["promtool", *words], cwd=GRAFANA, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_prometheus
def test_every_alert_is_sound_and_fires(tmp_path: Path) -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")
    tests = (GRAFANA / "alerts_test.yml").read_text(encoding="utf-8")
    fired = re.findall(r"alertname: (\w+)\n.*\n +exp_alerts:\n +- exp_labels", tests)
    assert sorted(fired) == sorted(ALERTS)
    # It can fail: rules that never fire are found out.
    one = tests[: tests.index("  - name: SorterDeviceLost")]
    (tmp_path / "alerts_test.yml").write_text(one, encoding="utf-8")
    deaf = re.sub(r'kind="(\w+)"} == 1', r'kind="\1"} == 2', RULES)
    (tmp_path / "alerts.yml").write_text(deaf, encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yml"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode != 0


def test_alerts_and_panels_speak_of_numbers_that_there_are() -> None:
    suffixes = r"(?:_bucket|_sum|_count)?"
    known = re.compile("|".join(f"{name}{suffixes}" for name in DECLARED))
    for text in (RULES, *(expr for _, expr in QUERIES)):
        for name in re.findall(r"\bsorter_[a-z_]+", text):
            assert known.fullmatch(name), name
    for kind in Trouble:
        assert f'kind="{kind.value}"' in RULES


def test_the_dashboard_is_one_of_grafanas_own_schema() -> None:
    """Read and written by Grafana's own types it is the same: no key is unknown or misspelt."""
    dashboard = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="missing")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder", reason="missing")

    def unknown(ours: Any, theirs: Any, where: str) -> list[str]:
        if isinstance(ours, dict):
            return [
                fault
                for key, value in ours.items()
                for fault in (
                    unknown(value, theirs[key], f"{where}.{key}")
                    if isinstance(theirs, dict) and key in theirs
                    else [f"{where}.{key}"]
                )
            ]
        if isinstance(ours, list):
            pairs = zip(ours, theirs, strict=True)
            return [f for i, (a, b) in enumerate(pairs) for f in unknown(a, b, f"{where}[{i}]")]
        return [] if ours == theirs else [where]

    def again(board: dict[str, Any]) -> list[str]:
        read = dashboard.Dashboard.from_json(board)
        return unknown(board, json.loads(json.dumps(read, cls=encoder.JSONEncoder)), "board")

    assert again(BOARD) == []
    assert again({**BOARD, "titel": "x"}) == ["board.titel"]  # It can fail.


def test_the_dashboard_is_well_kept() -> None:
    """The habits that Grafana's linter asks for."""
    assert BOARD["editable"] is False
    source, station = BOARD["templating"]["list"]
    assert (source["type"], source["name"], source["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    assert (station["multi"], station["includeAll"], station["allValue"]) == (True, True, ".+")
    assert (
        len({panel["id"] for panel in PANELS}) == len({p["title"] for p in PANELS}) == len(PANELS)
    )
    cells: set[tuple[int, int]] = set()
    for panel in PANELS:
        assert panel["description"] and panel["fieldConfig"]["defaults"]["unit"]
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        own = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not own & cells, panel["title"]
        cells |= own
    for panel, expr in QUERIES:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(t["datasource"]["uid"] == "${datasource}" for t in panel["targets"])
        for braces in re.findall(r"sorter_\w+({[^}]*})?", expr):
            assert 'station=~"$station"' in braces, expr
        for counter in re.findall(r"(\w*\()sorter_\w+_(?:total|bucket)\b", expr):
            assert counter in ("rate(", "increase("), expr
        for range_ in re.findall(r"rate\([^[]*\[([^\]]+)\]", expr):
            assert range_ == "$__rate_interval", expr


class Plant:
    """The numbers of twenty stations in one folder, every second a little further."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._files = {
            folder / f"line-{index:02}.prom": Metrics(strict=True, station=f"line-{index:02}")
            for index in range(1, STATIONS + 1)
        }

    def go_on(self) -> None:
        """One second more at each."""
        now = time.time()
        for number, (path, meter) in enumerate(self._files.items()):
            for state in ItemState:
                if state.is_terminal:
                    meter.count("sorter_items_total", state=state.value)
            for bin_ in ("food", "residual"):
                meter.count("sorter_moved_total", number + 1, bin=bin_)
            for reason in ("sorted", "low_confidence", "empty"):
                meter.count("sorter_decisions_total", reason=reason)
            meter.count("sorter_classes_total", **{"class": "Cans"})
            meter.count("sorter_faults_total", part="link")
            for name in ("decide", "commit", "respond", "move"):
                meter.observe(f"sorter_{name}_seconds", 0.1)
            for kind in Trouble:
                meter.gauge("sorter_trouble", float(number == 3 and kind == "jam"), kind=kind)
            for name in ("seen_time_seconds", "last_item_time_seconds", "start_time_seconds"):
                meter.gauge(f"sorter_{name}", now)
            for name in ("queue_items", "journal_free_bytes", "mqtt_waiting_items"):
                meter.gauge(f"sorter_{name}", 7.0)
            meter.write(path)


def asked(port: int, path: str, **query: str) -> Any:
    """What Prometheus answers, `data` of it."""
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]


@contextlib.contextmanager
def running(*words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program until the end."""
    with log.open("wb") as out:
        program = subprocess.Popen(words, stdout=out, stderr=out)
        try:
            yield program
        finally:
            program.terminate()
            program.wait(20)


@needs_prometheus
@pytest.mark.skipif(
    not shutil.which("prometheus-node-exporter"),
    reason="needs the Debian package prometheus-node-exporter",
)
def test_one_prometheus_sees_twenty_stations_and_every_panel_shows_something(
    tmp_path: Path,
) -> None:
    node, port = free_port(), free_port()
    plant = Plant(tmp_path / "numbers")
    plant.go_on()
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: [{GRAFANA}/alerts.yml]\n"
        "scrape_configs:\n- job_name: node\n  static_configs:\n"
        f"  - targets: ['127.0.0.1:{node}']\n",
        encoding="utf-8",
    )
    exporter = running(
        "prometheus-node-exporter",
        f"--web.listen-address=127.0.0.1:{node}",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={tmp_path}/num*",
        log=tmp_path / "node.log",
    )
    prometheus = running(
        "prometheus",
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
        log=tmp_path / "prometheus.log",
    )
    with exporter, prometheus:
        until = time.monotonic() + 60
        while True:
            assert time.monotonic() < until, (tmp_path / "prometheus.log").read_text()
            plant.go_on()
            time.sleep(1)
            with contextlib.suppress(OSError):
                values = asked(port, "query", query=SAMPLES)["result"]
                if values and float(values[0]["value"][1]) >= 4:
                    break
        assert (
            asked(port, "query", query="node_textfile_scrape_error")["result"][0]["value"][1] == "0"
        )
        names = asked(port, "label/station/values")
        assert names == [f"line-{index:02}" for index in range(1, STATIONS + 1)]
        for panel, expr in QUERIES:
            for chosen in (".+", "line-07"):
                filled = expr.replace("$station", chosen)
                filled = filled.replace("$__rate_interval", "10s").replace("$__range", "30s")
                values = asked(port, "query", query=filled)["result"]
                assert values, f"{panel['title']}: {filled} shows nothing"
                assert not any(v["value"][1] == "NaN" for v in values), panel["title"]
                if "{{station}}" in panel["targets"][0]["legendFormat"]:
                    assert len(values) % (STATIONS if chosen == ".+" else 1) == 0, panel["title"]
        until = time.monotonic() + 30
        while time.monotonic() < until:
            alerts = asked(port, "alerts")["alerts"]
            if any(a["labels"]["alertname"] == "SorterJam" for a in alerts):
                break
            time.sleep(0.5)
        (jam,) = [a for a in alerts if a["labels"]["alertname"] == "SorterJam"]
        assert jam["labels"]["station"] == "line-04"
