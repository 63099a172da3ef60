"""The rows of a label report in the order in which to review them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .keys import json_key, json_label, label_text

_LABELS = ["given_label", "predicted_label", "corrected_label"]
_SHARES = ["label_quality", "confidence"]
_COLUMNS = [*_LABELS, "is_label_issue", *_SHARES]
_ROUNDING = 1e-6  # a softmax in float32 may exceed 1 by this much


class Proposals(NamedTuple):
    """Which label is right in some rows of a report if the given one is not."""

    rows: NDArray[np.int64]  # (n,): places in the report
    classes: NDArray[Any]  # (n_classes,)
    proposed: NDArray[np.int64]  # (n,): places in `classes`


@dataclass
class RankedReport:
    """Columns of a report, suspects first; class numbers count from 0 in the order of `classes`.

    Every array has shape (n_samples,); `rows` holds the places in the report.
    """

    classes: list[Any]
    rows: NDArray[np.int64]
    given: NDArray[np.int64]
    proposed: NDArray[np.int64]
    changed: NDArray[np.bool_]
    label_quality: NDArray[np.float64]
    confidence: NDArray[np.float64]
    n_suspects: int
    index: pd.Index

    def codes_of(self, labels: NDArray[Any]) -> NDArray[np.int64]:
        """Give the class numbers of labels, -1 for one that is no class here."""
        codes = {label: code for code, label in enumerate(self.classes)}
        return np.array([codes.get(label, -1) for label in _as_objects(pd.Series(labels))], dtype=np.int64)

    def as_json(self) -> dict[str, Any]:
        """Give the columns as lists for the page, with a fingerprint of them."""
        columns = {
            "classes": [
                {"text": label_text(label), "json": json.dumps(json_label(label), allow_nan=False)}
                for label in self.classes
            ],
            "row": self.rows.tolist(),
            "given": self.given.tolist(),
            "proposed": self.proposed.tolist(),
            "changed": "".join(np.where(self.changed, "1", "0")),
            "quality": self.label_quality.round(4).tolist(),
            "confidence": self.confidence.round(4).tolist(),
            "n_suspects": self.n_suspects,
            "index": _index_as_json(self.index),
        }
        digest = hashlib.sha256(json.dumps(columns, allow_nan=False).encode()).hexdigest()
        return {"fingerprint": digest[:32], **columns}


def rank_report(report: Any, proposals: Proposals | None = None) -> RankedReport:
    """Check a label report and put its suspects first, the surest of them leading; then the least likely labels.

    What is proposed is the corrected label or, where that is the given one, that of `proposals` or the predicted one.
    """
    _check_report(report)
    codes, classes, more = _encode_labels(report, None if proposals is None else proposals.classes)
    given, predicted, corrected = codes
    if proposals is not None:
        predicted[proposals.rows] = more[proposals.proposed]
    suspect = report["is_label_issue"].to_numpy(dtype=bool)
    quality, confidence = (report[name].to_numpy(dtype=np.float64).clip(0, 1) for name in _SHARES)
    order = np.lexsort((quality, np.where(suspect, -confidence, 0), ~suspect))
    changed = corrected != given
    return RankedReport(
        classes=classes,
        rows=order,
        given=given[order],
        proposed=np.where(changed, corrected, predicted)[order],
        changed=changed[order],
        label_quality=quality[order],
        confidence=confidence[order],
        n_suspects=int(suspect.sum()),
        index=report.index[order],
    )


def _check_report(report: Any) -> None:
    remedy = "Pass the table that `label_report` gives."
    if not isinstance(report, pd.DataFrame):
        raise TypeError(f"`report` must be a DataFrame, got {type(report).__name__}. {remedy}")
    missing = [name for name in _COLUMNS if name not in report.columns]
    if missing or not report.columns.is_unique:
        raise ValueError(
            f"`report` must have the columns {', '.join(_COLUMNS)}, each once; got {list(report.columns)}. {remedy}"
        )
    if report.empty:
        raise ValueError(f"`report` must have at least one row, got none. {remedy}")
    for name in _LABELS:
        if report[name].isna().any():
            raise ValueError(f"`report` must have a label in each row of {name}, got missing ones. {remedy}")
    if not pd.api.types.is_bool_dtype(report["is_label_issue"]) or report["is_label_issue"].isna().any():
        raise ValueError(
            f"`report` must have True or False in is_label_issue, got dtype {report['is_label_issue'].dtype}. {remedy}"
        )
    for name in _SHARES:
        _check_shares(name, report[name], remedy)


def _check_shares(name: str, column: pd.Series[Any], remedy: str) -> None:
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        if column.between(-_ROUNDING, 1 + _ROUNDING).all():
            return
        found = f"values from {column.min()} to {column.max()}, {column.isna().sum()} missing"
    else:
        found = f"dtype {column.dtype}"
    raise ValueError(f"`report` must have numbers from 0 to 1 in {name}, got {found}. {remedy}")


def _encode_labels(
    report: pd.DataFrame, more: NDArray[Any] | None
) -> tuple[NDArray[np.int64], list[Any], NDArray[np.int64]]:
    """Give class numbers of shape (3, n_samples), one row a label column, the sorted classes, and numbers of more."""
    labels = [_as_objects(report[name]) for name in _LABELS]
    codes, found = pd.factorize(np.concatenate([*labels, *([] if more is None else [_as_objects(pd.Series(more))])]))
    try:
        order = sorted(range(len(found)), key=lambda code: found[code])
    except TypeError:  # labels of several types
        order = sorted(range(len(found)), key=lambda code: (type(found[code]).__name__, str(found[code])))
    places = np.empty(len(found), dtype=np.int64)
    places[order] = np.arange(len(found))
    of_report, of_more = np.split(places[codes], [len(_LABELS) * len(report)])
    return of_report.reshape(len(_LABELS), -1), [found[code] for code in order], of_more


def _as_objects(column: pd.Series[Any]) -> NDArray[Any]:
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "f":
        return np.array([json_label(label) for label in column.to_numpy()], dtype=object)  # 0.1, in float32 too
    return column.to_numpy(dtype=object)


def _index_as_json(index: pd.Index) -> dict[str, Any]:
    """Give texts as they are and other keys as JSON literals, which JavaScript hands on without rounding them."""
    keys = [json_key(key) for key in index]
    if all(isinstance(key, str) for key in keys):
        return {"kind": "text", "values": keys}
    return {"kind": "json", "values": [json.dumps(key, allow_nan=False) for key in keys]}
