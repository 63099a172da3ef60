"""Ablation: the paper's first step with one setting changed at a time, and with our extensions.

python benchmarks/paper/ablation.py --data FOLDER --jobs 2
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness import SMALL, Budget, Result, Settings, Study, main, mean_over_seeds, panels
from joint import DEFAULTS, fit

BASE = "paper, step 1"
CHANGES: dict[str, dict[str, Any]] = {
    BASE: {},
    "no term L_p": {"alpha": 0.0},
    "no term L_e": {"beta": 0.0},
    "neither L_p nor L_e": {"alpha": 0.0, "beta": 0.0},
    "prior of the given labels": {"class_prior": "given"},
    "outputs of one epoch": {"window": 1},
    "exponential mean of outputs": {"window": 0.9},
    "labels from the first epoch on": {"begin": 1},
    "labels late (70 %)": {"begin": 0.7},
    "hard labels": {"label_update": "hard"},
    "constant learning rate": {"lr_schedule": "constant"},
    "gradients not clipped": {"net_params": {"max_grad_norm": None}},
    "retrained (step 2)": {"retrain_epochs": 15},
    "+ mean prediction over batches": {"net_params": {"prior_momentum": 0.9}},
    "+ three networks": {"cross_fit": 3, "gamma": 0.0},
    "+ given labels as evidence": {"cross_fit": 3},
    "defaults": DEFAULTS,
}


def runs(budget: Budget, seeds: list[int]) -> list[Settings]:
    return [{"change": change, "labels": "uniform_50", "seed": seed} for seed in seeds for change in CHANGES]


def run(settings: Settings, budget: Budget) -> Result:
    data = budget.load(settings["labels"], settings["seed"])
    return fit(budget, data, settings["seed"], **CHANGES[settings["change"]])[1]


def draw(done: list[tuple[Settings, Result]], budget: Budget) -> Any:
    figure, axes = panels(2, height=5.2)
    places = np.arange(len(CHANGES))[::-1]
    for ax, key, title in zip(
        axes, ("test_last", "recovery"), ("right on test images, last epoch", "right labels"), strict=True
    ):
        for place, change in zip(places, CHANGES, strict=True):
            values = [100 * result[key] for settings, result in done if settings["change"] == change]
            ax.barh(place, np.mean(values), color="black" if change == BASE else "C2" if place < 4 else "C0")
            ax.plot(values, [place] * len(values), ".", color="grey")
        ax.axvline(100 * mean_over_seeds(done, key, change=BASE), color="black", linewidth=0.8)
        ax.set(yticks=places, yticklabels=CHANGES if key == "test_last" else [], xlabel="%", title=title)
    figure.suptitle(f"One change at a time, half of the labels redrawn, {budget.n_images} images; dots: seeds")
    return figure


if __name__ == "__main__":
    main(Study("ablation", runs, run, draw, cpu=SMALL))
