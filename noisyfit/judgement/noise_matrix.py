"""The third block of the optimisation: the noise matrix T, which says how true classes turn into given labels."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..files.states import check_numbers
from ..rows.storage import row_blocks

__all__ = ["NoiseMatrix", "estimate_noise", "noise_as_given", "posterior_", "weigh_evidence_"]

# Prior counts a_jk of the T-step: a little in every cell (a zero would stay zero for ever), more on the diagonal.
CELL_COUNT = 0.01
DIAGONAL_COUNT = 1.0
_TINY = 1e-300  # below what a share of T can be
_LEAST_WEIGHT = 0.5  # of the given labels while training


class NoiseMatrix(NamedTuple):
    """T, and the labels that it was counted from."""

    matrix: Tensor  # (n_classes, n_classes), float64: P(given = k if true = j) in row j
    counts: Tensor  # (n_classes, n_classes), float64: (weighted) labels y that were given as k
    total: float  # (weighted) number of samples

    def true_class_shares(self) -> Tensor:
        """Give the (weighted) mean of the labels, float64 of shape (n_classes,)."""
        return self.counts.sum(dim=1) / self.total

    def wrong_share(self) -> float:
        """Give the (weighted) share of given labels that the labels call wrong."""
        return max(0.0, 1.0 - float(self.counts.diagonal().sum()) / self.total)  # rounding may leave it just below

    def evidence_loss(self) -> float:
        """L_o = -1/n sum_i sum_j y_ij log T_j,given(i), in nats."""
        return -float((self.counts * self.matrix.log()).sum()) / self.total

    def restored(self, kept: Any) -> NoiseMatrix:
        """Give back what a file has kept; raise a ValueError for a matrix of other classes."""
        matrix, counts, _ = kept
        check_numbers("the noise matrix", matrix, torch.float64, self.matrix.shape, _TINY, 1.001)
        check_numbers("the counts of the noise matrix", counts, torch.float64, self.counts.shape, 0.0, 1e30)
        return NoiseMatrix(matrix, counts, self.total)


def noise_as_given(given: Tensor, n_classes: int, sample_weight: Tensor | None = None) -> NoiseMatrix:
    """Give T for labels as they were given: the identity, up to the prior counts."""
    weight = None if sample_weight is None else sample_weight.cpu().to(torch.float64)
    counts = torch.bincount(given.cpu(), weights=weight, minlength=n_classes).to(torch.float64).diag()
    return _fit_to(counts, given, sample_weight)


def estimate_noise(soft_labels: Tensor, given: Tensor, sample_weight: Tensor | None = None) -> NoiseMatrix:
    r"""T-step: give the exact minimiser of L_o + R for fixed labels.

    .. math:: T_{jk} \propto a_{jk} + \sum_i w_i y_{ij} [given(i) = k]

    Parameters
    ----------
    soft_labels : Tensor of shape (n_samples, n_classes), floating point
        Label distributions y.
    given : Tensor of shape (n_samples,), int64
        Class numbers of the labels as given.
    sample_weight : Tensor of shape (n_samples,) or None, default=None
        Weights w of the rows.

    Returns
    -------
    NoiseMatrix

    Examples
    --------
    >>> import torch
    >>> from noisyfit.judgement.noise_matrix import estimate_noise
    >>> soft_labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> noise = estimate_noise(soft_labels, given=torch.tensor([0, 0, 1]))
    >>> noise.matrix.round(decimals=1)  # one of the two labels of class 1 was given as 0
    tensor([[1.0000, 0.0000],
            [0.3000, 0.7000]], dtype=torch.float64)
    """
    n_classes = soft_labels.shape[1]
    dtype = torch.float32 if given.device.type == "mps" else torch.float64  # MPS has no float64
    by_given = torch.zeros(n_classes, n_classes, dtype=dtype, device=soft_labels.device)
    for rows in row_blocks(len(given), n_classes):  # float64 sums without a float64 copy of all labels
        block = soft_labels[rows].to(dtype)
        if sample_weight is not None:
            block = block * sample_weight[rows].unsqueeze(1)
        by_given.index_add_(0, given[rows], block)
    return _fit_to(by_given.T.cpu().to(torch.float64), given, sample_weight)


def _fit_to(counts: Tensor, given: Tensor, sample_weight: Tensor | None) -> NoiseMatrix:
    # the last bits of sums depend on the layout, which a checkpoint does not keep
    counts = counts.contiguous()
    prior_counts = torch.full_like(counts, CELL_COUNT)
    prior_counts.diagonal().fill_(DIAGONAL_COUNT)
    smoothed = prior_counts.add_(counts)
    total = float(len(given) if sample_weight is None else sample_weight.sum())
    return NoiseMatrix(smoothed / smoothed.sum(dim=1, keepdim=True), counts, total)


def posterior_(proba: Tensor, given: Tensor, matrix: Tensor, gamma: float, normalised: bool = False) -> Tensor:
    r"""Weigh outputs by the given labels, in place.

    .. math:: y_{ij} \propto s_{ij} T_{j,given(i)}^\gamma

    The exact minimiser of :math:`L_c + \gamma L_o` over the labels, for fixed outputs s and matrix T. With gamma 1
    and outputs that never saw the given labels it is the posterior of the true class.

    Parameters
    ----------
    proba : Tensor of shape (n_samples, n_classes), floating point
        Outputs; overwritten.
    given : Tensor of shape (n_samples,), int64
        Class numbers of the labels as given.
    matrix : Tensor of shape (n_classes, n_classes), float64
        T, all above 0.
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
    log_evidence = gamma * matrix.log()
    if normalised:
        log_evidence -= log_evidence.logsumexp(dim=1, keepdim=True)
    log_evidence = log_evidence.T.to(proba.dtype).to(proba.device)  # a row a given label
    for rows in row_blocks(*proba.shape):
        proba[rows] = proba[rows].log().add_(log_evidence[given[rows]]).softmax(dim=1)
    return proba


def evidence_weight(gamma: float | str, cross_fitted: bool, noise: NoiseMatrix) -> float:
    """Give the weight of the given labels in the next update, which `gamma` says or leaves to be found.

    Labels that are mostly right teach networks what they may keep; where many are wrong, what other networks have
    learned from a given label comes back as an output that confirms it.
    """
    if not isinstance(gamma, str):
        return gamma
    return max(_LEAST_WEIGHT, 1.0 - noise.wrong_share()) if cross_fitted else 0.0


def weigh_evidence_(
    outputs: Tensor, given: Tensor, noise: NoiseMatrix, gamma: float | str, cross_fitted: bool
) -> Tensor:
    """Turn averaged outputs (n_samples, n_classes), in place, into labels for the next epoch.

    The step for a `gamma` that is given is the exact one of the objective. One that is found damps the evidence as if
    the labels were noisier, so that no class gains by it.
    """
    weight = evidence_weight(gamma, cross_fitted, noise)
    return posterior_(outputs, given, noise.matrix, weight, normalised=isinstance(gamma, str)) if weight else outputs
