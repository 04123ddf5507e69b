"""The model: does it open, does it answer, how long does it take.

Owns one test inference a precision. Judges no accuracy: `sorter evaluate` does.
"""

from __future__ import annotations

import time
from pathlib import Path

from sorter.doctor.finding import MODEL, Finding, fail, ok, warn
from sorter.errors import SorterError
from sorter.station.reload import self_test
from sorter.text import counted
from sorter.vision.bundle import default_bundle, open_bundle
from sorter.vision.model import open_model


def check_model(path: Path | None) -> Finding:
    """Open the bundle (default: the one that ships) and classify a picture by each precision."""
    try:
        folder = path or default_bundle()
        bundle = open_bundle(folder)
        times = []
        for precision in bundle.precisions:
            model = open_model(folder, precision=precision)
            self_test(model)
            begin = time.perf_counter()
            self_test(model)
            times.append(f"{precision} {1000 * (time.perf_counter() - begin):.0f} ms")
    except SorterError as error:
        return fail(
            "model",
            str(error),
            "reinstall sorter, or name a released model with --model",
            exit_code=MODEL,
        )
    taxonomy = bundle.taxonomy
    says = (
        f"{folder}: {counted(len(taxonomy.categories), 'kind')}, "
        f"{counted(len(taxonomy.bins), 'bin')}, "
        f"{', '.join(times)}, {bundle.digest[:12]}"
    )
    if "int8" not in bundle.precisions:
        return warn("model", f"{says}, no int8", "export it again: sorter export CHECKPOINT")
    return ok("model", says)
