from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from noisyfit.metrics import label_error_scores, recovery_accuracy


def report(quality, marked):
    return pd.DataFrame({"label_quality": quality, "is_label_issue": marked})


def test_recovery_accuracy_counts_right_labels():
    assert recovery_accuracy(["a", "b", "b"], ["a", "b", "a"]) == pytest.approx(2 / 3)


def test_scores_against_counts_by_hand():
    y_clean, y_given = [0, 0, 1, 1, 2], [0, 1, 1, 0, 2]  # rows 1 and 3 are wrong
    scores = label_error_scores(y_clean, y_given, report([0.9, 0.1, 0.3, 0.5, 0.8], [False, True, True, False, False]))
    # of the 2 x 3 pairs of a wrong and a right row, only (3, 2) is ranked the wrong way round
    assert scores["auroc"] == pytest.approx(5 / 6)
    assert scores["average_precision"] == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert (scores["precision"], scores["recall"], scores["f1"]) == pytest.approx((0.5, 0.5, 0.5))


def test_undefined_scores_are_nan():
    nothing_wrong = label_error_scores([0, 1], [0, 1], report([0.9, 0.8], [False, False]))
    assert np.isnan(nothing_wrong["auroc"])
    assert np.isnan(nothing_wrong["average_precision"])
    assert nothing_wrong["f1"] == 0
    assert np.isnan(label_error_scores([0, 1], [1, 0], report([0.9, 0.8], [True, True]))["auroc"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recovery_accuracy([0, 1], [0]), r"same length, at least 1; got y_clean \(2,\)"),
        (lambda: recovery_accuracy([], []), "at least 1"),
        (lambda: recovery_accuracy(["0", "1"], [0, 1]), "no label in common .*Give them the same type"),
        (lambda: label_error_scores([0], [0], pd.DataFrame({"label_quality": [1.0]})), "is_label_issue"),
        (lambda: label_error_scores([0], [0], report([0.1, 0.2], [True, False])), "same length"),
    ],
)
def test_wrong_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
