from __future__ import annotations

import numpy as np
import pytest
import torch

from noisyfit.calibration import calibrate
from noisyfit.noise import corrupt_labels, pair_flip_noise, symmetric_noise, temper

N = 4000


def draw(spread, seed=0, n_classes=3):
    """Calibrated probabilities, and true classes drawn from them; the higher `spread`, the more certain."""
    rng = np.random.RandomState(seed)
    proba = torch.from_numpy(spread * rng.randn(N, n_classes)).softmax(dim=1)
    draws = rng.random_sample((N, 1))
    y = (draws > proba.numpy().cumsum(axis=1)).sum(axis=1).clip(max=n_classes - 1)
    return proba.float(), y


def fit(proba, given, weight=None):
    found = calibrate(proba, torch.from_numpy(given), weight, torch.Generator().manual_seed(0))
    return found.temperature, found.noise.matrix.numpy()


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4])
def test_the_share_of_wrong_labels(rate):
    proba, y = draw(8.0)
    given = corrupt_labels(y, symmetric_noise(3, rate), random_state=0)
    found = calibrate(proba, torch.from_numpy(given), None, torch.Generator().manual_seed(0)).noise.wrong_share()
    assert found == pytest.approx((given != y).mean(), abs=0.02)


def test_the_most_likely_temperature_or_the_one_nearest_to_1_that_will_do():
    proba, y = draw(3.0)
    given, generator = torch.from_numpy(y[:100]), torch.Generator().manual_seed(0)
    proba = temper(proba[:100], 1 / 1.6)
    likely = calibrate(proba, given, None, generator, standard_errors=0.0).temperature
    will_do = calibrate(proba, given, None, generator, standard_errors=2.0)
    assert 1.0 <= will_do.temperature < likely == will_do.most_likely


@pytest.mark.parametrize("seed", range(3))
def test_overlapping_classes_are_no_noise(seed):
    proba, y = draw(1.5, seed)
    temperature, matrix = fit(temper(proba, 1 / 3), y)  # outputs three times too sure of themselves
    assert 2.0 < temperature < 4.5
    assert np.diag(matrix).min() > 0.93


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("true_matrix", [symmetric_noise(3, 0.4), pair_flip_noise(3, 0.3)])
def test_noise_is_no_overlap(seed, true_matrix):
    proba, y = draw(8.0, seed)
    temperature, matrix = fit(proba, corrupt_labels(y, true_matrix, random_state=seed))
    assert temperature < 1.5
    np.testing.assert_allclose(matrix, true_matrix, atol=0.06)


def test_both_at_once():
    proba, y = draw(3.0)
    temperature, matrix = fit(temper(proba, 1 / 3), corrupt_labels(y, symmetric_noise(3, 0.2), random_state=0))
    assert temperature > 1.5
    np.testing.assert_allclose(np.diag(matrix), 0.8, atol=0.06)


def test_rows_without_weight_do_not_count():
    proba, y = draw(8.0)
    given = corrupt_labels(y, symmetric_noise(3, 0.3), random_state=0)
    spoiled = given.copy()
    spoiled[: N // 2] = 0
    weight = torch.ones(N)
    weight[: N // 2] = 0
    temperature, matrix = fit(proba, spoiled, weight)
    expected_temperature, expected = fit(proba[N // 2 :], given[N // 2 :])
    assert temperature == expected_temperature
    np.testing.assert_allclose(matrix, expected, atol=1e-9)


def test_temper_keeps_the_order_and_survives_zeros():
    proba = torch.tensor([[0.9, 0.1, 0.0], [1.0, 0.0, 0.0]])
    assert torch.allclose(temper(proba, 1.0), proba)
    flat = temper(proba, 3.0)
    assert torch.isfinite(flat).all()
    assert flat[0, 0] < 0.9
    assert flat[0].argmax() == 0


def test_a_sample_finds_the_temperature_and_all_rows_the_matrix(monkeypatch):
    proba, y = draw(8.0)
    given = corrupt_labels(y, symmetric_noise(3, 0.3), random_state=0)
    _, expected = fit(proba, given)
    monkeypatch.setattr("noisyfit.calibration._LARGEST_SAMPLE", 3 * 300)
    _, matrix = fit(proba, given)
    np.testing.assert_allclose(matrix, expected, atol=0.01)
