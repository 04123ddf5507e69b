"""Ages go on while the machine sleeps: a time namespace stands in for a suspended box."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

ASLEEP_S = 100_000


@pytest.mark.process
def test_the_clock_of_ages_counts_the_time_asleep() -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs util-linux (unshare)")
    within = [unshare, "--time", "--fork", "--boottime", str(ASLEEP_S)]
    if subprocess.run([*within, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root and a kernel with time namespaces")
    code = "import time, sorter.host.clock as c; print(c.uptime_s() - time.monotonic())"
    done = subprocess.run(
        [*within, sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == pytest.approx(ASLEEP_S, abs=60)
