"""A made-up table and a small network, for benchmarks of speed and scale."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

N_FEATURES = 64


def mlp(width: int = 128, n_classes: int = 10) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(N_FEATURES, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, n_classes)]
    return nn.Sequential(*layers)


def draw_table(n_rows: int, n_classes: int = 10, out: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows around a centre for each class, a few at a time; a fifth of the labels drawn at random."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((n_classes, N_FEATURES), dtype=np.float32)
    X = np.empty((n_rows, N_FEATURES), dtype=np.float32) if out is None else out
    y = rng.integers(n_classes, size=n_rows)
    for start in range(0, n_rows, 100_000):
        block = X[start : start + 100_000]
        rng.standard_normal(out=block, dtype=np.float32)
        block += centres[y[start : start + 100_000]]
    wrong = rng.random(n_rows) < 0.2
    y[wrong] = rng.integers(n_classes, size=int(wrong.sum()))
    return X, y
