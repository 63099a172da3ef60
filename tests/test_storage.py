"""Where large tables lie."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from noisyfit.rows.storage import choose_place, empty, row_blocks

CPU = torch.device("cpu")


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
