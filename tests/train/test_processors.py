"""The command that compares answers between processors, on the bundled pictures and network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from train.release.processors import differences

PICTURES = Path(__file__).parents[2] / "sorter" / "samples" / "pictures"


def compared(precision: str) -> dict[str, Any]:
    line = [
        sys.executable,
        "-m",
        "train.release.processors",
        str(PICTURES),
        "--precision",
        precision,
    ]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return {row["limit"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_fp16_answers_alike_on_every_processor() -> None:
    for row in compared("fp16").values():
        assert (row["pictures"], row["other_label"], row["other_status"]) == (12, 0, 0), row


def test_what_differs_is_counted() -> None:
    here = [("a", "sorted", (0.9, 0.1)), ("a", "unsure", (0.6, 0.4)), ("b", "sorted", (0.0, 1.0))]
    there = [("a", "sorted", (0.9, 0.1)), ("b", "unsure", (0.4, 0.6)), ("b", "unsure", (0.1, 0.9))]
    assert differences(here, there) == {
        "pictures": 3,
        "other_label": 1,
        "other_status": 1,
        "largest_difference": 0.2,
    }
