"""What a fit found about each training sample, as a table."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from .files.states import check_numbers

__all__ = [
    "TrainingLabels",
    "build_label_report",
    "build_summary",
    "check_labels",
    "check_size_of_labels",
    "find_fitted",
    "label_report",
    "shown_label",
    "shrunk_classes",
]

_PAIRS_IN_SUMMARY, _CLASSES_IN_SUMMARY = 10, 5
_OPEN = 0.1  # width of the noise rate's interval from which on the data do not tell
_SHRUNK = 1 / 3
_LONGEST_NAME = 40
_LABELS = (bool, int, float, str, bytes, tuple, datetime.date, datetime.timedelta, type(None))  # of Python
_LONGEST_LABEL, _LARGEST_LABELS = 1 << 9, 1 << 27  # bytes of one, and of those of all rows


@dataclass
class TrainingLabels:
    """Class numbers of the training samples, as given and as corrected, and the index they came with."""

    given: NDArray[np.int64]
    corrected: NDArray[np.int64]
    index: pd.Index | None = None
    # an array of rows and one of their new class numbers for each epoch; not kept in a pickle
    changes: list[tuple[NDArray[np.int64], NDArray[np.int64]]] | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "changes": None}


def check_labels(classes: NDArray[Any], given: NDArray[Any]) -> None:
    """Raise a ValueError unless labels of a file are numbers of its classes, and take no more memory than is usual."""
    if classes.ndim != 1 or not all(isinstance(label, _LABELS) for label in classes.tolist()):
        raise ValueError(f"the classes must be a list of labels, got shape {classes.shape} of {classes.dtype}")
    check_numbers("the given labels", given, "i", [None], 0, len(classes) - 1)
    if not len(given):
        raise ValueError("there must be at least one row")
    check_size_of_labels(classes, len(given))


def check_size_of_labels(classes: NDArray[Any], n_rows: int) -> None:
    """Raise a ValueError where each row gets a text of the width of a very long one."""
    if classes.itemsize > _LONGEST_LABEL and classes.itemsize * n_rows > _LARGEST_LABELS:
        raise ValueError(
            f"labels of {classes.dtype} take too much memory for {n_rows:,} rows. Fit shorter labels, or objects."
        )


def build_label_report(
    labels: TrainingLabels, soft_labels: NDArray[np.float32], classes: NDArray[Any], encoded: bool
) -> pd.DataFrame:
    """Make the table of `JointOptimizationClassifier.label_report`."""
    rows = np.arange(len(soft_labels))
    names = np.arange(len(classes)) if encoded else classes
    return pd.DataFrame(
        {
            "given_label": names[labels.given],
            "predicted_label": names[soft_labels.argmax(axis=1)],
            "is_label_issue": labels.corrected != labels.given,
            "label_quality": soft_labels[rows, labels.given],
            "corrected_label": names[labels.corrected],
            "confidence": soft_labels[rows, labels.corrected],
        },
        index=labels.index,
    )


def build_summary(clf: Any) -> str:
    """Write the text of `JointOptimizationClassifier.summary`."""
    labels = clf._training_labels_
    changed = np.flatnonzero(labels.corrected != labels.given)
    epochs = f", {clf.n_iter_:,} epochs" if hasattr(clf, "n_iter_") else ""
    lines = [f"{len(labels.given):,} samples in {len(clf.classes_):,} classes{epochs}", _told_rate(clf)]
    gain = clf.expected_gain_
    worth = f", expected to make {_points(gain)} more of all labels right" if len(changed) and gain is not None else ""
    lines.append(f"labels corrected: {len(changed):,} ({len(changed) / len(labels.given):.1%}){worth}")
    if clf.correction_refused_:
        lines.append(f"correction refused: {clf.correction_refused_}")
    lines += _told_unjudged(clf)
    lines += _told_checks(clf)
    lines += [
        f"class {shown_label(name)} shrinks from {before:,} to {after:,} labels"
        for name, before, after in shrunk_classes(clf)
    ]
    return "\n".join([*lines, *_told_changes(clf.classes_, labels.given[changed], labels.corrected[changed])])


def _told_changes(classes: NDArray[Any], given: NDArray[np.int64], corrected: NDArray[np.int64]) -> list[str]:
    """Say which pairs of labels are most frequent; pairs are counted as classes, whose names may look alike."""
    counts = Counter(zip(given.tolist(), corrected.tolist(), strict=True)).most_common()
    told = [
        (f"{shown_label(classes[old])} -> {shown_label(classes[new])}", count)
        for (old, new), count in counts[:_PAIRS_IN_SUMMARY]
    ]
    width = max((len(change) for change, _ in told), default=0)
    rest = [count for _, count in counts[_PAIRS_IN_SUMMARY:]]
    more = [f"  and {sum(rest):,} in {len(rest):,} other pairs of classes"] if rest else []
    return [f"  {change:{width}}  {count:,}" for change, count in told] + more


def _told_unjudged(clf: Any) -> list[str]:
    """Say which labels stand because nobody could judge them."""
    inquiry = clf._inquiry_
    fixed = None if inquiry is None else inquiry.judgement.grounds.fixed
    rows = np.arange(0) if fixed is None else np.setdiff1d(np.flatnonzero(fixed), inquiry.checks.answered().rows)
    if not len(rows):
        return []
    held = np.unique(clf._training_labels_.given[rows])
    names = ", ".join(map(shown_label, clf.classes_[held[:_CLASSES_IN_SUMMARY]]))
    rest = f" and {len(held) - _CLASSES_IN_SUMMARY:,} others" if len(held) > _CLASSES_IN_SUMMARY else ""
    why = "almost all rows of such a class lie in one group, or there are fewer than networks"
    return [f"labels that cannot be judged, and are kept: {len(rows):,}, of {names}{rest} ({why})"]


def _told_checks(clf: Any) -> list[str]:
    """Say what checks prove, or how they would help."""
    inquiry, promise = clf._inquiry_, clf._promise_
    if promise is not None:
        low, high = promise.wrong
        of_changes = f"of the {promise.changes:,} changes at least {promise.changes_right:,} are right"
        return [
            f"{promise.n_answers:,} rows checked in order, so each of this is 95 % certain:",
            f"  {low:.0%} to {high:.0%} of the labels were wrong",
            f"  at least {math.floor(1000 * promise.right_after) / 10:.1f} % are right after the correction",
            *([f"  {of_changes}"] if promise.changes else []),
        ]
    if inquiry is not None and len(inquiry.checks.rows):
        return [f"{len(inquiry.checks.rows):,} rows checked: 20 in the order of rows_to_check() prove something"]
    if clf.noise_rate_interval_ is not None and np.diff(clf.noise_rate_interval_)[0] > _OPEN:
        low, high = clf.noise_rate_interval_
        return [
            f"between {low:.0%} and {high:.0%} of the labels are wrong; the data alone cannot tell: look at "
            "rows_to_check(50), and settle(...) what you find"
        ]
    return []


def _told_rate(clf: Any) -> str:
    if clf.noise_rate_interval_ is None:
        return f"estimated noise rate: {clf.noise_rate_:.1%}"
    low, high = clf.noise_rate_interval_
    return f"estimated noise rate: {clf.noise_rate_:.1%} (95 %: {low:.0%} to {high:.0%})"


def _points(gain: Any) -> str:
    return f"{100 * gain.mean:.1f} % (95 %: {100 * gain.low:.1f} to {100 * gain.high:.1f})"


def shrunk_classes(clf: Any) -> list[tuple[Any, int, int]]:
    """Give the classes that lose a third of their labels by the correction, with the numbers before and after."""
    labels, n_classes = clf._training_labels_, len(clf.classes_)
    before, after = (np.bincount(codes, minlength=n_classes) for codes in (labels.given, labels.corrected))
    rows = np.flatnonzero(after <= before * (1 - _SHRUNK))
    return [(clf.classes_[i], int(before[i]), int(after[i])) for i in rows if before[i]]


def shown_label(label: Any) -> str:
    """Give a label as it can be printed and drawn: on one line, not too long, with escapes for what nobody sees."""
    text = str(label)
    text = text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def label_report(estimator: Any, *, encoded: bool = False) -> pd.DataFrame:
    """Label report of the classifier inside a fitted Pipeline or search.

    Parameters
    ----------
    estimator : estimator
        A fitted `JointOptimizationClassifier`, or a fitted Pipeline or search (GridSearchCV, say) that ends in
        one.
    encoded : bool, default=False
        Whether labels are class numbers instead of the labels of y, as cleanlab wants them.

    Returns
    -------
    DataFrame of n_samples rows
        See `JointOptimizationClassifier.label_report`.

    Raises
    ------
    TypeError
        If there is no such classifier inside `estimator`.
    sklearn.exceptions.NotFittedError
        If it is not fitted.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from noisyfit import JointOptimizationClassifier, label_report
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), JointOptimizationClassifier(max_epochs=3, random_state=0))
    >>> label_report(pipeline.fit(X, y)).shape
    (150, 6)
    """
    report: pd.DataFrame = find_fitted(estimator).label_report(encoded=encoded)
    return report


def find_fitted(estimator: Any) -> Any:
    """Give the noisyfit classifier inside a (nested) Pipeline or search."""
    inner: Any = estimator
    while not hasattr(inner, "label_report"):
        if hasattr(inner, "steps"):
            inner = inner.steps[-1][1]
        elif hasattr(inner, "best_estimator_"):
            inner = inner.best_estimator_
        else:
            check_is_fitted(estimator)
            if hasattr(inner, "best_params_"):
                raise TypeError("`estimator` is a search without a fitted classifier. Fit it with refit=True.")
            raise TypeError(
                "`estimator` must be a fitted JointOptimizationClassifier, or a fitted Pipeline or search that ends "
                f"in one; found {type(inner).__name__} instead."
            )
    check_is_fitted(inner)
    return inner
