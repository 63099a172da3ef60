"""What is said about labels that any model has been asked about: `judge_labels`, and what it gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ._validation import check_share
from .belief import Codes
from .data import labels_to_numpy
from .decision import ExpectedGain, Judgement, judge
from .report import TrainingLabels, build_label_report, build_summary

__all__ = ["Verdict", "judge_labels"]

_LARGEST_MISS = 0.02  # of 1 by the sum of a row's probabilities


class Verdict:
    """What `judge_labels` says about each label.

    Attributes
    ----------
    corrected_labels_ : ndarray of shape (n_samples,)
        Corrected labels, in the labels and dtype of y and its order.
    soft_labels_ : ndarray of shape (n_samples, n_classes), float32
        Probability of each class to be the true one; rows sum to 1.
    classes_ : ndarray of shape (n_classes,)
        Labels that the columns stand for.
    noise_rate_ : float
        Estimated share of wrong labels, in [0, 1]: 1 - mean of the soft labels at the given classes.
    noise_rate_interval_ : tuple of float
        Low and high end of its 95 % interval.
    expected_gain_ : ExpectedGain
        Share of labels right after the correction less before: ``mean``, ``low`` and ``high``, a 95 % interval.
    correction_refused_ : str or None
        Why no label was changed, a sentence; None where some were, or none is contradicted.
    transition_matrix_ : ndarray of shape (n_classes, n_classes), float64
        Estimate of P(given = j if true = i) that was used; rows sum to 1.
    """

    def __init__(self, judgement: Judgement, given: Codes, classes: NDArray[Any], index: pd.Index | None):
        self.corrected_labels_ = classes[judgement.corrected]
        self.soft_labels_ = judgement.soft_labels
        self.classes_ = classes
        self.noise_rate_ = float(1 - judgement.soft_labels[np.arange(len(given)), given].mean(dtype=np.float64))
        self.noise_rate_interval_ = judgement.noise_rate_interval
        self.expected_gain_: ExpectedGain = judgement.expected_gain
        self.correction_refused_ = judgement.refused
        self.transition_matrix_ = judgement.bearings.transition_matrix
        self._training_labels_ = TrainingLabels(given, judgement.corrected, index)

    def label_report(self, *, encoded: bool = False) -> pd.DataFrame:
        """Say what was found about each label; see `JointOptimizationClassifier.label_report`.

        Parameters
        ----------
        encoded : bool, default=False
            Whether labels are class numbers, positions in `classes_`.

        Returns
        -------
        DataFrame of n_samples rows
        """
        return build_label_report(self._training_labels_, self.soft_labels_, self.classes_, encoded)

    def summary(self) -> str:
        """Say in a few lines what was found, for people.

        Returns
        -------
        str
        """
        return build_summary(self)


def judge_labels(
    y: ArrayLike,
    probabilities: Any,
    *,
    classes: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    margin: float = 0.0,
    index: Any = None,
) -> Verdict:
    """Judge labels by what any model says of them: corrected labels, and how many are wrong.

    Takes what ``cleanlab.filter.find_label_issues`` takes. What is known of wrong labels beforehand was learned from
    data sets of many kinds (`noisyfit.judge`); no true label is needed.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Given labels.
    probabilities : array-like of shape (n_samples, n_classes), or list of such
        Class probabilities of a model that has not learned from the row's label, as ``cross_val_predict(...,
        method="predict_proba")`` gives them; a list: of several models, better of unlike kinds. Columns are in the
        order of ``np.unique(y)``, of `classes`, or, where y holds class numbers, 0 to n_classes - 1.
    classes : array-like of shape (n_classes,) or None, default=None
        The label that each column stands for.
    sample_weight : array-like of shape (n_samples,) or None, default=None
        Weights of the rows, at least 0.
    margin : float, default=0.0
        A label changes only where soft[new] - soft[given] exceeds it, in [0, 1].
    index : Index, array-like of shape (n_samples,) or None, default=None
        Names of the rows in the report; None takes those of y, or numbers.

    Returns
    -------
    Verdict

    Raises
    ------
    ValueError
        If lengths or numbers of classes differ, a probability is negative or not finite, or a label has no column.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.ensemble import ExtraTreesClassifier
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_predict
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from noisyfit import judge_labels
    >>> from noisyfit.noise import corrupt_labels, symmetric_noise
    >>> X, y = load_digits(return_X_y=True)
    >>> y_noisy = corrupt_labels(y, symmetric_noise(10, 0.2), random_state=0)
    >>> models = ExtraTreesClassifier(random_state=0), make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    >>> proba = [cross_val_predict(model, X, y_noisy, method="predict_proba") for model in models]
    >>> verdict = judge_labels(y_noisy, proba)
    >>> bool((y_noisy == y).mean() < 0.8 < 0.9 < (verdict.corrected_labels_ == y).mean())
    True
    """
    check_share("margin", margin)
    witnesses = _check_probabilities(probabilities)
    labels = np.asarray(labels_to_numpy(y))
    columns, given = _check_labels(labels, classes, witnesses)
    weight = None if sample_weight is None else np.asarray(sample_weight, np.float32)
    if weight is not None and (weight.shape != given.shape or not np.isfinite(weight).all() or (weight < 0).any()):
        raise ValueError(f"`sample_weight` must be {len(given)} finite numbers of at least 0, got {sample_weight!r}.")
    names = index if index is not None else getattr(y, "index", None)
    names = pd.Index(names) if names is not None and not callable(names) else None
    if names is not None and len(names) != len(given):
        raise ValueError(f"`index` must name each of the {len(given)} rows, got {len(names)} names.")
    return Verdict(judge(witnesses, given, weight, margin=margin), given, columns, names)


def _check_probabilities(probabilities: Any) -> list[NDArray[np.float32]]:
    """Give one array or several as a list of arrays of equal shape, rows summing to 1."""
    several = isinstance(probabilities, (list, tuple)) and len(probabilities) > 0 and np.ndim(probabilities[0]) == 2
    arrays = [np.asarray(array) for array in (probabilities if several else [probabilities])]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or any(len(shape) != 2 or shape[1] < 2 or shape[0] == 0 for shape in shapes):
        raise ValueError(
            "`probabilities` must have shape (n_samples, n_classes), with at least 2 classes, or be a list of such "
            f"arrays of equal shape; got {sorted(shapes)}."
        )
    for array in arrays:
        if array.dtype.kind not in "biuf" or not np.isfinite(array).all() or (array < 0).any():
            raise ValueError("`probabilities` must be finite numbers of at least 0. Pass probabilities, not log odds.")
        sums = array.sum(axis=1, dtype=np.float64)
        if (np.abs(sums - 1) > _LARGEST_MISS).any():
            row = int(np.abs(sums - 1).argmax())
            raise ValueError(f"`probabilities` must sum to 1 in every row, got {sums[row]:g} in row {row}.")
    return [np.asarray(array / array.sum(axis=1, keepdims=True), np.float32) for array in arrays]


def _check_labels(
    labels: NDArray[Any], classes: ArrayLike | None, witnesses: list[NDArray[np.float32]]
) -> tuple[NDArray[Any], Codes]:
    """Give the label of each column, and the column of each label."""
    n_rows, n_columns = witnesses[0].shape
    if labels.shape != (n_rows,):
        raise ValueError(
            f"`y` must have one label for each of the {n_rows} rows of `probabilities`, got {labels.shape}."
        )
    found = np.unique(labels)
    columns = found if classes is None else np.asarray(classes)
    if classes is None and len(found) != n_columns and labels.dtype.kind in "iu":
        columns = np.arange(n_columns, dtype=labels.dtype)  # class numbers, of which some may not occur
    if len(columns) != n_columns or len(np.unique(columns)) != n_columns or not np.isin(found, columns).all():
        raise ValueError(
            f"`probabilities` has {n_columns} columns, and y the labels {found.tolist()[:10]}. Pass `classes`, the "
            "label that each column stands for."
        )
    order = np.argsort(columns)
    return columns, order[np.searchsorted(columns, labels, sorter=order)].astype(np.int64)
