"""What one IR says of itself: written at export, read and checked before anything runs it.

Owns the `rt_info` keys and the contract of inputs and outputs. Every message names the file. A
bundle comes from elsewhere, so nothing in it is believed, and no file but those named is opened.
"""

from __future__ import annotations

import contextlib
import json
import math
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sorter.domain import Policy, Taxonomy
from sorter.errors import BundleError, TaxonomyError
from sorter.taxonomy import MAX_CATEGORIES, taxonomy_from_dict, taxonomy_to_dict
from sorter.text import last_line
from sorter.vision import engine

SCHEMA_VERSION = "1"
"""The only layout of our `rt_info` keys that this version reads and writes."""

MAX_XML_BYTES = 64 * 1024 * 1024
MAX_BIN_BYTES = 2 * 1024**3
MAX_SIZE_PX = 4096
MAX_BATCH = 256
MAX_TEMPERATURE = 1e6

FOREIGN_OPS = frozenset({"Assign", "If", "Loop", "ReadValue", "TensorIterator"})
"""Operations that no classifier needs: they may never end, or answer by what came before."""


def write_metadata(
    model: Any,
    *,
    taxonomy: Taxonomy,
    policy: Policy,
    temperature: float,
    data_digest: str = "",
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Write what the model must say of itself into `model.rt_info`, in place.

    Section `model_info` follows OpenVINO Model API, so that it opens the file unchanged: it takes
    BGR arrays of any size, which is why `reverse_input_channels` is set, and the identity as mean
    and scale, because the graph normalises by itself. Section `sorter` is ours.
    """
    model_info = {
        "model_type": "Classification",
        "mean_values": "0 0 0",
        "scale_values": "1 1 1",
        "resize_type": "standard",
        "interpolation_mode": "LINEAR",
        "reverse_input_channels": "True",
        "input_dtype": "u8",
        "multilabel": "False",
        "hierarchical": "False",
        "confidence_threshold": "0.0",
        "output_raw_scores": "True",
    }
    ours = {
        "schema_version": SCHEMA_VERSION,
        "temperature": repr(float(temperature)),
        "data_digest": data_digest,
        "metrics": json.dumps(dict(metrics or {}), sort_keys=True),
    }
    for section, values in (("model_info", model_info), ("sorter", ours)):
        for key, value in values.items():
            model.set_rt_info(value, [section, key])
    change_metadata(model, taxonomy=taxonomy, policy=policy)


def change_metadata(model: Any, *, taxonomy: Taxonomy, policy: Policy) -> None:
    """Write other classes, bins or thresholds into what `model` says of itself, in place."""
    labels = " ".join("_".join(item.name.split()) for item in taxonomy.categories)
    codes = " ".join("_".join(item.code.split()) for item in taxonomy.categories)
    thresholds = json.dumps([float(t) for t in policy.bin_thresholds])
    for section, key, value in (
        ("model_info", "labels", labels),
        ("model_info", "label_ids", codes),
        ("sorter", "taxonomy", json.dumps(taxonomy_to_dict(taxonomy), ensure_ascii=False)),
        ("sorter", "bin_thresholds", thresholds),
        ("sorter", "unknown_threshold", repr(float(policy.unknown_threshold))),
        ("sorter", "empty_threshold", repr(float(policy.empty_threshold))),
    ):
        model.set_rt_info(value, [section, key])


@dataclass(frozen=True, slots=True)
class Description:
    """What one IR says of itself; both precisions of a bundle must say the same."""

    taxonomy: Taxonomy
    size_px: int
    policy: Policy
    temperature: float


def read_description(xml: Path) -> Description:
    """Read `xml` and the weights beside it. Raises BundleError, naming the file."""
    model = _read_ir(xml)
    info = _rt_info(model, xml)
    version = info.get("schema_version")
    if version != SCHEMA_VERSION:
        raise _refused(xml, f"schema version {str(version)[:40]!r} is not {SCHEMA_VERSION!r}")
    document = _json(info, "taxonomy", xml)
    if not isinstance(document, dict):
        raise _refused(xml, "its taxonomy is not a table")
    try:
        taxonomy = taxonomy_from_dict(document, source="taxonomy")
    except TaxonomyError as error:
        raise _refused(xml, f"its labels cannot be used: {error}") from error
    thresholds = _json(info, "bin_thresholds", xml)
    if not isinstance(thresholds, list) or len(thresholds) != len(taxonomy.bins):
        raise _refused(xml, f"needs one threshold for each of {len(taxonomy.bins)} bins")
    policy = Policy(
        bin_thresholds=tuple(_number(t, "bin_thresholds", xml, upper=1.0) for t in thresholds),
        unknown_threshold=_number(
            info.get("unknown_threshold", "1.0"), "unknown_threshold", xml, upper=1.0
        ),
        empty_threshold=_number(
            info.get("empty_threshold", "1.0"), "empty_threshold", xml, upper=1.0
        ),
    )
    temperature = _number(info.get("temperature", "1.0"), "temperature", xml, upper=MAX_TEMPERATURE)
    if temperature == 0.0:
        raise _refused(xml, "temperature is 0")
    return Description(
        taxonomy=taxonomy,
        size_px=_check_ports(model, taxonomy, xml),
        policy=policy,
        temperature=temperature,
    )


def read_file(file: Path, limit: int) -> bytes:
    """The bytes of one file of a bundle. Raises BundleError for a link, a pipe, an odd size.

    A link would lead out of the folder: what is checked and what runs could differ, and a bundle
    from elsewhere could name any file of this machine.
    """
    try:
        found = file.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise BundleError(f"{file}: is a link; copy the file itself into the bundle")
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(f"{file}: is not a regular file; copy the bundle again")
        if not 0 < found.st_size <= limit:
            raise BundleError(
                f"{file}: {found.st_size} bytes, which no model of ours has; copy it again"
            )
        return file.read_bytes()
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}; the bundle is incomplete") from error


def _refused(xml: Path, what: str) -> BundleError:
    return BundleError(f"{xml}: {what}; export it again, or name another model with --model")


def _read_ir(xml: Path) -> Any:
    """The `openvino.Model` of `xml`; every openvino error of reading becomes BundleError."""
    weights = xml.with_suffix(".bin")
    graph, values = read_file(xml, MAX_XML_BYTES), read_file(weights, MAX_BIN_BYTES)
    try:
        # Not by name: openvino would map the weights, and a copy over them would end the process.
        return engine.core().read_model(graph, values)
    except Exception as error:  # openvino raises RuntimeError, OSError and its own kinds
        raise _refused(xml, f"not a readable OpenVINO model: {last_line(error)}") from error


def _rt_info(model: Any, xml: Path) -> dict[str, str]:
    try:
        section = model.get_rt_info(["sorter"]).value
    except (RuntimeError, UnicodeDecodeError) as error:
        raise _refused(xml, "not a sorter model (no `sorter` section)") from error
    if not isinstance(section, dict):
        raise _refused(xml, "its `sorter` section is not a table")
    return {str(key): str(getattr(value, "value", value)) for key, value in section.items()}


def _check_ports(model: Any, taxonomy: Taxonomy, xml: Path) -> int:
    """The input's side in pixels, once inputs and outputs fit the contract."""
    foreign = sorted({op.get_type_name() for op in model.get_ops()} & FOREIGN_OPS)
    if foreign:
        raise _refused(xml, f"holds {', '.join(foreign)}, which no model of ours does")
    if len(model.inputs) != 1 or model.inputs[0].partial_shape.is_dynamic:
        raise _refused(xml, "needs one input of static shape")
    shape = list(model.inputs[0].shape)
    kind = model.inputs[0].element_type.get_type_name()
    side = int(shape[1]) if len(shape) == 4 else 0
    if kind != "u8" or shape[1:] != [side, side, 3] or not 1 <= side <= MAX_SIZE_PX:
        raise _refused(xml, f"input is {kind} {shape}, not u8 [N, side, side, 3]")
    if not 1 <= shape[0] <= MAX_BATCH:
        raise _refused(xml, f"takes {shape[0]} pictures at once, more than {MAX_BATCH}")
    if not 1 <= len(model.outputs) <= 3 or any(o.partial_shape.is_dynamic for o in model.outputs):
        raise _refused(xml, "needs one to three outputs of static shape")
    kinds = {output.element_type.get_type_name() for output in model.outputs}
    if not kinds <= {"f16", "f32"}:
        raise _refused(xml, f"its outputs are {', '.join(sorted(kinds))}, not f32")
    rows, classes = shape[0], len(taxonomy.categories)
    got = list(model.outputs[0].shape)
    if got != [rows, classes]:
        raise _refused(xml, f"names {classes} classes but its first output is {got}")
    for output, which in zip(model.outputs[1:], ("second", "third"), strict=False):
        if list(output.shape) not in ([rows], [rows, 1]):
            raise _refused(
                xml, f"its {which} output is {list(output.shape)}, not one score a picture"
            )
    return side


def _json(info: Mapping[str, str], key: str, xml: Path) -> Any:
    text = info.get(key)
    if text is None:
        raise _refused(xml, f"its `sorter` section has no {key!r}")
    if len(text) > 1000 * MAX_CATEGORIES:
        raise _refused(xml, f"{key!r} is {len(text)} characters long")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(xml, f"{key!r} is not JSON: {last_line(error)}") from error


def _number(value: object, key: str, xml: Path, *, upper: float) -> float:
    number = math.nan
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            number = float(value)
    if not 0.0 <= number <= upper:  # False for NaN too
        raise _refused(xml, f"{key} is {str(value)[:40]!r}, not a number from 0 to {upper:g}")
    return number
