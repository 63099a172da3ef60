"""Knowing when not to correct: the rule on drawn outputs, and the estimator on data where correction has no ground."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_classification
from skorch.callbacks import Callback

from noisyfit import JointOptimizationClassifier
from noisyfit.exceptions import CorrectionRefusedWarning
from noisyfit.noise import NoiseMatrix, corrupt_labels, symmetric_noise
from noisyfit.refusal import judge_unseen, reason_to_refuse, reason_to_train_on

N, N_CLASSES = 3000, 4


def draw(spread, seed=0):
    rng = np.random.RandomState(seed)
    proba = torch.from_numpy(spread * rng.randn(N, N_CLASSES)).softmax(dim=1).float()
    y = (rng.random_sample((N, 1)) > proba.numpy().cumsum(axis=1)).sum(axis=1).clip(max=N_CLASSES - 1)
    return proba, y


def reason(before, after, given, matrix, weight=None):
    given = torch.from_numpy(given)
    noise = NoiseMatrix(given, N_CLASSES, matrix=torch.from_numpy(matrix))
    return reason_to_refuse(judge_unseen(before, given, weight), after, noise, given, weight)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_noise_by_class_is_corrected(seed, rate):
    proba, y = draw(6.0, seed)
    matrix = symmetric_noise(N_CLASSES, rate)
    given = corrupt_labels(y, matrix, random_state=seed)
    before = (proba @ torch.from_numpy(matrix).float()).lerp(torch.full_like(proba, 0.25), 0.1)
    assert reason(before, proba, given, matrix) is None


@pytest.mark.parametrize("seed", range(5))
def test_labels_that_the_inputs_say_nothing_about(seed):
    proba, _ = draw(1.0, seed)
    given = np.random.RandomState(seed + 50).choice(N_CLASSES, N, p=[0.7, 0.1, 0.1, 0.1])
    assert "no better than by chance" in reason(proba, proba, given, symmetric_noise(N_CLASSES, 0.4))


def test_few_rows_with_much_noise_are_more_than_chance():
    """Where outputs are too sure of themselves their likelihood is below that of the frequencies."""
    proba, y = draw(6.0)
    matrix = symmetric_noise(N_CLASSES, 0.65)
    given = corrupt_labels(y, matrix, random_state=0)
    assert reason(proba[:600], proba[:600], given[:600], matrix) is None


def test_labels_that_have_drifted_away():
    proba, y = draw(6.0)
    collapsed = torch.full_like(proba, 0.01)
    collapsed[:, 0] = 0.97
    assert "worse than the network did before" in reason(proba, collapsed, y, symmetric_noise(N_CLASSES, 0.5))


def test_errors_that_follow_the_inputs():
    """Three in ten rows have a label that depends on the input alone, and the networks know half of the rule."""
    proba, y = draw(6.0)
    rng = np.random.RandomState(1)
    by_rule = rng.randint(N_CLASSES, size=N)
    given = np.where(rng.rand(N) < 0.3, by_rule, y)
    before = 0.7 * proba + 0.3 * torch.eye(N_CLASSES)[by_rule]
    before[::2] = 1 / N_CLASSES
    matrix = 0.7 * np.eye(N_CLASSES) + 0.3 / N_CLASSES
    text = reason(before, proba, given, matrix)
    assert "follow the inputs also within a class" in text


def test_rows_without_weight_have_no_say():
    proba, y = draw(6.0)
    weight = torch.ones(N)
    weight[::2] = 0
    given = y.copy()
    given[::2] = np.random.RandomState(0).randint(N_CLASSES, size=N // 2)
    assert reason(proba, proba, given, symmetric_noise(N_CLASSES, 0.001), weight) is None
    assert reason(proba, proba, given, symmetric_noise(N_CLASSES, 0.001)) is not None


@pytest.mark.parametrize(
    ("agreement", "rise", "n_rows", "unfinished"),
    [
        (0.5, 0.03, 100_000, True),
        (0.5, 0.01, 100_000, False),  # too little to matter
        (0.5, 0.03, 1000, False),  # less than chance
        (0.5, 0.06, 1000, True),
        (0.5, -0.1, 1000, False),
        (0.5, float("nan"), 1000, False),
        (1.0, 0.5, 10, True),
    ],
)
def test_networks_that_still_learn(agreement, rise, n_rows, unfinished):
    assert (reason_to_train_on(agreement, rise, n_rows) is not None) == unfinished


def fit(X, y, **params):
    return JointOptimizationClassifier(random_state=0, device="cpu", **params).fit(X, y)


@pytest.mark.parametrize("imbalance", [None, 0.9])
def test_random_labels_are_kept_with_a_warning(imbalance):
    rng = np.random.RandomState(0)
    X, y = rng.randn(500, 8), np.array(["a", "b", "c"])[rng.randint(3, size=500)]
    y = np.where(rng.rand(500) < imbalance, "a", y) if imbalance else y
    with pytest.warns(CorrectionRefusedWarning, match="All given labels are kept: .* no better than by chance"):
        clf = fit(X, y)
    assert "no better than by chance" in clf.correction_refused_
    np.testing.assert_array_equal(clf.corrected_labels_, y)
    report = clf.label_report()
    assert not report["is_label_issue"].any()
    np.testing.assert_array_equal(report["confidence"], report["label_quality"])
    assert f"correction refused: {clf.correction_refused_}" in clf.summary()
    np.testing.assert_array_equal(clf.correct(X, y)[0], y)  # for new rows, too


def many_classes():
    return make_classification(
        3000, n_features=12, n_informative=10, n_classes=20, n_clusters_per_class=2, class_sep=3.0, random_state=0
    )


@pytest.mark.parametrize("max_epochs", [2, 60])
def test_clean_labels_are_kept_where_training_was_too_short(max_epochs):
    X, y = many_classes()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", CorrectionRefusedWarning)
        clf = fit(X, y, max_epochs=max_epochs)
    if max_epochs < 60:
        assert "the networks were still learning" in clf.correction_refused_
        assert "train for more epochs" in str(warned[0].message)
        np.testing.assert_array_equal(clf.corrected_labels_, y)
    else:
        assert clf.correction_refused_ is None
        assert not warned
        assert (clf.corrected_labels_ != y).mean() < 0.01


def test_what_networks_agreed_on_before_is_part_of_a_checkpoint(tmp_path):
    X, y = many_classes()

    class CutError(Exception):
        pass

    class Cut(Callback):
        def on_epoch_end(self, net, **kwargs):
            if armed and len(net.history) == 2:
                raise CutError

    params = {"max_epochs": 2, "net_params": {"callbacks": [Cut()]}, "checkpoint": tmp_path}
    armed = True
    with pytest.raises(CutError):
        fit(X, y, **params)
    armed = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CorrectionRefusedWarning)
        resumed, whole = fit(X, y, **params), fit(X, y, **params | {"checkpoint": None})
    assert "the networks were still learning" in whole.correction_refused_
    assert resumed.correction_refused_ == whole.correction_refused_


@pytest.mark.parametrize(("begin", "judged"), [(10, True), (11, False), (12, True)])
def test_a_rise_by_labels_that_are_new_is_no_learning(monkeypatch, blobs, begin, judged):
    X, _, y_noisy = blobs
    asked = []
    monkeypatch.setattr("noisyfit.joint_optimisation.reason_to_train_on", lambda *args: asked.append(args))
    weight = np.r_[np.zeros(30), np.ones(60)]
    clf = JointOptimizationClassifier(max_epochs=12, begin=begin, random_state=0).fit(X, y_noisy, sample_weight=weight)
    assert len(asked) == judged
    assert clf.correction_refused_ is None
    assert all(n_rows == 60 for _, _, n_rows in asked)  # rows without weight have no say


@pytest.mark.parametrize("n_classes", [2, 3])
def test_overlapping_classes_without_noise_stay_as_they_are(n_classes):
    X, y = make_classification(
        1500, n_features=10, n_informative=4, n_classes=n_classes, n_clusters_per_class=1, class_sep=0.6, random_state=0
    )
    clf = fit(X, y)
    assert clf.score(X, y) < 0.97  # they overlap
    assert (clf.corrected_labels_ != y).mean() < 0.03


@pytest.mark.parametrize("seed", [0, 3])
def test_few_rows_of_hard_classes_without_noise_stay_as_they_are(seed):
    """Networks soon become sure of more than they can know there, and that the labels are wrong elsewhere."""
    X, y = make_classification(400, n_informative=5, n_classes=3, class_sep=0.8, flip_y=0, random_state=seed)
    clf = JointOptimizationClassifier(random_state=seed).fit(X, y)
    assert clf.correction_refused_ is None
    assert (clf.corrected_labels_ != y).mean() < 0.01


def test_few_wrong_labels_are_found():
    X, y = load_digits(return_X_y=True)
    wrong = np.random.RandomState(0).choice(len(y), 36, replace=False)  # 2 %
    y_noisy = y.copy()
    y_noisy[wrong] = (y[wrong] + 1) % 10
    clf = fit(X, y_noisy)
    assert (clf.corrected_labels_[wrong] == y[wrong]).mean() > 0.9
    assert (clf.corrected_labels_ != y).mean() < 0.01


def test_clean_labels_stay_as_they_are():
    X, y = load_digits(return_X_y=True)
    clf = fit(X, y)
    assert (clf.corrected_labels_ != y).mean() <= 0.01
    assert clf.noise_rate_ <= 0.01
