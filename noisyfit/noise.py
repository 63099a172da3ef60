"""Label noise: transition matrices, seeded corruption of labels, and the noise matrix of a fit.

A transition matrix T has shape (n_classes, n_classes), T[i, j] = P(given label = j if true label = i); its rows
sum to 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ._validation import as_random_state, check_distribution, check_number, check_share
from .storage import row_blocks

__all__ = ["asymmetric_noise", "corrupt_labels", "pair_flip_noise", "symmetric_noise", "uniform_noise"]

# Prior counts a_jk of the T-step: a little in every cell (a zero would stay zero for ever), more on the diagonal.
CELL_COUNT = 0.01
DIAGONAL_COUNT = 1.0


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
    y = np.asarray(y)
    classes, codes = _classes_and_codes(y, len(matrix))
    draws = as_random_state(random_state).random_sample(len(y))
    drawn = np.empty_like(codes)
    for true, cumulated in enumerate(np.cumsum(matrix, axis=1)):
        rows = codes == true
        # rounding may leave the last sum just below 1
        drawn[rows] = np.searchsorted(cumulated[:-1], draws[rows], side="right")
    return classes[drawn]


def _classes_and_codes(y: NDArray[Any], n_classes: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    if y.ndim != 1:
        raise ValueError(f"`y` must have shape (n_samples,), got {y.shape}.")
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


class NoiseMatrix:
    r"""The third block of the optimisation: how true classes turn into given labels.

    Parameters
    ----------
    given : Tensor of shape (n_samples,), int64
        Class numbers of the labels as given.
    n_classes : int
        Number of classes.
    sample_weight : Tensor of shape (n_samples,) or None, default=None
        Weights of the rows.
    matrix : Tensor of shape (n_classes, n_classes) or None, default=None
        T to begin with; None: the identity, up to the prior counts.

    Attributes
    ----------
    matrix : Tensor of shape (n_classes, n_classes), float64
        The current T.
    sample_weight : Tensor of shape (n_samples,) or None
        Weights of the rows, on the device of `given`.
    stepped : bool
        Whether there has been a step.

    Examples
    --------
    >>> import torch
    >>> from noisyfit.noise import NoiseMatrix
    >>> given = torch.tensor([0, 0, 1])
    >>> noise = NoiseMatrix(given, n_classes=2)
    >>> noise.step(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    >>> noise.matrix.round(decimals=1)  # one of the two labels of class 1 was given as 0
    tensor([[1.0000, 0.0000],
            [0.3000, 0.7000]], dtype=torch.float64)
    """

    def __init__(
        self, given: Tensor, n_classes: int, sample_weight: Tensor | None = None, matrix: Tensor | None = None
    ):
        self._given = given
        self.sample_weight = None if sample_weight is None else sample_weight.to(given.device)
        self._dtype = torch.float32 if given.device.type == "mps" else torch.float64  # MPS has no float64
        self._by_given: list[tuple[int, Tensor | slice]] | None = None
        self._total = float(len(given) if sample_weight is None else sample_weight.sum())
        self._prior_counts = torch.full((n_classes, n_classes), CELL_COUNT, dtype=torch.float64)
        self._prior_counts.diagonal().fill_(DIAGONAL_COUNT)
        self._fit_to(self._given_counts(n_classes))
        if matrix is not None:
            self.matrix = matrix
        self.stepped = False

    def with_matrix(self, matrix: Tensor) -> NoiseMatrix:
        """Give a noise matrix of the same rows, not stepped yet, that begins with `matrix`."""
        return NoiseMatrix(self._given, len(matrix), self.sample_weight, matrix)

    def state_dict(self) -> dict[str, Any]:
        """Give what changes."""
        return {"matrix": self.matrix, "counts": self._counts, "stepped": self.stepped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.matrix, self._counts, self.stepped = state["matrix"], state["counts"], state["stepped"]

    def step(self, soft_labels: Tensor) -> None:
        r"""Set T to the exact minimiser for fixed labels.

        .. math:: T_{jk} \propto a_{jk} + \sum_i w_i y_{ij} [given(i) = k]

        Parameters
        ----------
        soft_labels : Tensor of shape (n_samples, n_classes), floating point
            Label distributions y.
        """
        by_given = torch.zeros(self._prior_counts.shape, dtype=self._dtype, device=soft_labels.device)
        for rows in self._blocks():  # float64 sums without a float64 copy of all labels
            block = soft_labels[rows].to(self._dtype)
            if self.sample_weight is not None:
                block = block * self.sample_weight[rows].unsqueeze(1)
            by_given.index_add_(0, self._given[rows], block)
        self._fit_to(by_given.T.cpu().to(torch.float64))
        self.stepped = True

    def refine(self, proba: Tensor, temperature: float = 1.0) -> None:
        r"""Set T to the minimiser for the labels that outputs s and the current T make: a step of EM.

        .. math:: T_{jk} \propto a_{jk} + T_{jk} \sum_{i: given(i) = k} w_i \frac{s_{ij}}{\sum_l s_{il} T_{lk}}

        Fastest for rows that are sorted by given label.

        Parameters
        ----------
        proba : Tensor of shape (n_samples, n_classes), floating point
            Outputs; left as they are.
        temperature : float, default=1.0
            At which they are taken.
        """
        columns = self.matrix.T.contiguous().to(proba.dtype).to(proba.device)
        sums = torch.zeros_like(columns)
        for given, rows in self._rows_by_given():
            block = temper(proba[rows], temperature)
            factors = torch.mv(block, columns[given]).reciprocal_()
            if self.sample_weight is not None:
                factors *= self.sample_weight[rows]
            sums[given] += factors @ block
        self._fit_to((columns * sums).T.cpu().to(torch.float64))
        self.stepped = True

    def _rows_by_given(self) -> Iterator[tuple[int, Tensor | slice]]:
        """Give each class and some rows that have it as given label, until all rows are done."""
        if self._by_given is None:
            n_classes, self._by_given = len(self._prior_counts), []
            is_sorted = bool((self._given[1:] >= self._given[:-1]).all())
            order = torch.arange(0) if is_sorted else self._given.argsort(stable=True)
            ends = torch.bincount(self._given, minlength=n_classes).cumsum(0).tolist()
            for given, (start, end) in enumerate(itertools.pairwise([0, *ends])):
                for rows in row_blocks(end - start, n_classes):
                    rows = slice(start + rows.start, start + rows.stop)
                    self._by_given.append((given, rows if is_sorted else order[rows]))
        return iter(self._by_given)

    def _blocks(self) -> list[slice]:
        return row_blocks(len(self._given), len(self._prior_counts))

    def true_class_shares(self) -> Tensor:
        """Give the (weighted) mean of the labels of the last step, float64 of shape (n_classes,)."""
        return self._counts.sum(dim=1) / self._total

    def wrong_share(self) -> float:
        """Give the (weighted) share of given labels that the labels of the last step call wrong."""
        return max(0.0, 1.0 - float(self._counts.diagonal().sum()) / self._total)  # rounding may leave it just below

    def posterior_(self, proba: Tensor, gamma: float, normalised: bool = False) -> Tensor:
        r"""Weigh outputs by the given labels, in place.

        .. math:: y_{ij} \propto s_{ij} T_{j,given(i)}^\gamma

        The exact minimiser of :math:`L_c + \gamma L_o` over the labels, for fixed outputs s and matrix T. With gamma 1
        and outputs that never saw the given labels it is the posterior of the true class.

        Parameters
        ----------
        proba : Tensor of shape (n_samples, n_classes), floating point
            Outputs; overwritten.
        gamma : float
            Weight of the given label, at least 0.
        normalised : bool, default=False
            Divide each row of :math:`T^\gamma` by its sum, so that it is a noise matrix again, of noisier labels.
            Without it a gamma below 1 favours classes whose given labels are scattered.

        Returns
        -------
        Tensor of shape (n_samples, n_classes)
            `proba`, rows sum to 1.
        """
        log_evidence = gamma * self.matrix.log()
        if normalised:
            log_evidence -= log_evidence.logsumexp(dim=1, keepdim=True)
        log_evidence = log_evidence.T.to(proba.dtype).to(proba.device)  # a row a given label
        for rows in self._blocks():
            proba[rows] = proba[rows].log().add_(log_evidence[self._given[rows]]).softmax(dim=1)
        return proba

    def mix_in_given_(self, soft_labels: Tensor, share: float) -> Tensor:
        """Move a share of each row's label (n_samples, n_classes) to its given class, in place."""
        if share > 0:
            soft_labels.mul_(1.0 - share)
            soft_labels[torch.arange(len(soft_labels), device=soft_labels.device), self._given] += share
        return soft_labels

    def log_likelihoods(self, proba: Tensor) -> Tensor:
        """Give log sum_j s_ij T_j,given(i) of each row, shape (n_samples,)."""
        evidence = self.matrix.T.to(proba.dtype).to(proba.device)
        return torch.cat([(proba[rows] * evidence[self._given[rows]]).sum(dim=1).log() for rows in self._blocks()])

    def evidence_loss(self) -> float:
        """L_o = -1/n sum_i sum_j y_ij log T_j,given(i), in nats, for the labels of the last step."""
        return -float((self._counts * self.matrix.log()).sum()) / self._total

    def _given_counts(self, n_classes: int) -> Tensor:
        weight = None if self.sample_weight is None else self.sample_weight.cpu().to(torch.float64)
        return torch.bincount(self._given.cpu(), weights=weight, minlength=n_classes).to(torch.float64).diag()

    def _fit_to(self, counts: Tensor) -> None:
        # the last bits of sums depend on the layout, which a checkpoint does not keep
        self._counts = counts.contiguous()
        smoothed = self._counts + self._prior_counts
        self.matrix = smoothed / smoothed.sum(dim=1, keepdim=True)


def temper(proba: Tensor, temperature: float) -> Tensor:
    """Give softmax(log proba / temperature), row by row."""
    if temperature == 1:
        return proba
    return proba.clamp_min(torch.finfo(torch.float32).tiny).log_().div_(temperature).softmax(dim=1)
