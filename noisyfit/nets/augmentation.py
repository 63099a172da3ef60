"""Random changes of a batch of images while training; a callable on a batch tensor does as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Augmentation", "as_augmentation", "crop_flip"]

Augmentation = Callable[[Tensor], Tensor]
_CROP_PADDING = 4


def crop_flip(x: Tensor) -> Tensor:
    """Pad images (n, channels, height, width) by 4 zeros, crop back at random places, mirror half of them."""
    n, _, height, width = x.shape
    span = 2 * _CROP_PADDING + 1
    padded = nn.functional.pad(x, [_CROP_PADDING] * 4)
    top, left = torch.randint(0, span, (2, n, 1), device=x.device)
    rows = top + torch.arange(height, device=x.device)
    columns = left + torch.arange(width, device=x.device)
    mirrored = torch.rand(n, 1, device=x.device) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    images = torch.arange(n, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[images, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def as_augmentation(augment: Any, item_shape: tuple[int, ...]) -> Augmentation | None:
    """Give the function that the `augment` parameter stands for."""
    if augment is None or (callable(augment) and not isinstance(augment, str)):
        return augment
    if len(item_shape) != 3:
        raise ValueError(
            "`augment='crop_flip'` needs images, X of shape (n, channels, height, width); "
            f"got {('n', *item_shape)}. Pass augment=None or a callable."
        )
    return crop_flip
