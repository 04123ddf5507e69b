"""Counters and latencies in the Prometheus text format, for node_exporter's textfile collector.

Owns the numbers, their declared names and the file's text. Opens no port, reads no clock and
knows nothing of the parts that count.
"""

from __future__ import annotations

import logging
import math
import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sorter.domain import Delivery, ItemState, Reason, Status
from sorter.files import write_whole

log = logging.getLogger(__name__)

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper edges in seconds; the last bucket, +Inf, is implied."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric as the outside sees it: its kind, what it means, its labels.

    `known` lists the values of a single label that is closed; they are shown as 0 before the
    first event, so that a rate over them has a beginning.
    """

    kind: str
    help: str
    labels: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


DECLARED: Mapping[str, Declared] = {
    "sorter_items_total": Declared(
        "counter",
        "Items that reached their terminal record, by state.",
        ("state",),
        tuple(s.value for s in ItemState if s.is_terminal),
    ),
    "sorter_moved_total": Declared(
        "counter", "Items that the device moved, by the bin that they really went to.", ("bin",)
    ),
    "sorter_decisions_total": Declared(
        "counter",
        "Decisions: sorted, or why unsure; where the item went is sorter_moved_total.",
        ("reason",),
        (Status.SORTED.value, *(r.value for r in Reason if r is not Reason.NONE)),
    ),
    "sorter_classes_total": Declared(
        "counter", "Items that were sorted without a doubt, by class.", ("class",)
    ),
    "sorter_movements_total": Declared(
        "counter",
        "Movements asked of the device, by how they ended.",
        ("delivery",),
        tuple(d.value for d in Delivery),
    ),
    "sorter_decide_seconds": Declared(
        "histogram", "Reading, decoding, inference and decision of one item."
    ),
    "sorter_commit_seconds": Declared("histogram", "One durable commit of the journal."),
    "sorter_respond_seconds": Declared(
        "histogram", "From a picture's arrival to the moment its command may be written."
    ),
    "sorter_move_seconds": Declared("histogram", "From the command to the device's last word."),
    "sorter_faults_total": Declared(
        "counter",
        "Times a part was lost or misbehaved and the station went on without it.",
        ("part",),
        ("folder", "link", "journal", "model", "archive", "metrics"),
    ),
    "sorter_model_swaps_total": Declared(
        "counter", "Weights offered while running.", ("result",), ("accepted", "refused")
    ),
    "sorter_rescans_total": Declared("counter", "Full listings of the watched folder."),
    "sorter_link_connects_total": Declared("counter", "Hand-shakes completed with the device."),
    "sorter_restarts_total": Declared("counter", "Starts of the station after its first."),
    "sorter_trouble": Declared("gauge", "1 while this trouble is there, otherwise 0.", ("kind",)),
    "sorter_link_ready": Declared("gauge", "1 where the device may move, otherwise 0."),
    "sorter_folder_ready": Declared("gauge", "1 where the watched folder is there, otherwise 0."),
    "sorter_queue_items": Declared("gauge", "Items that arrived and have no decision yet."),
    "sorter_journal_bytes": Declared("gauge", "Size of the journal's file."),
    "sorter_journal_free_bytes": Declared("gauge", "Free space on the journal's file system."),
    "sorter_start_time_seconds": Declared("gauge", "When this process started, Unix time."),
    "sorter_seen_time_seconds": Declared(
        "gauge", "When these numbers were written, Unix time: of a dead station they grow old."
    ),
    "sorter_last_item_time_seconds": Declared("gauge", "When the last item arrived, Unix time."),
    "sorter_mqtt_connected": Declared("gauge", "1 where the MQTT broker listens, otherwise 0."),
    "sorter_mqtt_waiting_items": Declared(
        "gauge", "Items of the journal that the MQTT broker was not told of yet."
    ),
    "sorter_model_info": Declared("info", "Always 1; the label names the weights.", ("digest",)),
}
"""Every name this program may write. Times are seconds, sizes bytes."""

Labels = tuple[str, ...]


@dataclass(slots=True)
class _Histogram:
    """Counts a bucket (the last is +Inf), and the sum in seconds."""

    counts: list[int]
    sum_s: float = 0.0


class Metrics:
    """The station's numbers. Thread-safe.

    `station` becomes a label of every sample, so that files of several stations lie side by side in
    one folder. A name or label not in `DECLARED` raises ValueError where `strict`; otherwise
    it is logged once and dropped, because a misspelt counter must not stop a station.
    """

    def __init__(self, *, strict: bool = False, station: str = "") -> None:
        self._strict = strict
        self._of = ("station",) if station else ()
        self._station = (station,) if station else ()
        self._lock = threading.Lock()
        self._complained: set[str] = set()
        self._values: dict[str, dict[Labels, float]] = {name: {} for name in DECLARED}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {name: {} for name in DECLARED}
        for name, declared in DECLARED.items():
            if declared.kind == "counter":
                self._values[name] = {(v,): 0.0 for v in declared.known}
                if not declared.labels:
                    self._values[name][()] = 0.0
            elif declared.kind == "histogram" and not declared.labels:
                self._histograms[name][()] = _empty_histogram()

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Add `amount` (≥ 0) to a counter."""
        if not self._allowed(name, "counter", labels):
            return
        if not amount >= 0 or math.isinf(amount):
            self._complain(name, f"a counter cannot move by {amount}")
            return
        key = _key(name, labels)
        with self._lock:
            self._values[name][key] = self._values[name].get(key, 0.0) + amount

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add one duration to a histogram."""
        if not self._allowed(name, "histogram", labels):
            return
        if not math.isfinite(seconds):
            self._complain(name, f"{seconds} is no duration")
            return
        key = _key(name, labels)
        with self._lock:
            histogram = self._histograms[name].setdefault(key, _empty_histogram())
            histogram.counts[bisect_left(BUCKETS_S, seconds)] += 1
            histogram.sum_s += seconds

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        if self._allowed(name, "gauge", labels):
            with self._lock:
                self._values[name][_key(name, labels)] = float(value)

    def info(self, name: str, **labels: str) -> None:
        """Set the labels of an info metric; what it said before is forgotten."""
        if self._allowed(name, "info", labels):
            with self._lock:
                self._values[name] = {_key(name, labels): 1.0}

    def text(self) -> str:
        """Everything known now, in the text exposition format (version 0.0.4)."""
        lines: list[str] = []
        with self._lock:
            for name, declared in DECLARED.items():
                samples = self._samples(name, declared)
                if samples:
                    kind = "gauge" if declared.kind == "info" else declared.kind
                    lines += [f"# HELP {name} {declared.help}", f"# TYPE {name} {kind}", *samples]
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Replace `path` with the current text; a reader sees the old file or the new one.

        Not synced to the disk: after a power cut the numbers begin again anyway. Raises
        FolderError where the file cannot be written.
        """
        # The collector runs as another user.
        write_whole(path, self.text(), option="--metrics", sync=False, mode=0o644)

    def _samples(self, name: str, declared: Declared) -> list[str]:
        if declared.kind != "histogram":
            return [
                f"{name}{self._braces(declared.labels, key)} {_number(value)}"
                for key, value in self._values[name].items()
            ]
        lines = []
        for key, histogram in self._histograms[name].items():
            total = 0
            for edge, n in zip((*BUCKETS_S, math.inf), histogram.counts, strict=True):
                total += n
                braces = self._braces((*declared.labels, "le"), (*key, _number(edge)))
                lines.append(f"{name}_bucket{braces} {total}")
            braces = self._braces(declared.labels, key)
            lines.append(f"{name}_sum{braces} {_number(histogram.sum_s)}")
            lines.append(f"{name}_count{braces} {total}")
        return lines

    def _braces(self, names: tuple[str, ...], values: Labels) -> str:
        return _braces((*self._of, *names), (*self._station, *values))

    def _allowed(self, name: str, kind: str, labels: Mapping[str, str]) -> bool:
        declared = DECLARED.get(name)
        if declared is None:
            return self._complain(name, "not a declared metric")
        if declared.kind != kind:
            return self._complain(name, f"is a {declared.kind}, not a {kind}")
        if set(labels) != set(declared.labels):
            return self._complain(name, f"needs the labels {declared.labels}, got {tuple(labels)}")
        return True

    def _complain(self, name: str, what: str) -> bool:
        if self._strict:
            raise ValueError(f"metric {name}: {what}")
        with self._lock:
            new = name not in self._complained
            self._complained.add(name)
        if new:
            log.error("metric %s: %s; ignored", name, what)
        return False


def _empty_histogram() -> _Histogram:
    return _Histogram([0] * (len(BUCKETS_S) + 1))


def _key(name: str, labels: Mapping[str, str]) -> Labels:
    return tuple(str(labels[label]) for label in DECLARED[name].labels)


def _braces(names: tuple[str, ...], values: Labels) -> str:
    if not names:
        return ""
    pairs = (f'{n}="{_escape(v)}"' for n, v in zip(names, values, strict=True))
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    clean = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return clean.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() else repr(value)
