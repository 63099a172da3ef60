"""Default networks, and how a network is made from the `module` parameter.

A new default network is a module in this file and a line in `NAMED_NETWORKS` or `_default_network`.
"""

from __future__ import annotations

import copy
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .rows.rows import Rows, as_network_input, looks_channels_last
from .rows.sparse_input import DifferencesFrom, SparseLinear

__all__ = ["MLP", "PreActResNet32", "SmallResNet", "Standardize"]


class Standardize(nn.Module):
    """Shift and scale inputs by statistics of the training rows.

    `fit` fills the statistics in wherever this layer occurs in the network without any, so a network of one's own
    can start with it. A constant feature is only shifted. Values are limited to ±`limit` standard deviations, so that a
    single outlier cannot drown a row.

    Parameters
    ----------
    shape : tuple of int
        (n_features,) for tables, (in_channels, 1, 1) for images, which get one mean and scale a channel.
    limit : float, default=10.0
        In standard deviations.

    Examples
    --------
    >>> import torch
    >>> from noisyfit.networks import Standardize
    >>> layer = Standardize((1,))
    >>> layer.set_moments(mean=torch.tensor([5.0]), variance=torch.tensor([4.0]))
    >>> layer(torch.tensor([[7.0]]))
    tensor([[1.]])
    """

    mean: Tensor
    inverse_scale: Tensor

    def __init__(self, shape: tuple[int, ...], limit: float = 10.0):
        super().__init__()
        self.limit = limit
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("inverse_scale", torch.ones(shape))

    @property
    def has_moments(self) -> bool:
        """Whether statistics have been filled in."""
        return bool((self.mean != 0).any() or (self.inverse_scale != 1).any())

    def set_moments(self, mean: Tensor, variance: Tensor) -> None:
        """Take over mean and variance over the training rows, each of the shape of one row."""
        if self.mean.shape != mean.shape:  # images: one mean and variance a channel
            if mean.ndim < 2 or self.mean.shape != (len(mean),) + (1,) * (mean.ndim - 1):
                raise ValueError(
                    f"Standardize of shape {tuple(self.mean.shape)} does not fit rows of shape {tuple(mean.shape)}: "
                    "it belongs in front of the network, with the shape of a row or (channels, 1, 1)."
                )
            pixels = tuple(range(1, mean.ndim))
            within, between = variance.mean(pixels, keepdim=True), mean.var(pixels, keepdim=True, correction=0)
            mean, variance = mean.mean(pixels, keepdim=True), within + between
        scale = variance.sqrt()
        # below float32's precision of the mean a feature is constant, and where its reciprocal would be infinite
        float32 = torch.finfo(torch.float32)
        constant = scale <= (mean.abs() * float32.eps).clamp_min(float32.tiny)
        self.mean.copy_(mean)
        self.inverse_scale.copy_(torch.where(constant, torch.ones_like(scale), scale).reciprocal())

    def forward(self, x: Tensor) -> Tensor:
        """Standardise a batch: any shape that broadcasts with `shape`, unchanged.

        A sparse COO batch (n, n_features) gives what the layers of `noisyfit.rows.sparse_input` take.
        """
        if x.is_complex():
            raise ValueError("Complex data not supported: `X` must hold real numbers.")
        if x.is_sparse:
            return self._differences(x)  # type: ignore[return-value]
        return self._standardize(x, self.mean, self.inverse_scale)

    def _differences(self, x: Tensor) -> DifferencesFrom:
        row_numbers, columns = x.indices()
        base = self._standardize(torch.zeros_like(self.mean), self.mean, self.inverse_scale)
        values = self._standardize(x.values(), self.mean[columns], self.inverse_scale[columns])
        return DifferencesFrom(base, row_numbers, columns, values - base[columns], len(x))

    def _standardize(self, x: Tensor, mean: Tensor, inverse_scale: Tensor) -> Tensor:
        return ((x - mean) * inverse_scale).clamp(-self.limit, self.limit)


class MLP(nn.Sequential):
    """Fully connected network for tables and embeddings: (n, n_features) to logits (n, n_classes).

    It also takes sparse COO batches, and never makes them dense.

    Parameters
    ----------
    n_features, n_classes : int
        Sizes of input and output.
    hidden : tuple of int, default=(256, 256)
        Width of each hidden layer.
    dropout : float, default=0.3
        Share of the hidden units that are dropped while training, in [0, 1). Networks with dropout memorise wrong
        labels later and are less sure of themselves.

    Examples
    --------
    >>> import torch
    >>> from noisyfit.networks import MLP
    >>> MLP(n_features=4, n_classes=3, hidden=(8,))(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(self, n_features: int, n_classes: int, hidden: tuple[int, ...] = (256, 256), dropout: float = 0.3):
        widths = (n_features, *hidden, n_classes)
        layers: list[nn.Module] = [Standardize((n_features,)), SparseLinear(widths[0], widths[1])]
        for width_in, width_out in itertools.pairwise(widths[1:]):
            layers += [nn.ReLU(), nn.Dropout(dropout), nn.Linear(width_in, width_out)]
        super().__init__(*layers)


class SmallResNet(nn.Sequential):
    """Small residual network for images of 8 x 8 and more: (n, in_channels, height, width) to (n, n_classes).

    Parameters
    ----------
    in_channels, n_classes : int
        Sizes of input and output.
    width : int, default=32
        Channels of the first stage; the second has twice, the third four times as many, at half and a quarter of
        the resolution.

    Examples
    --------
    >>> import torch
    >>> from noisyfit.networks import SmallResNet
    >>> SmallResNet(in_channels=1, n_classes=3)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 3])
    """

    def __init__(self, in_channels: int, n_classes: int, width: int = 32):
        super().__init__(
            Standardize((in_channels, 1, 1)),
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
            _PreActBlock(width, width, stride=1),
            _PreActBlock(width, 2 * width, stride=2),
            _PreActBlock(2 * width, 4 * width, stride=2),
            *_classification_head(4 * width, n_classes),
        )
        _initialize_he_normal(self)


class PreActResNet32(nn.Sequential):
    """The paper's network: 3 stages of 5 pre-activation blocks with 32, 64 and 128 channels, 1.86 M weights.

    The paper subtracts the mean image; here each channel is standardised.

    Parameters
    ----------
    in_channels, n_classes : int
        Sizes of input and output.

    Examples
    --------
    >>> from noisyfit.networks import PreActResNet32
    >>> network = PreActResNet32(in_channels=3, n_classes=10)
    >>> round(sum(p.numel() for p in network.parameters()) / 1e6, 2)
    1.86
    """

    def __init__(self, in_channels: int, n_classes: int):
        blocks = []
        width_in = 32
        for width, stride in ((32, 1), (64, 2), (128, 2)):
            blocks.append(_PreActBlock(width_in, width, stride, project=True))
            blocks += [_PreActBlock(width, width, stride=1) for _ in range(4)]
            width_in = width
        super().__init__(
            Standardize((in_channels, 1, 1)),
            nn.Conv2d(in_channels, 32, 3, padding=1, bias=False),
            *blocks,
            *_classification_head(128, n_classes),
        )
        _initialize_he_normal(self)


class _PreActBlock(nn.Module):
    """Batch normalisation and ReLU before each of two convolutions, with a (projected) shortcut."""

    def __init__(self, width_in: int, width_out: int, stride: int, project: bool = False):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(width_in)
        self.conv1 = nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width_out)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        project = project or stride != 1 or width_in != width_out
        self.shortcut = nn.Conv2d(width_in, width_out, 1, stride=stride, bias=False) if project else None

    def forward(self, x: Tensor) -> Tensor:
        activated = torch.relu(self.norm1(x))
        residual = self.conv2(torch.relu(self.norm2(self.conv1(activated))))
        return residual + (x if self.shortcut is None else self.shortcut(activated))


def _classification_head(width: int, n_classes: int) -> list[nn.Module]:
    pooled = [nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return [*pooled, nn.Linear(width, n_classes)]


def _initialize_he_normal(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


NAMED_NETWORKS: dict[str, Callable[..., nn.Module]] = {"preact_resnet32": PreActResNet32}
_SMALLEST_IMAGE = 8


def network_factory(
    module: Any, module_params: dict[str, Any] | None, rows: Rows, n_classes: int, weight: Tensor | None = None
) -> Callable[[], nn.Module]:
    """Give a function that makes a network as `module` and `module_params` describe it.

    Each call gives a new one, checked on a few rows: initialised anew, or a copy of the user's instance as it was
    given. `weight` (n_samples,) weighs the rows in the input statistics.
    """
    make = bare_network_factory(module, module_params, rows.item_shape, n_classes)
    moments: list[tuple[Tensor, Tensor]] = []  # worked out once, and only where a layer wants them

    def build() -> nn.Module:
        network = make()
        if not isinstance(network, nn.Module):
            raise TypeError(f"`module` must give a torch.nn.Module, got {type(network).__name__}.")
        for layer in network.modules():
            if isinstance(layer, Standardize) and not layer.has_moments:
                if not moments:
                    moments.append(rows.moments(weight))
                layer.set_moments(*moments[0])
        _check_outputs(network, rows, n_classes)
        return network

    return build


def bare_network_factory(
    module: Any, params: dict[str, Any] | None, item_shape: tuple[int, ...], n_classes: int
) -> Callable[[], Any]:
    """Give a function that makes the network alone: not checked, and without statistics of any rows."""
    if isinstance(module, nn.Module):  # tested first: an instance is callable too
        if params:
            raise ValueError(f"`module_params` must be None where `module` is an instance, got {params!r}.")
        return lambda: copy.deepcopy(module)
    if (module is None or isinstance(module, str)) and looks_channels_last(item_shape):
        raise ValueError(
            f"Images must have shape (n, channels, height, width), got (n, {', '.join(map(str, item_shape))}). "
            "Pass X.transpose(0, 3, 1, 2)."
        )
    if isinstance(module, str) and module not in NAMED_NETWORKS:
        raise ValueError(
            f"`module` given by name must be one of {sorted(NAMED_NETWORKS)}, got {module!r}. "
            "Pass any other network as a class or a module."
        )
    if module is None:
        maker = _default_network(item_shape)
    elif isinstance(module, str):
        maker = NAMED_NETWORKS[module]
    else:
        maker = module
    if not callable(maker):
        raise TypeError(
            "`module` must be a torch.nn.Module (instance or class), a callable that returns one, a name or None; "
            f"got {module!r}."
        )
    sizes = {"n_features": int(np.prod(item_shape)), "n_classes": n_classes}
    if len(item_shape) > 1:
        sizes["in_channels"] = item_shape[0]
    named = inspect.signature(maker).parameters
    filled_in = {name: size for name, size in sizes.items() if name in named}
    arguments = filled_in | (params or {})

    def make() -> Any:
        try:
            return maker(**arguments)
        except TypeError as error:
            raise TypeError(f"`module` could not be made with the arguments {arguments}: {error}") from error

    return make


def _default_network(item_shape: tuple[int, ...]) -> Callable[..., nn.Module]:
    if len(item_shape) == 1:
        return MLP
    if len(item_shape) == 3 and min(item_shape[1:]) >= _SMALLEST_IMAGE:
        return SmallResNet
    raise ValueError(
        "There is a default network for X of shape (n, n_features) and for images (n, channels, height, width) "
        f"from 8 x 8 up; got ({', '.join(map(str, ('n', *item_shape)))}). Put channels first (grey images: "
        "X[:, None]) or pass your own with `module`."
    )


def _check_outputs(network: nn.Module, rows: Rows, n_classes: int) -> None:
    """Run a few rows through the network, on the CPU, before any training; makes lazy layers, too."""
    chunk = slice(0, min(len(rows), 8))
    x = as_network_input(next(iter(rows.batches([chunk]))), torch.device("cpu"))
    x = x.to_dense() if x.is_sparse else x
    was_training, device = network.training, next((p.device for p in network.parameters()), x.device)
    network.eval()
    try:
        with torch.no_grad():
            logits = network(x.to(device))
    except Exception as error:
        hint = " Channels come first: X.transpose(0, 3, 1, 2)." if looks_channels_last(rows.item_shape) else ""
        raise ValueError(f"`module` failed on a batch of shape {tuple(x.shape)}, {x.dtype}: {error}{hint}") from error
    network.train(was_training)
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.shape != (len(x), n_classes):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"`module` must give floating-point logits of shape (n, n_classes) = ({len(x)}, {n_classes}) for "
            f"{len(x)} rows, got {got}. A parameter named `n_classes` in its signature is filled in from y."
        )
    logits = logits.float()
    if (logits >= 0).all() and torch.allclose(logits.sum(1), torch.ones(len(x), device=logits.device), atol=1e-4):
        raise ValueError(
            "`module` must give logits, but its outputs are probabilities: rows of numbers of at least 0 that "
            "sum to 1. Remove its softmax."
        )
