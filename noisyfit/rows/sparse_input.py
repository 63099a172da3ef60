"""The first layers of a network on sparse rows, which are never made dense.

Standardised, a sparse row is that of a row of zeros but for a few differences. A linear layer therefore multiplies the
one by its weights once a batch, and the differences by the weights of the features that occur.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["DifferencesFrom", "SparseLinear", "TakesSparse"]

_AT_A_TIME = 512  # numbers that are not zero: the weights they belong to stay in a processor's cache


class DifferencesFrom(NamedTuple):
    """Rows by their differences from one row.

    Attributes
    ----------
    base : Tensor of shape (n_features,)
    row_numbers, columns : Tensor of shape (n_differences,), int64
        Where there is a difference; row by row.
    differences : Tensor of shape (n_differences,)
    n_rows : int
    """

    base: Tensor
    row_numbers: Tensor
    columns: Tensor
    differences: Tensor
    n_rows: int


class TakesSparse(nn.Module):
    """What linear layers that take sparse rows share: weights (..., n_out, n_features), or as they are trained.

    Attributes
    ----------
    by_feature : bool
        Whether the weights have shape (..., n_features, n_out), where those of a feature lie together.
    """

    weight: Tensor
    by_feature = False

    def lay_by_feature(self) -> None:
        """Put the weights into the shape in which training on sparse rows is fast."""
        self.weight = nn.Parameter(self.weight.detach().mT.contiguous())
        self.by_feature = True

    def lay_as_usual(self) -> None:
        """Put the weights back into their usual shape; they stay where they are in memory."""
        if self.by_feature:
            self.weight = nn.Parameter(self.weight.detach().mT)
            self.by_feature = False

    @property
    def usual_weight(self) -> Tensor:
        """Weights (..., n_out, n_features)."""
        return self.weight.mT if self.by_feature else self.weight

    def multiply(self, rows: DifferencesFrom) -> Tensor:
        """Multiply sparse rows by the weights (k, n_out, n_features) or (n_out, n_features): (k, n, n_out)."""
        weight = self.usual_weight.mT
        product: Tensor = _Product.apply(weight if weight.ndim == 3 else weight.unsqueeze(0), *rows)
        return product


class SparseLinear(nn.Linear, TakesSparse):
    """`torch.nn.Linear` that also takes standardised sparse rows."""

    def forward(self, x: Tensor | DifferencesFrom) -> Tensor:
        """Give (n, out_features)."""
        if isinstance(x, Tensor):
            return nn.functional.linear(x, self.usual_weight, self.bias)
        product = self.multiply(x).squeeze(0)
        return product if self.bias is None else product + self.bias


class _Product(torch.autograd.Function):
    """Rows (n, n_features) times weights (k, n_features, n_out), differentiable in the weights alone."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, base: Tensor, row_numbers: Tensor, columns: Tensor, differences: Tensor, n_rows: int
    ) -> Tensor:
        ctx.save_for_backward(base, row_numbers, columns, differences)
        offsets = torch.searchsorted(row_numbers, torch.arange(n_rows, device=row_numbers.device))
        sums = [
            nn.functional.embedding_bag(columns, of_one, offsets, mode="sum", per_sample_weights=differences)
            for of_one in weight
        ]
        return torch.stack(sums).add_((base @ weight).unsqueeze(1))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        base, row_numbers, columns, differences = ctx.saved_tensors
        of_weight = base.unsqueeze(1) * gradient.sum(dim=1, keepdim=True)
        parts = list(zip(*(part.split(_AT_A_TIME) for part in (row_numbers, columns, differences)), strict=True))
        for of_one, of_outputs in zip(of_weight, gradient, strict=True):
            for rows, features, values in parts:
                of_one.index_add_(0, features, of_outputs.index_select(0, rows).mul_(values.unsqueeze(1)))
        return of_weight, None, None, None, None, None
