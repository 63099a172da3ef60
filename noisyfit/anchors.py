"""What becomes of the surest rows of each class, which a network's ignorance explains least: anchor points.

Where classes are hard, outputs contradict many labels that are right; but the tenth of the rows that they are surest of
they seldom get wrong, given enough rows to learn from and classes that are sure somewhere. Where labels are confused by
class, those rows are, too. So the given labels of the surest rows show the noise matrix, although the networks may not
know the others (T. Liu and D. Tao, "Classification with Noisy Labels by Importance Reweighting", 2016,
https://arxiv.org/abs/1411.7718).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Anchors", "find_anchors"]

_SURE = 0.1  # share of the rows predicted to be of a class
_PRIOR_ROWS = 10.0  # for each class, of a noise matrix found otherwise


class Anchors(NamedTuple):
    """Given labels of the rows that outputs are surest of."""

    counts: Tensor  # (n_classes, n_classes) float64, on the CPU: their weight by predicted and given class
    n_rows: float  # how many of one weight would tell as much
    disagreement: float  # share of all rows whose given class is not the predicted one

    def contradiction(self, standard_errors: float) -> float:
        """Give how often these rows contradict their labels, as a share of how often all do; at least so much.

        Chance is allowed for: the share is taken so many standard errors below its mean.
        """
        share = 1.0 - float(self.counts.diagonal().sum() / self.counts.sum())
        by_chance = standard_errors * math.sqrt(max(0.0, share * (1.0 - share)) / self.n_rows)
        return max(0.0, share - by_chance) / max(self.disagreement, 1e-9)

    def matrix(self, otherwise: Tensor) -> Tensor:
        """Give their noise matrix; `otherwise`, (n_classes, n_classes), is worth ten rows a class."""
        counts = self.counts + _PRIOR_ROWS * otherwise
        return counts / counts.sum(dim=1, keepdim=True)


def find_anchors(outputs: Tensor, given: Tensor, sample_weight: Tensor | None = None) -> Anchors:
    """Choose the tenth of the rows of each predicted class whose outputs are highest.

    Parameters
    ----------
    outputs : Tensor of shape (n_samples, n_classes)
        Of networks that have not seen the given labels.
    given : Tensor of shape (n_samples,), int64
        Class numbers of the given labels.
    sample_weight : Tensor of shape (n_samples,) or None, default=None
        Weights of the rows; those of weight 0 are left out.

    Returns
    -------
    Anchors

    Examples
    --------
    Of two times ten rows the surest one of each class counts; that of the second contradicts its label:

    >>> import torch
    >>> from noisyfit.anchors import find_anchors
    >>> sure = torch.linspace(0.6, 0.9, 10)
    >>> outputs = torch.cat([torch.stack([sure, 1 - sure], dim=1), torch.stack([1 - sure, sure], dim=1)])
    >>> given = torch.tensor(10 * [0] + 9 * [1] + [0])
    >>> find_anchors(outputs, given).counts
    tensor([[1., 0.],
            [1., 0.]], dtype=torch.float64)
    """
    weight = torch.ones(len(given), device=given.device) if sample_weight is None else sample_weight
    n_classes = outputs.shape[1]
    sureness, predicted = outputs.max(dim=1)
    order = sureness.argsort(descending=True, stable=True)
    order = order[weight[order] > 0]
    order = order[predicted[order].argsort(stable=True)]  # class by class, the surest first
    sizes = torch.bincount(predicted[order], minlength=n_classes)
    rank = torch.arange(len(order), device=order.device) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    chosen = order[rank < (_SURE * sizes).round().clamp_min(1).repeat_interleave(sizes)]
    cells = (predicted[chosen] * n_classes + given[chosen]).cpu()
    weights = weight[chosen].cpu().double()
    counts = torch.bincount(cells, weights, n_classes**2).view(n_classes, n_classes)
    n_rows = float(weights.sum() ** 2 / weights.square().sum())
    disagreement = float((weight * (predicted != given)).sum() / weight.sum())
    return Anchors(counts, n_rows, disagreement)
