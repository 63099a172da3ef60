"""The decisions of a review as records, whatever they come in."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..files.delimited import DelimitedText, read_lines
from .keys import label_text

CANNOT_TELL = "cannot tell"  # what people choose where nobody can tell
CHOICES_NAME = "checked_label"  # of the choices in Label Studio, whose export has them under this name
_FORMAT = "noisyfit decisions"
_VERSION = 1
_COLUMNS = ("row", "index", "given_label", "proposed_label", "decision", "label")
_TASK_FIELDS = _COLUMNS[:4]  # what each task says about its row
_LOOKED_AT = "looked_at"  # only in exports in which all proposals were taken at once
_KINDS = ("accept", "keep", "other", "skip")
_REMEDY = "Pass an export of the review page."
_DEEPEST = 50  # lists and dicts within one another; those of Label Studio have about ten
_LONGEST_ROW = 18  # digits


@dataclass(frozen=True)
class Decision:
    """One line of an export; `is_text` tells that labels or index lost their types in a file."""

    row: int
    index: Any
    given_label: Any
    proposed_label: Any
    decision: str
    label: Any
    is_text: bool
    looked_at: bool = True


def read_decisions(decisions: Any) -> list[Decision]:
    """Read a file, a table or a list of dicts, and check the form of each record."""
    if isinstance(decisions, (str, os.PathLike)):
        return _read_file(Path(decisions))
    if isinstance(decisions, pd.DataFrame):
        _check_columns(list(decisions.columns))
        names = [*_COLUMNS, *([_LOOKED_AT] if _LOOKED_AT in decisions.columns else [])]
        columns = [decisions[name].tolist() for name in names]
        records = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    elif isinstance(decisions, list):
        records = decisions
    else:
        raise TypeError(
            "`decisions` must be the path of a CSV or JSON export, a DataFrame or a list of dicts; got "
            f"{type(decisions).__name__}. {_REMEDY}"
        )
    return _as_decisions(records, is_text=False)


def _read_file(path: Path) -> list[Decision]:
    ending = path.suffix.lower()
    if ending not in (".csv", ".json"):
        raise ValueError(f"`decisions` must be a file that ends in .csv or .json, got {str(path)!r}. {_REMEDY}")
    try:
        if ending == ".csv":
            return _as_decisions(_read_csv(path), is_text=True)
        return _read_json(path)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`decisions` must be a file in UTF-8, but {str(path)!r} is not: {error}. {_REMEDY}"
        ) from error


def _read_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        text = file.read()
    try:
        table = DelimitedText(read_lines(text, ","), ",")
    except ValueError as error:
        raise ValueError(f"`decisions` must be a CSV file, but {str(path)!r} is not: {error} {_REMEDY}") from error
    _check_columns(table.columns)
    columns = [table.values(name) for name in table.columns]
    return [dict(zip(table.columns, values, strict=True)) for values in zip(*columns, strict=True)]


def _read_json(path: Path) -> list[Decision]:
    try:
        content = _parse_json(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        raise ValueError(f"`decisions` must be a JSON file, but {str(path)!r} is not: {error}. {_REMEDY}") from error
    if isinstance(content, list) and content:
        return _read_tasks(content)
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
    return _as_decisions(records, is_text=False)


def _parse_json(text: str) -> Any:
    """Parse text that may come from anybody: only what JSON knows, each name once, no deeper than a file of ours."""
    try:
        content = json.loads(text, parse_constant=_as_finite, parse_float=_as_finite, object_pairs_hook=_named_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level, depth = [content], 0
    while level:
        level = [item for part in level if isinstance(part, (list, dict)) for item in _items(part)]
        depth += 1
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
    return content


def _items(part: list[Any] | dict[str, Any]) -> Iterable[Any]:
    return part.values() if isinstance(part, dict) else part


def _as_finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number:.20} is no number of JSON")
    return value


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in one place")
    return named


def _read_tasks(tasks: list[Any]) -> list[Decision]:
    """Read an export of Label Studio, JSON or JSON-MIN; a row that nobody has answered is not decided."""
    if not any(isinstance(task, dict) and ("data" in task or CHOICES_NAME in task) for task in tasks):
        raise ValueError(
            f"`decisions` must be tasks of export_tasks with choices named {CHOICES_NAME!r}, but none of the "
            f"{len(tasks)} has any. Use the labeling_config of noisyfit, and export as JSON."
        )
    data_of_rows: dict[int, dict[str, Any]] = {}
    answers: dict[int, list[tuple[str | None, bool]]] = {}
    for number, task in enumerate(tasks):
        data = _data_of_task(task, number)
        row = _as_row(data["row"], number)
        # JSON-MIN has one record for each annotation, so that a row may come several times
        known = data_of_rows.setdefault(row, data)
        if any(data[name] != known[name] for name in ("index", "given_label")):
            raise ValueError(
                f"`decisions` has tasks of other data: two of row {row} have another index or given label."
            )
        answers.setdefault(row, []).extend(_answers_to_task(task, row))
    decided = [(data_of_rows[row], given) for row, given in answers.items() if given]
    return [_as_answered(data, _settled_answer(given, data), number) for number, (data, given) in enumerate(decided)]


def _data_of_task(task: Any, number: int) -> dict[str, Any]:
    data = task.get("data", task) if isinstance(task, dict) else None  # JSON-MIN has the data beside the choice
    if not isinstance(data, dict) or any(name not in data for name in _TASK_FIELDS):
        raise ValueError(
            f"`decisions` must hold tasks of export_tasks, with {', '.join(_TASK_FIELDS)} in their data; got "
            f"{data!r:.200} at place {number}. Remove tasks that came from elsewhere."
        )
    return data


def _answers_to_task(task: dict[str, Any], row: int) -> list[tuple[str | None, bool]]:
    """Give each annotation's choice, None if it is cancelled or empty, and whether it is marked as ground truth."""
    if "data" not in task:
        is_annotated = CHOICES_NAME in task or task.get("annotation_id") is not None
        return [(_one_choice(task.get(CHOICES_NAME), row), False)] if is_annotated else []
    answers = []
    annotations = task.get("annotations") or []
    for annotation in annotations if isinstance(annotations, list) else [annotations]:
        if not _is_whole(annotation):
            raise ValueError(
                f"`decisions` must hold whole annotations, got {annotation!r:.200} for row {row}. Export as JSON."
            )
        results = [] if annotation.get("was_cancelled") else annotation.get("result") or []
        choices = {result["from_name"]: result.get("value") for result in results if result.get("type") == "choices"}
        if choices and CHOICES_NAME not in choices:
            raise ValueError(
                f"`decisions` must have choices named {CHOICES_NAME!r}, got {', '.join(map(repr, choices))} for row "
                f"{row}. Use the labeling_config of noisyfit, or rename them in the file."
            )
        answers.append((_one_choice(choices.get(CHOICES_NAME), row), bool(annotation.get("ground_truth"))))
    return answers


def _is_whole(annotation: Any) -> bool:
    """Whether an annotation has the form that Label Studio gives it."""
    results = (annotation.get("result") or []) if isinstance(annotation, dict) else None
    return isinstance(results, list) and all(
        isinstance(result, dict) and (result.get("type") != "choices" or isinstance(result.get("from_name"), str))
        for result in results
    )


def _one_choice(value: Any, row: int) -> str | None:
    choices = _flat_choices(value)
    if len(choices) > 1:
        raise ValueError(
            f"`decisions` must have one choice in an annotation, got {choices} for row {row}. Use the labeling_config "
            "of noisyfit, which lets people choose one."
        )
    return choices[0] if choices else None


def _flat_choices(value: Any) -> list[str]:
    """Give the choices in a result: JSON-MIN has one as text, several in a list of dicts."""
    if isinstance(value, dict):
        return _flat_choices(value.get("choices"))
    if isinstance(value, list):
        return [text for part in value for text in _flat_choices(part)]
    return [] if value is None else [str(value)]


def _settled_answer(answers: list[tuple[str | None, bool]], data: dict[str, Any]) -> str | None:
    """Give what the annotations of a row agree on: ground truth goes before others, any choice before none."""
    choices = {choice for choice, is_truth in answers if is_truth} or {choice for choice, _ in answers}
    choices = choices - {None} or {None}
    if len(choices) > 1:
        found = ", ".join(sorted(map(repr, choices)))
        raise ValueError(
            f"`decisions` must decide each row in one way, but the annotations of row {data['row']} (index "
            f"{data['index']!r}) choose {found}. Delete the wrong ones, or mark the right one as ground truth and "
            "export as JSON."
        )
    return choices.pop()


def _as_answered(data: dict[str, Any], choice: str | None, number: int) -> Decision:
    labels = {"accept": data["proposed_label"], "keep": data["given_label"], "skip": data["given_label"]}
    if choice is None or choice == CANNOT_TELL:
        decision = "skip"
    else:
        decision = next((name for name in ("accept", "keep") if label_text(labels[name]) == choice), "other")
    record = {name: data[name] for name in _TASK_FIELDS}
    record |= {"decision": decision, "label": labels.get(decision, choice)}
    # a choice is text: only the labels that the task holds have kept their types
    return replace(_as_decision(record, number, is_text=False), is_text=decision == "other")


def _check_columns(names: list[Any]) -> None:
    missing = [name for name in _COLUMNS if name not in names]
    if missing or len(set(names)) < len(names):
        raise ValueError(f"`decisions` must have the columns {', '.join(_COLUMNS)}, each once; got {names}. {_REMEDY}")


def _as_decisions(records: list[Any], is_text: bool) -> list[Decision]:
    return [_as_decision(record, number, is_text) for number, record in enumerate(records)]


def _as_decision(record: Any, number: int, is_text: bool) -> Decision:
    if not isinstance(record, dict):
        raise TypeError(f"`decisions` must hold dicts, got {type(record).__name__} at place {number}. {_REMEDY}")
    values = [record.get(name, _MISSING) for name in _COLUMNS]
    if any(value is _MISSING for value in values):
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
    looked_at = str(record.get(_LOOKED_AT, True)).lower() != "false"  # empty in a table: a person's
    return Decision(_as_row(row, number), index, given_label, proposed_label, decision, label, is_text, looked_at)


def _as_row(row: Any, number: int) -> int:
    is_int = isinstance(row, (int, np.integer)) and not isinstance(row, bool)
    if isinstance(row, str) and row.isascii() and row.isdigit() and len(row) <= _LONGEST_ROW:
        row, is_int = int(row), True
    if not is_int or row < 0:
        raise ValueError(f"`row` must be an int, at least 0; got {row!r} at place {number}. {_REMEDY}")
    return int(row)


_MISSING = object()
