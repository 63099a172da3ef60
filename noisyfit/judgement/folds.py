"""Which network leaves out which rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["assign_folds", "hardly_seen", "spread_groups"]

_LEAST_SEEN = 1 / 4  # of what an even deal would show of a class to the network that leaves out a fold


def assign_folds(
    codes: NDArray[np.int64], groups: NDArray[Any], n_folds: int, random_state: np.random.RandomState
) -> NDArray[np.int64]:
    """Deal the rows out to folds, equal in size and in classes; rows of one group go together, as of one class.

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
    >>> from noisyfit.judgement.folds import assign_folds
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


def spread_groups(
    codes: NDArray[np.int64], groups: NDArray[Any], n_folds: int, random_state: np.random.RandomState
) -> NDArray[np.int64]:
    """Deal whole groups of several classes out to folds, each to where there is least of its classes, large ones first.

    Parameters
    ----------
    codes, groups, n_folds, random_state
        As for `assign_folds`.

    Returns
    -------
    ndarray of shape (n_samples,), int64
        Fold of each row, from 0. A class that lies in several groups lies in several folds, where sizes allow it.

    Examples
    --------
    >>> import numpy as np
    >>> from noisyfit.judgement.folds import spread_groups
    >>> codes, groups = np.array([0, 0, 0, 1, 0, 1]), np.array([0, 1, 2, 2, 3, 3])
    >>> folds = spread_groups(codes, groups, 2, np.random.RandomState(0))
    >>> sorted(folds[codes == 1].tolist())
    [0, 1]
    """
    n_classes = int(codes.max()) + 1
    _, group_of_row, size = np.unique(groups, return_inverse=True, return_counts=True)
    cells, counts = np.unique(group_of_row * n_classes + codes, return_counts=True)
    group, held = np.divmod(cells, n_classes)
    shares = counts / np.bincount(codes)[held]  # in parts of its class, so that a rare one counts as much as any
    first = np.searchsorted(group, np.arange(len(size) + 1)).tolist()
    load, n_rows = np.zeros((n_folds, n_classes)), [0] * n_folds
    fold_of_group = np.empty(len(size), np.int64)
    for i in np.lexsort((random_state.permutation(len(size)), -size)).tolist():
        of_group = slice(first[i], first[i + 1])
        overlap = (load[:, held[of_group]] @ shares[of_group]).round(12).tolist()
        fold = min(range(n_folds), key=lambda fold: (overlap[fold], n_rows[fold]))
        load[fold, held[of_group]] += shares[of_group]
        n_rows[fold] += int(size[i])
        fold_of_group[i] = fold
    return fold_of_group[group_of_row]


def hardly_seen(
    codes: NDArray[np.int64],
    folds: NDArray[np.int64],
    n_classes: int,
    learned: NDArray[np.bool_] | None = None,
    seems_right: NDArray[np.floating[Any]] | None = None,
) -> NDArray[np.bool_]:
    """Mark the rows of whose class the network that judges them has hardly seen any: it can say nothing of the label.

    Parameters
    ----------
    codes : ndarray of shape (n_samples,), int64
        Class numbers of the given labels.
    folds : ndarray of shape (n_samples,), int64
        Fold of each row: the network that has not learned it.
    n_classes : int
        Number of classes.
    learned : ndarray of shape (n_samples,), bool, or None, default=None
        Rows that are learned, with this label; None: all.
    seems_right : ndarray of shape (n_samples,) or None, default=None
        Probability that the label is right: so much of its class the row shows to other networks; None: 1 each.

    Returns
    -------
    ndarray of shape (n_samples,), bool
        Rows of classes of which fewer are learned than there are folds, or that lie almost all in the row's own.

    Examples
    --------
    >>> import numpy as np
    >>> from noisyfit.judgement.folds import hardly_seen
    >>> hardly_seen(np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 0, 1, 0, 0]), 2)
    array([False, False, False, False,  True,  True])
    """
    n_folds = int(folds.max()) + 1
    cells = folds * n_classes + codes
    learned = np.ones(len(codes), bool) if learned is None else learned
    shown = learned if seems_right is None else learned * seems_right
    inside, right = (np.bincount(cells, of, n_folds * n_classes).reshape(n_folds, -1) for of in (learned, shown))
    outside = right.sum(axis=0) - right
    too_few = (inside.sum(axis=0) < n_folds) | (outside < _LEAST_SEEN * (n_folds - 1) * inside)
    marks: NDArray[np.bool_] = too_few[folds, codes]
    return marks
