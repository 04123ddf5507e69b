"""`sorter` with a witness on its port: the instant before each GO's bytes are written.

Run as a module in `sorter`'s place; $SOAK_GO names the file that gets one line, "n instant", a GO.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

from sorter.actuator import serialport
from sorter.actuator.serialport import FilePort
from sorter.cli.app import main

_GO = re.compile(rb"GO \S+ (\d+) ")
_real = FilePort.write


def _write(self: FilePort, data: bytes) -> int:
    at = time.monotonic()
    taken = _real(self, data)
    for n in _GO.findall(data):
        with Path(os.environ["SOAK_GO"]).open("a") as stream:
            stream.write(f"{int(n)} {at!r}\n")
    return taken


if __name__ == "__main__":
    serialport.FilePort.write = _write  # type: ignore[method-assign]  # the witness
    sys.exit(main())
