from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from noisyfit import JointOptimizationClassifier, label_report
from noisyfit.noise import corrupt_labels, symmetric_noise
from noisyfit.report import _told_changes

COLUMNS = ["given_label", "predicted_label", "is_label_issue", "label_quality", "corrected_label", "confidence"]


def test_report_says_what_the_attributes_say(blobs, quick):
    X, y, _ = blobs
    names = np.array(["ham", "eggs", "spam"])
    clf = quick(max_epochs=10).fit(X, names[y])
    report, soft, rows = clf.label_report(), clf.soft_labels_, np.arange(len(y))
    given, corrected = np.searchsorted(clf.classes_, names[y]), np.searchsorted(clf.classes_, clf.corrected_labels_)
    assert list(report.columns) == COLUMNS
    assert list(report["given_label"]) == list(names[y])
    assert list(report["predicted_label"]) == list(clf.classes_[soft.argmax(axis=1)])
    assert list(report["corrected_label"]) == list(clf.corrected_labels_)
    assert list(report["is_label_issue"]) == list(clf.corrected_labels_ != names[y])
    np.testing.assert_array_equal(report["label_quality"], soft[rows, given])
    np.testing.assert_array_equal(report["confidence"], soft[rows, corrected])
    assert report["is_label_issue"].any()
    encoded = clf.label_report(encoded=True)
    assert list(encoded["given_label"]) == list(given)
    assert list(encoded["corrected_label"]) == list(corrected)
    assert encoded["predicted_label"].dtype.kind == "i"
    pd.testing.assert_series_equal(encoded["label_quality"], report["label_quality"])


def test_waiting_rows_keep_their_label_in_the_report(blobs, quick):
    X, y, _ = blobs
    clf = quick(label_update="hard", n_relabel=1, begin=4, lr=0.5).fit(X, y)
    report = clf.label_report()
    assert report["is_label_issue"].sum() == 1
    assert (report["predicted_label"] != report["given_label"]).sum() > 1  # these are still waiting


def test_index_of_y_comes_before_that_of_x(blobs, quick):
    X, y, _ = blobs
    row_names, label_names = [f"row {i}" for i in range(90)], [f"label {i}" for i in range(90)]
    frame, series = pd.DataFrame(X, index=row_names), pd.Series(y, index=label_names)
    assert list(quick().fit(frame, series).label_report().index) == label_names
    assert list(quick().fit(frame, y).label_report().index) == row_names
    assert list(quick().fit(X, y).label_report().index) == list(range(90))


def test_report_is_found_in_pipelines_and_searches(blobs, quick):
    X, y, _ = blobs
    pipeline = make_pipeline(StandardScaler(), quick())
    expected = quick().fit(StandardScaler().fit_transform(X), y).label_report()
    pd.testing.assert_frame_equal(label_report(pipeline.fit(X, y)), expected)
    search = GridSearchCV(pipeline, {"jointoptimizationclassifier__alpha": [0.8]}, cv=2).fit(X, y)
    pd.testing.assert_frame_equal(label_report(search), expected)
    pd.testing.assert_frame_equal(label_report(make_pipeline(search), encoded=True), expected)


@pytest.mark.parametrize("wrap", [lambda clf: clf, lambda clf: make_pipeline(StandardScaler(), clf)])
def test_not_fitted(quick, wrap):
    with pytest.raises(NotFittedError):
        label_report(wrap(quick()))


def test_a_search_that_is_not_fitted(quick):
    with pytest.raises(NotFittedError):
        label_report(GridSearchCV(quick(), {}))


def test_a_search_without_refit(blobs, quick):
    search = GridSearchCV(quick(), {"alpha": [0.8]}, cv=2, refit=False).fit(blobs[0], blobs[1])
    with pytest.raises(TypeError, match="refit=True"):
        label_report(search)


def test_nothing_to_report(blobs):
    with pytest.raises(TypeError, match="ends in one; found LogisticRegression instead"):
        label_report(make_pipeline(StandardScaler(), LogisticRegression()).fit(blobs[0], blobs[1]))


def test_cleanlab_takes_the_report():
    cleanlab = pytest.importorskip("cleanlab.classification")
    X, y = load_iris(return_X_y=True)
    y_noisy = corrupt_labels(y, symmetric_noise(3, 0.2), random_state=0)
    clf = JointOptimizationClassifier(random_state=0).fit(X, y_noisy)
    report = clf.label_report(encoded=True)
    learner = cleanlab.CleanLearning(LogisticRegression(max_iter=1000))
    learner.fit(X, y_noisy, label_issues=report)
    kept = ~report["is_label_issue"]
    alone = LogisticRegression(max_iter=1000).fit(X[kept], y_noisy[kept])
    np.testing.assert_array_equal(learner.predict(X), alone.predict(X))
    assert learner.get_label_issues()["is_label_issue"].sum() == (~kept).sum() > 10


def test_a_summary_has_a_line_a_pair_and_tells_long_names_apart():
    names = ["x" * 50 + end for end in "abc"] + ["two\nlines", "\ud800"]
    given, corrected = np.array([0, 0, 1, 3, 4]), np.array([2, 2, 2, 4, 3])
    counts = _told_changes(np.array(names, dtype=object), given, corrected)
    long = "x" * 39 + "…"
    assert [line.split() for line in counts] == [
        [long, "->", long, "2"],
        [long, "->", long, "1"],
        ["two\\nlines", "->", "\\ud800", "1"],
        ["\\ud800", "->", "two\\nlines", "1"],
    ]
