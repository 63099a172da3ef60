"""The index of the rows as a part of a file, and back: equal in values, dtypes and names, or not at all."""

from __future__ import annotations

import datetime
import re
import warnings
import zoneinfo
from typing import Any

import numpy as np
import pandas as pd

from .states import UNFIT, check_numbers, outline, packed_and_back

__all__ = ["describe_index", "index_from"]

_CALLER_OF_SAVE = 4  # as a stacklevel
_EXTENSIONS = ("str", "string", "boolean", *(f"{kind}{bits}" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)))
_OFFSET = re.compile(r"UTC([+-])(\d\d):(\d\d)(?::(\d\d))?")
_MOST_LEVELS = 32


def describe_index(index: pd.Index | None) -> Any:
    """Give an index as a state; one that would not come back as it is gives way to row numbers."""
    if index is None:
        return None
    try:
        described = _parts_of_index(index)
        back = index_from(packed_and_back(described), len(index))
    except UNFIT:
        back = None
    if back is None or not _are_same(index, back):
        kind = type(index).__name__ if isinstance(index, pd.MultiIndex) else index.dtype
        named = f" named {list(index.names)}" if any(name is not None for name in index.names) else ""
        warnings.warn(
            f"A file cannot hold an index of {kind}{named}: row numbers take its place.", stacklevel=_CALLER_OF_SAVE
        )
        return None
    return described


def _parts_of_index(index: pd.Index) -> tuple[str, Any, list[Any]]:
    names = list(index.names)
    if isinstance(index, pd.RangeIndex):
        return "range", (index.start, index.stop, index.step), names
    if isinstance(index, pd.MultiIndex):
        return "levels", [_parts_of_index(index.get_level_values(i)) for i in range(index.nlevels)], names
    zone = None
    if isinstance(index, pd.DatetimeIndex) and index.tz is not None:
        index, zone = index.tz_convert("UTC").tz_localize(None), str(index.tz)
    if str(index.dtype) in _EXTENSIONS:
        values: Any = index.astype(object).to_numpy()
        return "typed", (np.where(index.isna(), None, values), str(index.dtype)), names
    return (
        ("objects", index.to_numpy(), names) if index.dtype == object else ("values", (index.to_numpy(), zone), names)
    )


def _are_same(index: pd.Index, other: pd.Index) -> bool:
    """Say whether two indexes hold the same values, of the same dtypes, under the same names."""
    described = [
        (
            [index.get_level_values(level).dtype for level in range(index.nlevels)],
            [repr(name.item() if isinstance(name, np.generic) else name) for name in index.names],
        )
        for index in (index, other)
    ]
    return type(index) is type(other) and described[0] == described[1] and index.equals(other)


def index_from(described: Any, n_rows: int) -> pd.Index | None:
    """Give an index back; raise a ValueError for one that is none of so many rows."""
    if described is None:
        return None
    kind, content, names = described
    if kind == "levels":
        if not 0 < len(content) <= _MOST_LEVELS or any(level[0] == kind for level in content):
            raise ValueError(f"an index must have 1 to {_MOST_LEVELS} levels, got {len(content)}")
        levels: list[Any] = [index_from(level, n_rows) for level in content]
        index: pd.Index = pd.MultiIndex.from_arrays(levels)
    else:
        index = _plain_index_from(kind, content, n_rows)
    if len(index) != n_rows:
        raise ValueError(f"the index has {len(index):,} entries for {n_rows:,} rows")
    return index.set_names(names)


def _plain_index_from(kind: str, content: Any, n_rows: int) -> pd.Index:
    if kind == "range":
        start, stop, step = content
        if len(range(start, stop, step)) != n_rows:
            raise ValueError(f"the index must number {n_rows:,} rows")
        return pd.RangeIndex(start, stop, step)
    if kind == "typed":
        values, dtype = content
        return pd.Index(values, dtype=_EXTENSIONS[_EXTENSIONS.index(dtype)])
    if kind == "objects":
        return pd.Index(content, dtype=object, tupleize_cols=False)
    if kind != "values":
        raise ValueError(f"an index of an unknown kind, {outline(kind)}")
    values, zone = content
    if zone is not None:
        check_numbers("the times of the index", values, "M", [n_rows])
        return pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(_zone_from(zone))
    return pd.Index(values, tupleize_cols=False)


def _zone_from(name: str) -> datetime.tzinfo:
    """Give a time zone by its name; no path that a file may name is ever opened."""
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        sign, *parts = offset.groups(default="0")
        hours, minutes, seconds = map(int, parts)
        behind = datetime.timedelta(hours=hours, minutes=minutes, seconds=seconds)
        return datetime.timezone(-behind if sign == "-" else behind)
    if name == "UTC":
        return datetime.UTC
    if name not in zoneinfo.available_timezones():
        raise ValueError(f"there is no time zone {name!r:.60}")
    return zoneinfo.ZoneInfo(name)
