from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from noisyfit import JointOptimizationClassifier, LabelCorrector
from noisyfit.noise import corrupt_labels, symmetric_noise


@pytest.fixture(scope="module")
def data():
    X, y = load_iris(return_X_y=True)
    return X, corrupt_labels(y, symmetric_noise(3, 0.2), random_state=0), y


def quick():
    return JointOptimizationClassifier(max_epochs=30, random_state=0)


def test_the_classifier_learns_the_corrected_labels(data):
    X, y_noisy, y = data
    clf = LabelCorrector(LogisticRegression(max_iter=1000), quick()).fit(X, y_noisy)
    expected = quick().fit(X, y_noisy).corrected_labels_
    np.testing.assert_array_equal(clf.corrected_labels_, expected)
    alone = LogisticRegression(max_iter=1000).fit(X, expected)
    np.testing.assert_array_equal(clf.predict(X), alone.predict(X))
    np.testing.assert_array_equal(clf.predict_proba(X), alone.predict_proba(X))
    assert (clf.corrected_labels_ == y).mean() > (y_noisy == y).mean() + 0.05
    assert clf.classes_.tolist() == [0, 1, 2]
    assert clf.n_features_in_ == 4


def test_pipeline_search_and_clone(data):
    X, y, _ = data
    names = np.array(["setosa", "versicolor", "virginica"])
    corrector = make_pipeline(StandardScaler(), quick().set_params(max_epochs=5))
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LabelCorrector(HistGradientBoostingClassifier(max_iter=5), corrector)),
        {"labelcorrector__corrector__jointoptimizationclassifier__alpha": [0.5, 1.0]},
        cv=2,
    ).fit(X, names[y])
    assert set(search.predict(X)) <= set(names)
    assert clone(search.best_estimator_).get_params()["labelcorrector__estimator__max_iter"] == 5
    assert cross_val_predict(search.best_estimator_, X, names[y], cv=2).shape == (150,)


def test_methods_are_those_of_the_classifier(data):
    X, y, _ = data
    without = LabelCorrector(LinearSVC(), quick())
    assert not hasattr(without, "predict_proba")
    assert without.fit(X, y).decision_function(X).shape == (150, 3)
    assert not hasattr(LabelCorrector(DecisionTreeClassifier()), "decision_function")


def test_a_class_that_the_correction_empties_stays_a_class(data):
    X, y, _ = data
    given = y.copy()
    given[140:] = 3  # ten flowers of class 2 with a label of their own
    clf = LabelCorrector(DecisionTreeClassifier(random_state=0), quick()).fit(X, given)
    clf.estimator_ = DecisionTreeClassifier(random_state=0).fit(X, np.where(given == 3, 2, given))
    assert clf.classes_.tolist() == [0, 1, 2, 3]
    proba = clf.predict_proba(X)
    assert proba.shape == (150, 4)
    assert (proba[:, 3] == 0).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_settings_of_the_fit_reach_the_corrector(data):
    X, y, _ = data
    weight = np.ones(150)
    weight[::3] = 0
    clf = LabelCorrector(LogisticRegression(max_iter=1000), quick()).fit(X[:149], y[:149], sample_weight=weight[:149])
    expected = quick().fit(X[:149], y[:149], sample_weight=weight[:149]).corrected_labels_
    np.testing.assert_array_equal(clf.corrected_labels_, expected)


def test_a_corrector_that_corrects_nothing_is_refused(data):
    X, y, _ = data
    with pytest.raises(TypeError, match="must be a fitted JointOptimizationClassifier"):
        LabelCorrector(LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())).fit(X, y)


# a margin of 1 keeps all labels: some of these data are noise, and have one label after a correction
SMALL = JointOptimizationClassifier(max_epochs=2, begin=1, cross_fit=0, margin=1, random_state=0)


@parametrize_with_checks([LabelCorrector(LogisticRegression(), SMALL)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)
