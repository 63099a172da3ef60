"""The samples that the page shows beside their labels: pictures, texts or rows of a table."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from ..files.images import PICTURE_ENDINGS
from .thumbnails import array_thumbnails, file_thumbnails

_LONGEST_TEXT = 20_000
_MOST_COLUMNS = 500
_KINDS = (
    "an array of images (n, channels, height, width) or (n, height, width[, channels]), a list or Series of texts or "
    "of image files, a DataFrame or an array (n, n_features)"
)


def samples_as_json(X: Any, rows: NDArray[np.int64], n_samples: int) -> dict[str, Any]:
    """Give the `rows` of X for the page, in that order; other rows are not read."""
    if X is None:
        return {"kind": "none"}
    n_dimensions = _n_dimensions(X)
    if len(X) != n_samples:
        raise ValueError(f"`X` must have the {n_samples} rows of the report, got {len(X)}. Pass the rows given to fit.")
    if not len(rows):
        return {"kind": "none"}
    if n_dimensions == 1:
        return _texts_or_files(_take(X, rows), rows)
    if n_dimensions == 2:
        return _table(X, rows)
    return {"kind": "pictures", "values": array_thumbnails(X, rows)}


def _n_dimensions(X: Any) -> int:
    if scipy.sparse.issparse(X) or isinstance(X, (str, bytes)) or not hasattr(X, "__len__"):
        raise TypeError(f"`X` must be {_KINDS}; got {type(X).__name__}. Pass what a reader can judge by, or None.")
    if not hasattr(X, "shape"):
        if not isinstance(X, (list, tuple)):
            raise TypeError(f"`X` must be {_KINDS}; got {type(X).__name__}. Pass np.asarray(X), say.")
        return 1
    if len(X.shape) not in (1, 2, 3, 4):
        raise ValueError(f"`X` must be {_KINDS}; got shape {tuple(X.shape)}. Choose a picture of each, or pass None.")
    return len(X.shape)


def _take(values: Any, rows: NDArray[np.int64]) -> list[Any]:
    by_place = values.iloc if hasattr(values, "iloc") else values
    return [by_place[int(row)] for row in rows]


def _texts_or_files(values: list[Any], rows: NDArray[np.int64]) -> dict[str, Any]:
    if all(isinstance(value, os.PathLike) or _names_a_picture(value) for value in values):
        return {"kind": "pictures", "values": file_thumbnails([os.fspath(value) for value in values])}
    for row, value in zip(rows, values, strict=True):
        if not isinstance(value, str):
            raise TypeError(
                f"`X` must be {_KINDS}; got {type(value).__name__} in row {row}. "
                "Give every row a text, '' if it has none."
            )
    return {"kind": "texts", "values": [_shortened(value) for value in values]}


def _names_a_picture(value: Any) -> bool:
    return isinstance(value, str) and "\n" not in value and value.lower().endswith(PICTURE_ENDINGS)


def _table(X: Any, rows: NDArray[np.int64]) -> dict[str, Any]:
    if not hasattr(X, "columns"):
        names: Iterable[Any] = range(X.shape[1])
        lines: Iterable[Any] = (np.asarray(X[int(row)]).tolist() for row in rows)
    elif hasattr(X, "iloc"):
        names, lines = X.columns, X.iloc[rows].itertuples(index=False, name=None)
    else:
        names, lines = X.columns, X[rows.tolist()].iter_rows()
    return {
        "kind": "table",
        "columns": [_value_text(name) for name in names][:_MOST_COLUMNS],
        "n_columns": X.shape[1],
        "values": [[_value_text(value) for value in line[:_MOST_COLUMNS]] for line in lines],
    }


def _value_text(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return f"{value:.10g}"  # without the digits of 0.1 + 0.2
    return _shortened(str(value))


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_TEXT:
        return text
    return f"{text[:_LONGEST_TEXT]}… (cut: {len(text):,} characters in all)"
