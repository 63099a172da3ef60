"""How well labels were recovered and errors found, for data whose true labels are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

__all__ = ["label_error_scores", "recovery_accuracy"]


def recovery_accuracy(y_clean: ArrayLike, corrected_labels: ArrayLike) -> float:
    """Share of the training samples whose corrected label is the true one.

    Parameters
    ----------
    y_clean : array-like of shape (n_samples,)
        True labels.
    corrected_labels : array-like of shape (n_samples,)
        Labels to judge: ``clf.corrected_labels_``, or the given labels for comparison.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If the lengths differ or are 0, or if no label occurs in both.

    Examples
    --------
    >>> from noisyfit.metrics import recovery_accuracy
    >>> recovery_accuracy(["cat", "dog", "dog", "cat"], ["cat", "dog", "cat", "cat"])
    0.75
    """
    y_clean, corrected_labels = _equally_long(y_clean=y_clean, corrected_labels=corrected_labels)
    if not set(y_clean.tolist()) & set(corrected_labels.tolist()):
        raise ValueError(
            f"`y_clean` and `corrected_labels` have no label in common ({y_clean[0]!r} and {corrected_labels[0]!r}, "
            "say). Give them the same type."
        )
    return float((y_clean == corrected_labels).mean())


def label_error_scores(y_clean: ArrayLike, y_given: ArrayLike, report: pd.DataFrame) -> dict[str, float]:
    """How well a label report finds the wrong labels.

    Parameters
    ----------
    y_clean : array-like of shape (n_samples,)
        True labels.
    y_given : array-like of shape (n_samples,)
        Labels as given to ``fit``; the wrong ones are those that differ from `y_clean`.
    report : DataFrame of n_samples rows
        ``clf.label_report()``, or cleanlab's frame of label issues: low values of ``label_quality`` are taken as
        suspicious, ``is_label_issue`` marks the rows called wrong.

    Returns
    -------
    dict
        ``auroc`` and ``average_precision`` of ranking by label quality; ``f1``, ``precision`` and ``recall`` of
        the marks; each in [0, 1]. ``auroc`` and ``average_precision`` are NaN where no label is wrong, ``auroc``
        also where all are.

    Raises
    ------
    ValueError
        If the lengths differ, or `report` lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> from noisyfit.metrics import label_error_scores
    >>> report = pd.DataFrame({"label_quality": [0.9, 0.2, 0.6], "is_label_issue": [False, True, True]})
    >>> scores = label_error_scores([0, 1, 1], [0, 0, 1], report)
    >>> scores["auroc"], scores["precision"], scores["recall"]
    (1.0, 0.5, 1.0)
    """
    missing = {"label_quality", "is_label_issue"} - set(report.columns)
    if missing:
        raise ValueError(f"`report` must have the columns of label_report(); {sorted(missing)} missing.")
    quality, marked = report["label_quality"].to_numpy(), report["is_label_issue"].to_numpy()
    y_clean, y_given, quality, marked = _equally_long(y_clean=y_clean, y_given=y_given, report=quality, marks=marked)
    wrong = y_clean != y_given
    precision, recall, f1, _ = precision_recall_fscore_support(wrong, marked, average="binary", zero_division=0)
    return {
        "auroc": float(roc_auc_score(wrong, -quality)) if 0 < wrong.sum() < len(wrong) else float("nan"),
        "average_precision": float(average_precision_score(wrong, -quality)) if wrong.any() else float("nan"),
        "f1": float(f1),
        "precision": float(precision),
        "recall": float(recall),
    }


def _equally_long(**arrays: ArrayLike) -> list[np.ndarray]:
    """Give one-dimensional arrays of equal length, at least 1."""
    converted = {name: np.asarray(values) for name, values in arrays.items()}
    shapes = {name: values.shape for name, values in converted.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 or shape[0] == 0 for shape in shapes.values()):
        described = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"Arrays must have one dimension and the same length, at least 1; got {described}.")
    return list(converted.values())
