"""What a fit makes of the judge: labels, intervals, warnings and words."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from noisyfit import JointOptimizationClassifier
from noisyfit.exceptions import ClassShrunkWarning, CorrectionRefusedWarning
from noisyfit.noise import corrupt_labels, symmetric_noise


def fit(X, y, groups=None, **params):
    return JointOptimizationClassifier(random_state=0, device="cpu").set_params(**params).fit(X, y, groups=groups)


@pytest.fixture(scope="module")
def noisy():
    X, y_clean = load_digits(return_X_y=True)
    y = corrupt_labels(y_clean, symmetric_noise(10, 0.2), random_state=1)
    return X, y, y_clean, fit(X, y, max_epochs=30)


def test_wrong_labels_are_corrected_and_the_rest_is_kept(noisy):
    _, y, y_clean, clf = noisy
    wrong = y != y_clean
    assert (clf.corrected_labels_[wrong] == y_clean[wrong]).mean() > 0.8
    assert (clf.corrected_labels_[~wrong] == y[~wrong]).mean() > 0.98
    low, high = clf.noise_rate_interval_
    assert low < wrong.mean() < high
    assert clf.noise_rate_ == pytest.approx(1 - clf.soft_labels_[np.arange(len(y)), y].mean(), abs=1e-5)
    assert clf.expected_gain_.mean == pytest.approx(
        (clf.corrected_labels_ == y_clean).mean() - (~wrong).mean(), abs=0.05
    )
    assert clf.correction_refused_ is None


def test_the_summary_says_what_is_known_and_how_well(noisy):
    *_, clf = noisy
    low, high = clf.noise_rate_interval_
    text = clf.summary()
    assert f"(95 %: {low:.0%} to {high:.0%})" in text
    assert f"expected to make {100 * clf.expected_gain_.mean:.1f} %" in text


@pytest.mark.thorough
def test_new_rows_are_judged(noisy):
    X, y, y_clean, _ = noisy
    clf = fit(X[:1200], y[:1200])
    corrected, soft = clf.correct(X[1200:], y[1200:])
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-5)
    assert (corrected == y_clean[1200:]).mean() > (y[1200:] == y_clean[1200:]).mean() + 0.08


def test_random_labels_are_kept_with_a_warning():
    rng = np.random.RandomState(0)
    X, y = rng.randn(400, 8), np.array(["a", "b", "c"])[rng.randint(3, size=400)]
    with pytest.warns(CorrectionRefusedWarning, match="All given labels are kept: the inputs tell next to nothing"):
        clf = fit(X, y)
    np.testing.assert_array_equal(clf.corrected_labels_, y)
    assert not clf.label_report()["is_label_issue"].any()
    assert clf.correction_refused_ in clf.summary()
    assert "the data alone cannot tell: look at rows_to_check(50)" in clf.summary()
    np.testing.assert_array_equal(clf.correct(X, y)[0], y)  # of new rows, too


@pytest.mark.thorough
def test_clean_labels_stay_as_they_are():
    X, y = load_digits(return_X_y=True)
    clf = fit(X, y)
    assert (clf.corrected_labels_ != y).mean() <= 0.002
    assert clf.correction_refused_ is None
    assert clf.noise_rate_interval_[0] == 0


@pytest.mark.parametrize("max_epochs", [1, 3])
def test_networks_that_have_learned_little_do_no_harm(max_epochs):
    X, y = load_digits(return_X_y=True)
    assert (fit(X, y, max_epochs=max_epochs).corrected_labels_ != y).mean() <= 0.01


@pytest.mark.thorough
def test_a_class_that_no_other_network_has_seen_keeps_its_labels():
    """All rows of the rare class come from one person; labels of it elsewhere are wrong."""
    X, y = load_digits(return_X_y=True)
    few = (y != 9) | (np.cumsum(y == 9) <= 40)
    X, y = X[few], y[few]
    groups = np.where(y == 9, 3, np.random.RandomState(0).randint(20, size=len(y)))
    y_noisy = corrupt_labels(y, symmetric_noise(10, 0.2), random_state=0)
    clf = JointOptimizationClassifier(random_state=0, device="cpu", max_epochs=40).fit(X, y_noisy, groups=groups)
    theirs = (y == 9) & (y_noisy == 9)
    assert (clf.corrected_labels_[theirs] == 9).mean() >= 0.95
    assert clf.label_report()["label_quality"][theirs].median() > 0.7
    assert (clf.corrected_labels_ == y).mean() > 0.95
    assert "labels that cannot be judged, and are kept: " in clf.summary()


def test_groups_that_are_the_classes_leave_nothing_to_judge_by(blobs):
    X, y, y_clean = blobs
    with pytest.warns(CorrectionRefusedWarning):
        clf = fit(X, y, groups=y_clean)
    assert (clf.corrected_labels_ == y).all()
    assert "are kept: 70, of 0, 1, 2 " in clf.summary()
    low, high = clf.noise_rate_interval_
    assert low < 0.2 < high
    assert low <= clf.noise_rate_ <= high
    assert (clf.predict(X) == y_clean).mean() > 0.6


def test_labels_are_judged_where_few_rows_have_weight():
    X, y_clean = load_digits(return_X_y=True)
    y = corrupt_labels(y_clean, symmetric_noise(10, 0.2), random_state=1)
    weight = np.random.RandomState(0).rand(len(y)) < 0.2
    clf = JointOptimizationClassifier(random_state=0, device="cpu", max_epochs=40).fit(X, y, sample_weight=weight)
    assert "cannot be judged" not in clf.summary()
    assert (clf.corrected_labels_ == y_clean).mean() > 0.85


def test_rows_of_a_class_with_fewer_rows_than_networks_keep_their_labels(blobs):
    X, y, _ = blobs
    y = y.copy()
    y[[5, 50]] = 7  # in the middle of other classes
    clf = fit(X, y)
    assert (clf.corrected_labels_[[5, 50]] == 7).all()
    assert "are kept: 2, of 7" in clf.summary()
    assert (clf.soft_labels_[[5, 50], 3] < 1).all()
    assert (clf.settle({5: 0}).corrected_labels_[[5, 50]] == [0, 7]).all()
    assert "are kept: 1, of 7" in clf.summary()


@pytest.mark.thorough
def test_a_class_that_shrinks_by_a_third_is_told():
    X, y = load_digits(return_X_y=True)
    y_noisy = np.where((y < 9) & (np.random.RandomState(0).rand(len(y)) < 0.1), 9, y)
    with pytest.warns(ClassShrunkWarning, match="Classes that lose a third of their labels or more: 9 from"):
        clf = fit(X, y_noisy)
    assert "class 9 shrinks from" in clf.summary()
    assert (clf.corrected_labels_[y == 9] == 9).mean() > 0.95


def test_the_paper_has_no_judge(blobs):
    X, y, _ = blobs
    clf = fit(X, y, cross_fit=0, gamma=0.0, max_epochs=5, witness="auto")
    assert clf.expected_gain_ is None
    assert clf.noise_rate_interval_ is None
    np.testing.assert_array_equal(clf.corrected_labels_, clf.soft_labels_.argmax(axis=1))
    assert "estimated noise rate: " in clf.summary()
