"""openvino is imported without its converter, which who converts still finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tiny import write_bundle


@pytest.mark.process
def test_no_converter_and_no_telemetry_on_the_way_to_a_network() -> None:
    program = (
        "import sys\n"
        "from sorter.vision import engine\n"
        "openvino = engine.openvino()\n"
        "engine.core()\n"
        "assert engine.openvino() is openvino\n"
        "assert not [m for m in sys.modules if m.startswith(('openvino_telemetry',"
        " 'openvino.tools'))]\n"
        "from openvino.tools import ovc\n"
        "print(callable(ovc.convert_model))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


SWAPS = """
import gc, os, signal, sys
from pathlib import Path
from sorter.vision.model import Classifier
from sorter.vision.bundle import open_bundle
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
first = Classifier(open_bundle(Path(sys.argv[1])))
second = Classifier(open_bundle(Path(sys.argv[1])))
del first
gc.collect()
del second
gc.collect()
os.kill(os.getpid(), signal.SIGTERM)
print(len(heard))
"""


@pytest.mark.process
def test_a_signal_is_heard_after_weights_were_swapped(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", SWAPS, str(bundle)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
