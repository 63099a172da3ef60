"""Corrected labels in front of any other estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .classifier import JointOptimizationClassifier
from .report import find_fitted

__all__ = ["LabelCorrector"]


def _final_has(name: str) -> Any:
    """Say whether the estimator behind the correction has a method."""

    def check(self: Any) -> bool:
        getattr(getattr(self, "estimator_", self.estimator), name)
        return True

    return check


class LabelCorrector(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Correct the labels, then fit another classifier to them.

    For classifiers that the corrected labels are wanted for, gradient boosting say. In cross-validation the labels are
    corrected anew in every training part, so that test parts stay apart.

    Parameters
    ----------
    estimator : estimator
        Classifier of scikit-learn's kind, which is cloned and fitted to the corrected labels.
    corrector : estimator or None, default=None
        `JointOptimizationClassifier`, or a Pipeline or search that ends in one, which is cloned and fitted to the
        labels as they are; None is one with its defaults.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of y, sorted; also those that no sample has any more after the correction.
    corrected_labels_ : ndarray of shape (n_samples,)
        Labels that `estimator_` was fitted to, row by row.
    corrector_ : estimator
        Fitted corrector.
    estimator_ : estimator
        Fitted classifier.
    feature_names_in_ : ndarray of shape (n_features,)
        As `estimator_` has them, where it has them.
    n_features_in_ : int
        Likewise.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from noisyfit import JointOptimizationClassifier, LabelCorrector
    >>> X, y = load_iris(return_X_y=True)
    >>> corrector = JointOptimizationClassifier(max_epochs=5, random_state=0)
    >>> clf = LabelCorrector(RandomForestClassifier(random_state=0), corrector).fit(X, y)
    >>> clf.predict(X[:1]).shape, clf.predict_proba(X[:1]).shape, len(clf.corrected_labels_)
    ((1,), (1, 3), 150)
    >>> hasattr(clf, "decision_function")  # a forest has none
    False
    """

    def __init__(self, estimator: Any, corrector: Any = None):
        self.estimator = estimator
        self.corrector = corrector

    def fit(self, X: ArrayLike, y: ArrayLike, **fit_params: Any) -> LabelCorrector:
        """Correct the labels, and fit the classifier to them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs, as the corrector and the classifier both take them.
        y : array-like of shape (n_samples,)
            Noisy labels.
        **fit_params : dict
            For the corrector's ``fit``: `sample_weight`, `groups`, `checked`.

        Returns
        -------
        LabelCorrector
            Itself, fitted.

        Raises
        ------
        TypeError
            If `corrector` does not end in a `JointOptimizationClassifier`.
        ValueError
            If corrector or classifier cannot take X or y.
        """
        corrector = self._new_corrector().fit(X, y, **fit_params)
        fitted = find_fitted(corrector)
        estimator = clone(self.estimator).fit(X, fitted.corrected_labels_)
        self.corrector_, self.estimator_ = corrector, estimator  # only now: an error leaves an earlier fit as it was
        self.classes_, self.corrected_labels_ = fitted.classes_, fitted.corrected_labels_
        return self

    @property
    def n_features_in_(self) -> int:
        """Number of features that `estimator_` was fitted to."""
        check_is_fitted(self)
        return int(self.estimator_.n_features_in_)

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Names of the features that `estimator_` was fitted to; there where they had names."""
        names: NDArray[Any] = self.estimator_.feature_names_in_
        return names

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Give the classifier's predictions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels from `classes_`.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the classifier cannot take X.
        """
        check_is_fitted(self)
        labels: NDArray[Any] = self.estimator_.predict(X)
        return labels

    @available_if(_final_has("predict_proba"))
    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Give the classifier's class probabilities, where it has them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; 0 for a class that no corrected label is of.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the classifier cannot take X.
        """
        check_is_fitted(self)
        of_fitted = self.estimator_.predict_proba(X)
        proba = np.zeros((len(of_fitted), len(self.classes_)), of_fitted.dtype)
        proba[:, np.searchsorted(self.classes_, self.estimator_.classes_)] = of_fitted
        return proba

    @available_if(_final_has("decision_function"))
    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Give the classifier's decision function, where it has one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Inputs.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            As the classifier gives it, for the classes that it was fitted to.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the classifier cannot take X.
        """
        check_is_fitted(self)
        values: NDArray[Any] = self.estimator_.decision_function(X)
        return values

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        both = [get_tags(part).input_tags for part in (self.estimator, self._new_corrector())]
        tags.input_tags.sparse = all(part.sparse for part in both)
        tags.input_tags.allow_nan = all(part.allow_nan for part in both)
        return tags

    def _new_corrector(self) -> Any:
        return JointOptimizationClassifier() if self.corrector is None else clone(self.corrector)
