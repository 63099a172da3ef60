"""The library's fit in the studies: the paper's first step unless a study says otherwise."""

from __future__ import annotations

from typing import Any

from noisyfit import JointOptimizationClassifier
from noisyfit.displays import LabelHistoryDisplay
from noisyfit.metrics import recovery_accuracy

from harness import BATCH_SIZE, Budget, Cifar, Result, TestAccuracy, best_last

PAPER = {"cross_fit": 0, "class_prior": "uniform", "begin": 0.3}
DEFAULTS = {name: JointOptimizationClassifier().get_params()[name] for name in PAPER}


def classifier(budget: Budget, seed: int, **params: Any) -> JointOptimizationClassifier:
    """Give a classifier with the settings of a budget, and its own where they are given."""
    momentum = {"optimizer__momentum": 0.9, "optimizer__weight_decay": budget.weight_decay}
    shared = {
        "module": budget.make_network,
        "max_epochs": budget.epochs,
        "lr": budget.lr,
        "batch_size": BATCH_SIZE,
        "augment": budget.augment,
        "device": budget.device,
        "random_state": seed,
    }
    params["net_params"] = momentum | params.get("net_params", {})
    return JointOptimizationClassifier(**(shared | PAPER | params))


def fit(budget: Budget, data: Cifar, seed: int, **params: Any) -> tuple[JointOptimizationClassifier, Result]:
    """Fit, and give test accuracy and recovery accuracy by epoch."""
    tested = data._replace(X_test=data.X_test[: budget.n_tested], y_test=data.y_test[: budget.n_tested])
    accuracy = TestAccuracy(tested)
    params["net_params"] = {"callbacks": [accuracy]} | params.get("net_params", {})
    clf = classifier(budget, seed, **params).fit(data.X, data.y_given)
    recovery = LabelHistoryDisplay.from_estimator(clf, y_clean=data.y_clean).recovery
    return clf, {
        **best_last(accuracy.by_epoch),
        "recovery": float(recovery_accuracy(data.y_clean, clf.corrected_labels_)),
        "recovery_by_epoch": recovery.tolist(),
        "given_right": float(recovery_accuracy(data.y_clean, data.y_given)),
    }
