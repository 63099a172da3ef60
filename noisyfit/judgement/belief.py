r"""What unseen outputs, the noise matrix and the given label together say of the true class; no decision is made here.

Witnesses w, networks and trees say, give outputs :math:`s^w` for rows that they have not learned. They are pooled by
their geometric mean, :math:`q_i \propto \prod_w (s^w_i)^{1/W}`, and the given label joins them through the noise
matrix: :math:`\pi_{ij} \propto q_{ij} T_{j,given(i)}`. T is the one under which the given labels are most likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..rows.storage import row_blocks
from .noise_matrix import CELL_COUNT, DIAGONAL_COUNT

__all__ = ["Belief", "fit_noise_matrix", "form_belief", "pool"]

Floats = NDArray[np.floating[Any]]
Codes = NDArray[np.int64]

_LEAST_PROBABILITY = 1e-4  # that a witness may give to a class: trees give 0, and one word should not end the matter
_TOLERANCE = 1e-5  # of the bound, in nats a row
_MOST_STEPS = 200
_LARGEST_SAMPLE = 1 << 23  # outputs, rows times classes, that the noise matrix is fitted to


class Belief(NamedTuple):
    """The posterior of the true class, and what it was made from."""

    log_proba: Floats  # (n_samples, n_classes) float32: of the pooled witnesses
    log_posterior: Floats  # (n_samples, n_classes) float32: with the given label, rows sum to 1
    transition_matrix: NDArray[np.float64]  # (n_classes, n_classes), the T that was used
    bounds: tuple[float, ...] = ()  # of the likelihood of T, nats a row, after each step; none for a T that was given


def form_belief(
    witnesses: Sequence[Floats],
    given: Codes,
    sample_weight: Floats | None = None,
    transition_matrix: NDArray[np.float64] | None = None,
) -> Belief:
    """Turn unseen outputs, given labels and T into the posterior of the true class.

    Parameters
    ----------
    witnesses : sequence of ndarray of shape (n_samples, n_classes)
        Probabilities, of models that have not seen the row's given label.
    given : ndarray of shape (n_samples,), int64
        Class numbers of the given labels.
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Weights of the rows, for T.
    transition_matrix : ndarray of shape (n_classes, n_classes) or None, default=None
        T, for rows that were not in the fit; None: it is found.

    Returns
    -------
    Belief

    Examples
    --------
    >>> import numpy as np
    >>> from noisyfit.judgement.belief import form_belief
    >>> outputs = np.array([[0.9, 0.1]] * 9 + [[0.1, 0.9]] * 9)
    >>> given = np.array([0] * 8 + [1] + [1] * 9)
    >>> belief = form_belief([outputs], given)
    >>> np.exp(belief.log_posterior[[0, 8]]).round(2)
    array([[1.  , 0.  ],
           [0.16, 0.84]], dtype=float32)
    """
    log_proba = pool(witnesses)
    bounds: tuple[float, ...] = ()
    if transition_matrix is None:
        transition_matrix, bounds = fit_noise_matrix(log_proba, given, sample_weight)
    log_evidence = np.log(transition_matrix).T.astype(np.float32)  # a row a given label
    log_posterior = np.empty_like(log_proba)
    for rows in row_blocks(*log_proba.shape):
        log_posterior[rows] = _normalised(log_proba[rows] + log_evidence[given[rows]])
    return Belief(log_proba, log_posterior, transition_matrix, bounds)


def pool(witnesses: Sequence[Floats]) -> NDArray[np.float32]:
    """Give the logarithm of the geometric mean of probabilities, normalised, (n_samples, n_classes)."""
    n_rows, n_classes = witnesses[0].shape
    pooled = np.empty((n_rows, n_classes), np.float32)
    for rows in row_blocks(n_rows, n_classes):
        logs = np.stack([log_floored(witness[rows]) for witness in witnesses])
        pooled[rows] = _normalised(logs.mean(axis=0))
    return pooled


def log_floored(proba: Floats) -> NDArray[np.float32]:
    """Give the logarithm of probabilities, of which none is taken to be 0."""
    floored = np.maximum(proba, np.float32(_LEAST_PROBABILITY))
    logs: NDArray[np.float32] = np.log(floored / floored.sum(axis=1, keepdims=True)).astype(np.float32)
    return logs


def fit_noise_matrix(
    log_proba: Floats, given: Codes, sample_weight: Floats | None = None
) -> tuple[NDArray[np.float64], tuple[float, ...]]:
    r"""Find the noise matrix under which the given labels are most likely, by expectation and maximisation.

    .. math:: \max_T \frac1n \Big( \sum_i w_i \log \sum_j q_{ij} T_{j,given(i)} + \sum_{jk} a_{jk} \log T_{jk} \Big)

    Concave in T, with prior counts a: one maximum, whatever the start, also where two classes leave it flat without
    them. Steps end when the bound rises by less than 1e-5 nats a row.

    Parameters
    ----------
    log_proba : ndarray of shape (n_samples, n_classes)
        Logarithm of q.
    given : ndarray of shape (n_samples,), int64
        Class numbers of the given labels.
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Weights w of the rows.

    Returns
    -------
    matrix : ndarray of shape (n_classes, n_classes), float64
        T[i, j] = P(given = j if true = i); rows sum to 1.
    bounds : tuple of float
        The quantity above after each step, rising.
    """
    n_classes = log_proba.shape[1]
    sample = _some_rows(len(given), max(1, _LARGEST_SAMPLE // n_classes))
    proba, given = np.exp(log_proba[sample].astype(np.float64)), given[sample]
    weight = np.ones(len(given)) if sample_weight is None else sample_weight[sample].astype(np.float64)
    # rows of one given label lie together: sums over them are products of matrices
    order = np.argsort(given, kind="stable")
    proba, weight = proba[order], weight[order]
    ends = np.cumsum(np.bincount(given, minlength=n_classes))
    parts = [slice(end - size, end) for end, size in zip(ends, np.bincount(given, minlength=n_classes), strict=True)]
    diagonal = np.diag_indices(n_classes)
    counts = np.stack([weight[rows] @ proba[rows] for rows in parts], axis=1)
    bounds: list[float] = []
    while len(bounds) < _MOST_STEPS:
        counts += CELL_COUNT  # in place, as of thousands of classes there is no room for many such tables
        counts[diagonal] += DIAGONAL_COUNT - CELL_COUNT
        counts /= counts.sum(axis=1, keepdims=True)
        matrix: NDArray[np.float64] = counts
        logs = np.log(matrix)
        bound = float(CELL_COUNT * logs.sum() + (DIAGONAL_COUNT - CELL_COUNT) * logs[diagonal].sum()) / weight.sum()
        del logs
        counts = np.empty_like(matrix)
        for label, rows in enumerate(parts):
            likely = proba[rows] @ matrix[:, label]
            bound += float(weight[rows] @ np.log(likely)) / weight.sum()
            counts[:, label] = matrix[:, label] * ((weight[rows] / likely) @ proba[rows])
        bounds.append(float(bound))
        if len(bounds) > 1 and bounds[-1] - bounds[-2] < _TOLERANCE:
            break
    return matrix, tuple(bounds)


def _some_rows(n_rows: int, most: int) -> NDArray[np.int64]:
    """Give all row numbers, or some where there are very many."""
    return np.arange(n_rows) if n_rows <= most else np.random.RandomState(0).permutation(n_rows)[:most]


def _normalised(logs: NDArray[np.float32]) -> NDArray[np.float32]:
    logs = logs - logs.max(axis=1, keepdims=True)
    return logs - np.log(np.exp(logs).sum(axis=1, keepdims=True))
