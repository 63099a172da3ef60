"""Labels, weights and groups as users hand them over, checked, as arrays that keep what they say."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight, assert_all_finite, check_consistent_length, column_or_1d

from .arrays import items_to_numpy

__all__ = ["check_groups", "check_labels", "check_texts", "check_weight", "labels_to_numpy"]

_LARGEST_WEIGHT = 1e30  # the sum of all weights: float32 holds it times a loss
_NOT_WHOLE = re.compile("[\ud800-\udfff]|\0\\Z")


def labels_to_numpy(y: Any) -> Any:
    """Give labels that scikit-learn keeps the dtype of: it would turn pandas' nullable integers into floats.

    Of categories it would do so with booleans.
    """
    y = items_to_numpy(y, "y")
    try:
        values = np.asarray(y)
    except ValueError as error:
        raise ValueError(f"`y` must have one label a row, shape (n_samples,): {error}") from error
    if values.ndim == 2 and values.shape[1] > 1:
        raise ValueError(
            f"`y` must have one label a row, shape (n_samples,), got {values.shape}. Pass y.argmax(axis=1) for "
            "one-hot labels."
        )
    if values.dtype.kind == "V":
        raise TypeError(f"`y` must hold labels of one kind that can be sorted, got {values.dtype}. Make them strings.")
    if values.dtype.kind == "S":
        raise TypeError(f"`y` must hold strings or numbers, got bytes, {values.dtype}. Decode them: y.astype(str).")
    if values.dtype.kind == "T":  # scikit-learn does not know NumPy's newer strings
        y = values = values.astype(object)
    dtype: Any = y.dtypes.iloc[0] if isinstance(y, pd.DataFrame) and y.shape[1] == 1 else getattr(y, "dtype", None)
    of_pandas = isinstance(dtype, pd.api.extensions.ExtensionDtype)
    if values.ndim and (of_pandas or isinstance(y, pd.Series) or values.dtype.kind in "OmM"):
        _check_each_label(values)
    if values.dtype.kind in "OU":
        check_texts("y", y if values.dtype.kind == "U" else values)
    if of_pandas:
        return y.to_numpy(dtype=dtype.numpy_dtype) if hasattr(dtype, "numpy_dtype") else values
    if isinstance(dtype, np.dtype) and not dtype.isnative:  # pandas takes no other order of bytes
        return values.astype(dtype.newbyteorder("="))
    return y


def _check_each_label(values: Any) -> None:
    try:
        missing = np.asarray(pd.isna(values))
    except ArithmeticError as error:
        raise ValueError(f"`y` must not hold labels that cannot be compared, signalling NaN: {error}") from error
    if missing.any():
        raise ValueError(
            f"`y` must not hold missing labels, got {missing.sum()} of them, the first in row {missing.argmax()}. "
            "Leave these rows out of the fit."
        )
    if values.dtype == object:
        several = np.fromiter(map(pd.api.types.is_list_like, np.ravel(values)), dtype=bool)
        if several.any():
            row = int(several.argmax())
            kind = type(np.ravel(values)[row]).__name__
            raise ValueError(f"`y` must have one label a row, shape (n_samples,), got a {kind} in row {row}.")


def check_texts(name: str, labels: Any) -> None:
    """Raise for labels that would come back as others: NumPy cuts off NUL at the end, UTF-8 holds no surrogates."""
    for row, label in enumerate(np.asarray(labels, dtype=object).ravel().tolist()):
        if isinstance(label, str) and _NOT_WHOLE.search(label):
            raise ValueError(
                f"`{name}` must hold labels that files can hold, without NUL at the end or half of a character "
                f"(a lone surrogate); got {label!r:.100} in row {row}. Rename it."
            )


def check_labels(X: Any, y: Any) -> Any:
    """Give labels as an array, one for each row of X."""
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    check_consistent_length(X, y)
    return y


def check_weight(sample_weight: Any, X: Any) -> NDArray[np.float32]:
    """Give weights (n_samples,), one for each row of X."""
    try:
        weight = items_to_numpy(sample_weight, "sample_weight")
        if np.asarray(weight).dtype.kind in "mMc":  # NumPy makes numbers of them
            raise TypeError("they are dates, durations or complex")
        with np.errstate(over="ignore"):  # told by the error for infinity
            checked: NDArray[np.float32] = _check_sample_weight(weight, X, dtype=np.float32, ensure_non_negative=True)
    except (TypeError, ValueError, OverflowError) as error:
        if "sample_weight" in str(error) or "Sample weights" in str(error):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"`sample_weight` must be numbers of at least 0, one a row: {error}") from error
    total = checked.sum(dtype=np.float64)
    if total > _LARGEST_WEIGHT:
        raise ValueError(
            f"`sample_weight` must sum to at most {_LARGEST_WEIGHT:g}, got {total:g}. Divide it by its mean."
        )
    return np.require(checked, requirements="W")  # torch warns of what cannot be written to, as pandas' columns


def check_groups(groups: Any, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the groups, (n_samples,)."""
    try:
        groups = column_or_1d(items_to_numpy(groups, "groups"))
        numbers, distinct = pd.factorize(groups, use_na_sentinel=False)  # of any kinds, also mixed
    except (TypeError, ValueError, ArithmeticError) as error:  # the last of signalling NaN
        if "`groups`" in str(error):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"`groups` must be one group a row, shape (n_samples,), of hashable values: {error}") from error
    check_consistent_length(groups, codes)
    if len(distinct) < 2:
        raise ValueError(f"`groups` must hold at least 2 groups, got one only, {distinct.tolist()[0]!r}. Leave it out.")
    return numbers
