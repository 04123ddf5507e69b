"""The first inferences of a process, all at once: openvino's binding once waited for itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tiny import write_bundle

AT_ONCE = """
import os, sys, threading
from pathlib import Path
import numpy as np
from sorter.vision.bundle import open_bundle
from sorter.vision.model import Classifier
classifier = Classifier(open_bundle(Path(sys.argv[1])), threads=8, streams=8)
gate = threading.Barrier(8)
pixels = np.zeros((1, classifier.size_px, classifier.size_px, 3), np.uint8)
def call():
    gate.wait()
    classifier.predict(pixels)
threads = [threading.Thread(target=call, daemon=True) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join(20)
os._exit(any(thread.is_alive() for thread in threads))
"""


@pytest.mark.process
def test_eight_threads_that_begin_together_all_end(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    # Before the fix one process in eight hung.
    for _ in range(4):
        words = [sys.executable, "-c", AT_ONCE, str(bundle)]
        assert subprocess.run(words, timeout=120, check=False).returncode == 0
