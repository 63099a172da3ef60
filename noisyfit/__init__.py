"""noisyfit trains classifiers on wrongly labelled data and gives the labels back corrected."""

from .classifier import JointOptimizationClassifier
from .report import label_report

__all__ = ["JointOptimizationClassifier", "label_report"]
__version__ = "0.1.0"
