from __future__ import annotations

import numpy as np
import pytest

from noisyfit.folds import assign_folds


def deal(codes, groups, n_folds, seed=0):
    return assign_folds(np.asarray(codes), np.asarray(groups), n_folds, np.random.RandomState(seed))


def test_folds_are_equal_in_size_and_classes():
    codes = np.repeat([0, 1, 2], [50, 31, 7])
    folds = deal(codes, np.arange(88), 5)
    assert np.ptp(np.bincount(folds)) <= 1
    for code in range(3):
        assert np.ptp(np.bincount(folds[codes == code], minlength=5)) <= 1


def test_rows_of_a_group_stay_together_and_large_groups_apart():
    rng = np.random.RandomState(0)
    groups = np.concatenate([np.repeat(["a", "b", "c", "d"], 40), rng.choice(list("efghijklmnop"), 120)])
    codes = rng.randint(2, size=280)
    folds = deal(codes, groups, 4)
    for group in np.unique(groups):
        assert len(set(folds[groups == group])) == 1
    assert np.bincount(folds).min() > 0


def test_folds_depend_on_the_seed_only():
    codes, groups = np.arange(60) % 3, np.arange(60)
    assert (deal(codes, groups, 4) == deal(codes, groups, 4)).all()
    assert (deal(codes, groups, 4) != deal(codes, groups, 4, seed=1)).any()


@pytest.mark.parametrize("n_groups", [1, 2, 3])
def test_fewer_groups_than_folds(n_groups):
    folds = deal(np.zeros(12, dtype=int), np.arange(12) % n_groups, 5)
    assert set(folds) == set(range(n_groups))
