"""What a fit found about each training sample, as a table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

__all__ = ["TrainingLabels", "build_label_report", "build_summary", "find_fitted", "label_report"]

_PAIRS_IN_SUMMARY = 10


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
    report = build_label_report(clf._training_labels_, clf.soft_labels_, clf.classes_, encoded=False)
    issues = report[report["is_label_issue"]]
    lines = [
        f"{len(report):,} samples in {len(clf.classes_):,} classes, {clf.n_iter_:,} epochs",
        f"estimated noise rate: {clf.noise_rate_:.1%}",
        f"labels corrected: {len(issues):,} ({len(issues) / len(report):.1%})",
    ]
    if clf.correction_refused_:
        lines.append(f"correction refused: {clf.correction_refused_}")
    if len(issues):
        changes = issues["given_label"].astype(str) + " -> " + issues["corrected_label"].astype(str)
        counts = changes.value_counts()
        width = max(map(len, counts.index[:_PAIRS_IN_SUMMARY]))
        lines += [f"  {change:{width}}  {count:,}" for change, count in counts[:_PAIRS_IN_SUMMARY].items()]
        rest = counts[_PAIRS_IN_SUMMARY:]
        if len(rest):
            lines.append(f"  and {rest.sum():,} in {len(rest):,} other pairs of classes")
    return "\n".join(lines)


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
