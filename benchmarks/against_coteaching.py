"""Co-teaching on scikit-learn's digits, told the share of wrong labels rightly or not, against noisyfit's defaults.

    python benchmarks/against_coteaching.py --seeds 0 1 2 3 4

Co-teaching (Han et al., NeurIPS 2018) trains two networks; in every batch each picks the rows with the smallest loss
and the other one learns from them. The share that it leaves out grows to the share of wrong labels over the first ten
epochs, and is a parameter: nobody knows it for real data. It gives no labels back; here its proposal is what the mean
of both networks predicts for the training rows. Network, optimizer, rate, schedule, batches and epochs are noisyfit's
defaults.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from noisyfit import JointOptimizationClassifier
from noisyfit.metrics import recovery_accuracy
from noisyfit.networks import MLP, Standardize
from noisyfit.noise import corrupt_labels

from against_cleanlab import NOISE
from results import mean_and_spread, write_json

# what co-teaching is told: too little, the true share, too much
LEFT_OUT = {
    "symmetric 40 %": (0.2, 0.4, 0.6),
    "pair flips 30 %": (0.15, 0.3, 0.45),
    "symmetric 20 %": (0.1, 0.2, 0.3),
    "none": (0.0, 0.1, 0.2),
}
DEFAULTS = JointOptimizationClassifier()
RAMP = 10


def co_teach(X: Tensor, y: Tensor, left_out: float, seed: int) -> list[nn.Module]:
    """Give two networks that chose each other's rows."""
    torch.manual_seed(seed)
    networks = [_standardized(MLP(X.shape[1], 10), X) for _ in range(2)]
    optimizers = [torch.optim.SGD(network.parameters(), lr=DEFAULTS.lr) for network in networks]
    for epoch in range(DEFAULTS.max_epochs):
        rate = DEFAULTS.lr * min(1.0, (1 - epoch / DEFAULTS.max_epochs) / 0.3)  # constant, then linear to 0
        kept = 1 - left_out * min(1.0, epoch / RAMP)
        for rows in torch.randperm(len(X)).split(len(X) // 16):  # what `batch_size="auto"` takes
            losses = [nn.functional.cross_entropy(network(X[rows]), y[rows], reduction="none") for network in networks]
            chosen = [loss.detach().argsort()[: max(1, round(kept * len(rows)))] for loss in losses]
            for network, optimizer, loss, by_other in zip(networks, optimizers, losses, chosen[::-1], strict=True):
                optimizer.param_groups[0]["lr"] = rate
                optimizer.zero_grad()
                loss[by_other].mean().backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
    return [network.eval() for network in networks]


def _standardized(network: nn.Module, X: Tensor) -> nn.Module:
    for layer in network.modules():
        if isinstance(layer, Standardize):
            layer.set_moments(X.mean(0), X.var(0, unbiased=False))
    return network


def run(noise: str, seed: int) -> dict[str, dict[str, float]]:
    """Score every method on one draw of the noise."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y_clean, y_test = train_test_split(
        X.astype(np.float32), y, test_size=0.25, stratify=y, random_state=seed
    )
    y_noisy = corrupt_labels(y_clean, NOISE[noise], random_state=seed)
    clf = JointOptimizationClassifier(random_state=seed).fit(X, y_noisy)
    scores = {"noisyfit": _score(clf.corrected_labels_, clf.predict(X_test), y_clean, y_test)}
    X, X_test, y_noisy = map(torch.from_numpy, (X, X_test, y_noisy))
    for left_out in LEFT_OUT[noise]:
        networks = co_teach(X, y_noisy, left_out, seed)
        with torch.no_grad():
            proposed, predicted = (
                sum(network(inputs).softmax(1) for network in networks).argmax(1).numpy() for inputs in (X, X_test)
            )
        scores[f"co-teaching, told {100 * left_out:.0f} %"] = _score(proposed, predicted, y_clean, y_test)
    return scores


def _score(labels: np.ndarray, predicted: np.ndarray, y_clean: np.ndarray, y_test: np.ndarray) -> dict[str, float]:
    return {
        "labels_right": recovery_accuracy(y_clean, labels),
        "test_accuracy": float(np.mean(predicted == y_test)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    seeds = parser.parse_args().seeds
    runs = {noise: [run(noise, seed) for seed in seeds] for noise in NOISE}
    for noise, by_seed in runs.items():
        print(f"\n{noise}, seeds {seeds}: mean (standard deviation) of labels right, test accuracy")
        for method in by_seed[0]:
            figures = (mean_and_spread([r[method][name] for r in by_seed]) for name in by_seed[0][method])
            print(f"  {method:24}", *figures, sep="  ")
    write_json("against_coteaching", {"seeds": seeds, "runs": runs})


if __name__ == "__main__":
    main()
