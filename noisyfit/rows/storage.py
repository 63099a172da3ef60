"""Large tables of rows and classes: where they lie, and how to work on them without a copy."""

from __future__ import annotations

import math
import os
import tempfile

import numpy as np
import psutil
import torch
from torch import Tensor

__all__ = ["choose_place", "empty", "row_blocks", "row_slices"]

_LARGEST_SHARE = 0.5  # of what is free
_BLOCK = 1 << 18  # numbers: a block fits into a processor's cache


def row_slices(n_rows: int, size: int) -> list[slice]:
    """Cut rows, in order, into slices of one size."""
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def row_blocks(n_rows: int, n_classes: int) -> list[slice]:
    """Cut a table into blocks: what is worked out on the way through them takes no memory to speak of."""
    return row_slices(n_rows, max(1, _BLOCK // n_classes))


def choose_place(n_bytes: int, device: torch.device) -> str:
    """Give the first place where so many bytes take no more than half of what is free.

    Parameters
    ----------
    n_bytes : int
        Size of the memory.
    device : torch.device
        Where the network is.

    Returns
    -------
    {"device", "host", "file"}
        On the device, in the host's memory or in a temporary file.
    """
    if device.type not in ("cpu", "cuda"):
        return "host"  # the memory is the same, and integers of 16 bits are not everywhere
    if device.type == "cuda" and n_bytes <= _LARGEST_SHARE * torch.cuda.mem_get_info(device)[0]:
        return "device"
    return "host" if n_bytes <= _LARGEST_SHARE * psutil.virtual_memory().available else "file"


def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, in_file: bool) -> Tensor:
    """Give an uninitialised tensor; one in a file takes disk space as long as it is used."""
    if not in_file:
        return torch.empty(shape, dtype=dtype, device=device)
    numpy_dtype = torch.empty(0, dtype=dtype).numpy().dtype
    n_bytes = math.prod(shape) * numpy_dtype.itemsize
    with tempfile.TemporaryFile(prefix="noisyfit-") as file:  # nameless; the mapping keeps it
        if hasattr(os, "posix_fallocate"):  # otherwise a full disk would end the process, at some later write
            try:
                os.posix_fallocate(file.fileno(), 0, n_bytes)
            except OSError as error:
                raise OSError(
                    f"The outputs of a fit take {n_bytes / 2**20:,.0f} MiB, for which there is no room in "
                    f"{tempfile.gettempdir()}: {error}. Set TMPDIR to another folder, or lower `window`."
                ) from error
        return torch.from_numpy(np.asarray(np.memmap(file, dtype=numpy_dtype, mode="w+", shape=shape)))
