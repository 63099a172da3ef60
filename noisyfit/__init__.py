"""noisyfit trains classifiers on wrongly labelled data and gives the labels back corrected."""

from . import displays, exceptions, label_studio, losses, metrics, networks, noise
from ._version import __version__ as __version__
from .classifier import JointOptimizationClassifier
from .corrector import LabelCorrector
from .report import label_report
from .review import apply_decisions, save_review
from .verdict import Verdict, judge_labels

__all__ = [
    "JointOptimizationClassifier",
    "LabelCorrector",
    "Verdict",
    "apply_decisions",
    "displays",
    "exceptions",
    "judge_labels",
    "label_report",
    "label_studio",
    "losses",
    "metrics",
    "networks",
    "noise",
    "save_review",
]
