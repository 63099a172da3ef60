from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from noisyfit.judgement.noise_matrix import CELL_COUNT, DIAGONAL_COUNT, estimate_noise, noise_as_given, posterior_
from noisyfit.noise import (
    asymmetric_noise,
    corrupt_labels,
    pair_flip_noise,
    symmetric_noise,
    uniform_noise,
    weak_annotator_labels,
)

MATRICES = {
    "uniform": uniform_noise(5, 0.4),
    "symmetric": symmetric_noise(5, 0.4),
    "pair flip": pair_flip_noise(5, 0.4),
    "asymmetric": asymmetric_noise(5, 0.4, {0: 3, 3: 0, 2: 1}),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_rows_are_distributions(kind):
    matrix = MATRICES[kind]
    assert matrix.dtype == np.float64
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1)


@pytest.mark.parametrize("kind", MATRICES)
def test_matrix_is_recovered_from_the_drawn_labels(kind):
    y = np.repeat(np.arange(5), 40_000)
    drawn = corrupt_labels(y, MATRICES[kind], random_state=1)
    counted = np.array([[np.mean(drawn[y == i] == j) for j in range(5)] for i in range(5)])
    np.testing.assert_allclose(counted, MATRICES[kind], atol=0.012)  # five standard errors
    assert (counted[MATRICES[kind] == 0] == 0).all()


def test_share_of_labels_that_really_change():
    change = {kind: 1 - np.trace(matrix) / 5 for kind, matrix in MATRICES.items()}
    expected = {"uniform": 0.4 * 4 / 5, "symmetric": 0.4, "pair flip": 0.4, "asymmetric": 0.4 * 3 / 5}
    assert change == pytest.approx(expected)


def test_same_seed_same_labels():
    y = np.arange(1000) % 5
    draws = [corrupt_labels(y, MATRICES["uniform"], random_state=seed) for seed in (3, 3, 4)]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()


def test_no_seed_leaves_the_global_state_alone():
    before = np.random.get_state()[1].copy()
    corrupt_labels(np.arange(10) % 5, MATRICES["uniform"])
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize(
    "y",
    [
        np.array(["a", "b", "c", "d", "e"] * 20),
        np.array([0, 5, 7, 8, 9] * 20, dtype=np.int16),
        np.array(["x", "y", "z", "u", "v"] * 20, dtype=object),
        np.array([0, 1, 2] * 30),  # two classes do not occur, but may be drawn
    ],
    ids=["strings", "gaps", "objects", "absent classes"],
)
def test_labels_of_any_kind_keep_their_dtype(y):
    before = y.copy()
    drawn = corrupt_labels(y, MATRICES["symmetric"], random_state=0)
    assert drawn.dtype == y.dtype
    assert (y == before).all()
    assert 0.2 < (drawn != y).mean() < 0.6


def test_no_noise_and_full_noise():
    y = np.arange(100) % 5
    assert (corrupt_labels(y, symmetric_noise(5, 0.0)) == y).all()
    assert (corrupt_labels(y, symmetric_noise(5, 1.0)) != y).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: symmetric_noise(3, 70), ValueError, r"`rate` must be .*at most 1, got 70. Pass 0.7 for 70 %"),
        (lambda: uniform_noise(1, 0.1), ValueError, "`n_classes` must be .*at least 2, got 1"),
        (lambda: uniform_noise(3.0, 0.1), TypeError, "`n_classes` must be an int"),
        (lambda: symmetric_noise(3, "0.2"), TypeError, "`rate` must be a number"),
        (lambda: asymmetric_noise(3, 0.2, {0: 3}), ValueError, r"`pairs` must .*got 0 -> 3"),
        (lambda: asymmetric_noise(3, 0.2, [(0, 0)]), ValueError, r"`pairs` must .*got 0 -> 0"),
        (lambda: asymmetric_noise(3, 0.2, [(0, 1), (0, 2)]), ValueError, "at most once"),
        (lambda: corrupt_labels([0, 1], [[0.5, 0.6], [0, 1]]), ValueError, "sum to 1 in every row"),
        (lambda: corrupt_labels([0, 1], [[1.0, 0.0]]), ValueError, "must be square"),
        (lambda: corrupt_labels(["a", "b", "c"], np.eye(2)), ValueError, "2 rows but `y` has 3 distinct labels"),
        (lambda: corrupt_labels([0, 1], 0.4), ValueError, "`transition_matrix` must be an array.*Make one with"),
        (lambda: corrupt_labels([[0, 1]], np.eye(2)), ValueError, r"`y` must have shape \(n_samples,\)"),
    ],
)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_step_counts_given_labels_by_soft_labels():
    rng = np.random.RandomState(0)
    given, soft, weight = rng.randint(3, size=50), rng.dirichlet(np.ones(3), 50), rng.rand(50)
    counts = np.full((3, 3), CELL_COUNT) + np.eye(3) * (DIAGONAL_COUNT - CELL_COUNT)
    for i in range(50):
        counts[:, given[i]] += weight[i] * soft[i]
    noise = estimate_noise(torch.tensor(soft), torch.tensor(given), torch.tensor(weight))
    np.testing.assert_allclose(noise.matrix, counts / counts.sum(1, keepdims=True), rtol=1e-12)


def test_evidence_loss_is_the_mean_surprise_of_the_given_labels():
    rng = np.random.RandomState(0)
    given, soft = rng.randint(3, size=50), rng.dirichlet(np.ones(3), 50)
    assert noise_as_given(torch.tensor(given), 3).evidence_loss() == pytest.approx(0, abs=0.01)  # next to no surprise
    noise = estimate_noise(torch.tensor(soft), torch.tensor(given))
    log_matrix = noise.matrix.log().numpy()
    assert noise.evidence_loss() == pytest.approx(-np.mean([soft[i] @ log_matrix[:, given[i]] for i in range(50)]))


def test_step_recovers_a_matrix_from_true_labels():
    y = np.arange(60_000) % 5
    given = corrupt_labels(y, MATRICES["asymmetric"], random_state=0)
    noise = estimate_noise(torch.nn.functional.one_hot(torch.tensor(y), 5).float(), torch.tensor(given))
    np.testing.assert_allclose(noise.matrix, MATRICES["asymmetric"], atol=0.025)


def test_the_share_of_given_labels_that_are_called_wrong():
    given, weight = torch.tensor([0, 1, 1]), torch.tensor([1.0, 1.0, 2.0])
    assert noise_as_given(given, 2, weight).wrong_share() == 0
    noise = estimate_noise(torch.tensor([[0.5, 0.5], [0.0, 1.0], [0.75, 0.25]]), given, weight)
    assert noise.wrong_share() == pytest.approx((0.5 + 2 * 0.75) / 4)


# the three blocks together


def full_objective(s, y, matrix, given, gamma):
    """L_c(s, Y) + gamma (L_o + R) in float64, written from the equations."""
    n = len(s)
    L_c = np.where(y > 0, y * np.log(np.where(y > 0, y, 1) / s), 0).sum() / n
    L_o = -sum(y[i] @ np.log(matrix[:, given[i]]) for i in range(n)) / n
    counts = np.full(matrix.shape, CELL_COUNT) + np.eye(len(matrix)) * (DIAGONAL_COUNT - CELL_COUNT)
    return L_c + gamma * (L_o - (counts * np.log(matrix)).sum() / n)


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("hard", [False, True])
def test_no_step_raises_the_objective_of_fixed_outputs(gamma, hard):
    rng = np.random.RandomState(0)
    s, given = rng.dirichlet(np.ones(4) / 2, 200) + 1e-4, rng.randint(4, size=200)
    s /= s.sum(axis=1, keepdims=True)
    y, of_rows = np.eye(4)[s.argmax(axis=1)] if hard else s, torch.tensor(given)
    noise = estimate_noise(torch.tensor(y), of_rows)
    values = [full_objective(s, y, noise.matrix.numpy(), given, gamma)]
    for _ in range(6):
        y = posterior_(torch.tensor(s), of_rows, noise.matrix, gamma).numpy()
        y = np.eye(4)[y.argmax(axis=1)] if hard else y
        values.append(full_objective(s, y, noise.matrix.numpy(), given, gamma))
        noise = estimate_noise(torch.tensor(y), of_rows)
        values.append(full_objective(s, y, noise.matrix.numpy(), given, gamma))
    assert (np.diff(values) <= 1e-12).all()
    assert values[-1] < values[0] - 0.001


def test_the_posterior_is_bayes_rule():
    s, matrix = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]]), MATRICES["symmetric"][:3, :3]
    matrix = torch.tensor(matrix / matrix.sum(axis=1, keepdims=True))
    expected = s * matrix.numpy()[:, [1, 2]].T
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(posterior_(torch.tensor(s), torch.tensor([1, 2]), matrix, 1.0), expected)


def test_normalised_evidence_favours_no_class():
    """Labels drawn through the damped matrix leave the outputs, on average, as they were; without it they do not."""
    damped = np.array([[0.7, 0.3, 0.0], [0.05, 0.9, 0.05], [0.2, 0.3, 0.5]]) ** 0.5
    damped /= damped.sum(axis=1, keepdims=True)
    s = np.array([0.6, 0.3, 0.1])
    matrix, given = torch.tensor(damped**2 / (damped**2).sum(axis=1, keepdims=True)), torch.arange(3)
    chances = s @ damped  # of each given label
    means = {
        normalised: chances @ posterior_(torch.tensor(np.tile(s, (3, 1))), given, matrix, 0.5, normalised).numpy()
        for normalised in (True, False)
    }
    np.testing.assert_allclose(means[True], s, atol=1e-9)
    assert means[False][2] > 1.04 * s[2]  # the class whose labels are scattered most


def test_normalised_evidence_of_full_weight_is_the_posterior():
    s = torch.tensor(np.random.RandomState(0).dirichlet(np.ones(4), 20))
    given = torch.arange(20) % 4
    matrix = estimate_noise(torch.tensor(np.random.RandomState(1).dirichlet(np.ones(4), 20)), given).matrix
    normalised = posterior_(s.clone(), given, matrix, 1.0, normalised=True)
    torch.testing.assert_close(normalised, posterior_(s.clone(), given, matrix, 1.0))


def test_given_labels_say_nothing_where_rows_of_the_matrix_are_equal():
    s = torch.tensor(np.random.RandomState(0).dirichlet(np.ones(3), 20))
    matrix = torch.full((3, 3), 1 / 3, dtype=torch.float64)
    torch.testing.assert_close(posterior_(s.clone(), torch.arange(20) % 3, matrix, 1.0), s)


@pytest.mark.parametrize("kind", MATRICES)
def test_steps_recover_the_matrix_from_outputs_that_never_saw_the_labels(kind):
    rng = np.random.RandomState(0)
    s = rng.dirichlet(np.ones(5) * 0.2, 60_000)
    y = (s.cumsum(axis=1) < rng.rand(60_000, 1)).sum(axis=1).clip(max=4)  # outputs that are calibrated
    given = corrupt_labels(y, MATRICES[kind], random_state=0)
    given = torch.tensor(given)
    noise = estimate_noise(torch.tensor(s), given)
    for _ in range(60):
        noise = estimate_noise(posterior_(torch.tensor(s), given, noise.matrix, 1.0), given)
    np.testing.assert_allclose(noise.matrix, MATRICES[kind], atol=0.04)


# noise that follows the inputs


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_a_weak_annotator_errs_as_often_as_asked(rate):
    X, y = load_digits(return_X_y=True)
    before = y.copy()
    noisy = weak_annotator_labels(X, y, rate, random_state=0)
    assert (noisy != y).sum() == round(rate * len(y))
    assert noisy.dtype == y.dtype
    np.testing.assert_array_equal(y, before)
    np.testing.assert_array_equal(noisy, weak_annotator_labels(X, y, rate, random_state=0))
    if rate == 0.5:
        assert (noisy != weak_annotator_labels(X, y, rate, random_state=1)).any()


@pytest.mark.thorough
def test_a_weak_annotator_errs_where_it_knows_little():
    """Errors can be told from the inputs better than errors at random, on average of several annotators."""
    X, y = load_digits(return_X_y=True)
    rows = np.flatnonzero(y < 2)
    scores = []
    for seed in range(6):
        wrong = weak_annotator_labels(X[rows], y[rows], 0.3, random_state=seed) != y[rows]
        found = cross_val_predict(RandomForestClassifier(random_state=0), X[rows], wrong, method="predict_proba")[:, 1]
        scores.append(roc_auc_score(wrong, found))
    assert np.mean(scores) > 0.58


@pytest.mark.parametrize("kind", [list, sparse.csr_matrix, pd.DataFrame, lambda X: X.reshape(-1, 2, 2)])
def test_rows_of_a_weak_annotator(kind):
    X, y = load_iris(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    noisy = weak_annotator_labels(kind(X), names, 0.2, random_state=0)
    assert (noisy != names).sum() == 30
    assert set(noisy) <= set(names)


@pytest.mark.parametrize(
    ("X", "y", "rate", "message"),
    [
        (np.eye(4), [0, 1, 0, 1], 20, "Pass 0.2 for 20 %"),
        (np.eye(4), [0, 0, 0, 0], 0.5, "at least 2 classes"),
        (np.eye(4), [0, 1], 0.5, "inconsistent numbers of samples"),
        (np.eye(4) * np.nan, [0, 1, 0, 1], 0.5, "Input X contains NaN"),
        (np.eye(4), [[0, 1], [1, 0]], 0.5, "must have shape"),
    ],
)
def test_what_a_weak_annotator_cannot_label(X, y, rate, message):
    with pytest.raises(ValueError, match=message):
        weak_annotator_labels(X, y, rate)
