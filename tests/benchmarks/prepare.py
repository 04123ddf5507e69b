"""Write the peers' models, once: `python -m tests.benchmarks.prepare FOLDER OUR_BUNDLE`.

Runs in the peers' environment. Random weights: speed does not depend on them.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

from tests.benchmarks.contestants import CLASSES, SIDE_PX, YOLO


def main(models: Path, bundle: Path) -> None:
    """Write every peer's model below `models`, those that are not there yet."""
    models.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    ours = models / "ours"
    ours.mkdir(exist_ok=True)
    for name in ("model-int8.xml", "model-int8.bin"):
        shutil.copyfile(bundle / name, ours / name)
    if not (models / "mobilenet_v2.onnx").exists():
        _mobilenet(models)
    shapes: dict[str, dict[str, Any]] = {
        "one": {"batch": 1},
        "many": {"batch": 16, "dynamic": True},
    }
    for name, options in shapes.items():
        if not (models / name / f"{YOLO}_openvino_model").exists():
            _yolo(models / name, options)


def _mobilenet(models: Path) -> None:
    import torch
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    network = mobilenet_v2(weights=None, num_classes=CLASSES).eval()
    torch.save(network.state_dict(), models / "mobilenet_v2.pt")
    example = torch.zeros(1, 3, SIDE_PX, SIDE_PX)
    torch.onnx.export(
        network,
        (example,),
        str(models / "mobilenet_v2.onnx"),
        input_names=["image"],
        output_names=["scores"],
        dynamo=True,
        external_data=False,
    )


def _yolo(place: Path, options: dict[str, Any]) -> None:
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_OFFLINE"] = "true"
    from ultralytics import YOLO as Yolo  # noqa: N811

    place.mkdir(exist_ok=True)
    before = Path.cwd()
    os.chdir(place)  # it writes beside where it stands
    try:
        Yolo(f"{YOLO}.yaml").export(format="openvino", imgsz=SIDE_PX, **options)
    finally:
        os.chdir(before)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
