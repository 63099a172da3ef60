"""`judge_labels`: what people have of their own models goes in, the same verdict as a fit's comes out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cleanlab.filter import find_label_issues
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from noisyfit import Verdict, judge_labels
from noisyfit.noise import corrupt_labels, symmetric_noise

NAMES = np.array([f"digit {i}" for i in range(10)])


@pytest.fixture(scope="module")
def asked(digits):
    """Give labels of digits, a fifth of them wrong, true ones, and what two models say out of sample."""
    X, _, y_clean = digits
    y = corrupt_labels(y_clean, symmetric_noise(10, 0.2), random_state=0)
    models = [ExtraTreesClassifier(random_state=0), make_pipeline(StandardScaler(), LogisticRegression(C=0.1))]
    return y, y_clean, [cross_val_predict(model, X, y, method="predict_proba") for model in models]


def test_labels_are_corrected_and_reported(asked):
    y, y_clean, outputs = asked
    before = y.copy(), [proba.copy() for proba in outputs]
    verdict = judge_labels(y, outputs)
    assert isinstance(verdict, Verdict)
    assert (verdict.corrected_labels_ == y_clean).mean() > 0.9 > 0.82 > (y == y_clean).mean()
    low, high = verdict.noise_rate_interval_
    assert low < (y != y_clean).mean() < high
    assert verdict.noise_rate_ == pytest.approx((y != y_clean).mean(), abs=0.06)
    assert verdict.expected_gain_.low < verdict.expected_gain_.mean < verdict.expected_gain_.high
    report = verdict.label_report()
    np.testing.assert_array_equal(report["corrected_label"], verdict.corrected_labels_)
    np.testing.assert_array_equal(report["is_label_issue"], verdict.corrected_labels_ != y)
    np.testing.assert_allclose(report["label_quality"], verdict.soft_labels_[np.arange(len(y)), y])
    np.testing.assert_allclose(verdict.transition_matrix_.sum(axis=1), 1)
    assert f"labels corrected: {report['is_label_issue'].sum():,}" in verdict.summary()
    assert "1,797 samples in 10 classes\n" in verdict.summary()
    np.testing.assert_array_equal(y, before[0])  # nothing of the caller's is changed
    np.testing.assert_array_equal(outputs[0], before[1][0])


def test_the_same_verdict_for_what_cleanlab_takes(asked):
    """Class numbers, also where one does not occur; lists; float32."""
    y, _, outputs = asked
    kept = y != 7
    labels, proba = y[kept], outputs[0][kept]
    with pytest.warns(UserWarning, match="too few examples"):
        assert find_label_issues(labels, proba, n_jobs=1).any()
    verdict = judge_labels(labels, proba)
    assert verdict.classes_.tolist() == list(range(10))
    for same in (judge_labels(labels.tolist(), proba), judge_labels(labels, [proba])):
        np.testing.assert_array_equal(same.corrected_labels_, verdict.corrected_labels_)
    of_float32 = judge_labels(labels, proba.astype(np.float32)).soft_labels_
    np.testing.assert_allclose(of_float32, verdict.soft_labels_, atol=1e-3)


def test_names_and_their_order(asked):
    y, _, outputs = asked
    rng = np.random.RandomState(1)  # trees give ties, which the order of the classes breaks
    outputs = [0.999 * proba + 0.001 * rng.dirichlet(np.ones(10), len(y)) for proba in outputs]
    verdict = judge_labels(y, outputs)
    named = judge_labels(pd.Series(NAMES[y], index=np.arange(len(y)) + 5), outputs)
    np.testing.assert_array_equal(named.corrected_labels_, NAMES[verdict.corrected_labels_])
    assert named.label_report().index[0] == 5
    order = np.random.RandomState(0).permutation(10)
    turned = judge_labels(NAMES[y], [proba[:, order] for proba in outputs], classes=NAMES[order])
    assert (turned.corrected_labels_ == named.corrected_labels_).mean() > 0.99  # rounding may cross a threshold
    assert np.isclose(turned.soft_labels_, verdict.soft_labels_[:, order], atol=1e-3).mean() > 0.99
    assert judge_labels(y, outputs, index=NAMES[y]).label_report().index[0] == NAMES[y[0]]


def test_margin_and_weights(asked):
    y, _, outputs = asked
    assert (judge_labels(y, outputs, margin=1.0).corrected_labels_ == y).all()
    plain = judge_labels(y, outputs)
    weighted = judge_labels(y, outputs, sample_weight=np.full(len(y), 2.0))
    assert (weighted.corrected_labels_ == plain.corrected_labels_).mean() > 0.99  # T has prior counts beside weights


PROBA = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])


@pytest.mark.parametrize(
    ("y", "probabilities", "params", "message"),
    [
        ([0, 1], PROBA, {}, "one label for each of the 3 rows"),
        ([0, 1, 2], PROBA, {}, "has 2 columns, and y the labels"),
        (["a", "b", "b"], PROBA, {"classes": ["a", "c"]}, "Pass `classes`"),
        ([0, 1, 1], PROBA[:, 0], {}, r"shape \(n_samples, n_classes\)"),
        ([0, 1, 1], [PROBA, PROBA[:2]], {}, "equal shape"),
        ([0, 1, 1], np.log(PROBA), {}, "at least 0. Pass probabilities, not log odds"),
        ([0, 1, 1], PROBA * 2, {}, "sum to 1 in every row, got 2 in row 0"),
        ([0, 1, 1], PROBA * np.nan, {}, "finite"),
        ([0, 1, 1], PROBA, {"margin": 50}, "Pass 0.5 for 50 %"),
        ([0, 1, 1], PROBA, {"sample_weight": [1, 1, -1]}, "3 finite numbers of at least 0"),
        ([0, 1, 1], PROBA, {"index": ["a"]}, "name each of the 3 rows, got 1"),
        ([0, 1, None], PROBA, {}, "missing labels"),
    ],
)
def test_wrong_input(y, probabilities, params, message):
    with pytest.raises((ValueError, TypeError), match=message):
        judge_labels(y, probabilities, **params)


def test_names_that_utf_8_cannot_hold(tmp_path):
    names = ["a\udcff", "\ud800", "b"]
    verdict = judge_labels(["x", "y", "y"], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], index=names)
    assert verdict.label_report().index.tolist() == names
    assert sorted(verdict.rows_to_check(3).index) == sorted(names)
    assert verdict.settle({"\ud800": "x"}).corrected_labels_[1] == "x"
