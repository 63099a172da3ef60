"""Labels and index keys as JSON values and as text: the forms in which they leave Python and come back."""

from __future__ import annotations

import datetime
import json
import numbers
from typing import Any

import numpy as np
import pandas as pd

_LARGEST = 10**4300  # Python writes and reads no larger int


def json_label(label: Any) -> bool | int | float | str:
    """Give a label as a JSON value of its own type; what JSON does not know, infinity too, becomes text."""
    if isinstance(label, (bool, np.bool_)):
        return bool(label)
    if isinstance(label, numbers.Integral):
        number = int(label)
        if abs(number) >= _LARGEST:
            raise ValueError("Labels and index keys must be ints of at most 4,300 digits. Make them strings.")
        return number
    if isinstance(label, (float, np.floating)) and np.isfinite(label):
        return float(str(label))  # a float32 of 0.1 is 0.1 to its reader, not 0.10000000149011612
    return str(label)


def label_text(label: Any) -> str:
    """Give a label as the text that a page shows and a CSV file holds."""
    return str(json_label(label))


def json_key(key: Any) -> Any:
    """Give a key of an index as a JSON value: a tuple becomes a list, a date its ISO form, a missing value null."""
    if isinstance(key, (tuple, list)):
        return [json_key(part) for part in key]
    if key is None or key is pd.NaT or key is pd.NA or (isinstance(key, (float, np.floating)) and np.isnan(key)):
        return None
    if isinstance(key, np.datetime64):
        key = pd.Timestamp(key)
    if isinstance(key, (datetime.date, datetime.time)):
        return key.isoformat()
    return json_label(key)


def find_place(key: Any, index: pd.Index, unknown: str, ambiguous: str) -> int:
    """Give the place of a key in an index; raise a ValueError that says what is asked for, what was found and why."""
    try:
        place = index.get_loc(key)
    except (KeyError, TypeError):
        raise ValueError(unknown) from None
    if not isinstance(place, (int, np.integer)):
        raise ValueError(ambiguous)
    return int(place)


def key_literal(key: Any) -> str:
    """Give a key of an index as it is written in a JSON file."""
    return json.dumps(json_key(key), allow_nan=False)


def key_text(key: Any) -> str:
    """Give a key of an index as it is written in a CSV file: text as it is, anything else as JSON."""
    value = json_key(key)
    return value if isinstance(value, str) else json.dumps(value, allow_nan=False)
