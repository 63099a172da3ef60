"""Labels of many rows that two made-up models have been asked about, for timings: no network is trained."""

from __future__ import annotations

import numpy as np

from noisyfit import Verdict, judge_labels


def judged(n_rows: int, n_classes: int) -> tuple[Verdict, np.ndarray]:
    """Give a verdict about labels of which a fifth was drawn anew, and the true labels."""
    draws = np.random.RandomState(0)
    true = draws.randint(n_classes, size=n_rows)
    given = np.where(draws.rand(n_rows) < 0.2, draws.randint(n_classes, size=n_rows), true)
    outputs = []
    for _ in range(2):
        proba = draws.rand(n_rows, n_classes).astype(np.float32)
        proba[np.arange(n_rows), true] += draws.exponential(4, size=n_rows)
        outputs.append(proba / proba.sum(axis=1, keepdims=True))
    return judge_labels(given, outputs), true
