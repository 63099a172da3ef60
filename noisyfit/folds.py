"""Which network leaves out which rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["assign_folds"]


def assign_folds(
    codes: NDArray[np.int64], groups: NDArray[Any], n_folds: int, random_state: np.random.RandomState
) -> NDArray[np.int64]:
    """Deal the rows out to folds, equal in size and in classes; rows of one group go together.

    Parameters
    ----------
    codes : ndarray of shape (n_samples,), int64
        Class numbers of the given labels.
    groups : ndarray of shape (n_samples,)
        Group of each row.
    n_folds : int
        Number of folds; with fewer groups than that, each group is a fold.
    random_state : RandomState
        Draws the order.

    Returns
    -------
    ndarray of shape (n_samples,), int64
        Fold of each row, from 0.

    Examples
    --------
    >>> import numpy as np
    >>> from noisyfit.folds import assign_folds
    >>> folds = assign_folds(np.array([0, 0, 1, 1]), np.arange(4), 2, np.random.RandomState(0))
    >>> sorted(folds[:2].tolist()), sorted(folds[2:].tolist())
    ([0, 1], [0, 1])
    """
    _, first_row, group_of_row, size = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    # a group counts for the class of its first row; within a class large groups are dealt out first
    order = np.lexsort((random_state.permutation(len(size)), -size, codes[first_row]))
    fold_of_group = np.empty(len(size), dtype=np.int64)
    fold_of_group[order] = np.arange(len(size)) % n_folds
    return fold_of_group[group_of_row]
