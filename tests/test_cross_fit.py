"""Several networks side by side: what they have seen, what they say together, and what is concluded from it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sklearn
import torch
from sklearn.datasets import make_blobs
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from noisyfit import JointOptimizationClassifier
from noisyfit.metrics import recovery_accuracy
from noisyfit.noise import corrupt_labels, pair_flip_noise, symmetric_noise

from inputs import Inputs, memmap


@pytest.fixture
def cross_fitted(quick):
    def make(*args, **params):
        return quick(*args, **({"cross_fit": 3, "gamma": 0.5, "max_epochs": 8, "lr": 0.5} | params))

    return make


def without_stacking(**sizes):
    """A network that is not known to stack, equal to a small MLP."""

    class Plain(nn.Module):
        def __init__(self, n_features, n_classes):
            super().__init__()
            self.hidden, self.out = nn.Linear(n_features, 16), nn.Linear(16, n_classes)

        def forward(self, x):
            return self.out(self.hidden(x).relu())

    return Plain(**sizes)


@pytest.mark.parametrize("stacks", [True, False])
@pytest.mark.parametrize("batch_size", [32, 7])
def test_until_the_first_update_an_output_does_not_depend_on_its_own_label(
    blobs, cross_fitted, monkeypatch, stacks, batch_size
):
    X, y, _ = blobs
    folds = np.arange(len(y)) % 3
    monkeypatch.setattr("noisyfit.algorithm.problem.assign_folds", lambda *args: folds)
    module = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 3)) if stacks else without_stacking(
        n_features=5, n_classes=3
    )  # fmt: skip
    params = {"begin": 8, "gamma": 0.0, "class_prior": "uniform", "batch_size": batch_size}
    before = cross_fitted(module, **params).fit(X, y).soft_labels_
    other = y.copy()
    other[10] = (y[10] + 1) % 3
    after = cross_fitted(module, **params).fit(X, other).soft_labels_
    np.testing.assert_array_equal(after[folds == folds[10]], before[folds == folds[10]])
    assert (after[folds != folds[10]] != before[folds != folds[10]]).any()


def test_equal_rows_and_rows_of_a_group_are_left_out_together(blobs, cross_fitted, monkeypatch):
    X, y, _ = blobs
    dealt = []

    def spy(codes, groups, n_folds, random_state):
        dealt.append(np.asarray(groups))
        return np.arange(len(codes)) % n_folds

    monkeypatch.setattr("noisyfit.algorithm.problem.assign_folds", spy)
    monkeypatch.setattr("noisyfit.algorithm.problem.spread_groups", spy)
    X = np.vstack([X, X[:5]])
    y = np.concatenate([y, y[:5]])
    cross_fitted(max_epochs=1).fit(X, y)
    assert (dealt[0][-5:] == dealt[0][:5]).all()
    assert len(set(dealt[0])) == 90
    groups = np.array(list("abc"))[np.arange(95) % 3]
    cross_fitted(max_epochs=1).fit(X, y, groups=groups)
    assert (dealt[-1] == np.arange(95) % 3).all()
    cross_fitted(cross_fit=0, gamma=0.0, begin="auto", max_epochs=2).fit(X, y, groups=groups)
    assert (dealt[-1] == np.arange(95) % 3).all()  # the rows that are held out
    of_mixed_kinds = np.array(["a", 1, None], dtype=object)[np.arange(95) % 3]
    cross_fitted(max_epochs=1).fit(X, y, groups=of_mixed_kinds)
    assert (dealt[-1] == np.arange(95) % 3).all()


def test_networks_predict_by_the_mean_of_their_probabilities(blobs, cross_fitted):
    X, y, _ = blobs
    clf = cross_fitted().fit(X, y)
    logits = clf.net_.module_(torch.from_numpy(X))
    assert logits.shape == (3, 90, 3)
    np.testing.assert_allclose(clf.predict_proba(X), logits.softmax(-1).mean(0).detach(), atol=1e-6)


@pytest.mark.parametrize("kind", ["array", "memmap", "dataset"])
def test_inputs_of_other_kinds_give_the_same_fit(blobs, cross_fitted, kind, tmp_path):
    X, y, _ = blobs
    data = {"array": X.astype(float), "memmap": memmap(X, tmp_path), "dataset": Inputs(X)}[kind]
    groups = np.arange(90)  # a Dataset's rows are not compared with each other
    params = {"witness": None} if kind == "dataset" else {}  # trees read tables alone
    expected = cross_fitted(**params).fit(X, y, groups=groups)
    clf = cross_fitted().fit(data, y, groups=groups)
    np.testing.assert_array_equal(clf.soft_labels_, expected.soft_labels_)


@pytest.mark.thorough
def test_rows_of_weight_0_get_a_label(blobs, cross_fitted):
    X, y, y_clean = blobs
    weight = np.ones(90)
    weight[::4] = 0
    clf = cross_fitted(max_epochs=80).fit(X, y, sample_weight=weight)
    assert recovery_accuracy(y_clean[::4], clf.corrected_labels_[::4]) > 0.9
    spoiled = y.copy()
    spoiled[::4] = (y[::4] + 1) % 3
    assert recovery_accuracy(y_clean, clf.correct(X, spoiled)[0]) > 0.5


def test_a_class_of_equal_rows_is_not_left_out_as_a_whole(cross_fitted):
    X, y = make_blobs(200, n_features=5, centers=3, random_state=0)
    X[y == 2] = 0  # empty documents, say
    clf = cross_fitted(max_epochs=40).fit(X, y)
    assert (clf.corrected_labels_ == y).mean() > 0.97
    assert clf.score(X, y) > 0.97


def test_networks_that_work_in_place(blobs, cross_fitted):
    class Scaled(nn.Linear):
        def __init__(self, in_place):
            super().__init__(5, 3)
            self.in_place = in_place

        def forward(self, x):
            return super().forward(x.mul_(0.1) if self.in_place else x * 0.1)

    X, y, _ = blobs
    fits = [cross_fitted(Scaled, module_params={"in_place": in_place}).fit(X, y) for in_place in (True, False)]
    np.testing.assert_array_equal(fits[0].predict_proba(X), fits[1].predict_proba(X))
    np.testing.assert_array_equal(fits[0].soft_labels_, fits[1].soft_labels_)


def test_rows_without_weight_leave_each_network_enough(blobs, cross_fitted):
    X, y, y_clean = blobs
    groups = np.arange(90) % 2
    clf = cross_fitted(cross_fit=2, max_epochs=40).fit(X, y, sample_weight=groups, groups=groups)
    assert clf.score(X, y_clean) > 0.9  # one network: two would leave one of them nothing
    one = cross_fitted(cross_fit=0, gamma=0.0, begin="auto", max_epochs=3)
    one.fit(X, y, sample_weight=1 - groups, groups=groups)


def test_a_class_without_weight_does_not_refuse(blobs, cross_fitted):
    X, y, _ = blobs
    weight = np.ones(90)
    y = y.copy()
    y[:5], weight[:5] = 3, 0
    clf = cross_fitted(max_epochs=40).fit(X, y, sample_weight=weight)
    assert clf.correction_refused_ is None


@pytest.mark.parametrize("n_rows", [2, 3, 5])
def test_fewer_rows_than_networks(blobs, cross_fitted, n_rows):
    X, _, _ = blobs
    clf = cross_fitted(cross_fit=4).fit(X[:n_rows], np.arange(n_rows) % 2)
    np.testing.assert_allclose(clf.soft_labels_.sum(1), 1, atol=1e-6)


def test_a_pickle_predicts_and_corrects_the_same(blobs, cross_fitted):
    X, y, _ = blobs
    clf = cross_fitted().fit(X[:60], y[:60])
    loaded = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(loaded.predict_proba(X[60:]), clf.predict_proba(X[60:]))
    for of_loaded, expected in zip(loaded.correct(X[60:], y[60:]), clf.correct(X[60:], y[60:]), strict=True):
        np.testing.assert_array_equal(of_loaded, expected)


def test_step_2_trains_one_network(blobs, cross_fitted):
    X, y, y_clean = blobs
    clf = cross_fitted(max_epochs=20, retrain_epochs=10).fit(X, y)
    assert clf.net_.module_(torch.from_numpy(X)).shape == (90, 3)
    assert clf.score(X, y_clean) > 0.9


@pytest.mark.parametrize(
    "params", [{"label_update": "hard"}, {"label_update": "hard", "n_relabel": 2}, {"window": 0.8}]
)
def test_other_updates(blobs, cross_fitted, params):
    X, y, y_clean = blobs
    clf = cross_fitted(max_epochs=20, **params).fit(X, y)
    assert recovery_accuracy(y_clean, clf.corrected_labels_) > recovery_accuracy(y_clean, y)


# what is published


def test_noise_rate_is_that_of_the_final_labels(blobs, cross_fitted):
    X, y, _ = blobs
    clf = cross_fitted(max_epochs=10).fit(X, y)
    assert clf.noise_rate_ == pytest.approx(1 - clf.soft_labels_[np.arange(90), y].mean(), abs=1e-6)
    np.testing.assert_allclose(clf.transition_matrix_.sum(axis=1), 1)


def test_without_evidence_new_rows_get_the_predicted_label(blobs, quick):
    X, y, _ = blobs
    clf = quick().fit(X[:60], y[:60])
    corrected, soft = clf.correct(X[60:], y[60:])
    np.testing.assert_array_equal(soft, clf.predict_proba(X[60:]))
    np.testing.assert_array_equal(corrected, clf.predict(X[60:]))


def test_the_margin_holds_for_new_rows(blobs, quick):
    X, y, _ = blobs
    clf = quick(margin=1.0).fit(X[:60], y[:60])
    np.testing.assert_array_equal(clf.correct(X[60:], y[60:])[0], y[60:])


@pytest.mark.thorough
@pytest.mark.parametrize("matrix", [symmetric_noise(10, 0.4), pair_flip_noise(10, 0.3), np.eye(10)])
def test_noise_rate_and_matrix_are_found(digits, matrix):
    X, _, y = digits
    y_noisy = corrupt_labels(y, matrix, random_state=1)
    params = {"cross_fit": 4, "gamma": 0.5, "begin": "auto", "lr": 0.5, "random_state": 0}
    # trees, which learn the errors, too, draw T to the identity
    for witness, of_rate, of_matrix in ((None, 0.03, 0.101), ("auto", 0.04, 0.15)):
        clf = JointOptimizationClassifier(**params, witness=witness).fit(X, y_noisy)
        low, high = clf.noise_rate_interval_
        assert low <= (y != y_noisy).mean() <= high
        assert clf.noise_rate_ == pytest.approx((y != y_noisy).mean(), abs=of_rate)
        assert np.abs(clf.transition_matrix_ - matrix).max() < of_matrix
        assert recovery_accuracy(y, clf.corrected_labels_) > 0.95


@pytest.mark.thorough
def test_a_search_on_noisy_labels_chooses_well(digits):
    X, y, y_clean = digits
    X_train, X_test = X[:600], X[600:]
    clf = JointOptimizationClassifier(max_epochs=15, random_state=0, device="cpu")
    grid = {"alpha": [0.1, 0.8], "lr": [0.01, 0.5]}  # one rate learns next to nothing in this time
    search = GridSearchCV(clf, grid, cv=3, scoring="accuracy").fit(X_train, y[:600])
    clean = [
        clf.set_params(**p).fit(X_train, y[:600]).score(X_test, y_clean[600:]) for p in search.cv_results_["params"]
    ]
    assert max(clean) - min(clean) > 0.1
    assert search.score(X_test, y_clean[600:]) > max(clean) - 0.02


def test_groups_are_routed(blobs, cross_fitted):
    X, y, _ = blobs
    groups = np.arange(90) // 5
    with sklearn.config_context(enable_metadata_routing=True):
        clf = cross_fitted(max_epochs=2).set_fit_request(groups=True)
        routed = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), clf).fit(X, y, groups=groups)[-1]
    expected = cross_fitted(max_epochs=2).fit(StandardScaler().fit_transform(X), y, groups=groups)
    np.testing.assert_array_equal(routed.soft_labels_, expected.soft_labels_)


def test_summary_tells_what_was_changed(blobs, cross_fitted):
    X, y, _ = blobs
    names = np.array(["ant", "bee", "cow"])
    clf = cross_fitted(max_epochs=20).fit(X, names[y])
    text = clf.summary()
    n_changed = int((clf.corrected_labels_ != names[y]).sum())
    assert text.splitlines()[0] == "90 samples in 3 classes, 20 epochs"
    assert f"labels corrected: {n_changed} ({n_changed / 90:.1%})" in text
    assert f"estimated noise rate: {clf.noise_rate_:.1%}" in text
    assert sum(int(line.split()[-1]) for line in text.splitlines() if "->" in line) == n_changed
