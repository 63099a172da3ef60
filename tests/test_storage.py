"""Where the memory of outputs lies, and what it takes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from noisyfit.algorithm.labels import LabelStore, bytes_of_outputs
from noisyfit.rows.storage import choose_place, empty, row_blocks

CPU = torch.device("cpu")
N, N_CLASSES = 3000, 7


def test_blocks_cover_all_rows_once():
    for n_rows, n_classes in ((0, 3), (1, 3), (300_000, 3), (5, 10**9)):
        rows = np.zeros(n_rows, dtype=int)
        for block in row_blocks(n_rows, n_classes):
            rows[block] += 1
        assert (rows == 1).all()


def test_outputs_lie_in_the_host_s_memory_while_there_is_room(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    assert choose_place(500, CPU) == "host"
    assert choose_place(501, CPU) == "file"


@pytest.mark.parametrize("dtype", [torch.int16, torch.float32])
def test_a_tensor_in_a_file(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tensor = empty((2, 3), dtype, CPU, in_file=True)
    tensor[1].index_copy_(0, torch.tensor([2, 0]), torch.tensor([5, 4], dtype=dtype))
    assert tensor[1, [0, 2]].tolist() == [4, 5]
    assert tensor.dtype == dtype
    assert list(tmp_path.iterdir()) == []  # nothing to be left behind


def test_a_full_disk_is_an_error_before_anything_is_written(monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="take 20 MiB, for which there is no room in .*Set TMPDIR"):
        empty((10, 2**20), torch.int16, CPU, in_file=True)


def recorded(window, in_file, epochs=5):
    store = LabelStore(torch.zeros(N, dtype=torch.long), N_CLASSES, window, in_file=in_file)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        proba = (6 * torch.randn(N, N_CLASSES, generator=generator)).softmax(dim=1)
        store.record(torch.randperm(N, generator=generator), proba)
        store.close_epoch()
    return store


@pytest.mark.parametrize("window", [3, 0.9])
def test_a_file_gives_the_same_means_to_the_last_bit(window):
    in_memory, in_file = (recorded(window, in_file).average_outputs() for in_file in (False, True))
    assert torch.equal(in_memory, in_file)


@pytest.mark.parametrize(("window", "most"), [(10, 24), (0.9, 8)])
def test_bytes_a_row_and_class(window, most):
    store = recorded(window, in_file=False)
    store.average_outputs()
    held = [store._averages, getattr(store._memory, "_ring", None), getattr(store._memory, "_mean", None)]
    assert sum(tensor.nbytes for tensor in held if tensor is not None) == most * N * N_CLASSES
    assert bytes_of_outputs(N, N_CLASSES, window) == (most - 4) * N * N_CLASSES
    store.forget_outputs()
    assert store._memory is None


def test_means_are_those_of_the_outputs():
    generator = torch.Generator().manual_seed(0)
    for spread in (0.1, 3.0, 12.0):
        proba = (spread * torch.randn(10, N, N_CLASSES, generator=generator)).softmax(dim=2)
        store = LabelStore(torch.zeros(N, dtype=torch.long), N_CLASSES, 10)
        for outputs in proba:
            store.record(torch.arange(N), outputs)
            store.close_epoch()
        means, expected = store.average_outputs(), proba.double().mean(dim=0)
        assert (means - expected).abs().max() < 1.4e-5
        assert torch.allclose(means.sum(dim=1), torch.ones(N))
        sure = expected > 1e-7
        assert ((means - expected).abs() / expected)[sure].max() < 0.05  # also of the least likely classes
        close = expected.topk(2, dim=1).values.diff(dim=1).abs().squeeze(1) < 2e-5
        assert (means.argmax(dim=1) == expected.argmax(dim=1))[~close].all()
