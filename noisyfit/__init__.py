"""noisyfit trains classifiers on wrongly labelled data and gives the labels back corrected."""

from . import displays, exceptions, losses, metrics, networks, noise
from .classifier import JointOptimizationClassifier
from .report import label_report

__all__ = [
    "JointOptimizationClassifier",
    "displays",
    "exceptions",
    "label_report",
    "losses",
    "metrics",
    "networks",
    "noise",
]
__version__ = "0.1.0"
