from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from noisyfit.networks import MLP, PreActResNet32, SmallResNet, Standardize, network_factory
from noisyfit.rows.rows import as_rows

CPU = torch.device("cpu")


def rows_of(array):
    return as_rows(np.asarray(array), CPU)


def table(n=20, d=5):
    return np.random.RandomState(0).randn(n, d).astype(np.float32)


def images(n=6, c=3, side=8, dtype=np.float32):
    return np.random.RandomState(0).randint(0, 256, (n, c, side, side)).astype(dtype)


@pytest.mark.parametrize("side", [8, 9, 13, 28, 32])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_small_resnet_takes_images_from_8x8_up(side, channels):
    X = images(c=channels, side=side)
    network = network_factory(None, None, rows_of(X), 4)()
    assert isinstance(network, SmallResNet)
    assert network(torch.from_numpy(X)).shape == (6, 4)


def test_tables_get_an_mlp_that_standardises():
    X = table() * np.array([1e-6, 1, 1e6, 1, 0], dtype=np.float32) + np.array([0, 1e3, -1e6, 0, 7], dtype=np.float32)
    network = network_factory(None, {"hidden": (8, 6)}, rows_of(X), 3)()
    assert isinstance(network, MLP)
    assert [layer.out_features for layer in network if isinstance(layer, nn.Linear)] == [8, 6, 3]
    standardised = network[0](torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(standardised.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(standardised.std(0), [1, 1, 1, 1, 0], rtol=1e-3)


def test_paper_network_has_the_paper_s_size():
    network = PreActResNet32(in_channels=3, n_classes=10)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(1.86e6, rel=0.003)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 1 + 3 * (5 * 2 + 1)
    multiply_adds = []
    for layer in [*convolutions, network[-1]]:
        layer.register_forward_hook(lambda layer, x, y: multiply_adds.append(y[0, 0].numel() * layer.weight.numel()))
    network.eval()(torch.zeros(1, 3, 32, 32))
    assert sum(multiply_adds) == pytest.approx(277e6, rel=0.01)


def test_paper_network_by_name():
    assert isinstance(network_factory("preact_resnet32", None, rows_of(images(side=32)), 10)(), PreActResNet32)


def test_images_are_standardised_by_channel():
    X = images(c=2, dtype=np.uint8)
    network = network_factory(None, None, rows_of(X), 2)()
    standardised = network[0](torch.from_numpy(X).float() / 255)
    np.testing.assert_allclose(standardised.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(standardised.std((0, 2, 3), correction=0), 1, rtol=1e-5)


def test_weights_count_in_the_statistics():
    X = table(6)
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0, 3.0, 0.0])
    repeated = np.repeat(X, [1, 2, 0, 1, 3, 0], axis=0)
    weighted = network_factory(None, None, rows_of(X), 2, weight)()[0]
    expected = network_factory(None, None, rows_of(repeated), 2)()[0]
    torch.testing.assert_close(weighted.mean, expected.mean)
    torch.testing.assert_close(weighted.inverse_scale, expected.inverse_scale)


def test_outliers_are_limited():
    layer = Standardize((1,), limit=3.0)
    layer.set_moments(torch.zeros(1), torch.ones(1))
    assert layer(torch.tensor([[1e30], [-5.0], [2.0]])).flatten().tolist() == [3.0, -3.0, 2.0]


def test_own_network_may_standardise_too():
    X = table() + 100
    network = network_factory(
        lambda n_features: nn.Sequential(Standardize((n_features,)), nn.Linear(5, 2)), None, rows_of(X), 2
    )()
    torch.testing.assert_close(network[0].mean, torch.from_numpy(X).mean(0))


def test_standardising_between_layers_is_refused():
    module = nn.Sequential(nn.Linear(5, 16), Standardize((16,)), nn.Linear(16, 2))
    with pytest.raises(ValueError, match=r"Standardize of shape \(16,\) does not fit rows of shape \(5,\)"):
        network_factory(module, None, rows_of(table()), 2)()


def test_statistics_of_an_instance_stay_as_given():
    layer = Standardize((5,))
    layer.set_moments(torch.full((5,), 2.0), torch.full((5,), 4.0))
    network = network_factory(nn.Sequential(layer, nn.Linear(5, 2)), None, rows_of(table()), 2)()
    assert (network[0].mean == 2).all()


class Named(nn.Linear):
    def __init__(self, n_features, n_classes, bias=True):
        super().__init__(n_features, n_classes, bias)


class Channels(nn.Sequential):
    def __init__(self, in_channels, n_classes, n_features=None):
        super().__init__(nn.Flatten(), nn.Linear(n_features, n_classes))
        self.seen = in_channels, n_classes, n_features


def test_sizes_are_filled_in_by_name():
    rows = rows_of(table())
    assert network_factory(Named, {"bias": False}, rows, 3)().bias is None
    assert network_factory(lambda n_classes: nn.Linear(5, n_classes), None, rows, 3)().out_features == 3
    assert network_factory(nn.Linear, {"in_features": 5, "out_features": 3}, rows, 3)().out_features == 3
    assert network_factory(Channels, None, rows_of(images(c=2)), 3)().seen == (2, 3, 128)


def test_lazy_layers_are_made_before_training():
    network = network_factory(lambda: nn.LazyLinear(3), None, rows_of(table()), 3)()
    assert network.weight.shape == (3, 5)


def test_an_instance_is_copied():
    module = Named(5, 3)
    build = network_factory(module, None, rows_of(table()), 3)
    first, second = build(), build()
    assert first is not module
    assert first is not second
    assert (first.weight == module.weight).all()


def test_checking_a_network_leaves_its_mode_and_statistics():
    module = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3))
    network = network_factory(module, None, rows_of(table()), 3)()
    assert network.training
    assert network[1].num_batches_tracked == 0


@pytest.mark.parametrize(
    ("module", "params", "error", "message"),
    [
        (nn.Linear(5, 4), None, ValueError, r"logits of shape \(n, n_classes\) = \(8, 3\) for 8 rows, got \(8, 4\)"),
        (nn.Sequential(nn.Linear(5, 3), nn.Softmax(1)), None, ValueError, "probabilities.*Remove its softmax"),
        (nn.Linear(6, 3), None, ValueError, r"`module` failed on a batch of shape \(8, 5\)"),
        (nn.Linear(5, 3), {"a": 1}, ValueError, "`module_params` must be None where `module` is an instance"),
        (lambda: "network", None, TypeError, "`module` must give a torch.nn.Module, got str"),
        ("resnet50", None, ValueError, "must be one of .*preact_resnet32.*got 'resnet50'"),
        (3, None, TypeError, "`module` must be a torch.nn.Module"),
    ],
)
def test_wrong_modules(module, params, error, message):
    with pytest.raises(error, match=message):
        network_factory(module, params, rows_of(table()), 3)()


@pytest.mark.parametrize("shape", [(6, 3, 7, 9), (6, 3, 9), (6, 2, 8, 8, 8)])
def test_no_default_network_for_other_shapes(shape):
    with pytest.raises(ValueError, match=r"got \(n, .*\). Put channels first.* or pass your own"):
        network_factory(None, None, rows_of(np.zeros(shape, dtype=np.float32)), 3)


def test_features_too_small_for_a_reciprocal_are_constant():
    layer = Standardize((1,))
    layer.set_moments(torch.tensor([0.0], dtype=torch.float64), torch.tensor([1e-84], dtype=torch.float64))
    assert layer(torch.tensor([[0.0], [1e-42]])).isfinite().all()
