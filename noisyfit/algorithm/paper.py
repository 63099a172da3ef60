"""The paper's own protocol on CIFAR-10."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .._validation import check_choice, check_share

__all__ = ["paper_params"]

# Learning rate by noise rate. The authors' released program gives symmetric 0.7 and asymmetric 0.4; the other
# entries are from memory of the paper's text and could not be checked.
_LEARNING_RATES = {
    "symmetric": {0.0: 0.01, 0.1: 0.02, 0.3: 0.03, 0.5: 0.04, 0.7: 0.08, 0.9: 0.12},
    "asymmetric": {0.0: 0.03, 0.4: 0.03},
}
_ALPHA_BETA = {"symmetric": (1.2, 0.8), "asymmetric": (0.8, 0.4)}


def paper_params(noise: str, rate: float) -> dict[str, Any]:
    """Give the keywords of `JointOptimizationClassifier.paper_params`."""
    check_choice("noise", noise, tuple(_LEARNING_RATES))
    check_share("rate", rate)
    rates = _LEARNING_RATES[noise]
    alpha, beta = _ALPHA_BETA[noise]
    return {
        "module": "preact_resnet32",
        "alpha": alpha,
        "beta": beta,
        "gamma": 0.0,
        "class_prior": "uniform",
        "label_update": "soft",
        "begin": 70,
        "window": 10,
        "cross_fit": 0,
        "margin": 0.0,
        "max_epochs": 200,
        "lr": float(np.interp(rate, list(rates), list(rates.values()))),
        "batch_size": 128,
        "lr_schedule": "constant",
        "retrain_epochs": 120,
        "augment": "crop_flip",
        "net_params": {
            "optimizer": torch.optim.SGD,
            "optimizer__momentum": 0.9,
            "optimizer__weight_decay": 1e-4,
            "max_grad_norm": None,
            "precision": "float32",
            "retrain_lr": 0.2,
        },
    }
