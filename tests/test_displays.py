from __future__ import annotations

import pickle
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from noisyfit.displays import LabelGalleryDisplay, LabelHistoryDisplay, LabelTransitionDisplay
from noisyfit.metrics import recovery_accuracy


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def fitted(digits):
    from noisyfit import JointOptimizationClassifier

    X, y_noisy, _ = digits
    params = {
        "max_epochs": 12,
        "begin": 6,
        "margin": 0.0,
        "cross_fit": 0,
        "gamma": 0.0,
        "lr": 0.2,
        "module_params": {"hidden": (64,)},
    }
    return JointOptimizationClassifier(random_state=0, device="cpu", **params).fit(X, y_noisy)


def test_transitions_count_given_against_corrected(digits, fitted):
    _, y_noisy, _ = digits
    display = LabelTransitionDisplay.from_estimator(fitted)
    expected = [[np.sum((y_noisy == i) & (fitted.corrected_labels_ == j)) for j in range(10)] for i in range(10)]
    np.testing.assert_array_equal(display.counts, expected)
    assert display.ax_.get_xlabel() == "corrected label"
    assert display.ax_.get_ylabel() == "given label"
    changed = (y_noisy != fitted.corrected_labels_).mean()
    assert display.ax_.get_title() == f"{changed:.1%} of the labels changed"
    shown = {text.get_text() for text in display.ax_.texts}
    assert shown == {str(count) for count in np.ravel(expected) if count}


def test_transitions_of_strings_in_given_axes():
    _, ax = plt.subplots()
    display = LabelTransitionDisplay.from_predictions(["spam", "ham", "ham"], ["ham", "ham", "eggs"], ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    np.testing.assert_array_equal(display.counts, [[0, 0, 0], [1, 1, 0], [0, 1, 0]])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["eggs", "ham", "spam"]


HOSTILE = [
    r"$\frac{$",
    "$",
    "a_b^c",
    "back\\slash {",
    "100 %",
    "two\nlines",
    "nul \0",
    "\ud800",
    "\u202ertl",
    "\u2028",
    "x" * 10_000,
    r"\input{/etc/passwd}",
]


@pytest.mark.parametrize("usetex", [False, True])
def test_labels_are_plain_text(tmp_path, usetex):
    y = np.array(HOSTILE, dtype=object)
    with plt.rc_context({"text.usetex": usetex}):
        transitions = LabelTransitionDisplay(np.eye(len(y), dtype=int), y).plot()
        gallery = LabelGalleryDisplay(np.zeros((1, 8, 8)), [f"{HOSTILE[0]} → {HOSTILE[3]}\n99%"], n_certain=1).plot()
    names = [tick.get_text() for tick in transitions.ax_.get_xticklabels()]
    assert names == [tick.get_text() for tick in transitions.ax_.get_yticklabels()]
    assert names[:5] == HOSTILE[:5]
    assert names[5:10] == ["two\\nlines", "nul \\x00", "\\ud800", "\\u202ertl", "\\u2028"]
    assert names[10] == "x" * 39 + "…"
    for display in (transitions, gallery):
        drawn = [text for text in display.figure_.findobj(Text) if set(text.get_text()) & set("$\\")]
        assert drawn
        assert not any(text.get_usetex() or text.get_parse_math() for text in drawn)
        if not usetex:  # elsewhere TeX, which need not be there, sets the other texts
            display.figure_.savefig(tmp_path / "figure.png")


def test_captions_name_labels_plainly(blobs, quick):
    X, y, _ = blobs
    clf = quick(max_epochs=10).fit(X, np.array([r"$\frac{$", "\n", "b"], dtype=object)[y])
    captions = LabelGalleryDisplay.from_estimator(clf, np.resize(X, (90, 4)), n_images=2).captions
    assert all(caption.count("\n") == 1 for caption in captions)


def test_many_classes_go_without_numbers():
    labels = np.arange(40)
    assert not LabelTransitionDisplay.from_predictions(labels, labels).ax_.texts


def test_history_shows_shares_and_terms(fitted):
    display = LabelHistoryDisplay.from_estimator(make_pipeline(StandardScaler(), fitted))
    upper, lower = (dict(zip(ax.get_legend_handles_labels()[1], ax.lines, strict=True)) for ax in display.axes_)
    np.testing.assert_array_equal(upper["differ from the given label"].get_ydata(), fitted.history_["labels_corrected"])
    assert list(lower) == ["L_c, classification", "L_p, class prior", "L_e, entropy"]
    np.testing.assert_array_equal(lower["L_e, entropy"].get_ydata(), fitted.history_["L_e"])


def test_history_shows_recovery_by_epoch(digits, fitted):
    _, y_noisy, y_clean = digits
    display = LabelHistoryDisplay.from_estimator(fitted, y_clean=y_clean)
    assert len(display.recovery) == 12
    np.testing.assert_allclose(display.recovery[:5], recovery_accuracy(y_clean, y_noisy))  # before the first update
    assert display.recovery[5] > display.recovery[4] + 0.1
    assert display.recovery[-1] == pytest.approx(recovery_accuracy(y_clean, fitted.corrected_labels_))
    assert "right (recovery" in display.axes_[0].get_legend_handles_labels()[1][-1]


def test_history_of_a_pickle_knows_the_last_recovery_only(digits, fitted):
    display = LabelHistoryDisplay.from_estimator(pickle.loads(pickle.dumps(fitted)), y_clean=digits[2])
    assert set(display.recovery) == {recovery_accuracy(digits[2], fitted.corrected_labels_)}


def test_history_in_given_axes(fitted):
    _, axes = plt.subplots(2)
    display = LabelHistoryDisplay.from_estimator(fitted, ax=axes)
    assert list(display.axes_) == list(axes)
    _, ax = plt.subplots()
    display = LabelHistoryDisplay.from_estimator(fitted, ax=ax)
    assert list(display.axes_) == ax.child_axes
    assert display.figure_ is ax.figure


def test_gallery_shows_the_most_and_least_certain_changes(digits, fitted):
    X, y_noisy, _ = digits
    display = LabelGalleryDisplay.from_estimator(fitted, X, n_images=5)
    changed = np.flatnonzero(fitted.corrected_labels_ != y_noisy)
    confidence = fitted.soft_labels_.max(axis=1)
    by_confidence = changed[np.argsort(-confidence[changed], kind="stable")]
    expected = [*by_confidence[:3], by_confidence[-1], by_confidence[-2]]
    np.testing.assert_array_equal(display.images, X[expected].reshape(-1, 8, 8))
    first = expected[0]
    assert display.captions[0] == f"{y_noisy[first]} → {fitted.corrected_labels_[first]}\n{confidence[first]:.0%}"
    assert len(display.ax_.child_axes) == 5
    assert {text.get_text() for text in display.ax_.texts} == {"most certain", "least certain"}


@pytest.mark.parametrize("kind", ["gray", "colour bytes", "colour floats", "flat colour"])
def test_gallery_of_images(blobs, quick, kind):
    _, y, _ = blobs
    X = np.random.RandomState(0).randint(0, 256, (90, 3, 8, 8)).astype(np.uint8)
    X[np.arange(90), y % 3] //= 4
    image_shape = None
    if kind == "gray":
        X = X[:, :1]
    elif kind == "colour floats":
        X = X.astype(np.float32) / 50 - 1
    elif kind == "flat colour":
        X, image_shape = X.reshape(90, -1).astype(np.float32), (3, 8, 8)
    params = {"module_params": {"width": 4}} if X.ndim == 4 else {}
    clf = quick(max_epochs=2, **params).fit(X, y)
    _, ax = plt.subplots()
    display = LabelGalleryDisplay.from_estimator(clf, X, n_images=4, image_shape=image_shape, ax=ax)
    assert display.ax_ is ax
    assert display.images.shape == ((4, 8, 8) if kind == "gray" else (4, 8, 8, 3))


@pytest.mark.parametrize(
    ("X", "params", "message"),
    [
        (np.zeros((5, 64)), {}, "must have the 1797 rows given to fit, got 5"),
        (np.zeros((1797, 60)), {}, "rows of 60 numbers, not of images"),
        (np.zeros((1797, 2, 8, 8)), {}, "images of 1 or 3 channels"),
        (np.zeros((1797, 64)), {"n_images": 1}, "`n_images` must be"),
    ],
)
def test_gallery_of_something_else(fitted, X, params, message):
    with pytest.raises(ValueError, match=message):
        LabelGalleryDisplay.from_estimator(fitted, X, **params)


def test_gallery_without_changes(blobs, quick):
    X, _, y = blobs
    clf = quick(max_epochs=20, lr=0.5).fit(X, y)
    assert (clf.corrected_labels_ == y).all()
    with pytest.raises(ValueError, match="No label was changed"):
        LabelGalleryDisplay.from_estimator(clf, np.zeros((90, 64)))


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"needs matplotlib. Install it with: pip install 'noisyfit\[plot\]'"):
        LabelTransitionDisplay.from_predictions([0, 1], [0, 1])
