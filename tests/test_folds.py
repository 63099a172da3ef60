from __future__ import annotations

import numpy as np
import pytest

from noisyfit.judgement.folds import assign_folds, hardly_seen, spread_groups

BOTH = pytest.mark.parametrize("how", [assign_folds, spread_groups])


def deal(codes, groups, n_folds, seed=0, how=assign_folds):
    return how(np.asarray(codes), np.asarray(groups), n_folds, np.random.RandomState(seed))


@BOTH
def test_folds_are_equal_in_size_and_classes(how):
    codes = np.repeat([0, 1, 2], [50, 31, 7])
    folds = deal(codes, np.arange(88), 5, how=how)
    assert np.ptp(np.bincount(folds)) <= 1
    for code in range(3):
        assert np.ptp(np.bincount(folds[codes == code], minlength=5)) <= 1


@BOTH
def test_rows_of_a_group_stay_together_and_large_groups_apart(how):
    rng = np.random.RandomState(0)
    groups = np.concatenate([np.repeat(["a", "b", "c", "d"], 40), rng.choice(list("efghijklmnop"), 120)])
    codes = rng.randint(2, size=280)
    folds = deal(codes, groups, 4, how=how)
    for group in np.unique(groups):
        assert len(set(folds[groups == group])) == 1
    assert np.bincount(folds).min() > 0


@BOTH
def test_folds_depend_on_the_seed_only(how):
    codes, groups = np.arange(60) % 3, np.arange(60)
    assert (deal(codes, groups, 4, how=how) == deal(codes, groups, 4, how=how)).all()
    assert (deal(codes, groups, 4, how=how) != deal(codes, groups, 4, seed=1, how=how)).any()


@BOTH
@pytest.mark.parametrize("n_groups", [1, 2, 3])
def test_fewer_groups_than_folds(n_groups, how):
    folds = deal(np.zeros(12, dtype=int), np.arange(12) % n_groups, 5, how=how)
    assert set(folds) == set(range(n_groups))


@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_few_groups_is_spread_over_folds(seed):
    rng = np.random.RandomState(seed)
    groups = rng.randint(30, size=900)
    codes = np.where(np.isin(groups, (4, 11, 17)) & (rng.rand(900) < 0.4), 9, rng.randint(9, size=900))
    folds = deal(codes, groups, 3, seed, how=spread_groups)
    assert set(folds[codes == 9]) == {0, 1, 2}
    assert np.ptp(np.bincount(folds)) < 90
    for code in range(9):
        assert np.ptp(np.bincount(folds[codes == code])) < 40


def test_networks_have_hardly_seen_a_class_that_lies_almost_in_one_fold_or_is_too_rare():
    folds = np.arange(30) % 3
    codes = np.zeros(30, dtype=int)
    codes[folds == 2] = 1  # but for a tenth of its rows
    codes[[0, 1]] = 1
    codes[[3, 4]] = 2  # two rows, three folds
    assert (hardly_seen(codes, folds, 4) == ((folds == 2) | (codes == 2))).all()
    assert not hardly_seen(np.zeros(30, dtype=int), folds, 1, None, np.where(folds == 0, 0.1, 1.0)).any()
    assert (hardly_seen(np.zeros(30, dtype=int), folds, 1, None, np.where(folds == 0, 1.0, 0.1)) == (folds == 0)).all()


def test_rows_that_are_not_learned_count_on_neither_side():
    folds, codes = np.arange(30) % 3, np.zeros(30, dtype=int)
    few = np.arange(30) < 6
    assert not hardly_seen(codes, folds, 1, few).any()
    assert hardly_seen(codes, folds, 1, np.arange(30) < 2).all()
    assert (hardly_seen(codes, folds, 1, folds == 0) == (folds == 0)).all()
