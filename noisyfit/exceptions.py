"""The errors and warnings of noisyfit that a caller may want to catch."""

from __future__ import annotations

__all__ = ["ClassShrunkWarning", "CorrectionRefusedWarning", "LabelCollapseWarning", "TrainingDivergedError"]


class TrainingDivergedError(ValueError):
    """The training loss is no longer finite.

    Raised by ``fit`` with the epoch at which it happened and what to lower.

    Examples
    --------
    >>> from noisyfit.exceptions import TrainingDivergedError
    >>> issubclass(TrainingDivergedError, ValueError)
    True
    """


class LabelCollapseWarning(UserWarning):
    """The corrected labels have fallen into one class, or the settings let them.

    Examples
    --------
    >>> import warnings
    >>> from noisyfit.exceptions import LabelCollapseWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", LabelCollapseWarning)  # stop instead of warning
    """


class ClassShrunkWarning(UserWarning):
    """A class has lost a third of its labels, or more, by the correction.

    Examples
    --------
    >>> import warnings
    >>> from noisyfit.exceptions import ClassShrunkWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", ClassShrunkWarning)  # stop instead of warning
    """


class CorrectionRefusedWarning(UserWarning):
    """All given labels were kept, for the reason in ``correction_refused_``.

    Examples
    --------
    >>> import warnings
    >>> from noisyfit.exceptions import CorrectionRefusedWarning
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", CorrectionRefusedWarning)  # look at correction_refused_ instead
    """
