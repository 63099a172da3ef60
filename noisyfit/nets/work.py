"""How much a network computes, so that it gets the threads that it is worth."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .ensembles import StackedLinear

__all__ = ["count_multiplications"]


def count_multiplications(module: nn.Module, run: Callable[[], Any]) -> float:
    """Count the multiplications of layers with weights, forward, while `run` puts a batch through the network.

    Each weight is taken to be used once at each position of a layer's output: exact for linear layers and
    convolutions, close for recurrent layers and attention. Infinite where layers cannot be watched.

    Parameters
    ----------
    module : torch.nn.Module
        The network; it is not changed.
    run : callable without arguments
        Calls it once.

    Returns
    -------
    float
        At least 0.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Linear(5, 3)
    >>> count_multiplications(layer, lambda: layer(torch.zeros(2, 5)))
    30.0
    """
    counts: list[float] = []

    def note(layer: nn.Module, args: Any, output: Any) -> None:
        first = output[0] if isinstance(output, tuple) and output else output
        if isinstance(first, Tensor) and first.ndim:
            counts.append(_weights(layer) * first.numel() / _channels(layer, first))

    layers = [layer for layer in module.modules() if _weights(layer)]
    if any(isinstance(layer, torch.jit.ScriptModule) for layer in layers):
        return math.inf
    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return float(sum(counts))


def _weights(layer: nn.Module) -> int:
    """Count a layer's own weights of products: those of tables to look up in are only copied."""
    if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)):
        return 0
    own = layer.named_parameters(recurse=False)
    return sum(weight.numel() for name, weight in own if weight.ndim > 1 and "bias" not in name)


def _channels(layer: nn.Module, output: Tensor) -> int:
    """Count the numbers that a layer gives at each position."""
    if isinstance(layer, StackedLinear):
        return len(layer.weight) * output.shape[-1]
    channels = getattr(layer, "out_channels", output.shape[-1])
    return max(int(channels), 1)
