"""Silence on the simulated chip, measured on its own clock: safe within 3.2 s, every time.

python -m tests.soak.chip --times 20
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.machine.test_firmware_chip import (
    test_silence_in_mid_movement_is_measured_on_the_chip_s_own_clock,
)


def main() -> int:
    """Parse, run, print; an AssertionError names what did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        test_silence_in_mid_movement_is_measured_on_the_chip_s_own_clock(Path(folder), args.times)
    sys.stdout.write(f"safe within 3.2 s of silence: {args.times} of {args.times}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
