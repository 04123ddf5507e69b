"""Whether a JPEG decoded at a fraction of its size gets the label that its full decode gets.

    python -m tests.benchmarks.decode ../shared/data/garbage_26x100/val --count 200

Photographs are enlarged to 12 megapixels, saved as JPEG, and each is classified twice by the
released network. Prints one JSON line; exit code 1 where fewer than 99.5 % agree.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from sorter.vision import images
from sorter.vision.bundle import default_bundle, open_bundle
from sorter.vision.model import Classifier

SIZE_PX = (4000, 3000)
NEEDED = 0.995


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", type=Path, nargs="+", help="Pictures, or folders of them.")
    parser.add_argument("--count", type=int, default=200)
    words = parser.parse_args()
    bundle = open_bundle(default_bundle())
    classifier = Classifier(bundle)
    same, largest, count = 0, 0.0, 0
    seconds = {"scaled": 0.0, "full": 0.0}
    for path in list(images.find(words.paths))[: words.count]:
        buffer = io.BytesIO()
        with Image.open(path) as picture:
            picture.convert("RGB").resize(SIZE_PX, Image.Resampling.BICUBIC).save(
                buffer, "JPEG", quality=90
            )
        found = {}
        for name, opened in (("scaled", _scaled), ("full", _full)):
            begun = time.perf_counter()
            pixels = opened(buffer.getvalue(), bundle.size_px).pixels
            seconds[name] += time.perf_counter() - begun
            found[name] = classifier.predict(pixels[None])[0][0]
        count += 1
        same += int(found["scaled"].argmax() == found["full"].argmax())
        largest = max(largest, float(np.abs(found["scaled"] - found["full"]).max()))
    if not count:
        parser.error("no picture found")
    report = {
        "pictures": count,
        "same_label": same,
        "largest_difference": round(largest, 4),
        **{f"{name}_ms": round(1000 * spent / count, 1) for name, spent in seconds.items()},
    }
    sys.stdout.write(json.dumps(report) + "\n")
    return 0 if same >= NEEDED * count else 1


def _scaled(data: bytes, size_px: int) -> images.DecodedPicture:
    return images.decode(data, size_px)


def _full(data: bytes, size_px: int) -> images.DecodedPicture:
    with Image.open(io.BytesIO(data)) as picture:
        return images.from_array(np.asarray(picture.convert("RGB")), size_px)


if __name__ == "__main__":
    sys.exit(main())
