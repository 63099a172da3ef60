"""What is said about labels that any model has been asked about: `judge_labels`, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ._validation import as_random_state, check_number, check_share
from .judgement.belief import Codes
from .judgement.decision import judge
from .judgement.settling import MOST_CERTAIN, NO_CHECKS, ContradictionError, Inquiry, Promise, published
from .report import TrainingLabels, build_label_report, build_summary
from .review.checks import read_checks
from .rows.targets import check_groups, check_texts, labels_to_numpy

__all__ = ["JudgedLabels", "Verdict", "judge_labels"]

_LARGEST_MISS = 0.02  # of 1 by the sum of a row's probabilities


class JudgedLabels:
    """What fitted classifiers and verdicts have in common: labels that were judged, and people's checks of them.

    Fitted attributes are those of `Verdict`. `_inquiry_` is None where there was nothing to judge by.
    """

    classes_: NDArray[Any]
    soft_labels_: NDArray[np.float32]
    _inquiry_: Inquiry | None
    _training_labels_: TrainingLabels
    _promise_: Promise | None

    def label_report(self, *, encoded: bool = False) -> pd.DataFrame:
        """Say what was found about each given label.

        Parameters
        ----------
        encoded : bool, default=False
            Whether labels are class numbers, positions in `classes_`, instead of the labels of y; cleanlab wants
            them so.

        Returns
        -------
        DataFrame of n_samples rows
            In the order of y, with its index, or else that of X, where they had one. Columns: ``given_label``;
            ``predicted_label``, the most probable class of the soft label; ``is_label_issue``, whether the
            corrected label differs from the given one; ``label_quality``, the soft label at the given class, low
            is suspicious; ``corrected_label``; ``confidence``, the soft label at the corrected class. The first
            four are cleanlab's names and meaning.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.

        Examples
        --------
        >>> from noisyfit import judge_labels
        >>> verdict = judge_labels(["cat", "dog", "dog"], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
        >>> verdict.label_report()["given_label"].tolist()
        ['cat', 'dog', 'dog']
        """
        self._check_judged()
        return build_label_report(self._training_labels_, self.soft_labels_, self.classes_, encoded)

    def summary(self) -> str:
        """Say in a few lines what was found, for people.

        Returns
        -------
        str
            Samples, estimated noise rate, labels corrected and what that is expected to be worth, with 95 % intervals;
            why none was corrected, what the data leave open, classes that shrink by a third; the most frequent pairs of
            given and corrected label. From 20 checked rows on also what these prove.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.

        Examples
        --------
        >>> from noisyfit import judge_labels
        >>> verdict = judge_labels(["cat", "dog", "dog"], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
        >>> print(verdict.summary().splitlines()[0])
        3 samples in 2 classes
        """
        self._check_judged()
        return build_summary(self)

    def rows_to_check(self, n: int = 50, random_state: Any = None) -> pd.DataFrame:
        """Give the rows that a person should look at, in the order in which to look.

        Most are rows where a look tells most; some seem right, because errors hide there as well. They are a
        probability sample, and so are the first m of them for every m: stop when you like, but leave none out. Rows
        that were settled are not asked about again.

        Parameters
        ----------
        n : int, default=50
            Number of rows, at least 1; fewer where fewer are left.
        random_state : int, RandomState instance or None, default=None
            Another sample for another int; None is the sample of 0, and the same at every call.

        Returns
        -------
        DataFrame of n rows
            Indexed like `label_report`. Columns: ``given_label``; ``proposed_label``, the class that is right if the
            given one is wrong; ``reason``, why the row is asked about.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        TypeError, ValueError
            If `n` is no int of at least 1, or there was nothing to judge by.

        See Also
        --------
        settle : Where the answers go.

        Examples
        --------
        >>> from noisyfit import judge_labels
        >>> verdict = judge_labels(["cat", "dog", "dog"], [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
        >>> verdict.rows_to_check(2).columns.tolist()
        ['given_label', 'proposed_label', 'reason']
        """
        inquiry = self._asked()
        check_number("n", n, low=1, integer=True)
        seed = 0 if random_state is None else _seed_from(random_state)
        self._inquiry_ = inquiry.with_seed(seed)
        rows = inquiry.rows_to_check(n, seed)
        report = {
            "given_label": self.classes_[inquiry.given[rows]],
            "proposed_label": self.classes_[inquiry.judgement.grounds.odds.proposed[rows]],
            "reason": inquiry.reasons(rows),
        }
        index = self._training_labels_.index
        return pd.DataFrame(report, index=pd.Index(rows) if index is None else index[rows])

    def settle(self, checked: Any, *, guarantee: float | None = None) -> Self:
        """Take in what people have found, and judge all labels again. Nothing is trained.

        Updates `corrected_labels_`, `soft_labels_`, `noise_rate_`, `noise_rate_interval_`, `expected_gain_`,
        `correction_refused_`, `transition_matrix_`, and what ``correct`` does with new rows. Checked rows have their
        checked label. From 20 rows of `rows_to_check` on, intervals come from the sample, and `summary` says what is
        proven. Further calls go on from here.

        Parameters
        ----------
        checked : mapping, Series, path, DataFrame or list of dict
            From the index of a row, as in `rows_to_check`, to its true label; None or "cannot tell" where nobody can
            tell. Or the decisions of a review page: the file, its table or its list, or annotations of Label Studio.
            ``{}`` forgets all checks that were settled: back to where the fit ended.
        guarantee : float or None, default=None
            Certainty in (0.5, 1) with which changes of other rows must be no loss; where the checks do not prove that,
            no other label is changed. None: labels are changed by expected gain, also where an earlier call has asked
            for certainty.

        Returns
        -------
        object
            Itself.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        TypeError, ValueError
            If a row is unknown, a label not among `classes_`, a check contradicts an earlier one, or there was nothing
            to judge by. Nothing is changed then.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.ensemble import ExtraTreesClassifier
        >>> from sklearn.model_selection import cross_val_predict
        >>> from noisyfit import judge_labels
        >>> from noisyfit.noise import corrupt_labels, symmetric_noise
        >>> X, y = load_digits(return_X_y=True)
        >>> y_noisy = corrupt_labels(y, symmetric_noise(10, 0.2), random_state=0)
        >>> proba = cross_val_predict(ExtraTreesClassifier(random_state=0), X, y_noisy, method="predict_proba")
        >>> verdict = judge_labels(y_noisy, proba)
        >>> rows = verdict.rows_to_check(50).index
        >>> verdict = verdict.settle({row: y[row] for row in rows})  # a person looks at 50 rows
        >>> low, high = verdict.noise_rate_interval_
        >>> bool(low < 0.2 < high)
        True
        """
        inquiry = self._asked()
        if guarantee is not None:
            check_number("guarantee", guarantee, low=0.5, high=MOST_CERTAIN, hint="0.95 is usual.")
        index = self._training_labels_.index
        new = read_checks(checked, inquiry.given, self.classes_, index)
        try:
            forgets = isinstance(checked, Mapping) and not checked
            inquiry = inquiry.ended(guarantee) if forgets else inquiry.after(new, guarantee)
        except ContradictionError as error:
            key = error.row if index is None else index[error.row]
            raise ValueError(
                f"`checked` contradicts an earlier check of row {key!r}. settle({{}}) forgets what was settled so "
                "far, but not what was known before."
            ) from None
        self._take(inquiry)
        return self

    def _check_judged(self) -> None:
        if not hasattr(self, "_training_labels_"):
            check_is_fitted(self)

    def _asked(self) -> Inquiry:
        self._check_judged()
        if self._inquiry_ is None:
            raise ValueError(
                "There was nothing to judge labels by. Fit with `cross_fit` of 2 or more, and `gamma` above 0."
            )
        return self._inquiry_

    def _take(self, inquiry: Inquiry) -> None:
        """Publish what an inquiry says."""
        judgement, promise = inquiry.settled()
        self.__dict__.update(published(judgement, inquiry.given, self.classes_))
        self._inquiry_, self._promise_, self._bearings_ = inquiry, promise, judgement.bearings
        self._training_labels_ = replace(self._training_labels_, corrected=judgement.corrected)


class Verdict(JudgedLabels):
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
        Why no label was changed, but for checked ones, a sentence; None where some were, or none is contradicted.
    transition_matrix_ : ndarray of shape (n_classes, n_classes), float64
        Estimate of P(given = j if true = i); rows sum to 1.
    """

    def __init__(self, inquiry: Inquiry, classes: NDArray[Any], index: pd.Index | None):
        self.classes_ = classes
        self._training_labels_ = TrainingLabels(inquiry.given, inquiry.judgement.corrected, index)
        self._take(inquiry)


def judge_labels(
    y: ArrayLike,
    probabilities: Any,
    *,
    classes: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    margin: float = 0.0,
    checked: Any = None,
    groups: ArrayLike | None = None,
    index: Any = None,
) -> Verdict:
    """Judge labels by what any model says of them: corrected labels, and how many are wrong.

    Takes what ``cleanlab.filter.find_label_issues`` takes. What is known of wrong labels beforehand was learned from
    data sets of many kinds (`noisyfit.judgement.judge`); no true label is needed.

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
    checked : mapping, Series, path, DataFrame, list of dict or None, default=None
        What people have found already, as `Verdict.settle` takes it.
    groups : array-like of shape (n_samples,) or None, default=None
        Groups (of one person, document or source, say), over which rows to check are spread.
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
    names = _as_index(names) if names is not None and not callable(names) else None
    if names is not None and len(names) != len(given):
        raise ValueError(f"`index` must name each of the {len(given)} rows, got {len(names)} names.")
    units = None if groups is None else check_groups(groups, given)
    known = NO_CHECKS if checked is None else read_checks(checked, given, columns, names)
    judgement = judge(witnesses, given, weight, margin=margin)
    return Verdict(Inquiry(given, judgement, margin, units, known, at_fit=known, learned=False), columns, names)


def _as_index(names: Any) -> pd.Index:
    try:
        return pd.Index(names)
    except UnicodeEncodeError:  # pandas' strings are in UTF-8, which holds no lone surrogates
        return pd.Index(names, dtype=object)


def _seed_from(random_state: Any) -> int:
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        as_random_state(random_state)  # raises for an int that cannot be a seed
        return int(random_state)
    return int(as_random_state(random_state).randint(np.iinfo(np.int32).max))


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
    if classes is not None:
        check_texts("classes", classes)
    found = np.unique(labels)
    columns = found if classes is None else np.array(classes)
    if classes is None and len(found) != n_columns and labels.dtype.kind in "iu":
        columns = np.arange(n_columns, dtype=labels.dtype)  # class numbers, of which some may not occur
    if len(columns) != n_columns or len(np.unique(columns)) != n_columns or not np.isin(found, columns).all():
        raise ValueError(
            f"`probabilities` has {n_columns} columns, and y the labels {found.tolist()[:10]}. Pass `classes`, the "
            "label that each column stands for."
        )
    order = np.argsort(columns)
    return columns, order[np.searchsorted(columns, labels, sorter=order)].astype(np.int64)
