"""Label noise: transition matrices, seeded corruption of labels, and the noise matrix of a fit.

A transition matrix T has shape (n_classes, n_classes), T[i, j] = P(given label = j if true label = i); its rows
sum to 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import check_array, check_consistent_length

from ._validation import as_random_state, check_distribution, check_number, check_share

__all__ = [
    "asymmetric_noise",
    "corrupt_labels",
    "pair_flip_noise",
    "symmetric_noise",
    "uniform_noise",
    "weak_annotator_labels",
]

_LEAST_ODDS = 0.02  # of each class by a weak annotator: trees and neighbours would be certain


def uniform_noise(n_classes: int, rate: float) -> NDArray[np.float64]:
    """Transition matrix that redraws a share of the labels over all classes.

    The true class is among those drawn, so only ``rate * (1 - 1 / n_classes)`` of the labels really change. This
    is what the paper's experiments and most of their successors call symmetric noise.

    Parameters
    ----------
    n_classes : int
        Number of classes, at least 2.
    rate : float
        Share of the labels that is redrawn, in [0, 1].

    Returns
    -------
    ndarray of shape (n_classes, n_classes), float64
        Rows sum to 1.

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1] or `n_classes` below 2.

    Examples
    --------
    >>> from noisyfit.noise import uniform_noise
    >>> uniform_noise(2, 0.5)
    array([[0.75, 0.25],
           [0.25, 0.75]])
    """
    _check_size(n_classes, rate)
    return (1 - rate) * np.eye(n_classes) + rate / n_classes


def symmetric_noise(n_classes: int, rate: float) -> NDArray[np.float64]:
    """Transition matrix that changes a share of the labels to another class, each equally likely.

    Not what the paper calls symmetric noise: that is `uniform_noise`.

    Parameters
    ----------
    n_classes : int
        Number of classes, at least 2.
    rate : float
        Share of the labels that changes, in [0, 1].

    Returns
    -------
    ndarray of shape (n_classes, n_classes), float64
        Rows sum to 1.

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1] or `n_classes` below 2.

    Examples
    --------
    >>> from noisyfit.noise import symmetric_noise
    >>> symmetric_noise(3, 0.5)
    array([[0.5 , 0.25, 0.25],
           [0.25, 0.5 , 0.25],
           [0.25, 0.25, 0.5 ]])
    """
    _check_size(n_classes, rate)
    others = 1 - np.eye(n_classes)
    return (1 - rate) * np.eye(n_classes) + rate / (n_classes - 1) * others


def pair_flip_noise(n_classes: int, rate: float) -> NDArray[np.float64]:
    """Transition matrix that changes a share of every class to the next class, the last to the first.

    Parameters
    ----------
    n_classes : int
        Number of classes, at least 2.
    rate : float
        Share of the labels that changes, in [0, 1].

    Returns
    -------
    ndarray of shape (n_classes, n_classes), float64
        Rows sum to 1.

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1] or `n_classes` below 2.

    Examples
    --------
    >>> from noisyfit.noise import pair_flip_noise
    >>> pair_flip_noise(3, 0.25)
    array([[0.75, 0.25, 0.  ],
           [0.  , 0.75, 0.25],
           [0.25, 0.  , 0.75]])
    """
    _check_size(n_classes, rate)
    return asymmetric_noise(n_classes, rate, [(i, (i + 1) % n_classes) for i in range(n_classes)])


def asymmetric_noise(
    n_classes: int, rate: float, pairs: Mapping[int, int] | Iterable[tuple[int, int]]
) -> NDArray[np.float64]:
    """Transition matrix that changes a share of some classes to one other class each.

    Parameters
    ----------
    n_classes : int
        Number of classes, at least 2.
    rate : float
        Share of the labels of each class in `pairs` that changes, in [0, 1]. Other classes keep their labels.
    pairs : mapping or iterable of (int, int)
        ``true class -> given class``, as class numbers from 0. Each true class at most once.

    Returns
    -------
    ndarray of shape (n_classes, n_classes), float64
        Rows sum to 1.

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1], `n_classes` below 2, or `pairs` names a class that does not exist, names one
        twice or maps one to itself.

    Examples
    --------
    The noise of the paper on CIFAR-10: truck to automobile, bird to airplane, deer to horse, cat and dog.

    >>> from noisyfit.noise import asymmetric_noise
    >>> T = asymmetric_noise(10, 0.4, {9: 1, 2: 0, 4: 7, 3: 5, 5: 3})
    >>> float(T[9, 1]), float(T[1, 9])
    (0.4, 0.0)
    """
    _check_size(n_classes, rate)
    matrix = np.eye(n_classes)
    seen = set()
    for true, given in pairs.items() if isinstance(pairs, Mapping) else pairs:
        if not (0 <= true < n_classes and 0 <= given < n_classes) or true == given or true in seen:
            raise ValueError(
                f"`pairs` must map each of the classes 0 to {n_classes - 1} at most once, to another one; "
                f"got {true!r} -> {given!r}."
            )
        seen.add(true)
        matrix[true, true], matrix[true, given] = 1 - rate, rate
    return matrix


def corrupt_labels(y: ArrayLike, transition_matrix: ArrayLike, random_state: Any = None) -> NDArray[Any]:
    """Draw a given label for every true label from a transition matrix.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        True labels of any kind that can be sorted. Row i of the matrix belongs to the i-th of the sorted distinct
        labels; integers from 0 to n_classes - 1 stand for themselves, also where some do not occur.
    transition_matrix : array-like of shape (n_classes, n_classes)
        Probabilities, rows sum to 1.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw; None draws a fresh one. NumPy's global state is never used.

    Returns
    -------
    ndarray of shape (n_samples,)
        Noisy labels, of the dtype of `y`. `y` is not changed.

    Raises
    ------
    ValueError
        If the matrix is not square, its rows are not probabilities, or `y` has labels it has no row for.

    Examples
    --------
    >>> from noisyfit.noise import corrupt_labels, symmetric_noise
    >>> y_noisy = corrupt_labels(["ham", "spam"] * 500, symmetric_noise(2, 0.2), random_state=0)
    >>> round(float((y_noisy != ["ham", "spam"] * 500).mean()), 1)
    0.2
    """
    matrix = check_distribution(
        "transition_matrix", transition_matrix, ndim=2, hint="Make one with symmetric_noise(n_classes, rate)."
    )
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"`transition_matrix` must be square, got shape {matrix.shape}.")
    y = _as_labels(y)
    classes, codes = _classes_and_codes(y, len(matrix))
    draws = as_random_state(random_state).random_sample(len(y))
    drawn = np.empty_like(codes)
    for true, cumulated in enumerate(np.cumsum(matrix, axis=1)):
        rows = codes == true
        # rounding may leave the last sum just below 1
        drawn[rows] = np.searchsorted(cumulated[:-1], draws[rows], side="right")
    return classes[drawn]


def weak_annotator_labels(X: Any, y: ArrayLike, rate: float, random_state: Any = None) -> NDArray[Any]:
    """Make a share of the labels wrong where a poor model errs: noise that follows the inputs, as people's does.

    The annotator is a logistic regression, a tree of depth 4 or 5 nearest neighbours, drawn at random, which has
    seen 3 to 6 rows a class and 30 to 80 % of the features. The likelier a row's label is wrong by its tempered
    probabilities, the likelier the row is chosen; its new label is drawn from them.

    Parameters
    ----------
    X : array-like or sparse matrix of n_samples rows
        Numbers without gaps. Rows of more than one dimension are flattened.
    y : array-like of shape (n_samples,)
        True labels of any kind that can be sorted, at least two classes.
    rate : float
        Share of the labels that becomes wrong, in [0, 1]: exactly ``round(rate * n_samples)`` do.
    random_state : int, RandomState instance or None, default=None
        Seed of all draws; None draws a fresh one. NumPy's global state is never used.

    Returns
    -------
    ndarray of shape (n_samples,)
        Noisy labels, of the dtype of `y`. `y` is not changed.

    Raises
    ------
    ValueError
        If `rate` is outside [0, 1], X and y differ in length, or y has one class only.

    See Also
    --------
    corrupt_labels : Noise that depends on the class alone.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from noisyfit.noise import weak_annotator_labels
    >>> X, y = load_iris(return_X_y=True)
    >>> y_noisy = weak_annotator_labels(X, y, rate=0.2, random_state=0)
    >>> int((y_noisy != y).sum())
    30
    """
    check_share("rate", rate)
    y = _as_labels(y)
    features = _as_table(X)
    check_consistent_length(features, y)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"`y` must have at least 2 classes, got {classes.tolist()}. There is no wrong label to give.")
    draws = as_random_state(random_state)
    wrong_odds = _weak_probabilities(features, codes, len(classes), draws)
    wrong_odds[np.arange(len(codes)), codes] = 0.0
    # the largest of log probability plus Gumbel noise: draws without replacement, and a draw of the class
    n_wrong = round(rate * len(codes))
    rows = np.argsort(-np.log(wrong_odds.sum(axis=1)) - draws.gumbel(size=len(codes)))[:n_wrong]
    with np.errstate(divide="ignore"):
        new = (np.log(wrong_odds[rows]) + draws.gumbel(size=(n_wrong, len(classes)))).argmax(axis=1)
    noisy = y.copy()
    noisy[rows] = classes[new]
    return noisy


def _as_table(X: Any) -> Any:
    """Give rows as a table of numbers, dense or sparse."""
    if not sparse.issparse(X) and np.ndim(X) > 2:
        X = np.asarray(X).reshape(len(X), -1)
    return check_array(X, accept_sparse="csr", dtype=np.float64, input_name="X")


def _weak_probabilities(
    X: Any, codes: NDArray[np.int64], n_classes: int, draws: np.random.RandomState
) -> NDArray[np.float64]:
    """Give tempered probabilities (n_samples, n_classes), all above 0, of a model that has seen very little."""
    n_shown = draws.randint(3, 7)
    order = draws.permutation(len(codes))
    shown = np.concatenate([order[codes[order] == label][:n_shown] for label in range(n_classes)])
    columns = draws.permutation(X.shape[1])[: max(1, round(draws.uniform(0.3, 0.8) * X.shape[1]))]
    X = StandardScaler(with_mean=not sparse.issparse(X)).fit_transform(X[:, columns])
    models = (
        LogisticRegression(max_iter=1000),
        DecisionTreeClassifier(max_depth=4, random_state=draws),
        KNeighborsClassifier(n_neighbors=min(5, len(shown))),
    )
    proba = models[draws.randint(len(models))].fit(X[shown], codes[shown]).predict_proba(X)
    proba = (proba + _LEAST_ODDS) ** (1 / draws.uniform(0.5, 2.0))
    return proba / proba.sum(axis=1, keepdims=True)


def _as_labels(y: ArrayLike) -> NDArray[Any]:
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"`y` must have shape (n_samples,), got {y.shape}.")
    return y


def _classes_and_codes(y: NDArray[Any], n_classes: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) == n_classes:
        return classes, codes
    if y.dtype.kind in "iu" and (len(y) == 0 or (y.min() >= 0 and y.max() < n_classes)):
        return np.arange(n_classes, dtype=y.dtype), y.astype(np.int64)
    raise ValueError(
        f"`transition_matrix` has {n_classes} rows but `y` has {len(classes)} distinct labels. "
        "Make a row for each label, in sorted order."
    )


def _check_size(n_classes: Any, rate: Any) -> None:
    check_number("n_classes", n_classes, low=2, integer=True)
    check_share("rate", rate)
