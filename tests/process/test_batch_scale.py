"""Memory does not grow with the number of files."""

from __future__ import annotations

import pytest

from sorter.vision.images import MAX_BYTES
from tests.soak import bombs
from tests.soak.batch import measure


@pytest.mark.soak
def test_four_thousand_files_need_no_more_memory_than_one_thousand() -> None:
    figures = measure(4000, None)
    assert figures["ratio"] < 1.2, figures
    assert figures["resume_mb"] < 1.2 * figures["few_mb"], figures


@pytest.mark.soak
def test_small_files_that_ask_for_gigabytes_get_what_a_box_of_one_has() -> None:
    figures = bombs.measure(23, side_px=2000)
    assert figures["ended"] and figures["lost"] == 0, figures
    assert figures["peak_mb"] < 250 + MAX_BYTES / 1e6, figures
