"""The second witness: a model of another kind, asked about rows that it has not learned."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch.utils.data import TensorDataset

import noisyfit.judgement.witness
from noisyfit import JointOptimizationClassifier
from noisyfit.algorithm.problem import check_problem
from noisyfit.judgement.witness import SecondWitness, choose_witness

FOLDS = np.arange(90) % 3


@pytest.fixture(autouse=True, scope="module")
def few_trees():
    """Their number is what is looked at here: all of them."""


def second(X, codes, model=None, weight=None, deals=(FOLDS,)):
    model = ExtraTreesClassifier(20, random_state=0) if model is None else model
    return SecondWitness(model, X, codes, 3, deals, weight, seed=0).outputs()


def test_a_row_is_judged_without_its_own_label(blobs):
    X, y, _ = blobs
    plain = second(X, y)
    other = y.copy()
    other[FOLDS == 1] = (y[FOLDS == 1] + 1) % 3
    np.testing.assert_array_equal(second(X, other)[FOLDS == 1], plain[FOLDS == 1])
    assert (second(X, other)[FOLDS == 0] != plain[FOLDS == 0]).any()
    np.testing.assert_allclose(plain.sum(axis=1), 1, atol=1e-6)


def test_a_row_is_asked_about_once_a_deal(blobs):
    X, y, _ = blobs
    other = np.random.RandomState(0).permutation(FOLDS)
    each = [second(X, y, deals=[folds]) for folds in (FOLDS, other)]
    assert (each[0] != each[1]).any()
    np.testing.assert_allclose(second(X, y, deals=[FOLDS, other]), np.mean(each, axis=0), atol=1e-6)


def test_trees_are_asked_with_rows_dealt_out_several_times_equal_ones_together(blobs):
    X, y, _ = blobs
    X = np.concatenate([X, X[:20]])  # 20 rows twice
    estimator = JointOptimizationClassifier()
    witness = check_problem(estimator, X, np.concatenate([y, y[:20]]), None, None, None, seed=0).witness
    assert len(witness.deals) > 5
    assert len({tuple(folds) for folds in witness.deals}) == len(witness.deals)
    for folds in witness.deals:
        np.testing.assert_array_equal(folds[90:], folds[:20])
    estimator.set_params(witness=LogisticRegression())
    assert len(check_problem(estimator, X, np.concatenate([y, y[:20]]), None, None, None, seed=0).witness.deals) == 1


def test_rows_without_weight_are_not_learned(blobs):
    X, y, _ = blobs
    weight = np.where(np.arange(90) < 45, 1, 0).astype(np.float32)
    garbage = np.where(weight > 0, y, 0)
    for model in (None, KNeighborsClassifier(3)):  # the latter takes no weights
        np.testing.assert_array_equal(second(X, y, model, weight=weight), second(X, garbage, model, weight=weight))


def test_a_class_that_no_other_fold_has_gets_nothing(blobs):
    X, y, _ = blobs
    alone = np.where(FOLDS == 0, 2, y % 2)
    assert (second(X, alone)[FOLDS == 0, 2] == 0).all()


def test_sparse_rows_are_the_same(blobs):
    X, y, _ = blobs
    np.testing.assert_allclose(second(sparse.csr_matrix(X), y), second(X, y), atol=1e-6)


def test_very_many_rows_are_sampled(blobs, monkeypatch):
    X, y, _ = blobs
    sizes = []

    class Counting(KNeighborsClassifier):
        def fit(self, X, y):
            sizes.append(len(X))
            return super().fit(X, y)

    monkeypatch.setattr(noisyfit.judgement.witness, "_MOST_ROWS", 50)
    second(X, y, Counting(3))
    assert sizes == [50, 50, 50]


@pytest.mark.parametrize("n_cores", [1, 64])
def test_the_witness_works_meanwhile_where_a_core_is_free(blobs, monkeypatch, n_cores):
    X, y, _ = blobs
    monkeypatch.setattr(noisyfit.judgement.witness, "n_cores", lambda: n_cores)
    threads = []

    class Telling(KNeighborsClassifier):
        def fit(self, X, y):
            threads.append(threading.current_thread().name)
            return super().fit(X, y)

    witness = SecondWitness(Telling(3), X, y, 3, [FOLDS], None, seed=0)
    with witness.asked_meanwhile() as outputs:
        np.testing.assert_array_equal(outputs(), second(X, y, KNeighborsClassifier(3)))
    assert all(name.startswith("noisyfit-witness") == (n_cores > 1) for name in threads)


def test_an_error_of_the_witness_ends_the_fit(blobs):
    X, y, _ = blobs

    class Failing(KNeighborsClassifier):
        def fit(self, X, y):
            raise ValueError("no such neighbour")

    clf = JointOptimizationClassifier(witness=Failing(), max_epochs=2, random_state=0)
    with pytest.raises(ValueError, match="no such neighbour"):
        clf.fit(X, y)
    assert not hasattr(clf, "classes_")


@pytest.mark.parametrize(
    ("X", "kind"),
    [
        (np.zeros((3, 2), np.float32), ExtraTreesClassifier),
        (sparse.csr_matrix(np.eye(3)), ExtraTreesClassifier),
        (np.zeros((3, 1, 8, 8), np.float32), type(None)),
    ],
)
def test_trees_for_tables_alone(X, kind):
    assert isinstance(choose_witness("auto", X, 3).model, kind)
    assert choose_witness(None, X, 3).model is None


@pytest.mark.parametrize(("n_rows", "n_deals"), [(90, 10), (60_000, 3), (500_000, 1)])
def test_very_many_rows_are_dealt_out_less_often(n_rows, n_deals):
    trees, dealt, n_rounds = choose_witness("auto", np.broadcast_to(np.zeros(2, np.float32), (n_rows, 2)), 3)
    assert dealt == n_deals
    assert trees.n_estimators * n_rounds == 200


@pytest.mark.parametrize(("n_rows", "n_classes"), [(4500, 150), (4000, 2000), (10_000, 5000), (10**6, 2000)])
def test_thousands_of_classes_get_fewer_trees_and_few_at_a_time(n_rows, n_classes):
    trees, _, n_rounds = choose_witness("auto", np.broadcast_to(np.zeros(2, np.float32), (n_rows, 2)), n_classes)
    of_a_tree = min(n_rows, 20_000) * n_classes
    assert trees.n_estimators * n_rounds * of_a_tree <= 1 << 29
    assert trees.n_estimators == 1 or trees.n_estimators * of_a_tree <= 1 << 25
    assert (trees.n_estimators * n_rounds == 200) == (n_classes == 150)


def test_a_hundred_thousand_classes_have_no_second_witness():
    assert choose_witness("auto", np.broadcast_to(np.zeros(2, np.float32), (200_000, 2)), 100_000).model is None


def test_few_deals_are_gone_round_several_times(blobs):
    X, y, _ = blobs
    once, twice = (SecondWitness(KNeighborsClassifier(3), X, y, 3, [FOLDS], None, 0, n).outputs() for n in (1, 2))
    np.testing.assert_array_equal(once, twice)
    trees = ExtraTreesClassifier(2)
    once, twice = (SecondWitness(trees, X, y, 3, [FOLDS], None, 0, n).outputs() for n in (1, 2))
    assert (once != twice).any()


def test_a_witness_of_ones_own_is_cloned_and_seeded(blobs):
    X, y, _ = blobs
    own = ExtraTreesClassifier(10)
    params = {"max_epochs": 3, "random_state": 0, "device": "cpu"}
    fits = [JointOptimizationClassifier(witness=own, **params).fit(X, y) for _ in range(2)]
    np.testing.assert_array_equal(fits[0].soft_labels_, fits[1].soft_labels_)
    assert not hasattr(own, "estimators_")
    assert own.random_state is None
    others = [JointOptimizationClassifier(witness=w, **params).fit(X, y) for w in (None, LogisticRegression())]
    assert all((fits[0].soft_labels_ != other.soft_labels_).any() for other in others)
    for other in others:  # the networks are the same
        np.testing.assert_array_equal(fits[0].predict_proba(X), other.predict_proba(X))


def test_a_dataset_is_for_networks_alone():
    rows = TensorDataset(torch.zeros(4, 2))
    assert choose_witness("auto", rows, 3).model is None
    with pytest.raises(ValueError, match="`witness` must be 'auto' or None for a Dataset"):
        choose_witness(LogisticRegression(), rows, 3)


@pytest.mark.parametrize("witness", ["trees", 3, LogisticRegression, np.zeros(3)])
def test_what_is_no_witness(blobs, witness):
    X, y, _ = blobs
    with pytest.raises(TypeError, match="`witness` must be 'auto', None or a scikit-learn classifier"):
        JointOptimizationClassifier(witness=witness).fit(X, y)


class Inside(KNeighborsClassifier):
    """Uses a network, which nothing about it tells."""

    def fit(self, X, y):
        JointOptimizationClassifier(max_epochs=1, cross_fit=0, gamma=0.0, random_state=0, device="cpu").fit(X, y)
        return super().fit(X, y)


def test_a_witness_that_waits_for_torchs_random_state_gets_it(blobs, monkeypatch):
    X, y, _ = blobs
    monkeypatch.setattr(noisyfit.judgement.witness, "n_cores", lambda: 64)
    params = {"max_epochs": 2, "random_state": 0, "device": "cpu"}
    plain = JointOptimizationClassifier(witness=KNeighborsClassifier(), **params).fit(X, y)
    found = JointOptimizationClassifier(witness=Inside(), **params).fit(X, y)
    np.testing.assert_array_equal(found.soft_labels_, plain.soft_labels_)
