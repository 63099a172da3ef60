"""What a running fit tells: progress, and scikit-learn's callbacks."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from noisyfit.metrics import recovery_accuracy

sklearn_callback = pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9")


def test_quiet_by_default(blobs, quick, capfd):
    quick().fit(blobs[0], blobs[1]).predict(blobs[0])
    assert capfd.readouterr() == ("", "")


def test_a_plain_log_where_there_is_no_terminal(blobs, quick, capsys):
    quick(max_epochs=50, retrain_epochs=10, verbose=1).fit(blobs[0], blobs[1])
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 20
    assert lines[0].startswith("epoch 3/60: loss ")
    assert "labels changed 0.0%, corrected 0.0%" in lines[0]
    assert lines[-1].startswith("epoch 60/60: ")
    assert lines[-1].endswith(" 0 s left")


def test_a_bar_on_a_terminal(blobs, quick, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    quick(verbose=1).fit(blobs[0], blobs[1])
    out, err = capsys.readouterr()
    assert out == ""
    assert "4/4" in err
    assert "loss" in err
    assert "labels changed" in err


class Watcher:
    """Follows scikit-learn's protocol for callbacks."""

    def __init__(self, y_clean=None, stop_at=None):
        self.y_clean, self.stop_at = y_clean, stop_at
        self.events, self.recovery = [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, metadata=None):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        if self.y_clean is not None:
            self.recovery.append(recovery_accuracy(self.y_clean, fitted_estimator.corrected_labels_))
            assert fitted_estimator.predict(X).shape == (len(X),)
        return len(self.recovery) == self.stop_at or self.events.count("end epoch") == self.stop_at


def test_callbacks_hear_of_every_epoch_and_get_a_fitted_estimator(blobs, quick):
    X, y, y_clean = blobs
    watcher = Watcher(y_clean)
    clf = quick(retrain_epochs=1).set_callbacks(watcher).fit(X, y)
    epochs = ["begin epoch", "end epoch"] * 5
    assert watcher.events == ["setup", "begin fit", *epochs, "end fit", "teardown"]
    assert watcher.recovery[-1] == recovery_accuracy(y_clean, clf.corrected_labels_)
    expected = quick(retrain_epochs=1).fit(X, y)
    np.testing.assert_array_equal(clf.soft_labels_, expected.soft_labels_)
    np.testing.assert_array_equal(clf.predict_proba(X), expected.predict_proba(X))  # watching changes nothing


@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_callback_may_stop_step_1(blobs, quick, stop_at):
    X, y, _ = blobs
    clf = quick(begin=2).set_callbacks(Watcher(stop_at=stop_at)).fit(X, y)
    assert clf.n_iter_ == stop_at
    if stop_at == 1:  # before the first update, the labels are as given
        np.testing.assert_array_equal(clf.corrected_labels_, y)
        assert clf.noise_rate_ == 0


def test_a_stop_before_any_output_leaves_the_labels_as_given(blobs, quick):
    X, y, _ = blobs
    params = {"cross_fit": 3, "gamma": "damped", "begin": 4, "window": 1, "witness": None}
    clf = quick(**params).set_callbacks(Watcher(stop_at=1)).fit(X, y)
    np.testing.assert_array_equal(clf.corrected_labels_, y)
    assert clf.expected_gain_ is None
    assert clf.predict(X).shape == y.shape


def test_a_stop_ends_the_whole_fit(blobs, quick):
    clf = quick(retrain_epochs=3).set_callbacks(Watcher(stop_at=2)).fit(blobs[0], blobs[1])
    assert list(clf.history_["step"]) == [1, 1]


def test_labels_that_a_callback_keeps_stay_as_of_their_epoch(blobs, quick):
    X, y, _ = blobs
    kept = []

    class Keeper(Watcher):
        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            kept.append(fitted_estimator.soft_labels_)

    quick(begin=1).set_callbacks(Keeper()).fit(X, y)
    assert all((kept[i] != kept[i + 1]).any() for i in range(3))


def test_an_error_at_the_very_end_of_a_second_fit_leaves_the_first(blobs, quick):
    X, y, _ = blobs

    class Late(Watcher):
        def on_fit_task_end(self, estimator, context, *, metadata=None):
            if context.task_name == "fit":
                raise KeyboardInterrupt

    clf = quick().fit(X, y)
    expected = clf.label_report()
    with pytest.raises(KeyboardInterrupt):
        clf.set_callbacks(Late()).fit(X[:40], y[:40])
    assert clf.label_report().equals(expected)


def test_callbacks_are_torn_down_after_an_error(blobs, quick):
    watcher = Watcher()
    with pytest.raises(ValueError, match="not finite"):
        quick(lr=1e30, net_params={"max_grad_norm": None}).set_callbacks(watcher).fit(blobs[0], blobs[1])
    assert watcher.events[-1] == "teardown"


def test_scikit_learn_s_own_progress_bar(blobs, quick, capsys):
    pytest.importorskip("rich")
    quick().set_callbacks(sklearn_callback.ProgressBar()).fit(blobs[0], blobs[1])
    assert "JointOptimizationClassifier" in capsys.readouterr().out
