"""What users hand over as checks: a mapping, a Series or the decisions of a review page, as row and class numbers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..judgement.belief import Codes
from ..judgement.settling import UNKNOWN, Checks
from .decision_files import CANNOT_TELL
from .decisions import decided_rows
from .keys import find_place

__all__ = ["read_checks", "read_checks_of_fit"]


_KINDS = (
    "a dict or Series from the rows' index to their true label, or the decisions of a review page (a path, DataFrame "
    "or list)"
)


def read_checks(checked: Any, given: Codes, classes: NDArray[Any], index: pd.Index | None) -> Checks:
    """Turn checks into numbers.

    Parameters
    ----------
    checked : mapping, Series, path, DataFrame or list of dict
        Index of the row, or its number where there is none, to the true label; None, NaN or "cannot tell" for a row
        that nobody can tell. Or decisions of a review page.
    given : ndarray of shape (n_samples,), int64
        Class numbers of the given labels.
    classes : ndarray of shape (n_classes,)
        Labels that the numbers stand for.
    index : Index or None
        The rows' index.

    Returns
    -------
    Checks

    Raises
    ------
    TypeError
        If `checked` is of another kind.
    ValueError
        If a row is unknown or ambiguous, a label is not among the classes, or one row has two labels.
    """
    if isinstance(checked, (str, os.PathLike, pd.DataFrame, list)):
        labels = classes[given]
        y = labels if index is None else pd.Series(labels, index=index)
        decided = decided_rows(y, checked)
        rows = np.fromiter(decided, np.int64, len(decided))
        true: list[Any] = [label if known else None for label, known in decided.values()]
        keys: list[Any] = rows.tolist()
    elif isinstance(checked, (Mapping, pd.Series)):
        keys, true = list(checked.keys()), list(checked.values() if isinstance(checked, Mapping) else checked.array)
        rows = _find_rows(keys, len(given), index)
    else:
        raise TypeError(f"`checked` must be {_KINDS}, got {type(checked).__name__}.")
    return _once(rows, _encode(true, keys, classes), keys)


def read_checks_of_fit(checked: Any, codes: Codes, classes: NDArray[Any], index: pd.Index | None) -> Checks:
    """Turn the checks given to ``fit`` into numbers: also one label a row, as cross-validation cuts them.

    Rows that are not in an index are left out: they are those of the test part.
    """
    n_rows = len(codes)
    if isinstance(checked, (tuple, pd.Categorical)) or (hasattr(checked, "__array__") and not hasattr(checked, "iloc")):
        checked = np.asarray(checked, dtype=object)
    if isinstance(checked, pd.Series) and index is None and set(checked.index) == set(range(n_rows)):
        checked = checked.sort_index()  # row numbers, in any order
    if isinstance(checked, pd.Series) and index is not None and not checked.index.equals(index):
        known = checked[checked.index.isin(index)]
        if len(checked) and not len(known):
            raise ValueError(
                f"`checked` must name rows of the data, but none of its index is in theirs, {checked.index[0]!r} say."
            )
        return read_checks(known, codes, classes, index)
    by_row = (
        isinstance(checked, (pd.Series, np.ndarray, list)) and np.ndim(checked) == 1 and not _are_decisions(checked)
    )
    if by_row and len(checked) == n_rows:
        looked_at = np.flatnonzero(~np.asarray(pd.isna(np.asarray(checked, dtype=object))))
        values = np.asarray(checked, dtype=object)[looked_at].tolist()
        return Checks(looked_at, _encode(values, looked_at.tolist(), classes))
    if isinstance(checked, np.ndarray):
        raise ValueError(
            f"`checked` must have one entry for each of the {n_rows} rows, None where nobody looked, or be {_KINDS}; "
            f"got an array of shape {checked.shape}."
        )
    if isinstance(checked, Mapping) and index is not None:
        of_data = {key: label for key, label in checked.items() if key in index}
        if checked and not of_data:
            raise ValueError(f"`checked` must name rows of the data, but none has the index {next(iter(checked))!r}.")
        return read_checks(of_data, codes, classes, index)
    return read_checks(checked, codes, classes, index)


def _are_decisions(checked: Any) -> bool:
    return isinstance(checked, list) and len(checked) > 0 and isinstance(checked[0], dict)


def _find_rows(keys: list[Any], n_rows: int, index: pd.Index | None) -> Codes:
    if index is None:
        for key in keys:
            if isinstance(key, (bool, np.bool_)) or not isinstance(key, (int, np.integer)) or not 0 <= key < n_rows:
                raise ValueError(
                    f"`checked` must name rows by their numbers, 0 to {n_rows - 1:,}, got {key!r}. Take them from the "
                    "index of rows_to_check()."
                )
        return np.array(keys, dtype=np.int64)
    return np.array([_find_row(key, index) for key in keys], dtype=np.int64)


def _find_row(key: Any, index: pd.Index) -> int:
    unknown = (
        f"`checked` must name rows by their index, got {key!r}, which no row has. Take them from the index of "
        "rows_to_check()."
    )
    ambiguous = (
        f"`checked` must name one row at a time, but several have the index {key!r}. Reset it before the fit, or "
        "pass judge_labels another one."
    )
    return find_place(key, index, unknown, ambiguous)


def _encode(labels: Iterable[Any], keys: list[Any], classes: NDArray[Any]) -> Codes:
    numbers = {label: number for number, label in enumerate(classes.tolist())}
    codes = []
    for label, key in zip(labels, keys, strict=True):
        value: Any = label.item() if isinstance(label, np.generic) else label
        if type(value).__hash__ is None:
            raise TypeError(f"`checked` must hold labels, got {label!r} for row {key!r}.")
        if value in numbers:
            codes.append(numbers[value])
        elif (isinstance(value, str) and value == CANNOT_TELL) or (not isinstance(value, tuple) and pd.isna(value)):
            codes.append(UNKNOWN)
        else:
            raise ValueError(
                f"`checked` must hold labels of the fit, {classes.tolist()[:10]}, or None where nobody can tell; got "
                f"{label!r} for row {key!r}."
            )
    return np.array(codes, dtype=np.int64)


def _once(rows: Codes, labels: Codes, keys: list[Any]) -> Checks:
    order = np.argsort(rows, kind="stable")
    rows, labels = rows[order], labels[order]
    again = np.flatnonzero((rows[1:] == rows[:-1]) & (labels[1:] != labels[:-1]))
    if len(again):
        raise ValueError(f"`checked` must give each row one label, got two for row {keys[order[again[0]]]!r}.")
    first = np.append(True, rows[1:] != rows[:-1]) if len(rows) else np.empty(0, bool)
    return Checks(rows[first], labels[first])
