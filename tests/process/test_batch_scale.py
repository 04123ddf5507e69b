"""Memory does not grow with the number of files."""

from __future__ import annotations

import pytest

from tests.soak.batch import measure


@pytest.mark.soak
def test_four_thousand_files_need_no_more_memory_than_one_thousand() -> None:
    figures = measure(4000, None)
    assert figures["ratio"] < 1.2, figures
    assert figures["resume_mb"] < 1.2 * figures["few_mb"], figures
