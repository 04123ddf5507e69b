"""Temperature, thresholds and the unknown score do what they promise on made-up scores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sorter.errors import ModelError  # noqa: E402
from sorter.taxonomy import read_taxonomy  # noqa: E402
from sorter.vision.evaluate import auroc, calibration_error  # noqa: E402
from tests.support.train_pictures import write_taxonomy  # noqa: E402
from train.config import make_config  # noqa: E402
from train.judge.calibrate import (  # noqa: E402
    bin_thresholds,
    calibrate,
    calibrated,
    fit_temperature,
    from_json,
    site_weights,
    softmax,
    to_json,
    unknown_score,
)


def made_up(n: int, heat: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores `heat` times too sharp for the labels drawn from them."""
    stream = np.random.default_rng(0)
    scores = stream.normal(0, 2, (n, 3))
    chance = softmax(scores)
    labels = np.array([stream.choice(3, p=p) for p in chance])
    return scores * heat, labels


def test_temperature_undoes_overconfidence() -> None:
    scores, labels = made_up(4000, 3.0)
    temperature = fit_temperature(scores, labels)
    assert temperature == pytest.approx(3.0, rel=0.1)
    assert calibration_error(softmax(scores / temperature), labels) < 0.02
    assert calibration_error(softmax(scores), labels) > 0.08


@pytest.mark.parametrize("heat", [1e12, float("nan")])
def test_scores_of_a_training_that_diverged_are_refused(tmp_path: Path, heat: float) -> None:
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    scores, labels = made_up(50, heat)
    with pytest.raises(ModelError, match=r"the training diverged: .* lower --lr"):
        calibrate(scores, labels, taxonomy, make_config({}))


def test_each_picture_has_the_temperature_of_its_kind(tmp_path: Path) -> None:
    """Half the pictures are five times as overconfident, which the memory's evidence shows."""
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    parts = []
    for heat, evidence in ((1.0, -2.0), (5.0, -12.0)):
        scores, labels = made_up(3000, heat)
        rest = np.tile([0.0, evidence, -20.0], (3000, 1))
        parts.append((np.concatenate([scores, rest], 1), labels))
    scores, labels = (np.concatenate(p) for p in zip(*parts, strict=True))
    result = calibrate(scores, labels, taxonomy, make_config({}))
    for half in (slice(0, 3000), slice(3000, 6000)):
        ours = calibrated(scores[half], 3, result.temperature, result.slope)
        alone = calibrated(scores[half], 3, result.temperature, (0.0,) * 4)
        assert calibration_error(ours, labels[half]) < 0.03
        assert calibration_error(alone, labels[half]) > 0.05


def test_thresholds_keep_the_wrong_bin_rate(tmp_path: Path) -> None:
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    scores, labels = made_up(6000, 1.0)
    probabilities = softmax(scores)
    config = make_config({"wrong_bin_rate": 0.05})
    limits = bin_thresholds(probabilities, labels, np.ones(6000, bool), taxonomy, config)
    bin_of = np.array([0, 1, 1])
    in_bins = np.stack([probabilities[:, 0], probabilities[:, 1:].sum(1)], 1)
    placed, score = in_bins.argmax(1), in_bins.max(1)
    for b in (0, 1):
        chosen = (placed == b) & (score >= limits[b])
        assert chosen.sum() > 300
        assert (bin_of[labels[chosen]] != b).mean() <= 0.051
        lower = (placed == b) & (score >= limits[b] - 0.03)
        assert (bin_of[labels[lower]] != b).mean() > 0.04, "no stricter than it must be"


def test_a_risky_bin_costs_more_and_every_site_counts_the_same(tmp_path: Path) -> None:
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    risky = replace(taxonomy, bins=(taxonomy.bins[0], replace(taxonomy.bins[1], risk=5.0)))
    scores, labels = made_up(6000, 1.0)
    config, everyone = make_config({"wrong_bin_rate": 0.05}), np.ones(6000, bool)
    probabilities = softmax(scores)
    plain = bin_thresholds(probabilities, labels, everyone, taxonomy, config)
    strict = bin_thresholds(probabilities, labels, everyone, risky, config)
    # What must be surer is a decision for the bin without risk, of things that may be risky.
    in_bins = np.stack([probabilities[:, 0], probabilities[:, 1:].sum(1)], 1)

    def wrong(limit: float, score: np.ndarray) -> float:
        chosen = (in_bins[:, 0] > 0.5) & (score >= limit)
        return float((labels[chosen] != 0).mean())

    assert (
        wrong(strict[0], in_bins[:, 0] - 4 * in_bins[:, 1])
        <= 0.011
        < wrong(plain[0], in_bins[:, 0])
    )

    # A large site of easy pictures does not hide a small one whose answers mean nothing.
    hard = labels.copy()
    hard[:200] = np.random.default_rng(2).integers(0, 3, 200)
    sites = ["hard"] * 200 + ["easy"] * 5800
    rates = bin_thresholds(probabilities, hard, everyone, taxonomy, config)
    by_site = bin_thresholds(
        probabilities, hard, everyone, taxonomy, config, weight=site_weights(sites)
    )
    assert by_site[0] > rates[0] + 0.02


def test_unknown_score_tells_unknown_from_known(tmp_path: Path) -> None:
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    stream = np.random.default_rng(1)
    known = np.concatenate([stream.normal(0, 1, (600, 3)), stream.normal(-2, 1, (600, 1))], 1)
    known[np.arange(600), stream.integers(0, 3, 600)] += 5
    unknown = np.concatenate([stream.normal(0, 1, (200, 3)), stream.normal(2, 1, (200, 1))], 1)
    scores = np.concatenate([known, unknown])
    labels = np.concatenate([known[:, :3].argmax(1), np.full(200, -1)])
    result = calibrate(scores, labels, taxonomy, make_config({"known_lost": 0.05}))
    values = unknown_score(scores, 3, result.unknown)
    assert auroc(values[600:], values[:600]) > 0.98
    assert (values[:600] > result.unknown_threshold).mean() == pytest.approx(0.05, abs=0.01)
    assert (values[600:] > result.unknown_threshold).mean() > 0.9
    assert from_json(to_json(result)) == result


def test_a_calibration_from_before_there_was_a_memory_is_read() -> None:
    old = {"temperature": 1.5, "bin_thresholds": [0.5, 0.6], "unknown_threshold": 0.7}
    result = from_json(json.dumps({**old, "unknown": [0.1, 0.2, 0.3, 0.4]}))
    assert result.unknown == (0.1, 0.2, 0.3, 0.4, 0.0, 0.0)
    scores = np.array([[3.0, 0.0, 0.0]])
    assert np.allclose(calibrated(scores, 3, 1.5, result.slope), softmax(scores / 1.5))
    for wrong in ({"unknown": [0.1] * 5}, {"unknown": [0.1] * 6, "slope": [0.1]}):
        with pytest.raises(ValueError, match="weights"):
            from_json(json.dumps({**old, **wrong}))


def test_without_unknown_pictures_low_energy_is_unknown(tmp_path: Path) -> None:
    taxonomy = read_taxonomy(write_taxonomy(tmp_path))
    scores, labels = made_up(500, 2.0)
    result = calibrate(scores, labels, taxonomy, make_config({}))
    values = unknown_score(np.array([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]), 3, result.unknown)
    assert values[0] > values[1]
