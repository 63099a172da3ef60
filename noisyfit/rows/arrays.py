"""Tensors and lists of arrays as one array."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["items_to_numpy"]

_NUMPY_FLOATS = (torch.float16, torch.float32, torch.float64)


def items_to_numpy(data: Any, name: str) -> Any:
    """Turn a tensor, or a list of equal tensors or arrays, into one array; leave all else as it is."""
    if isinstance(data, (list, tuple)) and len(data) and isinstance(data[0], (Tensor, np.ndarray)):
        items = [_tensor_to_numpy(item, name) for item in data]
        shapes = {tuple(np.shape(item)) for item in items}
        if len(shapes) > 1:
            raise ValueError(
                f"`{name}` is a list of tensors or arrays, which must have one shape; got {sorted(shapes)[:5]}."
            )
        return np.stack(items)
    return _tensor_to_numpy(data, name)


def _tensor_to_numpy(x: Any, name: str) -> Any:
    if not isinstance(x, Tensor):
        return x
    try:
        x = x.detach().cpu().resolve_conj().resolve_neg()
        # NumPy has neither bfloat16 nor the floats of 8 bits
        return (x.float() if x.is_floating_point() and x.dtype not in _NUMPY_FLOATS else x).numpy()
    except (RuntimeError, TypeError) as error:  # sparse, quantised, nested, without data
        raise TypeError(f"`{name}` must be a dense tensor of numbers, got {x.dtype}, {x.layout}: {error}") from error
