from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from noisyfit.nets.ensembles import NetworkList, StackedNetworks, clip_gradients, combine_networks
from noisyfit.networks import MLP

K, N, N_FEATURES, N_CLASSES = 3, 11, 5, 4


def mlp():
    return nn.Sequential(nn.Linear(N_FEATURES, 8), nn.Tanh(), nn.Sequential(nn.Linear(8, 8, bias=False), nn.ReLU()),
                         nn.Linear(8, N_CLASSES))  # fmt: skip


@pytest.fixture
def networks():
    return [mlp() for _ in range(K)]


def train(ensemble, x, steps, max_norm):
    """Steps of plain gradient descent on a sum of a loss for each network; gives the last logits."""
    optimizer = torch.optim.SGD(ensemble.parameters(), lr=0.5, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        logits = ensemble(x)
        (logits.square().mean(dim=(1, 2)) * torch.tensor([1.0, 10.0, 100.0][: len(logits)])).sum().backward()
        clip_gradients(ensemble, max_norm)
        optimizer.step()
    return ensemble(x)


@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_stacked_networks_train_as_each_would_alone(networks, max_norm):
    x = torch.randn(N, N_FEATURES)
    stacked, listed = StackedNetworks(copy.deepcopy(networks)), NetworkList(copy.deepcopy(networks))
    torch.testing.assert_close(stacked(x), listed(x))
    assert stacked(x).shape == (K, N, N_CLASSES)
    logits = train(stacked, x, 5, max_norm)
    torch.testing.assert_close(logits, train(listed, x, 5, max_norm), rtol=1e-4, atol=1e-5)
    alone = train(NetworkList(copy.deepcopy(networks[:1])), x, 5, max_norm)
    torch.testing.assert_close(logits[:1], alone, rtol=1e-4, atol=1e-5)


def test_a_gradient_is_clipped_network_by_network(networks):
    stacked = StackedNetworks(networks)
    (stacked(torch.randn(N, N_FEATURES)).sum(dim=(1, 2)) * torch.tensor([1e-6, 1.0, 1e6])).sum().backward()
    before = [weight.grad.clone() for weight in stacked.parameters()]
    clip_gradients(stacked, 1.0)
    norms = sum(weight.grad.flatten(1).square().sum(dim=1) for weight in stacked.parameters()).sqrt()
    assert norms[0] < 1e-2
    assert norms[1:].tolist() == pytest.approx([1.0, 1.0], rel=1e-4)
    for weight, gradient in zip(stacked.parameters(), before, strict=True):
        assert torch.equal(weight.grad[0], gradient[0])  # below the limit: untouched


def test_small_plain_sequences_are_stacked():
    assert isinstance(combine_networks(lambda: MLP(5, 3), 2, torch.optim.Adam), StackedNetworks)
    assert isinstance(combine_networks(lambda: MLP(5, 3), 1, torch.optim.Adam), MLP)


class Own(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + 1


def shared_layer():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def frozen_layer():
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    network[0].weight.requires_grad_(False)
    return network


def hooked_layer():
    network = nn.Sequential(nn.Linear(4, 4))
    network[0].register_forward_hook(lambda *args: None)
    return network


@pytest.mark.parametrize(
    "make",
    [
        shared_layer,
        frozen_layer,
        hooked_layer,
        lambda: Own(nn.Linear(4, 4)),
        lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
        lambda: nn.Linear(4, 4),
    ],
)
def test_other_networks_are_trained_in_turn(make):
    ensemble = combine_networks(make, 2, torch.optim.SGD)
    assert isinstance(ensemble, NetworkList)
    assert ensemble(torch.randn(6, 4)).shape == (2, 6, 4)


def test_left_out_rows_are_run_as_in_training_but_without_gradients():
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    x, trained = torch.randn(9, 4), torch.arange(9) % 3 > 0
    logits = NetworkList([copy.deepcopy(network)])(x, trained.unsqueeze(0))[0]
    torch.testing.assert_close(logits[~trained], network(x[~trained]))  # normalised by their own statistics
    torch.testing.assert_close(logits[trained], network(x[trained]))
    ensemble = NetworkList([network])
    for rows, learn in [(~trained, False), (trained, True)]:
        ensemble(x, trained.unsqueeze(0))[0][rows].square().sum().backward()
        assert any(weight.grad.any() for weight in network.parameters()) == learn


def test_an_optimizer_that_looks_at_whole_matrices_gets_them():
    class Muonlike(torch.optim.SGD):
        pass

    assert isinstance(combine_networks(lambda: MLP(5, 3), 2, Muonlike), NetworkList)


def test_dropout_differs_between_networks():
    network = nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5))
    ensemble = StackedNetworks([copy.deepcopy(network) for _ in range(2)])
    first, second = ensemble(torch.ones(1, 4)).detach().numpy()
    assert np.mean((first == 0) != (second == 0)) > 0.2
