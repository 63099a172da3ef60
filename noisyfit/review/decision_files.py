"""The decisions of a review as records, whatever they come in."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

_FORMAT = "noisyfit decisions"
_VERSION = 1
_COLUMNS = ("row", "index", "given_label", "proposed_label", "decision", "label")
_KINDS = ("accept", "keep", "other", "skip")
_REMEDY = "Pass an export of the review page."


@dataclass(frozen=True)
class Decision:
    """One line of an export; `is_text` tells that labels and index lost their types in a CSV file."""

    row: int
    index: Any
    given_label: Any
    proposed_label: Any
    decision: str
    label: Any
    is_text: bool


def read_decisions(decisions: Any) -> list[Decision]:
    """Read a file, a table or a list of dicts, and check the form of each record."""
    if isinstance(decisions, (str, os.PathLike)):
        records, is_text = _read_file(Path(decisions))
    elif isinstance(decisions, pd.DataFrame):
        _check_columns(list(decisions.columns))
        columns = [decisions[name].tolist() for name in _COLUMNS]
        records = [dict(zip(_COLUMNS, values, strict=True)) for values in zip(*columns, strict=True)]
        is_text = False
    elif isinstance(decisions, list):
        records, is_text = decisions, False
    else:
        raise TypeError(
            "`decisions` must be the path of a CSV or JSON export, a DataFrame or a list of dicts; got "
            f"{type(decisions).__name__}. {_REMEDY}"
        )
    return [_as_decision(record, number, is_text) for number, record in enumerate(records)]


def _read_file(path: Path) -> tuple[list[dict[str, Any]], bool]:
    ending = path.suffix.lower()
    if ending not in (".csv", ".json"):
        raise ValueError(f"`decisions` must be a file that ends in .csv or .json, got {str(path)!r}. {_REMEDY}")
    try:
        if ending == ".csv":
            return _read_csv(path), True
        return _read_json(path), False
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`decisions` must be a file in UTF-8, but {str(path)!r} is not: {error}. {_REMEDY}"
        ) from error


def _read_csv(path: Path) -> list[dict[str, Any]]:
    limit = csv.field_size_limit(2**31 - 1)  # the usual limit is shorter than some labels
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(list(reader.fieldnames or []))
            return list(reader)
    except csv.Error as error:
        raise ValueError(f"`decisions` must be a CSV file, but {str(path)!r} is not: {error}. {_REMEDY}") from error
    finally:
        csv.field_size_limit(limit)


def _read_json(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"`decisions` must be a JSON file, but {str(path)!r} is not: {error}. {_REMEDY}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ValueError(f'`decisions` must have the format "{_FORMAT}", got {found!r} in {str(path)!r}. {_REMEDY}')
    if content.get("version") != _VERSION:
        raise ValueError(
            f"`decisions` must be of version {_VERSION}, got {content.get('version')!r} in {str(path)!r}. "
            "Read it with the noisyfit that wrote the page."
        )
    records = content.get("decisions")
    if not isinstance(records, list):
        raise ValueError(f"`decisions` must hold a list of decisions, got {records!r} in {str(path)!r}. {_REMEDY}")
    return records


def _check_columns(names: list[Any]) -> None:
    missing = [name for name in _COLUMNS if name not in names]
    if missing or len(set(names)) < len(names):
        raise ValueError(f"`decisions` must have the columns {', '.join(_COLUMNS)}, each once; got {names}. {_REMEDY}")


def _as_decision(record: Any, number: int, is_text: bool) -> Decision:
    if not isinstance(record, dict):
        raise TypeError(f"`decisions` must hold dicts, got {type(record).__name__} at place {number}. {_REMEDY}")
    values = [record.get(name, _MISSING) for name in _COLUMNS]
    # a line of a CSV file that is too short has None, one that is too long has a column without a name
    if any(value is _MISSING for value in values) or None in record or (is_text and None in values):
        raise ValueError(
            f"`decisions` must have {', '.join(_COLUMNS)} in each record; got {list(record.values())} at place "
            f"{number}. {_REMEDY}"
        )
    row, index, given_label, proposed_label, decision, label = values
    for value in (given_label, proposed_label, label):
        if value is None or isinstance(value, (list, dict)):
            raise ValueError(f"Labels must be text, numbers or bools; got {value!r} at place {number}. {_REMEDY}")
    if decision not in _KINDS:
        raise ValueError(
            f"`decision` must be one of {', '.join(_KINDS)}; got {decision!r} at place {number}. {_REMEDY}"
        )
    return Decision(_as_row(row, number), index, given_label, proposed_label, decision, label, is_text)


def _as_row(row: Any, number: int) -> int:
    is_int = isinstance(row, (int, np.integer)) and not isinstance(row, bool)
    if isinstance(row, str) and row.isascii() and row.isdigit():
        row, is_int = int(row), True
    if not is_int or row < 0:
        raise ValueError(f"`row` must be an int, at least 0; got {row!r} at place {number}. {_REMEDY}")
    return int(row)


_MISSING = object()
