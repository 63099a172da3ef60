"""Labels with the decisions of a review in them."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .decision_files import Decision, read_decisions
from .keys import key_literal, key_text, label_text

__all__ = ["Decided", "apply_decisions", "decided_rows", "find_decided", "with_decided"]

Labels = TypeVar("Labels", NDArray[Any], "pd.Series[Any]", list[Any])


class Decided(NamedTuple):
    """What was decided about a row."""

    label: Any  # of the dtype of y
    is_known: bool  # rather than skipped
    looked_at: bool  # by a person; a proposal that was taken with all others is no answer
    row: int  # where it was in the labels that were reviewed


def apply_decisions(y: Labels, decisions: str | os.PathLike[str] | pd.DataFrame | list[dict[str, Any]]) -> Labels:
    """Give labels with the decisions of a review in them.

    Parameters
    ----------
    y : ndarray, Series or list of shape (n_samples,)
        The labels given to ``fit``. It is not changed. The rows of a Series with a unique index are found by that
        index, so it may be in another order or hold more rows; those of anything else by their place.
    decisions : path, DataFrame or list of dict
        What the page of `save_review` exported: the path of the CSV or JSON file, a table with the columns of the
        CSV, or the list ``decisions`` of the JSON.

    Returns
    -------
    ndarray, Series or list of shape (n_samples,)
        A copy of `y`, of the same type, dtype, index and name, in which each decided row has its decided label; a
        categorical gets a new category only where it lacks one. "keep" and "skip" leave the label of `y`.

    Raises
    ------
    FileNotFoundError
        If `decisions` is the path of no file.
    TypeError
        If `y` or `decisions` is of another kind.
    ValueError
        If `decisions` is no export of a review page; if a row of it is not in `y`, has another label there than the
        given one, or is decided in two ways; if a label is ambiguous as text, or no label of the dtype of `y`.

    See Also
    --------
    save_review : The page that exports decisions.

    Examples
    --------
    >>> from noisyfit import apply_decisions
    >>> decision = {
    ...     "row": 1,
    ...     "index": 1,
    ...     "given_label": "cat",
    ...     "proposed_label": "dog",
    ...     "decision": "accept",
    ...     "label": "dog",
    ... }
    >>> apply_decisions(["dog", "cat"], [decision])
    ['dog', 'dog']
    """
    _check_labels(y)
    return with_decided(y, find_decided(y, read_decisions(decisions)))


def decided_rows(y: Any, decisions: Any) -> dict[int, tuple[Any, bool]]:
    """Give for the place of each row that a person looked at its label, and whether it is known rather than skipped.

    Proposals that were taken all at once are no answers: to count them would prove whatever was proposed.
    """
    looked_at = [decision for decision in read_decisions(decisions) if decision.looked_at]
    return {place: (decided.label, decided.is_known) for place, decided in find_decided(y, looked_at).items()}


def find_decided(y: Any, decisions: list[Decision]) -> dict[int, Decided]:
    """Give what was decided about each row, by its place in y; of several decisions the last that a person made."""
    places, vocabulary = _Places(y), _Vocabulary(y)
    chosen: dict[int, Decided] = {}
    for decision in decisions:
        place = places.find(decision)
        label = _decided_label(decision, y.iloc[place] if isinstance(y, pd.Series) else y[place], vocabulary)
        if place in chosen and chosen[place].label != label:
            raise ValueError(
                f"`decisions` must decide each row in one way, got the labels {chosen[place].label!r} and {label!r} "
                f"for row {decision.row} (index {decision.index!r}). Remove one of them."
            )
        if place not in chosen or decision.looked_at:
            chosen[place] = Decided(label, decision.decision != "skip", decision.looked_at, decision.row)
    return chosen


def _check_labels(y: Any) -> None:
    if not isinstance(y, (np.ndarray, pd.Series, list)):
        raise TypeError(f"`y` must be an ndarray, a Series or a list, got {type(y).__name__}. Pass np.asarray(y), say.")
    if isinstance(y, np.ndarray) and y.ndim != 1:
        raise ValueError(f"`y` must have shape (n_samples,), got {y.shape}. Pass y.ravel() or class labels.")


def _decided_label(decision: Decision, given: Any, vocabulary: _Vocabulary) -> Any:
    """Give the label that a decision leads to, after checking that it was about the label that is given."""
    if not vocabulary.is_known(decision.given_label, decision) or (
        vocabulary.find(decision.given_label, decision) != given
    ):
        raise ValueError(
            f"The file belongs to other labels: `decisions` has the given label {decision.given_label!r} for row "
            f"{decision.row} (index {decision.index!r}), `y` has {given!r} there. Pass the y that was given to fit."
        )
    if decision.decision == "skip":
        return given
    label = vocabulary.find(decision.label, decision)
    if decision.decision == "other":
        return label
    name = "proposed_label" if decision.decision == "accept" else "given_label"
    if label != vocabulary.find(getattr(decision, name), decision):
        raise ValueError(
            f"`label` must be the {name} where the decision is {decision.decision!r}, got {decision.label!r} for row "
            f'{decision.row} (index {decision.index!r}). Write "other" for another label.'
        )
    return label


class _Places:
    """Where the rows of a review are in y."""

    def __init__(self, y: Labels):
        self.n_samples = len(y)
        self.has_keys = isinstance(y, pd.Series) and y.index.is_unique
        self.keys: list[Any] = list(y.index) if isinstance(y, pd.Series) else []

    def find(self, decision: Decision) -> int:
        if self.has_keys:
            return self._find_key(decision)
        if decision.row >= self.n_samples:
            raise ValueError(
                f"`y` must have the rows of the review, but it has {self.n_samples} and `decisions` has row "
                f"{decision.row}. Pass the whole y that was given to fit."
            )
        return decision.row

    def _find_key(self, decision: Decision) -> int:
        found = [] if decision.is_text else self.by_literal.get(key_literal(decision.index), [])
        found = found or self.by_text.get(key_text(decision.index), [])
        if len(found) > 1:
            raise ValueError(
                f"The index {decision.index!r} of row {decision.row} is ambiguous: `y` has it in the places {found}. "
                "Pass the JSON export, which keeps the types of the index, or y.to_numpy() to find rows by their place."
            )
        if not found:
            raise ValueError(
                f"`y` must have the rows of the review, but its index lacks {decision.index!r} of row {decision.row}. "
                "Pass the Series that was given to fit, or y.to_numpy() to find rows by their place."
            )
        return found[0]

    @cached_property
    def by_literal(self) -> dict[str, list[int]]:
        return _places_of(map(key_literal, self.keys))

    @cached_property
    def by_text(self) -> dict[str, list[int]]:
        return _places_of(map(key_text, self.keys))


def _places_of(texts: Iterable[str]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for place, text in enumerate(texts):
        places.setdefault(text, []).append(place)
    return places


class _Vocabulary:
    """The labels of y, and how others become labels of its dtype."""

    def __init__(self, y: Labels):
        self.dtype: Any = None if isinstance(y, list) else y.dtype
        if isinstance(self.dtype, pd.CategoricalDtype):
            labels = list(self.dtype.categories)
            self.dtype = self.dtype.categories.dtype
        else:
            is_plain = isinstance(y, list) or getattr(self.dtype, "kind", "") in "OU"  # pandas' strings are in UTF-8
            labels = list(pd.Series(y, dtype=object if is_plain else None).drop_duplicates().array)
        labels = [label for label in labels if not pd.isna(label)]
        self.types = {type(label) for label in labels}
        self.by_value: dict[Hashable, Any] = {_typed(label): label for label in labels}
        self.by_text: dict[str, list[Any]] = {}
        for label in labels:
            self.by_text.setdefault(label_text(label), []).append(label)

    def is_known(self, value: Any, decision: Decision) -> bool:
        return bool(self._candidates(value, decision))

    def find(self, value: Any, decision: Decision) -> Any:
        """Give the label of y that `value` stands for, or a new one."""
        candidates = self._candidates(value, decision)
        if len(candidates) > 1:
            raise ValueError(
                f"The label {value!r} of row {decision.row} is ambiguous: it may be any of {candidates}. "
                "Pass the JSON export, which keeps the types of labels."
            )
        return candidates[0] if candidates else self._new_label(value, decision)

    def _candidates(self, value: Any, decision: Decision) -> list[Any]:
        if not decision.is_text and isinstance(value, Hashable) and _typed(value) in self.by_value:
            return [self.by_value[_typed(value)]]
        return self.by_text.get(label_text(value), [])

    def _new_label(self, value: Any, decision: Decision) -> Any:
        try:
            label = self._convert(value, decision.is_text)
            is_same = label_text(label) == label_text(value) or (not decision.is_text and bool(label == value))
        except (TypeError, ValueError, OverflowError):
            is_same = False
        if not is_same or pd.isna(value):
            kind = self.dtype if self.dtype is not None else f"a list of {', '.join(t.__name__ for t in self.types)}"
            raise ValueError(
                f"The label {value!r} of row {decision.row} is not among the labels of `y` and does not fit its kind "
                f"({kind}). Widen it first, y.astype(object) say, or choose another label."
            )
        self.by_value[_typed(label)] = label
        self.by_text[label_text(label)] = [label]
        return label

    def _convert(self, value: Any, is_text: bool) -> Any:
        if self.dtype is None or self.dtype == object:
            if len(self.types) == 1:
                return _parse(label_text(value), *self.types)
            if is_text and self.types:
                raise ValueError("text cannot tell which of several types is meant")
            return value
        if pd.api.types.is_bool_dtype(self.dtype):
            return _parse(label_text(value), bool)
        if isinstance(self.dtype, np.dtype):
            return np.asarray([value]).astype(self.dtype)[0]
        return pd.Series([value], dtype=object).astype(self.dtype).iloc[0]


def _parse(text: str, kind: Any) -> Any:
    return {"True": True, "False": False}.get(text) if issubclass(kind, (bool, np.bool_)) else kind(text)


def _typed(label: Any) -> Hashable:
    """Tell True from 1, which Python holds to be equal; but not 1 from 1.0."""
    return (isinstance(label, (bool, np.bool_)), isinstance(label, str), label)


def with_decided(y: Labels, decided: dict[int, Decided]) -> Labels:
    """Give a copy of labels with those in it that were decided, by their places."""
    result = y.copy()
    if not decided:
        return result
    places, labels = np.fromiter(decided, dtype=np.intp), [found.label for found in decided.values()]
    if isinstance(result, pd.Series) and isinstance(result.dtype, pd.CategoricalDtype):
        result = result.cat.add_categories(
            [name for name in dict.fromkeys(labels) if name not in result.cat.categories]
        )
    if isinstance(result, pd.Series):
        result.iloc[places] = labels
    elif isinstance(result, np.ndarray):
        result[places] = labels
    else:
        for place, label in zip(decided, labels, strict=True):
            result[place] = label
    return result
