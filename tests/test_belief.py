"""The belief: the pool of the witnesses, the noise matrix that makes the given labels most likely, the posterior."""

from __future__ import annotations

import numpy as np
import pytest

import noisyfit.judgement.belief
from noisyfit.judgement.belief import fit_noise_matrix, form_belief, pool
from noisyfit.judgement.noise_matrix import CELL_COUNT, DIAGONAL_COUNT
from noisyfit.noise import corrupt_labels, symmetric_noise

N_CLASSES = 3


def draw(n=4000, sharpness=0.2, seed=0):
    """Give outputs that know what they know, and true labels drawn from them."""
    rng = np.random.RandomState(seed)
    proba = rng.dirichlet(np.full(N_CLASSES, sharpness), n).astype(np.float32)
    y = (rng.rand(n, 1) > proba.cumsum(axis=1)).sum(axis=1).clip(max=N_CLASSES - 1)
    return proba, y


def objective(matrix, proba, given, weight):
    prior = np.full(matrix.shape, CELL_COUNT) + (DIAGONAL_COUNT - CELL_COUNT) * np.eye(len(matrix))
    likely = (proba * matrix[:, given].T).sum(axis=1)
    return weight @ np.log(likely) + (prior * np.log(matrix)).sum()


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_the_matrix_that_drew_the_labels_is_found(rate):
    proba, y = draw()
    given = corrupt_labels(y, symmetric_noise(N_CLASSES, rate), random_state=1)
    found, bounds = fit_noise_matrix(np.log(np.maximum(proba, 1e-6)), given)
    np.testing.assert_allclose(found, symmetric_noise(N_CLASSES, rate), atol=0.04)
    assert len(bounds) > 1
    assert (np.diff(bounds) > -1e-12).all()
    weight = np.ones(len(given))
    assert bounds[-1] == pytest.approx(objective(found, np.maximum(proba, 1e-6), given, weight) / len(given), abs=1e-6)


def test_no_other_matrix_makes_the_labels_more_likely():
    proba, y = draw(500, sharpness=1.0)
    weight = np.random.RandomState(2).randint(3, size=500).astype(np.float32)
    found, _ = fit_noise_matrix(np.log(np.maximum(proba, 1e-6)), y, weight)
    best = objective(found, proba, y, weight)
    rng = np.random.RandomState(3)
    for size in (0.01, 0.1, 0.5):
        for _ in range(20):
            other = (1 - size) * found + size * rng.dirichlet(np.ones(N_CLASSES), N_CLASSES)
            assert objective(other, proba, y, weight) < best + 0.02


def test_two_classes_whose_likelihood_is_flat_end_inside():
    proba = np.full((200, 2), 0.5)
    given = np.arange(200) % 2
    found, _ = fit_noise_matrix(np.log(proba), given)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found > 0.005).all()  # any symmetric matrix is as likely, and the prior counts decide


def test_weights_count_like_repeated_rows():
    proba, y = draw(60)
    weight = np.arange(60) % 3
    repeated = np.repeat(np.arange(60), weight)
    log_proba = np.log(np.maximum(proba, 1e-6))
    np.testing.assert_allclose(
        fit_noise_matrix(log_proba, y, weight.astype(np.float32))[0],
        fit_noise_matrix(log_proba[repeated], y[repeated])[0],
        rtol=1e-6,
    )


def test_many_rows_are_sampled(monkeypatch):
    proba, y = draw()
    log_proba = np.log(np.maximum(proba, 1e-6))
    whole, _ = fit_noise_matrix(log_proba, y)
    monkeypatch.setattr(noisyfit.judgement.belief, "_LARGEST_SAMPLE", 2000 * N_CLASSES)
    np.testing.assert_allclose(fit_noise_matrix(log_proba, y)[0], whole, atol=0.05)


def test_the_pool_is_the_geometric_mean():
    first, second = draw(7)[0], draw(7, seed=1)[0]
    floored = [
        np.maximum(proba, 1e-4) / np.maximum(proba, 1e-4).sum(axis=1, keepdims=True) for proba in (first, second)
    ]
    expected = np.sqrt(floored[0] * floored[1])
    np.testing.assert_allclose(np.exp(pool([first, second])), expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)


def test_the_posterior_is_bayes_rule():
    proba, y = draw(50)
    matrix = symmetric_noise(N_CLASSES, 0.2)
    belief = form_belief([proba], y, transition_matrix=matrix)
    expected = np.exp(belief.log_proba) * matrix[:, y].T
    np.testing.assert_allclose(
        np.exp(belief.log_posterior), expected / expected.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-6
    )
    assert belief.transition_matrix is matrix


def test_certain_outputs_stay_numbers():
    proba = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    belief = form_belief([proba], np.array([0, 1, 1, 0]))
    assert np.isfinite(belief.log_posterior).all()
    assert np.isfinite(belief.transition_matrix).all()
