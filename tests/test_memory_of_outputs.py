"""The memory of outputs: what it averages, where it lies, and what it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from noisyfit.algorithm.outputs import bytes_of_outputs, remember_outputs

CPU = torch.device("cpu")
N, N_CLASSES, WINDOW = 11, 3, 4
MANY, MANY_CLASSES = 3000, 7


def epochs(n_epochs, seed=0):
    return torch.tensor(np.random.RandomState(seed).dirichlet(np.ones(N_CLASSES), (n_epochs, N)), dtype=torch.float32)


def filled(window, outputs):
    """Record each epoch in two batches of shuffled rows."""
    memory = remember_outputs(N, N_CLASSES, window, CPU)
    for proba in outputs:
        for rows in torch.randperm(N, generator=torch.Generator().manual_seed(0)).split(6):
            memory.record(rows, proba[rows])
        memory.close_epoch()
    return memory


@pytest.mark.parametrize("n_epochs", [1, 2, 4, 5, 9])
def test_the_mean_is_of_the_last_window_epochs(n_epochs):
    outputs = epochs(n_epochs)
    torch.testing.assert_close(filled(WINDOW, outputs).mean(), outputs[-WINDOW:].mean(0))


@pytest.mark.parametrize("n_epochs", [1, 2, 9])
def test_an_exponential_mean_weighs_epochs_by_powers_of_its_decay(n_epochs):
    outputs = epochs(n_epochs)
    weights = 0.8 ** np.arange(n_epochs)[::-1]
    expected = np.tensordot(weights / weights.sum(), outputs.numpy(), axes=1)
    np.testing.assert_allclose(filled(0.8, outputs).mean(), expected, rtol=1e-5)


def test_a_window_may_be_of_any_type():
    for window, same in ((np.int64(2), 2), (np.float32(0.5), 0.5)):
        assert torch.equal(filled(window, epochs(4)).mean(), filled(same, epochs(4)).mean())


def test_a_mean_does_not_move_while_an_epoch_is_recorded():
    memory = filled(WINDOW, epochs(WINDOW))
    mean = memory.mean()
    before = mean.clone()
    memory.record(torch.arange(N), epochs(1, seed=5)[0])
    memory.close_epoch()
    assert (mean == before).all()
    assert memory.mean(out=mean) is mean
    assert (mean != before).any()


def recorded(window, in_file, n_epochs=5):
    memory = remember_outputs(MANY, MANY_CLASSES, window, CPU, in_file)
    generator = torch.Generator().manual_seed(0)
    for _ in range(n_epochs):
        proba = (6 * torch.randn(MANY, MANY_CLASSES, generator=generator)).softmax(dim=1)
        memory.record(torch.randperm(MANY, generator=generator), proba)
        memory.close_epoch()
    return memory


@pytest.mark.parametrize("window", [3, 0.9])
def test_a_file_gives_the_same_means_to_the_last_bit(window):
    in_memory, in_file = (recorded(window, in_file).mean() for in_file in (False, True))
    assert torch.equal(in_memory, in_file)


@pytest.mark.parametrize(("window", "n_bytes"), [(10, 20), (0.9, 4)])
def test_bytes_a_row_and_class(window, n_bytes):
    memory = recorded(window, in_file=False)
    held = [getattr(memory, name, None) for name in ("_ring", "_mean")]
    assert sum(tensor.nbytes for tensor in held if tensor is not None) == n_bytes * MANY * MANY_CLASSES
    assert bytes_of_outputs(MANY, MANY_CLASSES, window) == n_bytes * MANY * MANY_CLASSES
    memory.forget()
    held = [getattr(memory, name, None) for name in ("_ring", "_mean")]
    assert not any(tensor is not None and tensor.untyped_storage().nbytes() for tensor in held)


def test_means_are_those_of_the_outputs():
    generator = torch.Generator().manual_seed(0)
    for spread in (0.1, 3.0, 12.0):
        proba = (spread * torch.randn(10, MANY, MANY_CLASSES, generator=generator)).softmax(dim=2)
        memory = remember_outputs(MANY, MANY_CLASSES, 10, CPU)
        for outputs in proba:
            memory.record(torch.arange(MANY), outputs)
            memory.close_epoch()
        means, expected = memory.mean(), proba.double().mean(dim=0)
        assert (means - expected).abs().max() < 1.4e-5
        assert torch.allclose(means.sum(dim=1), torch.ones(MANY))
        sure = expected > 1e-7
        assert ((means - expected).abs() / expected)[sure].max() < 0.05  # also of the least likely classes
        close = expected.topk(2, dim=1).values.diff(dim=1).abs().squeeze(1) < 2e-5
        assert (means.argmax(dim=1) == expected.argmax(dim=1))[~close].all()
