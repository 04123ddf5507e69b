"""What a run and a release say of themselves: config.json and card.json.

Owns the documents. A card goes out with the weights, so it holds no path of this machine.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any

from sorter.taxonomy import taxonomy_to_dict
from train.config import Config, recipe_digest, to_dict
from train.data.corpus import ROLES, Corpus, Sources
from train.fit.features import weights_digest
from train.judge.figures import RunFigures, on_card
from train.networks import Network
from train.networks.memory import Memory

_PACKAGES = ("torch", "torchvision", "openvino", "nncf", "numpy", "pillow", "sorter")


def describe_run(
    sources: Sources,
    config: Config,
    corpus: Corpus,
    start: Network,
    memory: Memory | None = None,
) -> dict[str, Any]:
    """config.json: the recipe, the taxonomy and where the pictures lie.

    `run_digest` differs wherever the weights or the folds would.
    """
    digest = hashlib.sha256(recipe_digest(config).encode())
    digest.update(weights_digest(start, head=True).encode())
    for name, tensor in memory.state_dict().items() if memory else ():
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    for e in corpus.examples:
        digest.update(f"{e.role} {e.label} {e.digest} {e.source} {e.group}\n".encode())
    return {
        "config": to_dict(config),
        "taxonomy": taxonomy_to_dict(corpus.taxonomy),
        "data": str(sources.data),
        "extra": [str(p) for p in sources.extra],
        "final": [str(p) for p in sources.final],
        "unknown": [str(p) for p in sources.unknown],
        "groups": str(sources.groups or ""),
        "data_digest": corpus.digest,
        "run_digest": digest.hexdigest(),
    }


def make_card(
    corpus: Corpus,
    config: Config,
    origin: str,
    figures: RunFigures,
    memory: Memory | None,
) -> dict[str, Any]:
    """card.json without the conversion's figures; `origin` names the start weights.

    The memory's settings stand beside the recipe, since one that came with the start weights keeps
    its own.
    """
    recipe = {**to_dict(config), "init": origin, "teacher": Path(config.teacher).name}
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "source"
    counts = {role: len(corpus.rows(role)) for role in ROLES}
    return {
        "network": config.network,
        "data_digest": corpus.digest,
        "pictures": counts,
        "memory": _describe(memory),
        "broken": len(corpus.broken),
        "recipe": recipe,
        "seed": config.seed,
        "versions": versions,
        "figures": on_card(figures),
    }


def _describe(memory: Memory | None) -> dict[str, float]:
    if memory is None:
        return {}
    sharpness, weight = memory.settings.tolist()
    return {
        "photographs": len(memory.keys),
        "dimensions": memory.keys.shape[1],
        "sharpness": round(sharpness, 4),
        "weight": round(weight, 4),
    }
