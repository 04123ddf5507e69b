"""openvino is imported without its converter, which who converts still finds."""

from __future__ import annotations

import subprocess
import sys


def test_no_converter_and_no_telemetry_on_the_way_to_a_network() -> None:
    program = (
        "import sys\n"
        "from sorter.vision import runtime\n"
        "openvino = runtime.load()\n"
        "openvino.Core()\n"
        "assert runtime.load() is openvino\n"
        "assert not [m for m in sys.modules if m.startswith(('openvino_telemetry',"
        " 'openvino.tools'))]\n"
        "from openvino.tools import ovc\n"
        "print(callable(ovc.convert_model))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")
