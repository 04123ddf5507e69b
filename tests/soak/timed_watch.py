"""`sorter` with a witness on its port, or with a slower model. Run as a module in its place.

$SOAK_GO names the file that gets a line for each GO, "n instant", the instant (monotonic) being
just before its bytes are written. $SOAK_PREDICT_S is how many seconds each picture takes more.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from sorter.actuator import serialport
from sorter.cli.app import main
from sorter.domain import Prediction
from sorter.vision import model

_GO = re.compile(rb"GO \S+ (\d+) ")
_write = serialport.FilePort.write
_predict = model.LoadedModel.predict


def write(self: serialport.FilePort, data: bytes) -> int:
    at = time.monotonic()
    taken = _write(self, data)
    for n in _GO.findall(data):
        with Path(os.environ["SOAK_GO"]).open("a") as stream:
            stream.write(f"{int(n)} {at!r}\n")
    return taken


def predict(self: model.LoadedModel, data: bytes) -> Prediction:
    time.sleep(float(os.environ["SOAK_PREDICT_S"]))
    return _predict(self, data)


if __name__ == "__main__":
    if "SOAK_GO" in os.environ:
        serialport.FilePort.write = write  # type: ignore[method-assign]  # the witness
    if "SOAK_PREDICT_S" in os.environ:
        model.LoadedModel.predict = predict  # type: ignore[method-assign]  # a slower box
    main()
