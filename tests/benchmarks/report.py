"""Laps as a table and a plot."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.runner import Lap

Results = dict[str, dict[str, Lap]]
"""By set of pictures, then by contestant."""


def median(laps: Sequence[Lap]) -> Lap:
    """Each figure's median over the rounds."""
    return Lap(
        rate_per_s=statistics.median(lap.rate_per_s for lap in laps),
        cpu_s=statistics.median(lap.cpu_s for lap in laps),
        first_s=statistics.median(lap.first_s for lap in laps),
        peak_mb=statistics.median(lap.peak_mb for lap in laps),
    )


def to_markdown(results: Mapping[str, Mapping[str, Lap]]) -> str:
    """One table a set, the fastest first; the last column is sorter's rate over the row's."""
    lines = []
    for kind, row in results.items():
        ours = row.get("sorter")
        lines += [
            f"### {kind}",
            "",
            "| contestant | pictures/s | CPU ms a picture | first row, s | peak MB | sorter is |",
            "|---|---|---|---|---|---|",
        ]
        for name, lap in sorted(row.items(), key=lambda pair: -pair[1].rate_per_s):
            times = f"{ours.rate_per_s / lap.rate_per_s:.2f} ×" if ours else ""
            lines.append(
                f"| {name} | {lap.rate_per_s:.1f} | {lap.cpu_s * 1000:.2f} | {lap.first_s:.2f} "
                f"| {lap.peak_mb:.0f} | {times} |"
            )
        lines.append("")
    return "\n".join(lines)


def plot(results: Mapping[str, Mapping[str, Lap]], file: Path) -> None:
    """Bars of pictures a second, a panel a set; nothing, said so, without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        sys.stderr.write("no plot: matplotlib is not installed\n")
        return
    figure = Figure(figsize=(4 * len(results), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(results), squeeze=False)[0]
    for axes, (kind, row) in zip(panels, results.items(), strict=True):
        names = sorted(row, key=lambda name: row[name].rate_per_s)
        rates = [row[name].rate_per_s for name in names]
        colours = ["#2a7f62" if name.startswith("sorter") else "#b8bec4" for name in names]
        bars = axes.barh(names, rates, color=colours)
        axes.bar_label(bars, labels=[f"{rate:.0f}" for rate in rates], padding=3, fontsize=8)
        axes.set_title(kind, fontsize=10)
        axes.set_xlabel("pictures a second", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.margins(x=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=120)
