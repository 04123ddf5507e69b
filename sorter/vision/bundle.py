"""A released model on disk: find it, check it, read what it says of itself, write it.

Owns the bundle folder's format and the IR's `rt_info` keys. Class order, bins, temperature and
thresholds come from the model, never from a folder listing. Must not run the model (`classifier`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sorter.domain import Policy, Taxonomy
from sorter.errors import BundleError, TaxonomyError
from sorter.taxonomy import MAX_ITEMS, taxonomy_from_dict, taxonomy_to_dict
from sorter.vision import runtime

SCHEMA_VERSION = "1"
"""The only layout of our `rt_info` keys that this version reads and writes."""

MODEL_FILES: Mapping[str, str] = {"fp16": "model.xml", "int8": "model-int8.xml"}
"""Precision → file name inside the bundle; the weights lie beside it with `.bin`."""

MAX_XML_BYTES = 64 * 1024 * 1024
MAX_BIN_BYTES = 2 * 1024**3
MAX_SIZE_PX = 4096


@dataclass(frozen=True, slots=True)
class Bundle:
    """One released model.

    `size_px` is the side of the square input; `precisions` what the folder holds, of
    `MODEL_FILES`; `digest` the SHA-256 of the IR files in hexadecimal; `card` the release's own
    notes (`card.json`), empty if there are none.
    """

    path: Path
    taxonomy: Taxonomy
    size_px: int
    policy: Policy
    temperature: float
    precisions: tuple[str, ...]
    digest: str
    card: Mapping[str, Any]


def default_bundle() -> Path:
    """The folder of the bundle that ships with sorter.

    The installed package's own copy, else the checkout's `weights/`. Raises BundleError if
    neither is there.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (
        package / "weights" / "mobilenet_v2",
        package.parent / "weights" / "mobilenet_v2",
    ):
        if any((folder / name).is_file() for name in MODEL_FILES.values()):
            return folder
    raise BundleError("this installation carries no model; name one with --model DIR")


def open_bundle(path: Path) -> Bundle:
    """Read and check a bundle folder.

    Raises BundleError, saying what is wrong, for a folder that is missing, damaged, of another
    schema, or whose labels and thresholds do not fit its own outputs.
    """
    path = Path(path)
    if not path.is_dir():
        raise BundleError(f"{path}: no such model folder; name one with --model DIR")
    precisions = tuple(p for p, name in MODEL_FILES.items() if (path / name).is_file())
    if not precisions:
        raise BundleError(f"{path}: holds neither {' nor '.join(MODEL_FILES.values())}")
    first = _read_description(path / MODEL_FILES[precisions[0]])
    for precision in precisions[1:]:
        if _read_description(path / MODEL_FILES[precision]) != first:
            raise BundleError(
                f"{path}: {MODEL_FILES[precisions[0]]} and {MODEL_FILES[precision]} do not agree "
                "on labels, thresholds or input; export the model again"
            )
    return Bundle(
        path=path,
        taxonomy=first.taxonomy,
        size_px=first.size_px,
        policy=first.policy,
        temperature=first.temperature,
        precisions=precisions,
        digest=_digest(path, precisions),
        card=_read_card(path / "card.json"),
    )


def model_file(bundle: Bundle, precision: str) -> Path:
    """The IR of `precision` ("fp16" or "int8"). Raises BundleError if the bundle has none."""
    if precision not in bundle.precisions:
        have = ", ".join(bundle.precisions)
        raise BundleError(f"{bundle.path}: holds no {precision} model, only {have}")
    return bundle.path / MODEL_FILES[precision]


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
        "labels": " ".join("_".join(item.name.split()) for item in taxonomy.items),
        "label_ids": " ".join("_".join(item.code.split()) for item in taxonomy.items),
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
        "taxonomy": json.dumps(taxonomy_to_dict(taxonomy), ensure_ascii=False),
        "temperature": repr(float(temperature)),
        "bin_thresholds": json.dumps([float(t) for t in policy.bin_thresholds]),
        "unknown_threshold": repr(float(policy.unknown_threshold)),
        "data_digest": data_digest,
        "metrics": json.dumps(dict(metrics or {}), sort_keys=True),
    }
    for section, values in (("model_info", model_info), ("sorter", ours)):
        for key, value in values.items():
            model.set_rt_info(value, [section, key])


@dataclass(frozen=True, slots=True)
class _Description:
    """What one IR says of itself; both precisions of a bundle must say the same."""

    taxonomy: Taxonomy
    size_px: int
    policy: Policy
    temperature: float


def _read_description(xml: Path) -> _Description:
    model = _read_ir(xml)
    info = _rt_info(model, xml)
    version = info.get("schema_version")
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{xml}: schema version {version!r} is not {SCHEMA_VERSION!r}; "
            "this sorter cannot read it"
        )
    document = _json(info, "taxonomy", xml)
    if not isinstance(document, dict):
        raise BundleError(f"{xml}: its taxonomy is not a table")
    try:
        taxonomy = taxonomy_from_dict(document, source=str(xml))
    except TaxonomyError as error:
        raise BundleError(f"{error}; the model's labels cannot be used") from error
    thresholds = _json(info, "bin_thresholds", xml)
    if not isinstance(thresholds, list) or len(thresholds) != len(taxonomy.bins):
        raise BundleError(f"{xml}: needs one threshold for each of {len(taxonomy.bins)} bins")
    policy = Policy(
        bin_thresholds=tuple(_number(t, "bin_thresholds", xml, upper=1.0) for t in thresholds),
        unknown_threshold=_number(
            info.get("unknown_threshold", "1.0"), "unknown_threshold", xml, upper=1.0
        ),
    )
    temperature = _number(info.get("temperature", "1.0"), "temperature", xml, upper=1e6)
    if temperature == 0.0:
        raise BundleError(f"{xml}: temperature is 0")
    return _Description(
        taxonomy=taxonomy,
        size_px=_check_ports(model, taxonomy, xml),
        policy=policy,
        temperature=temperature,
    )


def _read_ir(xml: Path) -> Any:
    """The `openvino.Model` of `xml`; every openvino error of reading becomes BundleError."""
    weights = xml.with_suffix(".bin")
    for file, limit in ((xml, MAX_XML_BYTES), (weights, MAX_BIN_BYTES)):
        try:
            size = file.stat().st_size
        except OSError as error:
            raise BundleError(f"{file}: {error.strerror}; the bundle is incomplete") from error
        if not 0 < size <= limit:
            raise BundleError(f"{file}: {size} bytes, which no model of ours has; copy it again")
    openvino = runtime.load()
    try:
        # Not by name: openvino would map the weights, and a copy over them would end the process.
        return openvino.Core().read_model(xml.read_bytes(), weights.read_bytes())
    except Exception as error:  # openvino raises RuntimeError, OSError and its own kinds
        raise BundleError(f"{xml}: not a readable OpenVINO model: {_one_line(error)}") from error


def _rt_info(model: Any, xml: Path) -> dict[str, str]:
    try:
        section = model.get_rt_info(["sorter"]).value
    except RuntimeError as error:
        raise BundleError(f"{xml}: not a sorter model (no `sorter` section)") from error
    if not isinstance(section, dict):
        raise BundleError(f"{xml}: its `sorter` section is not a table")
    return {str(key): str(getattr(value, "value", value)) for key, value in section.items()}


def _check_ports(model: Any, taxonomy: Taxonomy, xml: Path) -> int:
    """The input's side in pixels, once inputs and outputs fit the contract."""
    if len(model.inputs) != 1 or model.inputs[0].partial_shape.is_dynamic:
        raise BundleError(f"{xml}: needs one input of static shape")
    shape = list(model.inputs[0].shape)
    kind = model.inputs[0].element_type.get_type_name()
    side = int(shape[1]) if len(shape) == 4 else 0
    if kind != "u8" or shape[1:] != [side, side, 3] or not 1 <= side <= MAX_SIZE_PX:
        raise BundleError(f"{xml}: input is {kind} {shape}, not u8 [N, side, side, 3]")
    if not 1 <= len(model.outputs) <= 2 or any(o.partial_shape.is_dynamic for o in model.outputs):
        raise BundleError(f"{xml}: needs one or two outputs of static shape")
    rows, classes = shape[0], len(taxonomy.items)
    got = list(model.outputs[0].shape)
    if got != [rows, classes]:
        raise BundleError(f"{xml}: names {classes} classes but its first output is {got}")
    if len(model.outputs) == 2 and list(model.outputs[1].shape) not in ([rows], [rows, 1]):
        raise BundleError(
            f"{xml}: its second output is {list(model.outputs[1].shape)}, not one score a picture"
        )
    return side


def _json(info: Mapping[str, str], key: str, xml: Path) -> Any:
    text = info.get(key)
    if text is None:
        raise BundleError(f"{xml}: its `sorter` section has no {key!r}")
    if len(text) > 1000 * MAX_ITEMS:
        raise BundleError(f"{xml}: {key!r} is {len(text)} characters long")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{xml}: {key!r} is not JSON: {_one_line(error)}") from error


def _number(value: object, key: str, xml: Path, *, upper: float) -> float:
    number = math.nan
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError, OverflowError):
            number = float(value)
    if not 0.0 <= number <= upper:  # False for NaN too
        raise BundleError(f"{xml}: {key} is {value!r}, not a number from 0 to {upper:g}")
    return number


def _read_card(path: Path) -> Mapping[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: cannot read the card: {_one_line(error)}") from error
    if not isinstance(card, dict):
        raise BundleError(f"{path}: the card is not a JSON object")
    return card


def _digest(path: Path, precisions: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for precision in precisions:
        xml = path / MODEL_FILES[precision]
        for file in (xml, xml.with_suffix(".bin")):
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()


def _one_line(error: BaseException) -> str:
    """The last line of a library's message, where openvino says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
