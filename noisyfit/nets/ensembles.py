"""Networks side by side: k copies of one network that are trained in the same steps and predict by their mean.

A batch of shape (n, ...), which all of them see, gives logits of shape (k, n, n_classes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..networks import Standardize
from ..rows.sparse_input import DifferencesFrom, SparseLinear, TakesSparse

__all__ = [
    "Ensemble",
    "NetworkList",
    "StackedNetworks",
    "can_stack",
    "clip_gradients",
    "combine_networks",
    "sparse_first_layer",
]

# Their step treats every weight alone, so k weights may lie in one tensor.
_ELEMENTWISE_OPTIMIZERS = {
    getattr(torch.optim, name)
    for name in ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD", "Rprop"]
}
_FEWEST_ROWS = 2  # that batch normalisation can take
_WITHOUT_WEIGHTS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Dropout, nn.Identity)


class Ensemble(nn.Module):
    """Several networks of one make as one module: (n, ...) to logits (k, n, n_classes).

    In training they are told which rows each network is trained on, bool of shape (k, n), on the CPU: to ask another
    device for their number would be to wait for it. No gradient is wanted for the others.
    """

    n_networks: int

    def clip_gradients(self, max_norm: float) -> None:
        """Limit the norm of each network's gradient."""
        raise NotImplementedError


class NetworkList(Ensemble):
    """Any networks, one after the other.

    Parameters
    ----------
    networks : sequence of torch.nn.Module
        Taken over, not copied.
    """

    def __init__(self, networks: Sequence[nn.Module]):
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.n_networks = len(networks)

    def forward(self, x: Tensor, trained: Tensor | None = None) -> Tensor:
        """Give the logits of all networks."""
        if trained is None:
            return torch.stack([network(x.clone()) for network in self.networks])  # one may work in place
        return torch.stack([_spare_left_out(*pair, x) for pair in zip(self.networks, trained, strict=True)])

    def clip_gradients(self, max_norm: float) -> None:
        """Limit the norm of each network's gradient."""
        for network in self.networks:
            nn.utils.clip_grad_norm_(network.parameters(), max_norm)


class StackedNetworks(Ensemble):
    """Small fully connected networks in batched matrix products: many times fewer, larger operations.

    Parameters
    ----------
    networks : sequence of torch.nn.Sequential
        Of equal layers, all of which `can_stack` knows.
    """

    def __init__(self, networks: Sequence[nn.Module]):
        super().__init__()
        layers = zip(*(_leaves(network) for network in networks), strict=True)
        self.layers = nn.Sequential(*(_stack_layers(same) for same in layers))
        self.n_networks = len(networks)

    def forward(self, x: Tensor, trained: Tensor | None = None) -> Tensor:
        """Give the logits of all networks; rows that a network leaves out cost too little to be spared."""
        logits: Tensor = self.layers(x)
        return logits.contiguous()

    def clip_gradients(self, max_norm: float) -> None:
        """Limit the norm of each network's gradient; every weight has the networks as its first axis."""
        gradients = [weight.grad for weight in self.parameters() if weight.grad is not None]
        norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        factors = (max_norm / (norms + 1e-6)).clamp_max_(1.0).view(-1, 1, 1)
        for gradient in gradients:
            gradient.mul_(factors)


class StackedLinear(TakesSparse):
    """Several `torch.nn.Linear` of one shape: (n, n_in) or (k, n, n_in) to (k, n, n_out).

    Rows lie last in memory: on a CPU products with few outputs then take half to a fifth of the time.
    """

    def __init__(self, layers: Sequence[nn.Linear]):
        super().__init__()
        with torch.no_grad():
            self.weight = nn.Parameter(torch.stack([layer.weight for layer in layers]))
            biases: list[Tensor] = [
                layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias for layer in layers
            ]
            bias = torch.stack(biases).unsqueeze(2)
        if layers[0].bias is None:
            self.register_buffer("bias", bias)
        else:
            self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor | DifferencesFrom) -> Tensor:
        """Give each network's outputs; also of standardised sparse rows."""
        if isinstance(x, DifferencesFrom):
            return self.multiply(x) + self.bias.mT
        columns = x.transpose(-2, -1).expand(len(self.weight), -1, -1)
        return torch.baddbmm(self.bias, self.usual_weight, columns).transpose(1, 2)


def _spare_left_out(network: nn.Module, trained: Tensor, x: Tensor) -> Tensor:
    """Run a network on all rows, but on those that it is not trained on without gradients."""
    rows, left_out = (mask.nonzero().squeeze(1).to(x.device, non_blocking=True) for mask in (trained, ~trained))
    if min(len(rows), len(left_out)) < _FEWEST_ROWS:
        logits: Tensor = network(x.clone())
        return logits
    logits = network(x[rows])
    with torch.no_grad():
        others = network(x[left_out])
    both = torch.cat([logits, others.to(logits.dtype)])
    return both[torch.cat([rows, left_out]).argsort()]


def combine_networks(make_network: Callable[[], nn.Module], n_networks: int, optimizer: Any) -> nn.Module:
    """Make networks and put them side by side in the fastest way that trains each as it would be alone."""
    if n_networks == 1:
        return make_network()
    networks = [make_network() for _ in range(n_networks)]
    if optimizer in _ELEMENTWISE_OPTIMIZERS and can_stack(networks[0]):
        return StackedNetworks(networks)
    return NetworkList(networks)


def can_stack(network: nn.Module) -> bool:
    """Say whether a network is a small plain sequence of layers that are known to stack."""
    if not isinstance(network, nn.Sequential) or type(network).forward is not nn.Sequential.forward:
        return False
    layers = _leaves(network)
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    return (
        all(type(layer) in (nn.Linear, SparseLinear, Standardize, *_WITHOUT_WEIGHTS) for layer in layers)
        and len(set(map(id, linear))) == len(linear)  # none is used twice
        and all(weight.requires_grad for weight in network.parameters())
        and not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    )


def sparse_first_layer(module: nn.Module) -> TakesSparse | None:
    """Give the layer by which a network, or several side by side, takes sparse rows; None where it needs dense ones."""
    if not isinstance(module, StackedNetworks) and not can_stack(module):
        return None
    layers = _leaves(module.layers if isinstance(module, StackedNetworks) else module)
    first = layers[1] if type(layers[0]) is Standardize else None
    return first if isinstance(first, TakesSparse) else None


def clip_gradients(module: nn.Module, max_norm: float) -> None:
    """Limit the norm of a network's gradient, or that of each network of an ensemble."""
    module = getattr(module, "_orig_mod", module)  # inside torch.compile's wrapper
    if isinstance(module, Ensemble):
        module.clip_gradients(max_norm)
    else:
        nn.utils.clip_grad_norm_(module.parameters(), max_norm)


def _leaves(network: nn.Module) -> list[nn.Module]:
    """Layers of nested sequences, in order."""
    if type(network).forward is not nn.Sequential.forward:
        return [network]
    return [leaf for child in network for leaf in _leaves(child)]  # type: ignore[attr-defined]


def _stack_layers(layers: Sequence[nn.Module]) -> nn.Module:
    if isinstance(layers[0], nn.Linear):
        return StackedLinear(layers)  # type: ignore[arg-type]
    return layers[0]  # input statistics are the same for all
