"""The library's fit in the studies: the paper's first step unless a study says otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback

from noisyfit import JointOptimizationClassifier
from noisyfit.data import as_rows
from noisyfit.displays import LabelHistoryDisplay
from noisyfit.metrics import recovery_accuracy

from harness import BATCH_SIZE, Budget, Cifar, Result, best_last

PAPER = {"cross_fit": 0, "class_prior": "uniform", "begin": 0.3}


class TestAccuracy(Callback):
    """Test accuracy after every epoch, for scoring only."""

    def __init__(self, X: np.ndarray, y: np.ndarray):
        self.X, self.y = X, y

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.rows, self.by_epoch = as_rows(self.X, torch.device(net.device)), []

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self.by_epoch.append(float((net.predict_proba(self.rows).argmax(axis=1) == self.y).mean()))


def classifier(budget: Budget, seed: int, **params: Any) -> JointOptimizationClassifier:
    """Give a classifier with the settings of a budget, and its own where they are given."""
    shared = {
        "module": budget.make_network,
        "max_epochs": budget.epochs,
        "lr": budget.lr,
        "optimizer_params": {"momentum": 0.9, "weight_decay": budget.weight_decay},
        "batch_size": BATCH_SIZE,
        "augment": budget.augment,
        "device": budget.device,
        "random_state": seed,
    }
    return JointOptimizationClassifier(**(shared | PAPER | params))


def fit(budget: Budget, data: Cifar, seed: int, **params: Any) -> tuple[JointOptimizationClassifier, Result]:
    """Fit, and give test accuracy and recovery accuracy by epoch."""
    accuracy = TestAccuracy(data.X_test[: budget.n_tested], data.y_test[: budget.n_tested])
    clf = classifier(budget, seed, net_params={"callbacks": [accuracy]}, **params).fit(data.X, data.y_given)
    recovery = LabelHistoryDisplay.from_estimator(clf, y_clean=data.y_clean).recovery
    return clf, {
        **best_last(accuracy.by_epoch),
        "recovery": float(recovery_accuracy(data.y_clean, clf.corrected_labels_)),
        "recovery_by_epoch": recovery.tolist(),
        "given_right": float(recovery_accuracy(data.y_clean, data.y_given)),
    }
