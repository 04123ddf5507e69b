"""A report takes its place whole, or the earlier one stays."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from sorter.errors import FolderError
from sorter.files import whole_file


def test_a_report_that_the_disk_refuses_leaves_the_earlier_one(tmp_path: Path) -> None:
    file = tmp_path / "wrong.csv"
    with whole_file(file, option="--mistakes") as stream:
        stream.write("earlier\n")
    # A file may grow to 4 KiB and no further: the kernel refuses as a full disk would.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        with (
            pytest.raises(FolderError, match=r"cannot be written.*--mistakes"),
            whole_file(file, option="--mistakes") as stream,
        ):
            stream.write("x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert file.read_text() == "earlier\n"
    assert [p.name for p in tmp_path.iterdir()] == ["wrong.csv"]
