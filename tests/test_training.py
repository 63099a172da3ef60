from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from noisyfit import JointOptimizationClassifier
from noisyfit.algorithm.trainer import batch_sizes, learning_rate_factor
from noisyfit.machine.devices import resolve_device, use_bfloat16
from noisyfit.machine.random_state import isolated_rng
from noisyfit.nets.augmentation import as_augmentation, crop_flip
from noisyfit.nets.net import channels_last_is_safe
from noisyfit.networks import PreActResNet32, SmallResNet


@pytest.mark.parametrize(("n_rows", "batch_size"), [(1, 4), (3, 4), (4, 4), (5, 4), (6, 4), (9, 4), (5, 1), (2, 1)])
def test_batches_cover_all_rows_and_none_has_one_row(n_rows, batch_size):
    sizes = batch_sizes(n_rows, batch_size)
    assert sum(sizes) == n_rows
    assert max(sizes) <= batch_size + 1
    if batch_size > 1 and n_rows > 1:
        assert min(sizes) > 1


def test_constant_rate():
    assert {learning_rate_factor("constant", epoch, 7) for epoch in range(1, 8)} == {1.0}


@pytest.mark.parametrize("max_epochs", [1, 2, 3, 10, 60])
def test_decay_is_constant_then_falls_to_zero(max_epochs):
    factors = np.array([learning_rate_factor("decay", epoch, max_epochs) for epoch in range(1, max_epochs + 1)])
    assert (factors[: int(0.7 * max_epochs)] == 1).all()
    assert (np.diff(factors) <= 0).all()
    assert (factors > 0).all()
    if max_epochs >= 10:
        assert factors.sum() == pytest.approx(0.85 * max_epochs)  # the area under the line


@pytest.mark.parametrize("max_epochs", [1, 2, 3, 10, 60])
def test_one_cycle_rises_and_falls_to_zero(max_epochs):
    factors = np.array([learning_rate_factor("one_cycle", epoch, max_epochs) for epoch in range(1, max_epochs + 1)])
    assert ((factors > 0) & (factors <= 1)).all()
    highest = int(factors.argmax())
    assert highest <= 0.15 * max_epochs + 0.5
    assert (np.diff(factors[: highest + 1]) > 0).all()
    assert (np.diff(factors[highest:]) < 0).all()
    if max_epochs >= 10:
        assert factors.sum() == pytest.approx(0.5 * max_epochs, rel=0.03)  # the area under the lines


@pytest.mark.parametrize(("max_epochs", "counts"), [(6, [2, 2, 2]), (7, [3, 2, 2]), (120, [40, 40, 40]), (1, [1])])
def test_steps_divide_by_ten_at_a_third_and_two_thirds(max_epochs, counts):
    factors = [learning_rate_factor("steps", epoch, max_epochs) for epoch in range(1, max_epochs + 1)]
    expected = np.repeat([1, 0.1, 0.01][: len(counts)], counts)
    np.testing.assert_allclose(factors, expected)


def test_isolated_rng_puts_the_global_state_back():
    before = torch.get_rng_state().clone()
    with isolated_rng(3, torch.device("cpu")) as generator:
        drawn = torch.rand(3), torch.rand(3, generator=generator)
    assert (torch.get_rng_state() == before).all()
    with isolated_rng(3, torch.device("cpu")) as generator:
        assert (torch.rand(3) == drawn[0]).all()
        assert (torch.rand(3, generator=generator) == drawn[1]).all()


class ToIntegers(nn.Module):
    def forward(self, x):
        return x.long()


@pytest.mark.parametrize(
    ("optimizer", "params", "layer", "fused"),
    [
        (torch.optim.SGD, {}, nn.Linear(2, 2), True),
        (torch.optim.Adam, {"amsgrad": True}, nn.Linear(2, 2), True),
        (torch.optim.SGD, {"foreach": True}, nn.Linear(2, 2), False),
        (torch.optim.SGD, {"fused": False}, nn.Linear(2, 2), False),
        (torch.optim.RMSprop, {}, nn.Linear(2, 2), False),
        (torch.optim.SGD, {"momentum": 0.0, "weight_decay": 0.0}, nn.EmbeddingBag(2, 2, sparse=True), False),
    ],
)
def test_the_step_of_all_weights_at_once_is_taken_where_torch_has_it(optimizer, params, layer, fused):
    X, y = np.arange(40).reshape(20, 2) % 2, np.arange(20) % 2
    network = nn.Sequential(ToIntegers(), layer) if isinstance(layer, nn.EmbeddingBag) else layer
    fused_steps, step = [], optimizer.step

    def note(self, closure=None):
        fused_steps.append(bool(self.param_groups[0].get("fused")))
        return step(self, closure)

    net_params = {"optimizer": optimizer, "max_grad_norm": None}
    net_params |= {f"optimizer__{name}": value for name, value in params.items()}
    clf = JointOptimizationClassifier(network, max_epochs=1, begin=1, cross_fit=0, net_params=net_params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimizer, "step", note)
        clf.fit(X.astype(np.float32), y)
    assert set(fused_steps) == {fused}


def test_crop_flip_moves_and_mirrors_whole_images():
    torch.manual_seed(0)
    image = torch.zeros(1, 2, 9, 11)
    image[0, 0, 4, 5] = 1  # a dot in the middle, beyond reach of the border
    image[0, 1, 4, 6] = 1  # and its right neighbour, in the other channel
    changed = crop_flip(image.expand(400, -1, -1, -1))
    assert changed.shape == (400, 2, 9, 11)
    places = [tuple((channel > 0).nonzero()[0].tolist()) for channel in changed.flatten(0, 1)]
    offsets = {(a[0] - b[0], b[1] - a[1]) for a, b in zip(places[::2], places[1::2], strict=True)}
    assert offsets == {(0, 1), (0, -1)}  # as it was, or mirrored
    rows, columns = zip(*places[::2], strict=True)
    assert set(rows) == set(range(9))
    assert set(columns) == set(range(1, 10))


def test_crop_flip_pads_with_zeros():
    torch.manual_seed(0)
    assert set(crop_flip(torch.ones(50, 1, 8, 8)).unique().tolist()) == {0.0, 1.0}


def test_augmentation_is_a_callable_or_a_name():
    assert as_augmentation(None, (3, 8, 8)) is None
    assert as_augmentation(torch.neg, (5,)) is torch.neg
    assert as_augmentation("crop_flip", (3, 8, 8)) is crop_flip
    with pytest.raises(ValueError, match=r"needs images.*got \('n', 5\)"):
        as_augmentation("crop_flip", (5,))


def test_devices():
    assert resolve_device("cpu") == resolve_device(torch.device("cpu")) == torch.device("cpu")
    assert resolve_device("auto").type in ("cuda", "mps", "cpu")


@pytest.mark.parametrize("device", ["cuda:99", "gpu", 3.5, "meta"])
def test_devices_that_are_not_there(device):
    with pytest.raises(ValueError, match="`device` must be a device that is there, got .*device='auto'"):
        resolve_device(device)


def test_precision():
    cpu = torch.device("cpu")
    assert use_bfloat16("bfloat16", cpu, (5,))
    assert not use_bfloat16("float32", cpu, (3, 8, 8))
    assert not use_bfloat16(None, cpu, (5,))
    assert isinstance(use_bfloat16(None, cpu, (3, 8, 8)), bool)


def test_channels_last_where_onednn_does_not_corrupt_memory():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert channels_last_is_safe(SmallResNet(3, 2), cpu)
    assert channels_last_is_safe(PreActResNet32(3, 2), cpu)
    assert not channels_last_is_safe(SmallResNet(3, 2, width=4), cpu)
    assert channels_last_is_safe(SmallResNet(3, 2, width=4), gpu)
    assert not channels_last_is_safe(torch.nn.Linear(3, 2), gpu)


RUNNING = {"net_params": {"prior_momentum": 0.9}, "begin": "auto"}


@pytest.mark.parametrize("params", [{}, {"cross_fit": 3, "gamma": "damped"}, RUNNING])
def test_labels_may_be_looked_up_for_any_number_of_batches(blobs, quick, monkeypatch, params):
    X, y, _ = blobs
    weight = np.random.RandomState(0).randint(3, size=len(y))
    fits = []
    for stretch in (1, 200, 1 << 18):  # a batch, a few, all
        monkeypatch.setattr("noisyfit.algorithm.trainer._STRETCH", stretch)
        fits.append(quick(**params).fit(X, y, sample_weight=weight))
    for clf in fits[1:]:
        np.testing.assert_array_equal(clf.soft_labels_, fits[0].soft_labels_)
        pd.testing.assert_frame_equal(clf.history_.drop(columns="seconds"), fits[0].history_.drop(columns="seconds"))


def test_gradients_of_weights_that_join_later_do_not_add_up(blobs, quick):
    class Unfreeze(Callback):
        norms: ClassVar[list[float]] = []

        def on_epoch_begin(self, net, **kwargs):
            if len(net.optimizer_.param_groups) == 1:
                net.optimizer_.add_param_group({"params": [net.module_.late], "lr": 0.0})

        def on_grad_computed(self, net, **kwargs):
            self.norms.append(float(net.module_.late.grad.norm()))

    class Late(torch.nn.Linear):
        def __init__(self):
            super().__init__(5, 3)
            self.late = torch.nn.Parameter(torch.zeros(3))

        def forward(self, x):
            return super().forward(x) + self.late

    class FirstGroup(torch.optim.SGD):
        def __init__(self, params, lr):
            (group,) = params
            super().__init__(list(group["params"])[:2], lr)

    X, y, _ = blobs
    quick(
        Late(),
        max_epochs=20,
        begin=20,
        lr=1e-6,
        net_params={"callbacks": [Unfreeze], "optimizer": FirstGroup, "max_grad_norm": None},
    ).fit(X, y)
    assert np.mean(Unfreeze.norms[-10:]) < 3 * np.mean(Unfreeze.norms[:10])
