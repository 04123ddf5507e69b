"""The Prometheus text: parsed back, concurrent, atomic, and true to the declared names."""

from __future__ import annotations

import ast
import re
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import sorter
from sorter.domain import ItemState
from sorter.errors import EnvironmentFault
from sorter.station.health.metrics import BUCKETS_S, DECLARED, Metrics

SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def _parse(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Samples by name and labels; fails on a line that the format does not know."""
    samples = {}
    for line in text.splitlines():
        if line.startswith(("# HELP ", "# TYPE ")):
            continue
        match = SAMPLE.match(line)
        assert match, line
        labels = tuple(LABEL.findall(match[2] or ""))
        assert (match[1], labels) not in samples, line
        samples[match[1], labels] = float(match[3])
    return samples


def test_numbers_come_back() -> None:
    metrics = Metrics(strict=True)
    metrics.count("sorter_items_total", state=ItemState.DONE)
    metrics.count("sorter_items_total", 2, state=ItemState.DONE)
    metrics.count("sorter_moved_total", bin="kitchen")
    metrics.count("sorter_restarts_total", 4)
    metrics.gauge("sorter_link_ready", True)
    metrics.gauge("sorter_link_ready", False)
    metrics.gauge("sorter_start_time_seconds", 1_700_000_000.25)
    samples = _parse(metrics.text())
    assert samples["sorter_items_total", (("state", "DONE"),)] == 3
    assert samples["sorter_items_total", (("state", "FAILED"),)] == 0
    assert samples["sorter_moved_total", (("bin", "kitchen"),)] == 1
    assert samples["sorter_restarts_total", ()] == 4
    assert samples["sorter_link_ready", ()] == 0
    assert samples["sorter_start_time_seconds", ()] == 1_700_000_000.25
    assert not any(name == "sorter_queue_items" for name, _ in samples)  # Never set: not shown.


def test_every_name_has_help_and_type_before_its_samples() -> None:
    metrics = Metrics(strict=True)
    for name, declared in DECLARED.items():
        labels = dict.fromkeys(declared.labels, "x")
        if declared.kind == "counter":
            metrics.count(name, 1, **labels)
        elif declared.kind == "histogram":
            metrics.observe(name, 1.0, **labels)
        elif declared.kind == "info":
            metrics.info(name, **labels)
        else:
            metrics.gauge(name, 1, **labels)
    lines = metrics.text().splitlines()
    for name, declared in DECLARED.items():
        kind = "gauge" if declared.kind == "info" else declared.kind
        at = lines.index(f"# HELP {name} {declared.help}")
        assert lines[at + 1] == f"# TYPE {name} {kind}"
        assert lines[at + 2].startswith(name)
    assert metrics.text().endswith("\n")


def test_units_are_in_the_names() -> None:
    for name, declared in DECLARED.items():
        assert re.fullmatch(r"sorter_[a-z_]+", name)
        assert name.endswith("_total") == (declared.kind == "counter"), name
        if declared.kind == "histogram":
            assert name.endswith("_seconds")
        assert declared.help.endswith(".")


def test_buckets_are_cumulative_and_an_edge_belongs_below() -> None:
    metrics = Metrics(strict=True)
    for seconds in (0.001, BUCKETS_S[0], 0.3, 99.0):
        metrics.observe("sorter_decide_seconds", seconds)
    samples = _parse(metrics.text())
    bucket = "sorter_decide_seconds_bucket"
    counts = [v for (name, _), v in samples.items() if name == bucket]
    assert counts == sorted(counts)
    assert samples[bucket, (("le", "0.005"),)] == 2
    assert samples[bucket, (("le", "0.5"),)] == 3
    assert samples[bucket, (("le", "10"),)] == 3
    assert samples[bucket, (("le", "+Inf"),)] == 4
    assert samples["sorter_decide_seconds_count", ()] == 4
    assert samples["sorter_decide_seconds_sum", ()] == pytest.approx(99.306)


def test_every_sample_says_whose_it_is() -> None:
    metrics = Metrics(strict=True, station="left")
    metrics.observe("sorter_move_seconds", 0.3)
    metrics.gauge("sorter_trouble", 1, kind="jam")
    samples = _parse(metrics.text())
    assert {dict(labels)["station"] for _, labels in samples} == {"left"}
    assert samples["sorter_trouble", (("station", "left"), ("kind", "jam"))] == 1
    assert ("sorter_move_seconds_bucket", (("station", "left"), ("le", "0.5"))) in samples


def test_info_forgets_the_old_weights() -> None:
    metrics = Metrics(strict=True)
    metrics.info("sorter_model_info", digest="aa")
    metrics.info("sorter_model_info", digest="bb")
    text = metrics.text()
    assert 'digest="bb"' in text
    assert 'digest="aa"' not in text


def test_label_values_are_escaped() -> None:
    metrics = Metrics(strict=True)
    metrics.count("sorter_moved_total", bin='a"b\\c\nd')
    metrics.count("sorter_classes_total", **{"class": "\udcff"})
    samples = _parse(metrics.text())
    assert ("sorter_moved_total", (("bin", r"a\"b\\c\nd"),)) in samples
    assert ("sorter_classes_total", (("class", r"\\udcff"),)) in samples
    assert metrics.text().encode("utf-8")


MISTAKES: tuple[Callable[[Metrics], None], ...] = (
    lambda m: m.count("sorter_itmes_total"),
    lambda m: m.count("sorter_items_total"),
    lambda m: m.count("sorter_items_total", colour="red"),
    lambda m: m.count("sorter_items_total", -1, state="DONE"),
    lambda m: m.count("sorter_link_ready"),
    lambda m: m.observe("sorter_decide_seconds", float("nan")),
    lambda m: m.gauge("sorter_restarts_total", 1),
)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_misspelt_metric_is_an_error_in_tests(mistake: Callable[[Metrics], None]) -> None:
    with pytest.raises(ValueError, match="metric sorter_"):
        mistake(Metrics(strict=True))


def test_a_misspelt_metric_is_survived_in_the_field(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    for mistake in MISTAKES * 3:
        mistake(metrics)
    assert metrics.text() == Metrics().text()  # Nothing wrong got in.
    assert 0 < len(caplog.records) <= len(MISTAKES)  # Said once each, not for ever.


def test_no_count_is_lost_between_threads() -> None:
    metrics = Metrics(strict=True)

    def work() -> None:
        for _ in range(2_000):
            metrics.count("sorter_rescans_total")
            metrics.observe("sorter_commit_seconds", 0.001)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    samples = _parse(metrics.text())
    assert samples["sorter_rescans_total", ()] == 16_000
    assert samples["sorter_commit_seconds_count", ()] == 16_000


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sorter.prom"
    metrics = Metrics(strict=True)
    metrics.write(path)
    done = threading.Event()
    seen: list[str] = []

    def read() -> None:
        while not done.is_set():
            seen.append(path.read_text(encoding="utf-8"))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for _ in range(200):
            metrics.count("sorter_rescans_total")
            metrics.write(path)
    finally:
        done.set()
        thread.join()
    length = {len(_parse(text)) for text in seen}
    assert length == {len(_parse(metrics.text()))}
    assert [p.name for p in tmp_path.iterdir()] == ["sorter.prom"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"cannot be written: No such file.*--metrics"):
        Metrics().write(tmp_path / "gone" / "sorter.prom")
    (tmp_path / "sorter.prom").mkdir()
    with pytest.raises(EnvironmentFault, match="directory"):
        Metrics().write(tmp_path / "sorter.prom")
    assert [p.name for p in tmp_path.iterdir()] == ["sorter.prom"]  # No litter.


def _calls_in_sorter() -> list[tuple[str, ast.Call, str]]:
    found = []
    for file in sorted(Path(sorter.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("count", "observe", "gauge", "info")
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and str(node.args[0].value).startswith("sorter_")
            ):
                found.append((str(node.args[0].value), node, f"{file.name}:{node.lineno}"))
    return found


def test_whatever_the_program_counts_is_declared() -> None:
    kinds = {"count": "counter", "observe": "histogram", "gauge": "gauge", "info": "info"}
    for name, node, where in _calls_in_sorter():
        assert name in DECLARED, f"{where}: {name}"
        assert isinstance(node.func, ast.Attribute)
        assert DECLARED[name].kind == kinds[node.func.attr], f"{where}: {name}"
        keywords = {k.arg for k in node.keywords}
        if None not in keywords:
            assert keywords - {"amount"} == set(DECLARED[name].labels), f"{where}: {name}"


def test_every_metric_is_documented_with_its_unit() -> None:
    page = (Path(__file__).parents[2] / "systemd" / "README.md").read_text()
    rows = re.findall(r"^\| `(sorter_\w+)(?:{(.*)})?` \| (\w+) \| (.+?) \| (.+?) \|$", page, re.M)
    documented = {
        name: (labels, "info" if name.endswith("_info") else kind, help_)
        for name, labels, kind, _, help_ in rows
    }
    assert documented == {n: (", ".join(d.labels), d.kind, d.help) for n, d in DECLARED.items()}
    for name, _, _, unit, _ in rows:
        assert ("seconds" in name, "bytes" in name) == (unit == "seconds", unit == "bytes"), name
