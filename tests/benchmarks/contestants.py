"""Who races: each a function that opens a model once and then answers paths in order.

Each runs in a process of its own and imports its own library only there. Their settings are those
that the project's own documentation recommends for speed on a CPU; the differences that remain are
the contestants' own: what each decodes, how it resizes, how it keeps the cores busy. `prepare`
writes the models, of random weights where they are not ours: speed does not depend on them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

Answer = Callable[[Sequence[Path]], Iterator[int]]
"""Paths in, the likeliest class of each out, in order."""

CLASSES = 26
SIDE_PX = 224
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
YOLO = "yolo11n-cls"


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def sorter(_models: Path) -> Answer:
    """This project, INT8, as `sorter classify` runs it: rows formatted as CSV."""
    return _sorter("int8")


def sorter_fp16(_models: Path) -> Answer:
    """This project with its unquantised network."""
    return _sorter("fp16")


def _sorter(precision: str) -> Answer:
    from sorter.host.cores import usable_cores
    from sorter.report import csv
    from sorter.vision import batch
    from sorter.vision.bundle import default_bundle, open_bundle

    bundle = open_bundle(default_bundle())
    classifier = batch.open_classifier(bundle, precision=precision, cores=usable_cores())
    codes = {item.code: number for number, item in enumerate(bundle.taxonomy.categories)}

    def answer(paths: Sequence[Path]) -> Iterator[int]:
        for row in batch.run(
            paths, classifier, bundle, policy=bundle.policy, workers=batch.workers_for(None)
        ):
            csv.to_line(row)
            assert row.decision is not None, row.error
            yield codes[row.decision.label.code]

    return answer


def ultralytics(models: Path) -> Answer:
    """`yolo classify` on its OpenVINO export, one picture a batch (the command's default)."""
    return _ultralytics(models / "one" / f"{YOLO}_openvino_model", 1)


def ultralytics_batched(models: Path) -> Answer:
    """The same exported with `dynamic=True`, 16 pictures a batch."""
    return _ultralytics(models / "many" / f"{YOLO}_openvino_model", 16)


def _ultralytics(model: Path, batch: int) -> Answer:
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_OFFLINE"] = "true"
    from ultralytics import YOLO as Yolo  # noqa: N811  # a class called like our constant

    network = Yolo(str(model), task="classify")

    def answer(paths: Sequence[Path]) -> Iterator[int]:
        # A folder cannot be cut short; a list of names in a file is its documented other way.
        listing = model.with_name(f"{os.getpid()}.txt")
        listing.write_text("\n".join(map(str, paths)), encoding="utf-8")
        rows = network.predict(
            str(listing), stream=True, imgsz=SIDE_PX, batch=batch, verbose=False, save=False
        )
        for row in rows:
            yield int(row.probs.top1)
        listing.unlink()

    return answer


def torchvision(models: Path) -> Answer:
    """Eager torch: MobileNetV2, the weights' own transforms, a DataLoader, batches of 16."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

    network = mobilenet_v2(weights=None, num_classes=CLASSES)
    state = torch.load(models / "mobilenet_v2.pt", weights_only=True)
    network.load_state_dict(state)
    network.eval()
    transforms = MobileNet_V2_Weights.IMAGENET1K_V2.transforms()

    class Files(Dataset[Any]):
        def __init__(self, paths: Sequence[Path]) -> None:
            self.paths = paths

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, index: int) -> Any:
            with Image.open(self.paths[index]) as picture:
                return transforms(picture.convert("RGB"))

    def answer(paths: Sequence[Path]) -> Iterator[int]:
        loader = DataLoader(Files(paths), batch_size=16, num_workers=cores())
        with torch.inference_mode():
            for pixels in loader:
                yield from network(pixels).argmax(1).tolist()

    return answer


def onnxruntime(models: Path) -> Answer:
    """ONNX Runtime on the same MobileNetV2, OpenCV before it, a thread a core."""
    import cv2
    import onnxruntime as ort

    cv2.setNumThreads(1)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        str(models / "mobilenet_v2.onnx"), options, providers=["CPUExecutionProvider"]
    )

    def one(path: Path) -> int:
        pixels = _opened(path)
        square = cv2.resize(pixels, (SIDE_PX, SIDE_PX)).astype(np.float32) / 255
        blob = ((square - MEAN) / STD).transpose(2, 0, 1)[None]
        return int(np.argmax(session.run(None, {"image": np.ascontiguousarray(blob)})[0]))

    def answer(paths: Sequence[Path]) -> Iterator[int]:
        waiting: deque[Future[int]] = deque()
        with ThreadPoolExecutor(cores()) as pool:
            for path in paths:
                waiting.append(pool.submit(one, path))
                if len(waiting) > 4 * cores():
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    return answer


def model_api(models: Path) -> Answer:
    """OpenVINO Model API on our own INT8 network, its asynchronous pipeline, OpenCV before it."""
    from model_api.models import Model
    from model_api.pipelines import AsyncPipeline

    network = Model.create_model(
        str(models / "ours" / "model-int8.xml"), device="CPU", nstreams=str(cores())
    )

    def label(result: Any) -> int:
        return int(result.top_labels[0].id)

    def answer(paths: Sequence[Path]) -> Iterator[int]:
        pipeline = AsyncPipeline(network)
        given = 0
        for number, path in enumerate(paths):
            pixels = _opened(path)
            while not pipeline.is_ready():
                pipeline.await_any()
            pipeline.submit_data(pixels, number)
            while (got := pipeline.get_result(given)) is not None:
                yield label(got[0])
                given += 1
        pipeline.await_all()
        while given < len(paths):
            yield label(pipeline.get_result(given)[0])
            given += 1

    return answer


def _opened(path: Path) -> Any:
    """RGB pixels, the way every OpenCV example opens a file."""
    import cv2

    bgr = cv2.imread(str(path))
    assert bgr is not None, path
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


CONTESTANTS: dict[str, Callable[[Path], Answer]] = {
    "sorter": sorter,
    "sorter-fp16": sorter_fp16,
    "ultralytics": ultralytics,
    "ultralytics-batched": ultralytics_batched,
    "torchvision": torchvision,
    "onnxruntime": onnxruntime,
    "model-api": model_api,
}
OURS = ("sorter", "sorter-fp16")
