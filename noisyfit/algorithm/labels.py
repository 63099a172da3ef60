"""The second block of the optimisation: the labels, and the rules that make the next ones.

A label rule turns label distributions and the current class numbers into new class numbers. It is a function
``rule(proba, current) -> new`` with proba of shape (n_samples, n_classes) and class numbers of shape (n_samples,).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..files.states import check_numbers, outline
from .outputs import check_distributions

__all__ = [
    "GivenLabels",
    "Labels",
    "keep_within_margin",
    "label_rule",
    "most_probable",
    "next_labels",
    "relabel_clearest",
]

LabelRule = Callable[[Tensor, Tensor], Tensor]
LABEL_UPDATES = ("soft", "hard")
Change = tuple[Tensor, Tensor]  # rows whose class number changed in an update, and their new class numbers


class GivenLabels(NamedTuple):
    """What is known of the labels before the fit; tensors that lie where the labels do."""

    codes: Tensor  # (n_samples,), int64: class numbers as given
    learned: Tensor  # (n_samples,), int64: the labels to begin with; of rows that were checked the true ones
    fixed: Tensor  # (n_fixed,), int64: rows that keep theirs, whatever the outputs say
    weight: Tensor | None  # (n_samples,)
    n_classes: int

    @property
    def device(self) -> torch.device:
        """Where labels lie."""
        return self.codes.device


class Labels(NamedTuple):
    """The labels of all samples at one time.

    The next ones may be made in the memory of `soft`, of which there is one: whoever keeps labels copies it.

    Examples
    --------
    >>> import torch
    >>> from noisyfit.algorithm.labels import Labels
    >>> labels = Labels(torch.tensor([0, 1]), torch.tensor([[0.9, 0.1], [0.2, 0.8]]), n_classes=2)
    >>> labels.targets(torch.tensor([1]))
    tensor([[0.2000, 0.8000]])
    """

    codes: Tensor  # (n_samples,), int64: class numbers
    soft: Tensor | None  # (n_samples, n_classes), float32, rows sum to 1; None: one-hot
    n_classes: int
    hard: bool = False  # whether networks learn the class numbers all the same

    def targets(self, rows: Tensor) -> Tensor:
        """Give the labels to train on, float32 of shape (n_rows, n_classes)."""
        if self.soft is None or self.hard:
            return one_hot(self.codes[rows], self.n_classes)
        return self.soft[rows]

    def distributions(self) -> Tensor:
        """Give all labels as distributions, float32 of shape (n_samples, n_classes)."""
        return one_hot(self.codes, self.n_classes) if self.soft is None else self.soft

    def share_beside(self, codes: Tensor) -> float:
        """Share of the samples whose class number is another one."""
        return float((self.codes != codes).float().mean())

    def restored(self, kept: Any) -> Labels:
        """Give back what a file has kept; raise a ValueError for labels of other rows or classes."""
        codes, soft, *rest = kept
        check_numbers("the labels", codes, torch.int64, self.codes.shape, 0, self.n_classes - 1)
        if soft is not None:
            check_distributions("the soft labels", soft, [len(codes), self.n_classes])
            soft = soft.to(self.codes.device)
        if rest != [self.n_classes, self.hard]:
            raise ValueError(f"the labels must be of {self.n_classes} classes, hard: {self.hard}, got {outline(rest)}")
        return Labels(codes.to(self.codes.device), soft, self.n_classes, self.hard)


def one_hot(codes: Tensor, n_classes: int) -> Tensor:
    """Give certain labels, float32 of shape (n_samples, n_classes)."""
    labels = torch.zeros(len(codes), n_classes, dtype=torch.float32, device=codes.device)
    return labels.scatter_(1, codes.unsqueeze(1), 1.0)


def next_labels(before: Labels, proba: Tensor, given: GivenLabels, rule: LabelRule) -> tuple[Labels, Change]:
    """Make labels of distributions, which are theirs from now on; say which class numbers changed."""
    if len(given.fixed):
        proba[given.fixed] = one_hot(given.learned[given.fixed], given.n_classes)
    codes = rule(proba, before.codes)
    changed = (codes != before.codes).nonzero().squeeze(1)
    return before._replace(codes=codes, soft=proba), (changed, codes[changed])


def most_probable(proba: Tensor, current: Tensor) -> Tensor:
    """Give every sample its most probable class (eq. 6 of the paper); of equal ones the first."""
    return proba.argmax(dim=1)


def relabel_clearest(proba: Tensor, current: Tensor, n_relabel: int) -> Tensor:
    """Change at most `n_relabel` labels: those with the largest log s[new] - log s[current]; ties by row."""
    proposed = proba.argmax(dim=1)
    rows = (proposed != current).nonzero().squeeze(1)
    log_proba = proba[rows].log()
    gain = log_proba.gather(1, proposed[rows, None]) - log_proba.gather(1, current[rows, None])
    order = gain.squeeze(1).sort(descending=True, stable=True).indices
    chosen = rows[order[:n_relabel]]
    new = current.clone()
    new[chosen] = proposed[chosen]
    return new


def label_rule(label_update: str, n_relabel: int | None) -> LabelRule:
    """Choose the rule that the estimator's parameters ask for."""
    if label_update == "hard" and n_relabel is not None:
        return partial(relabel_clearest, n_relabel=n_relabel)
    return most_probable


def keep_within_margin(
    soft_labels: NDArray[np.float32], codes: NDArray[np.int64], given: NDArray[np.int64], margin: float
) -> NDArray[np.int64]:
    """Give the new class numbers where soft[new] - soft[given] exceeds `margin`, elsewhere the given ones.

    A margin of 0 gives the new ones as they are.
    """
    if margin == 0:
        return codes
    rows = np.arange(len(codes))
    return np.where(soft_labels[rows, codes] - soft_labels[rows, given] > margin, codes, given)
