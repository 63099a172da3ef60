"""Large tables of rows and classes: where they lie, and how to work on them without a copy."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import numpy as np
import psutil
import torch
from torch import Tensor

__all__ = ["PLACES", "choose_place", "empty", "row_blocks"]

PLACES = ("device", "host", "file")
_LARGEST_SHARE = 0.5  # of what is free
_BLOCK = 1 << 18  # numbers: a block fits into a processor's cache


def row_blocks(n_rows: int, n_classes: int) -> Iterator[slice]:
    """Give all rows of a table, a few at a time: what is worked out on the way then takes no memory to speak of."""
    size = max(1, _BLOCK // n_classes)
    return (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))


def choose_place(label_store: str, n_bytes: int, device: torch.device) -> str:
    """Resolve "auto": the first place where so many bytes take no more than half of what is free.

    Parameters
    ----------
    label_store : str
        One of `PLACES`, or "auto".
    n_bytes : int
        Size of the memory.
    device : torch.device
        Where the network is.

    Returns
    -------
    str
        One of `PLACES`.
    """
    if label_store != "auto":
        return label_store
    if device.type == "cuda" and n_bytes <= _LARGEST_SHARE * torch.cuda.mem_get_info(device)[0]:
        return "device"
    # other accelerators share the host's memory, and lack integers of 16 bits
    return "host" if n_bytes <= _LARGEST_SHARE * psutil.virtual_memory().available else "file"


def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, in_file: bool) -> Tensor:
    """Give an uninitialised tensor; one in a file takes disk space where it is written to, and none after its use."""
    if not in_file:
        return torch.empty(shape, dtype=dtype, device=device)
    numpy_dtype = torch.empty(0, dtype=dtype).numpy().dtype
    with tempfile.TemporaryFile(prefix="noisyfit-") as file:  # nameless; the mapping keeps it
        return torch.from_numpy(np.asarray(np.memmap(file, dtype=numpy_dtype, mode="w+", shape=shape)))
