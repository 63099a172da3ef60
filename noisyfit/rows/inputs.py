"""Inputs as users hand them over, checked before anything is trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data
from torch.utils.data import Dataset, IterableDataset

from .arrays import items_to_numpy
from .rows import block_size, is_bytes, not_inputs_alone, only_input
from .targets import check_labels, labels_to_numpy

__all__ = ["check_inputs", "check_same_pixels"]

# in the messages of NumPy and SciPy for what is no table of numbers; they do not say that it is X
_NO_NUMBERS = (
    "could not convert",
    "cannot convert",
    "float() argument must be",
    "setting an array element",
    "Cannot cast",
    "Cannot convert",
    "too large to convert",
    "could not be promoted",
    "ScalarType",
)


def check_inputs(estimator: BaseEstimator, X: Any, y: Any = "no_validation", reset: bool = True) -> tuple[Any, Any]:
    """Check X as scikit-learn does, and y where it is given; set or compare the estimator's feature attributes.

    Gives X as a float32 array, a uint8 array of three or more dimensions, a memmap of any number type, a CSR
    matrix or a Dataset, and y as an array. Neither is ever written to.
    """
    y = y if isinstance(y, str) else labels_to_numpy(y)
    if isinstance(X, Dataset):
        _check_dataset(estimator, X, reset)
        return X, None if isinstance(y, str) else check_labels(X, y)
    X = items_to_numpy(X, "X")
    _check_kind(X)
    keep_dtype = isinstance(X, np.memmap) or is_bytes(X)
    dtype = None if keep_dtype else np.float32
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold is told by the error for infinity
            checked = validate_data(estimator, X, y, reset=reset, accept_sparse="csr", dtype=dtype, allow_nd=True)
    except (TypeError, ValueError, OverflowError) as error:
        told = str(error).rstrip(".\n")
        if "Input X contains" in told:
            raise ValueError(f"{told}.{_told_place('The first is', _find_not_finite(X), X)}") from error
        if not any(message in told for message in _NO_NUMBERS):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        place = _told_place("The first that is none is", _find_no_number(X), X)
        raise kind(f"`X` must hold numbers: {told}.{place} Encode text, categories and dates first.") from error
    checked_X, checked_y = checked if isinstance(checked, tuple) else (checked, None)
    _check_item_shape(estimator, checked_X.shape[1:], reset)
    if isinstance(X, np.memmap):
        _check_float32_holds(X)
        checked_X = X
    return checked_X, checked_y


def check_same_pixels(X: Any, of_bytes: bool) -> None:
    """Raise where images have another range than those of `fit`."""
    bytes_now = is_bytes(X)
    if bytes_now and not of_bytes:
        raise ValueError("`X` must be as in `fit`, where it was not uint8; uint8 images are divided by 255.")
    of_floats = isinstance(X, np.ndarray) and not bytes_now
    if of_bytes and of_floats and (X.min() < 0 or X.max() > 1):
        raise ValueError(
            "`X` must be uint8 as in `fit`, or floats divided by 255, in [0, 1]; got values from "
            f"{X.min():g} to {X.max():g}."
        )


def _check_kind(X: Any) -> None:
    """Raise for dates and durations, which NumPy turns into numbers of their unit, and for a file of no numbers."""
    kinds = _kinds(X)
    if isinstance(X, np.memmap) and X.dtype.kind not in "biufc":
        raise TypeError(f"`X` must hold numbers, got a file of {X.dtype}. Turn them into numbers first.")
    if kinds & {"m", "M"}:
        raise TypeError("`X` must hold numbers, got dates or durations. Turn them into numbers first.")


def _kinds(X: Any) -> set[str]:
    """Give NumPy's letters for what X holds; of all but pandas' tables a look at the first row tells."""
    if isinstance(X, (pd.DataFrame, pd.Series)):
        return {dtype.kind for dtype in (X.to_frame() if isinstance(X, pd.Series) else X).dtypes}
    if sp.issparse(X) or not (getattr(X, "shape", ()) or isinstance(X, (list, tuple))):
        return set()
    try:
        return {np.asarray(X[:1]).dtype.kind}
    except (TypeError, ValueError):  # scikit-learn's check tells
        return set()


def _told_place(what: str, place: tuple[int, ...] | None, X: Any) -> str:
    """Say where in X something is; nothing where that is not known."""
    if place is None:
        return ""
    row, *others = place
    if len(others) == 1:
        name = list(X.columns)[others[0]] if hasattr(X, "columns") else others[0]
        return f" {what} in row {row}, column {name!r}."
    return f" {what} in row {row}{f', at {tuple(others)}' if others else ''}."


def _find_not_finite(X: Any) -> tuple[int, ...] | None:
    """Give the place of the first number that is missing, infinite or beyond float32; a few rows are read at a time."""
    try:
        X = X.tocsr() if sp.issparse(X) else X  # not all formats give rows
        size = block_size(np.shape(_as_float32(X[:1]))[1:])
        n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
        for start in range(0, n_rows, size):
            bad = np.argwhere(~np.isfinite(_as_float32(X[start : start + size])))
            if len(bad):
                row, *others = bad[0].tolist()
                return start + row, *others
    except (TypeError, ValueError, OverflowError):
        pass
    return None


def _as_float32(rows: Any) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        if isinstance(rows, pd.DataFrame):
            return rows.to_numpy(np.float32, na_value=np.nan)
        return np.asarray(rows.toarray() if sp.issparse(rows) else rows, dtype=np.float32)


def _find_no_number(X: Any) -> tuple[int, ...] | None:
    """Give the place of the first cell of a table that is no number, column by column."""
    if sp.issparse(X) or len(getattr(X, "shape", ())) != 2:
        return None
    number = np.empty(1, np.float32)
    for column in range(X.shape[1]):
        for row, cell in enumerate(X.iloc[:, column] if hasattr(X, "iloc") else X[:, column]):
            try:
                number[0] = cell
            except (TypeError, ValueError, OverflowError):
                return row, column
    return None


def _check_item_shape(estimator: Any, item_shape: tuple[int, ...], reset: bool) -> None:
    """Raise for rows without numbers, or of other dimensions than those of `fit`; images may be of another size."""
    shape = ", ".join(map(str, ("n", *item_shape)))
    if 0 in item_shape:
        raise ValueError(f"Found array with 0 feature(s): `X` of shape ({shape}) holds no numbers.")
    n_dimensions = len(item_shape if reset else estimator._input_kind_.shape) + 1
    if len(item_shape) + 1 != n_dimensions:
        raise ValueError(f"`X` must have {n_dimensions} dimensions as in `fit`, the rows first; got shape ({shape}).")


def _check_float32_holds(array: np.memmap) -> None:
    """Raise for numbers beyond float32; scikit-learn has looked for NaN and infinity."""
    if array.dtype.kind != "f" or array.dtype.itemsize <= 4:
        return
    place = _find_not_finite(array)
    if place is not None:
        told = _told_place("The first is", place, array)
        raise ValueError(f"Input X contains a value too large for dtype('float32').{told} Scale it down.")


def _check_dataset(estimator: Any, dataset: Any, reset: bool) -> None:
    if isinstance(dataset, IterableDataset) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(
            f"`X` must be a map-style Dataset, with __len__ and __getitem__; got {type(dataset).__name__}. "
            "Every sample needs a number, so that its label can be corrected."
        )
    if len(dataset) == 0:
        raise ValueError("Found array with 0 sample(s): `X` is an empty Dataset, at least 1 is required.")
    first = only_input(dataset[0])
    if isinstance(first, (tuple, list, dict)):
        raise not_inputs_alone(first)
    _check_item_shape(estimator, tuple(np.shape(first)), reset)
    n_features = (*np.shape(first), 1)[0]
    if reset:
        estimator.n_features_in_ = n_features
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    elif n_features != estimator.n_features_in_:
        raise ValueError(
            f"X has {n_features} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
