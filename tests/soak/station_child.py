"""The station process of a soak: real parts, and a model that reads a picture's mean colour.

The real decoder opens the pictures; only the network is left out, so that a start takes a tenth of
the time and thousands of them fit an hour.
"""

from __future__ import annotations

import io
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sorter.actuator.link import open_actuator
from sorter.domain import Decision, Policy, Prediction, Taxonomy
from sorter.station.compose import open_station
from sorter.station.settings import Settings
from sorter.taxonomy import taxonomy_from_dict
from sorter.vision import images
from sorter.vision.decide import average, decide

COLOURS = ((230, 20, 20), (20, 20, 230))


def paint(colour: tuple[int, int, int], number: int) -> bytes:
    """A PNG of one colour; `number` makes its bytes unlike any other's."""
    stream = io.BytesIO()
    Image.new("RGB", (24 + number % 40, 24 + number // 40), colour).save(stream, "PNG")
    return stream.getvalue()


class ColourModel:
    """Red goes to bin 1, blue to bin 2."""

    digest = "c0103"

    def __init__(self) -> None:
        self.taxonomy: Taxonomy = taxonomy_from_dict(
            {
                "bins": [{"key": "red", "name": "Red"}, {"key": "blue", "name": "Blue"}],
                "items": [
                    {"code": "r", "name": "red thing", "bin": "red"},
                    {"code": "b", "name": "blue thing", "bin": "blue"},
                ],
            },
            source="soak",
        )
        self._policy = Policy((0.5, 0.5))

    def predict(self, data: bytes) -> Prediction:
        """The share of red and blue in the mean colour."""
        mean = images.decode(data, 16).pixels.reshape(-1, 3).mean(0) + 1.0
        red = float(mean[0] / (mean[0] + mean[2]))
        return Prediction((red, 1.0 - red), float(np.clip(mean[1] / 255, 0, 1)))

    def decide(self, predictions: Sequence[Prediction]) -> Decision:
        """As the edge decides."""
        return decide(average(predictions), self.taxonomy, self._policy)


def main(home: Path, port: str, synchronous: str = "FULL") -> None:
    """Watch `home`/camera until SIGTERM."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    with open_station(
        home / "camera",
        journal=home / "state" / "journal.sqlite",
        model=ColourModel(),
        actuator=open_actuator(port, bins=2),
        settings=Settings(settle_s=0.1, unsure="hold"),
        synchronous=synchronous,
    ) as station:
        signal.signal(signal.SIGTERM, lambda *_: station.stop())
        station.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
