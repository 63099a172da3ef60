"""Checks that two rooms or more share."""

from __future__ import annotations

import importlib
import math
import numbers
from types import ModuleType
from typing import Any

import numpy as np
from sklearn.utils import check_random_state as _check_random_state


def check_number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    integer: bool = False,
    open_low: bool = False,
    hint: str = "",
) -> None:
    """Raise unless `value` is a finite number, not a bool, between `low` and `high`."""
    kind = numbers.Integral if integer else numbers.Real
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind):
        what = "an int" if integer else "a number"
        raise TypeError(f"`{name}` must be {what}, got {value!r} of type {type(value).__name__}.{_spaced(hint)}")
    number = float(value)
    too_low = number <= low if open_low else number < low
    if not math.isfinite(number) or too_low or number > high:
        lower, upper = ("above" if open_low else "at least"), "at most"
        bounds = [f"{lower} {low:g}"] * math.isfinite(low) + [f"{upper} {high:g}"] * math.isfinite(high)
        rule = " and ".join(["finite", *bounds])
        raise ValueError(f"`{name}` must be {rule}, got {value!r}.{_spaced(hint)}")


def check_share(name: str, value: Any) -> None:
    """Raise unless `value` is a share in [0, 1]; a percentage gets told how to write it."""
    percent = isinstance(value, numbers.Real) and 1 < float(value) <= 100
    check_number(name, value, low=0, high=1, hint=f"Pass {float(value) / 100:g} for {value} %." if percent else "")


def check_distribution(name: str, value: Any, *, ndim: int = 1, hint: str = "") -> np.ndarray:
    """Give `value` as float64, after checking that its last axis holds probabilities that sum to 1."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.ndim != ndim:
        raise ValueError(
            f"`{name}` must be an array of numbers with {ndim} dimension(s), got {value!r}.{_spaced(hint)}"
        )
    array = array.astype(np.float64)
    sums = array.sum(axis=-1)
    if not np.isfinite(array).all() or (array < 0).any() or not np.allclose(sums, 1, rtol=0, atol=1e-6):
        raise ValueError(
            f"`{name}` must be at least 0 and sum to 1{' in every row' if ndim > 1 else ''}, got smallest entry "
            f"{array.min() if array.size else float('nan'):g} and sums {np.unique(sums).tolist()}. "
            "Divide it by its sum."
        )
    return array


def check_choice(name: str, value: Any, choices: tuple[str, ...], hint: str = "") -> None:
    """Raise unless `value` is one of the strings in `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, choices))}; got {value!r}.{_spaced(hint)}")


def as_random_state(random_state: Any) -> np.random.RandomState:
    """Give a generator: scikit-learn's rule, but None draws a fresh seed and leaves NumPy's global state alone."""
    return np.random.RandomState() if random_state is None else _check_random_state(random_state)


def import_extra(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra installs it."""
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in (package, module):
            raise  # it is there, and something that it needs is not: its own message says what
        raise ImportError(f"This needs {package}. Install it with: pip install 'noisyfit[{extra}]'") from error


def is_of_memory(error: BaseException) -> bool:
    """Say whether there was not enough memory."""
    of_torch = isinstance(error, RuntimeError) and ("out of memory" in str(error) or "allocate memory" in str(error))
    return of_torch or isinstance(error, MemoryError)


def _spaced(hint: str) -> str:
    return f" {hint}" if hint else ""
