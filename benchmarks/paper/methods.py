"""The methods of the main tables, each run in the same way: same network, images, rate, schedule and epochs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import joint
import plain
from harness import Budget, Cifar, Result, best_last

JOINT, OURS, CROSS_ENTROPY = "joint optimisation", "noisyfit, defaults", "cross entropy"
_LOSSES: dict[str, Callable[[Cifar, Budget, int], plain.Loss]] = {
    CROSS_ENTROPY: lambda data, budget, seed: plain.cross_entropy,
    "forward, true T": lambda data, budget, seed: plain.forward_correction(true_transition(data, budget)),
    "forward, estimated T": lambda data, budget, seed: plain.forward_correction(
        plain.estimate_transition(data.X, data.y_given, budget, seed)
    ),
    "backward, true T": lambda data, budget, seed: plain.backward_correction(true_transition(data, budget)),
    "backward, estimated T": lambda data, budget, seed: plain.backward_correction(
        plain.estimate_transition(data.X, data.y_given, budget, seed)
    ),
    "bootstrapping, soft": lambda data, budget, seed: plain.soft_bootstrapping,
    "bootstrapping, hard": lambda data, budget, seed: plain.hard_bootstrapping,
    "mixup": lambda data, budget, seed: plain.cross_entropy,
}
_JOINT: dict[str, dict[str, Any]] = {JOINT: joint.PAPER, OURS: joint.DEFAULTS}
METHODS = (*_LOSSES, *_JOINT)
_MIXUP = 8.0  # what its authors found best for wrong labels


def run_method(method: str, data: Cifar, budget: Budget, seed: int) -> Result:
    """Give best and last test accuracy, and the share of training images whose true label comes out."""
    if method in _JOINT:
        return joint.fit(budget, data, seed, **_JOINT[method])[1]
    by_epoch: list[float] = []
    X_test, y_test = data.X_test[: budget.n_tested], data.y_test[: budget.n_tested]

    def score(network: torch.nn.Module, loss: float, accuracy: float) -> None:
        by_epoch.append(float((plain.predict(network, X_test).argmax(axis=1) == y_test).mean()))

    torch.manual_seed(seed)
    network = plain.train(
        budget.make_network(),
        data.X,
        data.y_given,
        budget,
        seed,
        loss=_LOSSES[method](data, budget, seed),
        mixup=_MIXUP if method == "mixup" else 0.0,
        after_epoch=score,
    )
    recovery = float((plain.predict(network, data.X).argmax(axis=1) == data.y_clean).mean())
    return {**best_last(by_epoch), "recovery": recovery, "given_right": float((data.y_given == data.y_clean).mean())}


def true_transition(data: Cifar, budget: Budget) -> torch.Tensor:
    """Count the noise matrix from the true labels, which only this baseline may see."""
    counts = np.zeros((10, 10), np.float32)
    np.add.at(counts, (data.y_clean, data.y_given), 1)
    return torch.from_numpy(counts / counts.sum(axis=1, keepdims=True)).to(budget.device)
