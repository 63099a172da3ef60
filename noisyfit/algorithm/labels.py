"""The second block of the optimisation: the labels, and the memory of outputs they are made from.

A label rule turns the averaged outputs and the current class numbers into new class numbers. It is a function
``rule(proba, current) -> new`` with proba of shape (n_samples, n_classes) and class numbers of shape (n_samples,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..files.states import check_count, check_like, check_numbers
from ..rows.storage import empty, row_blocks

__all__ = [
    "LabelStore",
    "bytes_of_outputs",
    "keep_within_margin",
    "label_rule",
    "most_probable",
    "relabel_clearest",
    "share_of_earlier",
]

_FINEST = 65535  # the largest integer of 16 bits

LabelRule = Callable[[Tensor, Tensor], Tensor]
LABEL_UPDATES = ("soft", "hard")


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


class LabelStore:
    """Current labels of all samples, and the outputs of the last epochs they will be replaced by.

    Before the first `step` the labels are the given ones. The store knows tensors only: no network, no file.

    Parameters
    ----------
    given : Tensor of shape (n_samples,), int64
        Class numbers of the labels as given.
    n_classes : int
        Number of classes.
    window : int or float
        Number of last epochs whose outputs are averaged; below 1 the decay of an exponential mean.
    rule : callable, default=most_probable
        Label rule that gives the new class numbers.
    soft : bool, default=True
        Whether the network trains on the averaged outputs (eq. 7) or on one-hot labels of the class numbers.
    in_file : bool, default=False
        Whether the memory of outputs is a temporary file; otherwise it is on the device of `given`.
    fixed : Tensor of shape (n_fixed,), int64, or None, default=None
        Rows whose labels never change, whatever the outputs say.

    Attributes
    ----------
    given, codes : Tensor of shape (n_samples,), int64
        Class numbers as given and as they are now.
    changes : list of (Tensor, Tensor)
        For each step, the rows whose class number changed and their new class numbers.

    Examples
    --------
    >>> import torch
    >>> from noisyfit.algorithm.labels import LabelStore
    >>> labels = LabelStore(torch.tensor([0, 0]), n_classes=2, window=3)
    >>> labels.record(torch.tensor([0, 1]), torch.tensor([[0.9, 0.1], [0.2, 0.8]]))
    >>> labels.close_epoch()
    >>> labels.step(labels.average_outputs())
    >>> labels.codes
    tensor([0, 1])
    >>> labels.targets(torch.tensor([1]))
    tensor([[0.2000, 0.8000]])
    """

    def __init__(
        self,
        given: Tensor,
        n_classes: int,
        window: int | float,
        rule: LabelRule = most_probable,
        soft: bool = True,
        in_file: bool = False,
        fixed: Tensor | None = None,
    ):
        self.given = given
        self._fixed = fixed
        self.codes = self._codes_before = given.clone()
        self.changes: list[tuple[Tensor, Tensor]] = []
        self.n_classes = n_classes
        self._memory: OutputWindow | ExponentialMean | None
        if window >= 1:
            self._memory = OutputWindow(given, n_classes, int(window), in_file)
        else:
            self._memory = ExponentialMean(given, n_classes, float(window), in_file)
        self._rule = rule
        self._soft = soft
        self._targets_given = False
        self._averages: Tensor | None = None

    @property
    def soft_labels(self) -> Tensor:
        """Averaged outputs as of the last step, the store's own; one-hot given labels before it."""
        return self._one_hot(self.codes) if self._averages is None else self._averages

    @property
    def device(self) -> torch.device:
        """Where the labels are."""
        return self.given.device

    def train_on_given(self) -> None:
        """Give the given labels as targets from now on."""
        self._targets_given = True

    def targets(self, rows: Tensor) -> Tensor:
        """Give the labels to train on, float32 of shape (n_rows, n_classes)."""
        if self._targets_given:
            return self._one_hot(self.given[rows])
        if self._soft and self._averages is not None:
            return self._averages[rows]
        return self._one_hot(self.codes[rows])

    def record(self, rows: Tensor, proba: Tensor) -> None:
        """Keep the outputs of some samples in this epoch; every sample once an epoch.

        The fewer calls, the faster.
        """
        self._remembered.record(rows, proba.to(self.device))

    def close_epoch(self) -> None:
        """Note that every sample has been recorded in this epoch; the next record opens a new one."""
        self._remembered.close_epoch()

    def average_outputs(self) -> Tensor:
        """Give the mean of the remembered outputs, float32 of shape (n_samples, n_classes).

        It takes the place of the soft labels, which are lost: there is memory for one of them. The caller may change
        it on the way to `step`.
        """
        if self._averages is None:
            self._averages = torch.empty(len(self.given), self.n_classes, device=self.device)
        self._remembered.mean_into(self._averages)
        return self._averages

    def forget_outputs(self) -> None:
        """Free the memory of outputs, after the last averages."""
        self._memory = None

    def step(self, proba: Tensor) -> None:
        """Y-step: replace the labels by distributions over the classes, or by what the label rule makes of them."""
        if self._fixed is not None:
            proba[self._fixed] = self._one_hot(self.given[self._fixed])
        self._averages = proba
        new = self._rule(proba, self.codes)
        changed = (new != self.codes).nonzero().squeeze(1)
        self.changes.append((changed, new[changed]))
        self._codes_before, self.codes = self.codes, new

    def revise(self, proba: Tensor) -> None:
        """Make the last step anew, from other distributions; `changes` stay those of the training."""
        self.codes = self._codes_before
        self.step(proba if self._fixed is None else proba.clone())  # what was judged is published as it is
        self.changes.pop()

    def share_corrected(self) -> float:
        """Share of the samples whose class number is not the given one."""
        return float((self.codes != self.given).float().mean())

    def state_dict(self) -> dict[str, Any]:
        """Give what changes; tensors are the store's own."""
        return {
            "codes": self.codes,
            "codes_before": self._codes_before,
            "averages": self._averages,
            "changes": self.changes,
            "targets_given": self._targets_given,
            "memory": None if self._memory is None else self._memory.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state; raise a ValueError for one of other rows or classes."""
        self._check(state)
        self.codes, self._codes_before = state["codes"].to(self.device), state["codes_before"].to(self.device)
        self.changes = [(rows.to(self.device), new.to(self.device)) for rows, new in state["changes"]]
        self._averages = None if state["averages"] is None else state["averages"].to(self.device)
        self._targets_given = state["targets_given"]
        if state["memory"] is None:
            self.forget_outputs()
        else:
            self._remembered.load_state_dict(state["memory"])

    def _check(self, state: dict[str, Any]) -> None:
        n_rows, last_class = len(self.given), self.n_classes - 1
        for name in ("codes", "codes_before"):
            check_numbers(f"the labels' {name}", state[name], torch.int64, [n_rows], 0, last_class)
        for rows, new in state["changes"]:
            check_numbers("rows with a new label", rows, torch.int64, [None], 0, n_rows - 1)
            check_numbers("their new labels", new, torch.int64, rows.shape, 0, last_class)
        averages = state["averages"]
        if averages is not None:
            _check_distributions("the averaged outputs", averages, [n_rows, self.n_classes])
        check_like("whether the given labels are learned", state["targets_given"], False)

    @property
    def _remembered(self) -> OutputWindow | ExponentialMean:
        assert self._memory is not None, "outputs after they were forgotten"
        return self._memory

    def _one_hot(self, codes: Tensor) -> Tensor:
        labels = torch.zeros(len(codes), self.n_classes, dtype=torch.float32, device=codes.device)
        return labels.scatter_(1, codes.unsqueeze(1), 1.0)


def bytes_of_outputs(n_rows: int, n_classes: int, window: int | float) -> int:
    """Give the size of the memory of outputs."""
    return n_rows * n_classes * (2 * int(window) if window >= 1 else 4)


class OutputWindow:
    """Outputs of the last epochs, in a ring that holds an epoch in each slot.

    An output s takes two bytes, as the integer nearest to 65535 sqrt(s). Means are within 1.4e-5 of those of the
    outputs, and those of small outputs, which say how sure a network is, within 5 % down to 1e-7.
    """

    def __init__(self, given: Tensor, n_classes: int, window: int, in_file: bool):
        self._shape = (window, len(given), n_classes)
        self._device, self._in_file = given.device, in_file
        self._ring: Tensor | None = None
        self._epochs = 0

    def record(self, rows: Tensor, proba: Tensor) -> None:
        """Keep the outputs of some samples in this epoch."""
        codes = proba.sqrt().mul_(_FINEST).round_().to(torch.uint16)
        ring = self._made()
        ring[self._epochs % len(ring)].index_copy_(0, rows, codes.view(torch.int16))

    def close_epoch(self) -> None:
        """Go on to the next slot."""
        self._epochs += 1

    def state_dict(self) -> dict[str, Any]:
        """Give what changes."""
        n_recorded = min(self._epochs, self._shape[0])
        return {"epochs": self._epochs, "ring": None if self._ring is None else self._ring[:n_recorded]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state; raise a ValueError for one of other rows or classes."""
        epochs, ring = state["epochs"], state["ring"]
        check_count("epochs of outputs", epochs)
        if (ring is None) != (epochs == 0):
            raise ValueError(f"outputs of {epochs} epochs must be there, and none of no epoch")
        if ring is not None:
            recorded = [min(epochs, self._shape[0]), *self._shape[1:]]
            check_numbers("the outputs", ring, torch.int16, recorded)
            if not ring.any(dim=-1).all():
                raise ValueError("the outputs must be above 0 for some class of each row")
            self._made()[: len(ring)] = ring.to(self._device)
        self._epochs = epochs

    def _made(self) -> Tensor:
        """Give the ring, which takes no memory before it is needed."""
        if self._ring is None:  # int16, since torch cannot copy uint16 by index
            self._ring = empty(self._shape, torch.int16, self._device, self._in_file)
        return self._ring

    def mean_into(self, out: Tensor) -> None:
        """Write the mean of the epochs in the ring; rows sum to 1."""
        assert self._ring is not None, "mean of outputs before any epoch was recorded"
        slots = self._ring[: min(self._epochs, len(self._ring))].view(torch.uint16)
        for rows in row_blocks(*out.shape):
            total = out[rows].zero_()
            root = torch.empty_like(total)
            for slot in slots:
                root.copy_(slot[rows])
                total.addcmul_(root, root)
            total.div_(total.sum(dim=1, keepdim=True))


class ExponentialMean:
    """Mean of all epochs' outputs in which an epoch counts `decay` times as much as the next one."""

    def __init__(self, given: Tensor, n_classes: int, decay: float, in_file: bool):
        self._decay = decay
        self._mean = empty((len(given), n_classes), torch.float32, given.device, in_file).zero_()
        self._epochs = 0

    def record(self, rows: Tensor, proba: Tensor) -> None:
        """Take the outputs of some samples into their means."""
        earlier = share_of_earlier(self._decay, self._epochs)
        self._mean.index_copy_(0, rows, torch.lerp(proba, self._mean[rows], earlier))

    def close_epoch(self) -> None:
        """Note that all samples have been recorded in this epoch."""
        self._epochs += 1

    def state_dict(self) -> dict[str, Any]:
        """Give what changes."""
        return {"epochs": self._epochs, "mean": self._mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state; raise a ValueError for one of other rows or classes."""
        check_count("epochs of outputs", state["epochs"])
        if state["epochs"]:
            _check_distributions("the mean outputs", state["mean"], self._mean.shape)
        else:
            check_numbers("the mean outputs", state["mean"], torch.float32, self._mean.shape, 0, 0)
        self._epochs = state["epochs"]
        self._mean.copy_(state["mean"])

    def mean_into(self, out: Tensor) -> None:
        """Write the means."""
        out.copy_(self._mean)


def _check_distributions(what: str, value: Any, shape: Sequence[int]) -> None:
    """Raise a ValueError unless the rows of what a state holds sum to 1."""
    check_numbers(what, value, torch.float32, shape, 0, 1.001)
    check_numbers(f"the sums of {what}", value.sum(dim=1), torch.float32, shape[:1], 0.999, 1.001)


def share_of_earlier(decay: float, n_earlier: int) -> float:
    """Share of the mean so far in an exponential mean with one value more, bias-corrected: none at first."""
    return decay * (1 - decay**n_earlier) / (1 - decay ** (n_earlier + 1))


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
