"""Inputs that several tests share."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch.utils.data import Dataset


class Inputs(Dataset):
    """A map-style Dataset of inputs alone."""

    def __init__(self, X):
        self.X = X

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return torch.from_numpy(self.X[i])


def memmap(X, folder):
    """Write an array to a file and map it read-only."""
    path = folder / f"X_{X.dtype}.bin"
    X.tofile(path)
    return np.memmap(path, dtype=X.dtype, mode="r", shape=X.shape)


def sparse_in_3d(array):
    """Make a sparse array of three dimensions; before SciPy 1.15, which has none, something refused alike."""
    try:
        return sp.coo_array(array)
    except TypeError:
        return np.full(array.shape[:2], "not a number")


def as_numpy_strings(labels, **kind):
    """Make an array of NumPy's own strings, or of objects before NumPy 2."""
    dtype = np.dtypes.StringDType(**kind) if hasattr(np.dtypes, "StringDType") else object
    return np.array(labels, dtype=dtype)
