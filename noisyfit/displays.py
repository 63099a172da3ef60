"""Figures of a fit, in scikit-learn's manner: data in the constructor, drawing in ``plot``.

They need matplotlib, which ``pip install 'noisyfit[plot]'`` brings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import confusion_matrix

from ._validation import check_number, import_extra
from .metrics import recovery_accuracy
from .report import find_fitted, shown_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LabelGalleryDisplay", "LabelHistoryDisplay", "LabelTransitionDisplay"]

_PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}  # labels are no formulas, nor TeX, which could run code


class LabelTransitionDisplay:
    """Given against corrected labels, as a matrix of counts.

    Parameters
    ----------
    counts : ndarray of shape (n_classes, n_classes), int
        Number of samples of each given label (rows) and corrected label (columns).
    class_names : ndarray of shape (n_classes,)
        Labels of rows and columns.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        The figure of `ax_`.

    Examples
    --------
    >>> from noisyfit.displays import LabelTransitionDisplay
    >>> import numpy as np
    >>> display = LabelTransitionDisplay(np.array([[1, 1], [0, 1]]), np.array(["a", "b"]))
    >>> display.counts
    array([[1, 1],
           [0, 1]])
    >>> display.plot().ax_.get_title()
    '33.3% of the labels changed'

    From labels before and after, or from a fitted classifier:

    >>> given, corrected = ["a", "a", "b"], ["a", "b", "b"]
    >>> LabelTransitionDisplay.from_predictions(given, corrected).counts.tolist()
    [[1, 1], [0, 1]]
    >>> from sklearn.datasets import load_iris
    >>> from noisyfit import JointOptimizationClassifier
    >>> clf = JointOptimizationClassifier(max_epochs=2, random_state=0).fit(*load_iris(return_X_y=True))
    >>> int(LabelTransitionDisplay.from_estimator(clf).counts.sum())
    150
    """

    ax_: Axes
    figure_: Any

    def __init__(self, counts: NDArray[np.int64], class_names: NDArray[Any]):
        self.counts = counts
        self.class_names = class_names

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Axes | None = None) -> LabelTransitionDisplay:
        """Draw the label changes of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            Fitted `JointOptimizationClassifier`, or a Pipeline or search that ends in one.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LabelTransitionDisplay
            The drawn figure.

        Raises
        ------
        ImportError
            Without matplotlib.
        NotFittedError
            Before ``fit``.
        TypeError
            If `estimator` does not end in a `JointOptimizationClassifier`.
        """
        clf = find_fitted(estimator)
        report = clf.label_report(encoded=True)
        counts = confusion_matrix(report["given_label"], report["corrected_label"], labels=np.arange(len(clf.classes_)))
        return cls(counts, clf.classes_).plot(ax=ax)

    @classmethod
    def from_predictions(
        cls, y_given: ArrayLike, corrected_labels: ArrayLike, *, ax: Axes | None = None
    ) -> LabelTransitionDisplay:
        """Draw the label changes between two arrays of labels.

        Parameters
        ----------
        y_given, corrected_labels : array-like of shape (n_samples,)
            Labels before and after.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LabelTransitionDisplay
            The drawn figure.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If the two have not the same length.
        """
        y_given, corrected_labels = np.asarray(y_given), np.asarray(corrected_labels)
        class_names = np.unique(np.concatenate([y_given, corrected_labels]))
        return cls(confusion_matrix(y_given, corrected_labels, labels=class_names), class_names).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> LabelTransitionDisplay:
        """Draw the matrix; each cell is coloured by its share of the row.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LabelTransitionDisplay
            Itself.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        n_classes = len(self.class_names)
        self.ax_ = ax = _new_axes(figsize=(1.8 + 0.55 * n_classes, 1.2 + 0.5 * n_classes)) if ax is None else ax
        self.figure_ = ax.get_figure()
        shares = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
        image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if n_classes <= 30:
            for (i, j), count in np.ndenumerate(self.counts):
                if count:
                    colour = "white" if shares[i, j] > 0.6 else "black"
                    ax.text(j, i, str(count), ha="center", va="center", color=colour, fontsize="small")
        names = [shown_label(name) for name in self.class_names]
        rotation = 90 if max(map(len, names)) > 3 else 0
        ax.set_xticks(np.arange(n_classes), names, rotation=rotation, **_PLAIN)
        ax.set_yticks(np.arange(n_classes), names, **_PLAIN)
        changed = 1 - np.trace(self.counts) / max(1, self.counts.sum())
        ax.set(xlabel="corrected label", ylabel="given label", title=f"{changed:.1%} of the labels changed")
        self.figure_.colorbar(image, ax=ax, label="share of the given label", fraction=0.046, pad=0.04)
        return self


class LabelHistoryDisplay:
    """Share of labels changed and terms of the loss by epoch; recovery accuracy where true labels are known.

    Parameters
    ----------
    history : DataFrame
        ``clf.history_``.
    recovery : ndarray of shape (n_epochs,) or None, default=None
        Share of right labels after each epoch of joint optimisation.

    Attributes
    ----------
    axes_ : ndarray of shape (2,) of matplotlib Axes
        Labels above, loss below.
    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from noisyfit import JointOptimizationClassifier
    >>> from noisyfit.displays import LabelHistoryDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = JointOptimizationClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> LabelHistoryDisplay(clf.history_).plot().recovery is None
    True
    >>> LabelHistoryDisplay.from_estimator(clf, y_clean=y).recovery.shape
    (2,)
    """

    axes_: NDArray[Any]
    figure_: Any

    def __init__(self, history: pd.DataFrame, recovery: NDArray[np.float64] | None = None):
        self.history = history
        self.recovery = recovery

    @classmethod
    def from_estimator(cls, estimator: Any, *, y_clean: ArrayLike | None = None, ax: Any = None) -> LabelHistoryDisplay:
        """Draw the epochs of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            Fitted `JointOptimizationClassifier`, or a Pipeline or search that ends in one.
        y_clean : array-like of shape (n_samples,) or None, default=None
            True labels of the training samples; the recovery drawn is that of the labels in training, before any
            `margin`. A classifier that was pickled has forgotten the labels of its epochs: its recovery is drawn as
            one line, that of its final labels.
        ax : matplotlib Axes, sequence of two or None, default=None
            Where to draw: the room of one is shared by labels and loss, two take one each; None makes a figure.

        Returns
        -------
        LabelHistoryDisplay
            The drawn figure.

        Raises
        ------
        ImportError
            Without matplotlib.
        NotFittedError
            Before ``fit``.
        TypeError
            If `estimator` does not end in a `JointOptimizationClassifier`.
        ValueError
            If `y_clean` does not have a label for each row of the fit.
        """
        clf = find_fitted(estimator)
        recovery = None if y_clean is None else _recovery_by_epoch(clf, np.asarray(y_clean))
        return cls(clf.history_, recovery).plot(ax=ax)

    def plot(self, ax: Any = None) -> LabelHistoryDisplay:
        """Draw both panels.

        Parameters
        ----------
        ax : matplotlib Axes, sequence of two or None, default=None
            Where to draw: the room of one is shared by labels and loss, two take one each; None makes a figure.

        Returns
        -------
        LabelHistoryDisplay
            Itself.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        if ax is None:
            pyplot = import_extra("matplotlib.pyplot", "plot")
            axes = pyplot.subplots(2, 1, sharex=True, figsize=(6.4, 5.6), layout="constrained")[1]
        elif np.ndim(ax) == 0:
            ax.set_axis_off()
            axes = [ax.inset_axes((0, 0.55, 1, 0.45)), ax.inset_axes((0, 0, 1, 0.45))]
        else:
            axes = ax
        self.axes_ = np.asarray(axes, dtype=object)
        self.figure_ = axes[0].get_figure()
        history = self.history[self.history["step"] == 1]
        self._plot_labels(axes[0], history)
        for name, meaning in {"L_c": "classification", "L_p": "class prior", "L_e": "entropy"}.items():
            axes[1].plot(history["epoch"], history[name], label=f"{name}, {meaning}")
        axes[1].set(xlabel="epoch", ylabel="loss terms (nats)")
        for panel in axes:
            panel.legend(fontsize="small")
            panel.grid(alpha=0.3)
        return self

    def _plot_labels(self, ax: Axes, history: pd.DataFrame) -> None:
        epochs = history["epoch"]
        ax.plot(epochs, history["labels_corrected"], label="differ from the given label")
        ax.plot(epochs, history["labels_changed"], label="changed in this epoch", linestyle="--")
        if self.recovery is not None:
            ax.plot(epochs, self.recovery, label=f"right (recovery, {self.recovery[-1]:.1%} at the end)", color="C2")
        ax.set(ylabel="share of the labels", ylim=(0, 1))


class LabelGalleryDisplay:
    """Images whose label changed, the most certain changes first, the least certain below.

    Parameters
    ----------
    images : ndarray of shape (n_shown, height, width) or (n_shown, height, width, 3)
        What to show.
    captions : list of str
        A line for each.
    n_certain : int
        How many of them are the most certain changes; the others are the least certain.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn; each image has an inset of its own.
    figure_ : matplotlib Figure
        The figure of `ax_`.

    Examples
    --------
    >>> import numpy as np
    >>> from noisyfit.displays import LabelGalleryDisplay
    >>> display = LabelGalleryDisplay(np.zeros((2, 8, 8)), ["1 to 7", "3 to 8"], n_certain=1)
    >>> display.plot().captions
    ['1 to 7', '3 to 8']

    Of a fitted classifier, whose changes are shown with the images it was fitted to:

    >>> from sklearn.datasets import load_digits
    >>> from noisyfit import JointOptimizationClassifier
    >>> from noisyfit.noise import corrupt_labels, uniform_noise
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = JointOptimizationClassifier(cross_fit=0, max_epochs=5, random_state=0)
    >>> clf = clf.fit(X, corrupt_labels(y, uniform_noise(10, 0.2), random_state=0))
    >>> LabelGalleryDisplay.from_estimator(clf, X, n_images=4).images.shape
    (4, 8, 8)
    """

    ax_: Axes
    figure_: Any

    def __init__(self, images: NDArray[Any], captions: list[str], n_certain: int):
        self.images = images
        self.captions = captions
        self.n_certain = n_certain

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        n_images: int = 20,
        image_shape: tuple[int, ...] | None = None,
        ax: Axes | None = None,
    ) -> LabelGalleryDisplay:
        """Draw label changes of a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            Fitted `JointOptimizationClassifier`, or a Pipeline or search that ends in one.
        X : array-like of shape (n_samples, channels, height, width) or (n_samples, n_features)
            The images as given to ``fit``, of 1 or 3 channels.
        n_images : int, default=20
            How many to show, at least 2: half of them the most, half the least certain changes.
        image_shape : tuple of int or None, default=None
            (height, width) or (channels, height, width) of the images where X is two-dimensional; None: squares.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LabelGalleryDisplay
            The drawn figure.

        Raises
        ------
        ImportError
            Without matplotlib.
        NotFittedError
            Before ``fit``.
        TypeError
            If `estimator` does not end in a `JointOptimizationClassifier`.
        ValueError
            If X has not the rows of the fit, is not of images, or if no label changed.
        """
        report = find_fitted(estimator).label_report().reset_index(drop=True)
        images = _as_images(np.asarray(X), image_shape)
        check_number("n_images", n_images, low=2, integer=True)
        if len(images) != len(report):
            raise ValueError(f"`X` must have the {len(report)} rows given to fit, got {len(images)}.")
        changed = report[report["is_label_issue"]].sort_values("confidence", ascending=False, kind="stable")
        if changed.empty:
            raise ValueError("No label was changed: there is nothing to show.")
        n_certain = min((n_images + 1) // 2, len(changed))
        n_uncertain = min(n_images - n_certain, len(changed) - n_certain)
        shown = pd.concat([changed.head(n_certain), changed.tail(n_uncertain).iloc[::-1]])
        captions = [
            f"{shown_label(given)} → {shown_label(corrected)}\n{confidence:.0%}"
            for given, corrected, confidence in zip(
                shown["given_label"], shown["corrected_label"], shown["confidence"], strict=True
            )
        ]
        return cls(images[shown.index], captions, n_certain).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> LabelGalleryDisplay:
        """Draw the images, most certain changes in the upper rows.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LabelGalleryDisplay
            Itself.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        parts = {"most certain": range(self.n_certain), "least certain": range(self.n_certain, len(self.images))}
        n_columns = min(10, max(len(part) for part in parts.values()))
        lines = [
            (title if start == 0 else "", part[start : start + n_columns])
            for title, part in parts.items()
            for start in range(0, len(part), n_columns)
        ]
        self.ax_ = ax = _new_axes(figsize=(1.1 * n_columns + 0.6, 1.6 * len(lines) + 0.4)) if ax is None else ax
        self.figure_ = ax.get_figure()
        ax.set_axis_off()
        ax.set_title("Changed labels: given → corrected, confidence", fontsize="medium")
        for i, (title, shown) in enumerate(lines):
            bottom, height = 1 - (i + 1) / len(lines), 0.68 / len(lines)
            ax.text(-0.01, bottom + height / 2, title, rotation=90, ha="right", va="center", transform=ax.transAxes)
            for j, k in enumerate(shown):
                inset = ax.inset_axes((j / n_columns, bottom, 0.92 / n_columns, height))
                inset.imshow(self.images[k], cmap="gray_r")
                inset.set_title(self.captions[k], fontsize="small", pad=2, **_PLAIN)
                inset.set_xticks([])
                inset.set_yticks([])
        return self


def _new_axes(figsize: tuple[float, float]) -> Axes:
    pyplot = import_extra("matplotlib.pyplot", "plot")
    return pyplot.subplots(figsize=figsize, layout="constrained")[1]


def _recovery_by_epoch(clf: Any, y_clean: NDArray[Any]) -> NDArray[np.float64]:
    """Replay the label changes of a fit; the final recovery throughout where they are forgotten."""
    final = recovery_accuracy(y_clean, clf.corrected_labels_)
    labels = clf._training_labels_
    if labels.changes is None:
        return np.full(clf.n_iter_, final)
    codes = labels.given.copy()
    recovery = np.full(clf.n_iter_, recovery_accuracy(y_clean, clf.classes_[codes]))
    first_update = clf.n_iter_ - len(labels.changes)
    for epoch, (rows, new) in enumerate(labels.changes, start=first_update):
        codes[rows] = new
        recovery[epoch] = recovery_accuracy(y_clean, clf.classes_[codes])
    return recovery


def _as_images(X: NDArray[Any], image_shape: tuple[int, ...] | None) -> NDArray[Any]:
    """Give images of shape (n, height, width) or (n, height, width, 3) in a range that imshow takes."""
    if X.ndim == 2:
        side = round(X.shape[1] ** 0.5)
        image_shape = (side, side) if image_shape is None else image_shape
        if int(np.prod(image_shape)) != X.shape[1]:
            raise ValueError(f"`X` has rows of {X.shape[1]} numbers, not of images {image_shape}; set `image_shape`.")
        X = X.reshape(len(X), *image_shape)
    X = X[:, None] if X.ndim == 3 else X
    if X.ndim != 4 or X.shape[1] not in (1, 3):
        raise ValueError(f"`X` must hold images of 1 or 3 channels, (n, channels, height, width); got {X.shape}.")
    if X.shape[1] == 1:
        return X[:, 0]
    X = X.transpose(0, 2, 3, 1)
    if X.dtype == np.uint8:
        return X
    low, high = X.min(), X.max()
    return (X - low) / max(high - low, np.finfo(np.float32).tiny)
