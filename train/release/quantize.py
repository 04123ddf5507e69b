"""INT8 by NNCF: post-training quantisation, with accuracy control where that loses too much.

Owns the settings. Whether the result may be released is judged by `export`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sorter.vision import engine
from train.config import Config
from train.networks import Network
from train.release.ir import Raw, convert, quiet_stdout


def post_training(model: Any, pictures: NDArray[np.uint8], config: Config) -> Any:
    """The `openvino.Model` in INT8, ranges taken from `pictures` (N, side, side, 3)."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    with quiet_stdout():
        return nncf.quantize(
            model,
            nncf.Dataset([p[None] for p in pictures]),
            subset_size=len(pictures),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=_kept_whole(model, config),
            advanced_parameters=_alike_everywhere(),
        )


def with_accuracy_control(
    model: Any,
    pictures: NDArray[np.uint8],
    check: tuple[NDArray[np.uint8], NDArray[np.int64]],
    config: Config,
) -> Any:
    """Like `post_training`, giving layers back to floating point until `check` loses little."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    judged = [(p[None], int(y)) for p, y in zip(*check, strict=True)]
    with quiet_stdout():
        return nncf.quantize_with_accuracy_control(
            model,
            nncf.Dataset([p[None] for p in pictures]),
            nncf.Dataset(judged),
            validation_fn=_validate,
            max_drop=config.max_drop / 100,
            drop_type=nncf.DropType.ABSOLUTE,
            subset_size=len(pictures),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=_kept_whole(model, config),
            advanced_quantization_parameters=_alike_everywhere(),
        )


def int8_scores(
    network: Network,
    ranges: NDArray[np.uint8],
    pictures: Iterable[NDArray[np.uint8]],
    config: Config,
) -> NDArray[np.float32]:
    """Raw scores (N, outputs) that the INT8 form of `network` gives `pictures`, one at a time.

    Weights and ranges as `post_training` makes them for a release.
    """
    small = post_training(convert(Raw(network.cpu().eval())), ranges, config)
    # The edge's precision for what stays in floating point.
    request = (
        engine.core()
        .compile_model(small, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        .create_infer_request()
    )
    rows = []
    for picture in pictures:
        request.infer([np.ascontiguousarray(picture[None])], share_inputs=True)
        rows.append(request.get_output_tensor(0).data[0].copy())
    return np.stack(rows)


def _alike_everywhere() -> Any:
    """Half the range for weights, the whole range for activations.

    A processor without VNNI adds pairs of products in 16 bits. With the whole range of weights
    they saturate there: 174 of 3,647 labels differed from those of the same network with VNNI, and
    a point of label accuracy was lost. With half of it 8 differ.

    Activations range over all that the pictures give, not over the mean of each one's extremes,
    which cuts off two thirds of the memory's queries: the evidence was off by 0.37 in place of
    1.05 then (root mean square over 600 held-out pictures of one fold).
    """
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    return nncf.AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.ENABLE,
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
    )


def _kept_whole(model: Any, config: Config) -> Any:
    """What stays in floating point.

    Everything from the head on: it is a hundredth of the work, and logarithms and a kernel make
    much of a small error. Of a network that did not learn to round (`rounding_steps`) the first
    convolutions too, if `int8_skip` says so.
    """
    import nncf

    kinds = ("Convolution", "GroupConvolution")
    names = [n.get_friendly_name() for n in model.get_ordered_ops() if n.get_type_name() in kinds]
    # The converter names an operation after the module it is in; those of none are `ir`'s own.
    # The product with the keys alone is worth it: they are ten megabytes in floating point.
    keys = r"(?!aten::matmul/MatMul_1$)"
    outside = ["^aten::.*", r".*\.network\.head/.*", rf".*\.network\.memory/{keys}.*"]
    return nncf.IgnoredScope(names=names[: config.int8_skip], patterns=outside, validate=False)


def _validate(compiled: Any, rows: Any) -> tuple[float, None]:
    hits = [int(compiled(picture)[0].argmax()) == label for picture, label in rows]
    return sum(hits) / len(hits), None
