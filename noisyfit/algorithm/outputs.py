"""The memory of outputs that a theta-step records, and that the next labels are made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..files.states import check_count, check_numbers
from ..rows.storage import empty, row_blocks

__all__ = ["Outputs", "bytes_of_outputs", "check_distributions", "remember_outputs"]

_FINEST = 65535  # the largest integer of 16 bits


def remember_outputs(
    n_rows: int, n_classes: int, window: int | float, device: torch.device, in_file: bool = False
) -> Outputs:
    """Make the memory for the last `window` epochs, or, for a number below 1, for an exponential mean."""
    if window < 1:
        return ExponentialMean(n_rows, n_classes, float(window), device, in_file)
    return OutputWindow(n_rows, n_classes, int(window), device, in_file)


def bytes_of_outputs(n_rows: int, n_classes: int, window: int | float) -> int:
    """Give the size of the memory of outputs."""
    return n_rows * n_classes * (4 if window < 1 else 2 * int(window))


class Outputs:
    """What networks have said of all samples: the one thing beside networks that a theta-step changes in place.

    Every sample is recorded once an epoch; the fewer calls, the faster.
    """

    def __init__(self, shape: tuple[int, int], device: torch.device, in_file: bool):
        self.shape, self.device, self._in_file = shape, device, in_file
        self._epochs = 0

    @property
    def n_epochs(self) -> int:
        """Epochs that were recorded."""
        return self._epochs

    def record(self, rows: Tensor, proba: Tensor) -> None:
        """Keep the outputs of some samples in this epoch."""
        raise NotImplementedError

    def close_epoch(self) -> None:
        """Note that every sample has been recorded in this epoch; the next record opens a new one."""
        self._epochs += 1

    def mean(self, out: Tensor | None = None) -> Tensor:
        """Give the mean of what is remembered, float32 of shape (n_samples, n_classes), in `out` where it is given."""
        raise NotImplementedError

    def forget(self) -> None:
        """Free the memory."""
        raise NotImplementedError

    def packed(self) -> dict[str, Any]:
        """Give what changes."""
        raise NotImplementedError

    def restored(self, kept: Any) -> Outputs:
        """Go back to what a file has kept; raise a ValueError for outputs of other rows or classes."""
        raise NotImplementedError


class OutputWindow(Outputs):
    """Outputs of the last epochs, in a ring that holds an epoch in each slot.

    An output s takes two bytes, as the integer nearest to 65535 sqrt(s). Means are within 1.4e-5 of those of the
    outputs, and those of small outputs, which say how sure a network is, within 5 % down to 1e-7.
    """

    def __init__(self, n_rows: int, n_classes: int, window: int, device: torch.device, in_file: bool):
        super().__init__((n_rows, n_classes), device, in_file)
        self._window = window
        self._ring: Tensor | None = None

    def record(self, rows: Tensor, proba: Tensor) -> None:
        codes = proba.to(self.device).sqrt().mul_(_FINEST).round_().to(torch.uint16)
        ring = self._made()
        ring[self._epochs % len(ring)].index_copy_(0, rows, codes.view(torch.int16))

    def mean(self, out: Tensor | None = None) -> Tensor:
        assert self._ring is not None, "mean of outputs before any epoch was recorded"
        out = torch.empty(self.shape, device=self.device) if out is None else out
        slots = self._ring[: min(self._epochs, len(self._ring))].view(torch.uint16)
        for rows in row_blocks(*out.shape):
            total = out[rows].zero_()
            root = torch.empty_like(total)
            for slot in slots:
                root.copy_(slot[rows])
                total.addcmul_(root, root)
            total.div_(total.sum(dim=1, keepdim=True))
        return out

    def forget(self) -> None:
        self._ring = None

    def packed(self) -> dict[str, Any]:
        n_recorded = min(self._epochs, self._window)
        return {"epochs": self._epochs, "ring": None if self._ring is None else self._ring[:n_recorded]}

    def restored(self, kept: Any) -> Outputs:
        epochs, ring = kept["epochs"], kept["ring"]
        check_count("epochs of outputs", epochs)
        if (ring is None) != (epochs == 0):
            raise ValueError(f"outputs of {epochs} epochs must be there, and none of no epoch")
        if ring is not None:
            check_numbers("the outputs", ring, torch.int16, [min(epochs, self._window), *self.shape])
            if not ring.any(dim=-1).all():
                raise ValueError("the outputs must be above 0 for some class of each row")
            self._made()[: len(ring)] = ring.to(self.device)
        self._epochs = epochs
        return self

    def _made(self) -> Tensor:
        """Give the ring, which takes no memory before it is needed."""
        if self._ring is None:  # int16, since torch cannot copy uint16 by index
            self._ring = empty((self._window, *self.shape), torch.int16, self.device, self._in_file)
        return self._ring


class ExponentialMean(Outputs):
    """Mean of all epochs' outputs in which an epoch counts `decay` times as much as the next one."""

    def __init__(self, n_rows: int, n_classes: int, decay: float, device: torch.device, in_file: bool):
        super().__init__((n_rows, n_classes), device, in_file)
        self._decay = decay
        self._mean = empty(self.shape, torch.float32, device, in_file).zero_()

    def record(self, rows: Tensor, proba: Tensor) -> None:
        earlier = share_of_earlier(self._decay, self._epochs)
        self._mean.index_copy_(0, rows, torch.lerp(proba.to(self.device), self._mean[rows], earlier))

    def mean(self, out: Tensor | None = None) -> Tensor:
        return self._mean.clone() if out is None else out.copy_(self._mean)

    def forget(self) -> None:
        self._mean = torch.empty(0, self.shape[1], device=self.device)  # a part of it would hold all of it

    def packed(self) -> dict[str, Any]:
        return {"epochs": self._epochs, "mean": self._mean}

    def restored(self, kept: Any) -> Outputs:
        check_count("epochs of outputs", kept["epochs"])
        if kept["epochs"]:
            check_distributions("the mean outputs", kept["mean"], self.shape)
        else:
            check_numbers("the mean outputs", kept["mean"], torch.float32, self.shape, 0, 0)
        self._epochs = kept["epochs"]
        self._mean.copy_(kept["mean"])
        return self


def check_distributions(what: str, value: Any, shape: Sequence[int]) -> None:
    """Raise a ValueError unless the rows of what a file has kept sum to 1."""
    check_numbers(what, value, torch.float32, shape, 0, 1.001)
    check_numbers(f"the sums of {what}", value.sum(dim=1), torch.float32, shape[:1], 0.999, 1.001)


def share_of_earlier(decay: float, n_earlier: int) -> float:
    """Share of the mean so far in an exponential mean with one value more, bias-corrected: none at first."""
    return decay * (1 - decay**n_earlier) / (1 - decay ** (n_earlier + 1))
