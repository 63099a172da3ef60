"""The third block of the optimisation: how true classes turn into given labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..files.states import check_like, check_numbers
from ..rows.storage import row_blocks

__all__ = []

# Prior counts a_jk of the T-step: a little in every cell (a zero would stay zero for ever), more on the diagonal.
CELL_COUNT = 0.01


DIAGONAL_COUNT = 1.0


_TINY = 1e-300  # below what a share of T can be


_LEAST_WEIGHT = 0.5  # of the given labels while training


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
    >>> from noisyfit.judgement.noise_matrix import NoiseMatrix
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
        self._total = float(len(given) if sample_weight is None else sample_weight.sum())
        self._prior_counts = torch.full((n_classes, n_classes), CELL_COUNT, dtype=torch.float64)
        self._prior_counts.diagonal().fill_(DIAGONAL_COUNT)
        self._fit_to(self._given_counts(n_classes))
        if matrix is not None:
            self.matrix = matrix
        self.stepped = False

    def state_dict(self) -> dict[str, Any]:
        """Give what changes."""
        return {"matrix": self.matrix, "counts": self._counts, "stepped": self.stepped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state; raise a ValueError for one of other classes."""
        for name, low, high in (("matrix", _TINY, 1.001), ("counts", 0.0, 1e30)):
            check_numbers(f"the noise matrix's {name}", state[name], torch.float64, self.matrix.shape, low, high)
        check_like("whether the noise matrix is estimated", state["stepped"], self.stepped)
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


def evidence_weight(gamma: float | str, cross_fitted: bool, noise: NoiseMatrix) -> float:
    """Give the weight of the given labels in the next update, which `gamma` says or leaves to be found.

    Labels that are mostly right teach networks what they may keep; where many are wrong, what other networks have
    learned from a given label comes back as an output that confirms it.
    """
    if not isinstance(gamma, str):
        return gamma
    return max(_LEAST_WEIGHT, 1.0 - noise.wrong_share()) if cross_fitted else 0.0


def weigh_evidence_(outputs: Tensor, gamma: float | str, cross_fitted: bool, noise: NoiseMatrix) -> Tensor:
    """Turn averaged outputs (n_samples, n_classes), in place, into labels for the next epoch.

    The step for a `gamma` that is given is the exact one of the objective. One that is found damps the evidence as if
    the labels were noisier, so that no class gains by it.
    """
    weight = evidence_weight(gamma, cross_fitted, noise)
    return noise.posterior_(outputs, weight, normalised=isinstance(gamma, str)) if weight else outputs
