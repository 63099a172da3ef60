"""What networks that have learned a given label say of its row, pooled with what one that has not seen it says.

Networks that were trained on a row give further opinions on it, but have memorised some of the given labels. How much
on average is known: they agree with them more often than the one that has not seen them. So their odds of the given
class are lowered, all by one factor, until they agree as much.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .storage import row_blocks

__all__ = ["forget_given_", "pool_"]

_MOST = 100.0  # log of the largest factor; that of a float32 is at most 88
_STEPS = 45  # of a bisection
_TINY = torch.finfo(torch.float32).tiny


def pool_(unseen: Tensor, learned: Tensor, given: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    """Pool the outputs for rows that were not seen with those for rows that were learned: geometric mean, in place.

    Parameters
    ----------
    unseen : Tensor of shape (n_samples, n_classes)
        Outputs of networks that have not seen the given label; changed.
    learned : Tensor of shape (n_samples, n_classes)
        Mean outputs of those that were trained on it, and on no other label of the row; changed.
    given : Tensor of shape (n_samples,), int64
        Class numbers of the given labels.
    sample_weight : Tensor of shape (n_samples,) or None, default=None
        Rows of weight 0 were not learned by anyone.

    Returns
    -------
    Tensor of shape (n_samples, n_classes)
        `unseen`.

    Examples
    --------
    The second of two networks has learned the given labels, of class 0, and is surer of them:

    >>> import torch
    >>> from noisyfit.hindsight import pool_
    >>> unseen = torch.tensor([[0.6, 0.4], [0.4, 0.6], [0.5, 0.5]])
    >>> learned = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4]])
    >>> pool_(unseen, learned, given=torch.tensor([0, 0, 0])).round(decimals=2)
    tensor([[0.6500, 0.3500],
            [0.4600, 0.5400],
            [0.3900, 0.6100]])
    """
    forget_given_(learned, unseen, given, sample_weight)
    for rows in row_blocks(*unseen.shape):
        product = unseen[rows].clamp_min(_TINY).log_().add_(learned[rows].clamp_min(_TINY).log_())
        unseen[rows] = product.div_(2).softmax(dim=1)
    return unseen


def forget_given_(learned: Tensor, unseen: Tensor, given: Tensor, sample_weight: Tensor | None = None) -> Tensor:
    """Lower the odds of the given class in `learned` until its mean is that in `unseen`; in place."""
    weight = torch.ones(len(given), device=given.device) if sample_weight is None else sample_weight
    column = given.unsqueeze(1)
    others = learned.scatter(1, column, 0.0).sum(dim=1)  # 1 less the given one would lose what is below 6e-8
    given_one = learned.gather(1, column).squeeze(1)
    log_odds = given_one.clamp_min(_TINY).double().log() - others.clamp_min(_TINY).double().log()
    agreement = (weight * unseen.gather(1, column).squeeze(1)).sum() / weight.sum()
    factor = _factor(log_odds, weight, float(agreement))
    factors = torch.where(weight > 0, math.exp(-factor), 1.0).to(learned.dtype).unsqueeze(1)
    learned.scatter_(1, column, given_one.unsqueeze(1) * factors)
    return learned.div_(learned.sum(dim=1, keepdim=True).clamp_min(_TINY))


def _factor(log_odds: Tensor, weight: Tensor, agreement: float) -> float:
    """Give by how much the log odds are to be lowered for their probabilities to have a mean; at least 0."""
    low, high = 0.0, _MOST
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if float((weight * (log_odds - middle).sigmoid()).sum() / weight.sum()) > agreement:
            low = middle
        else:
            high = middle
    return low
