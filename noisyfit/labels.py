"""The second block of the optimisation: the labels, and the memory of outputs they are made from.

A label rule turns the averaged outputs and the current class numbers into new class numbers. It is a function
``rule(proba, current) -> new`` with proba of shape (n_samples, n_classes) and class numbers of shape (n_samples,).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["LabelStore", "keep_within_margin", "label_rule", "most_probable", "relabel_clearest"]

LabelRule = Callable[[Tensor, Tensor], Tensor]


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


class LabelStore:
    """Current labels of all samples, and the outputs of the last epochs they will be replaced by.

    Before the first `step` the labels are the given ones. The store knows tensors only: no network, no file.

    Parameters
    ----------
    given : Tensor of shape (n_samples,), int64
        Class numbers of the labels as given.
    n_classes : int
        Number of classes.
    window : int
        Number of last epochs whose outputs are averaged, at least 1.
    rule : callable, default=most_probable
        Label rule that gives the new class numbers.
    soft : bool, default=True
        Whether the network trains on the averaged outputs (eq. 7) or on one-hot labels of the class numbers.

    Attributes
    ----------
    given, codes : Tensor of shape (n_samples,), int64
        Class numbers as given and as they are now.
    changes : list of (Tensor, Tensor)
        For each step, the rows whose class number changed and their new class numbers.

    Examples
    --------
    >>> import torch
    >>> from noisyfit.labels import LabelStore
    >>> labels = LabelStore(torch.tensor([0, 0]), n_classes=2, window=3)
    >>> labels.record(torch.tensor([0, 1]), torch.tensor([[0.9, 0.1], [0.2, 0.8]]))
    >>> labels.close_epoch()
    >>> labels.step(labels.average_outputs())
    >>> labels.codes
    tensor([0, 1])
    >>> labels.targets(torch.tensor([1]))
    tensor([[0.2000, 0.8000]])
    """

    def __init__(self, given: Tensor, n_classes: int, window: int, rule: LabelRule = most_probable, soft: bool = True):
        self.given = given
        self.codes = given.clone()
        self.changes: list[tuple[Tensor, Tensor]] = []
        self.n_classes = n_classes
        self._window = window
        self._rule = rule
        self._soft = soft
        self._memory: Tensor | None = None  # (window, n_samples, n_classes), a ring of epochs
        self._epochs_recorded = 0
        self._averages: Tensor | None = None

    @property
    def soft_labels(self) -> Tensor:
        """Averaged outputs as of the last step; one-hot given labels before it."""
        return self._one_hot(self.codes) if self._averages is None else self._averages

    def targets(self, rows: Tensor) -> Tensor:
        """Give the labels to train on, float32 of shape (n_rows, n_classes)."""
        if self._soft and self._averages is not None:
            return self._averages[rows]
        return self._one_hot(self.codes[rows])

    def record(self, rows: Tensor, proba: Tensor) -> None:
        """Keep the outputs of some samples in this epoch; every sample once an epoch."""
        if self._memory is None:
            shape = (self._window, len(self.codes), self.n_classes)
            self._memory = torch.empty(shape, dtype=torch.float32, device=self.codes.device)
        self._memory[self._epochs_recorded % self._window].index_copy_(0, rows, proba)

    def close_epoch(self) -> None:
        """Note that every sample has been recorded in this epoch; the next record opens a new one."""
        self._epochs_recorded += 1

    def average_outputs(self) -> Tensor:
        """Give the mean of the remembered outputs, float32 of shape (n_samples, n_classes): the caller's to keep."""
        assert self._memory is not None, "average_outputs() before any epoch was recorded"
        return self._memory[: min(self._epochs_recorded, self._window)].mean(dim=0)

    def step(self, proba: Tensor) -> None:
        """Y-step: replace the labels by distributions over the classes, or by what the label rule makes of them."""
        self._averages = proba
        new = self._rule(proba, self.codes)
        changed = (new != self.codes).nonzero().squeeze(1)
        self.changes.append((changed, new[changed]))
        self.codes = new

    def share_corrected(self) -> float:
        """Share of the samples whose class number is not the given one."""
        return float((self.codes != self.given).float().mean())

    def _one_hot(self, codes: Tensor) -> Tensor:
        labels = torch.zeros(len(codes), self.n_classes, dtype=torch.float32, device=codes.device)
        return labels.scatter_(1, codes.unsqueeze(1), 1.0)
