"""The kernel's table of processors, as an Intel box and a Raspberry Pi write it."""

from __future__ import annotations

import platform
from pathlib import Path

from sorter.host.processor import processor


def test_model_and_flags_of_the_first_processor(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Xeon\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nflags\t: sse\n"
    )
    assert processor(tmp_path).model == "Xeon"
    assert processor(tmp_path).flags == {"fpu", "avx2"}


def test_an_arm_says_features_and_no_model(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\n")
    assert processor(tmp_path).flags == {"fp", "asimd", "asimddp"}
    assert processor(tmp_path).model == platform.machine()


def test_no_table_is_no_error(tmp_path: Path) -> None:
    assert processor(tmp_path).flags == frozenset()
