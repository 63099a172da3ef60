"""The noise by class as a table of heat: a transition matrix, or counts of given and proposed labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import check_distribution
from .keys import label_text
from .ranking import RankedReport

_MOST_CLASSES = 30
_LEVELS = 10


def noise_table(ranked: RankedReport, transition_matrix: ArrayLike | None) -> dict[str, Any]:
    """Give the cells of the table: text, level of heat, and the pair of classes that it stands for."""
    matrix = None if transition_matrix is None else _check_matrix(transition_matrix, len(ranked.classes))
    shown = _classes_with_most_changes(ranked)
    counts = _counts(ranked, shown)
    if matrix is None:
        values, pairs = counts.astype(np.float64), counts
        shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    else:
        values = shares = matrix[np.ix_(shown, shown)]
        pairs = counts.T  # its rows are true classes, here the proposed ones
    levels = np.ceil(shares * _LEVELS).astype(int)
    rows = [
        [
            {
                "text": f"{values[i, j]:,.0f}" if matrix is None else f"{values[i, j]:.2f}",
                "level": int(levels[i, j]),
                "pair": None if i == j or not pairs[i, j] else _pair(int(shown[i]), int(shown[j]), matrix is None),
            }
            for j in range(len(shown))
        ]
        for i in range(len(shown))
    ]
    return {
        "is_counts": matrix is None,
        "names": [label_text(ranked.classes[code]) for code in shown],
        "rows": rows,
        "n_classes": len(ranked.classes),
    }


def _pair(row_class: int, column_class: int, is_counts: bool) -> dict[str, int]:
    given, proposed = (row_class, column_class) if is_counts else (column_class, row_class)
    return {"given": given, "proposed": proposed}


def _check_matrix(transition_matrix: ArrayLike, n_classes: int) -> NDArray[np.float64]:
    matrix = check_distribution("transition_matrix", transition_matrix, ndim=2)
    if matrix.shape != (n_classes, n_classes):
        raise ValueError(
            f"`transition_matrix` must have shape ({n_classes}, {n_classes}), a row and a column for each class of the "
            f"report; got {matrix.shape}. Pass the matrix of the fit that made the report, with the whole report."
        )
    return matrix


def _classes_with_most_changes(ranked: RankedReport) -> NDArray[np.int64]:
    n_classes = len(ranked.classes)
    differ = ranked.given != ranked.proposed
    changes = np.bincount(ranked.given[differ], minlength=n_classes)
    changes += np.bincount(ranked.proposed[differ], minlength=n_classes)
    return np.sort(np.argsort(-changes, kind="stable")[:_MOST_CLASSES])


def _counts(ranked: RankedReport, shown: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count samples by given class (rows) and proposed class (columns), of the `shown` classes only."""
    place = np.full(len(ranked.classes), -1)
    place[shown] = np.arange(len(shown))
    given, proposed = place[ranked.given], place[ranked.proposed]
    both = (given >= 0) & (proposed >= 0)
    pairs = given[both] * len(shown) + proposed[both]
    return np.bincount(pairs, minlength=len(shown) ** 2).reshape(len(shown), len(shown))
