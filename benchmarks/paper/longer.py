"""Cross entropy against joint optimisation at more images and epochs than the main tables have.

The paper's claim about real noise is on Clothing1M, which is not free; here the human labels of CIFAR-10N stand for it.

    python benchmarks/paper/longer.py --data FOLDER --jobs 2
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness import Budget, Result, Settings, Study, main, mean_over_seeds, panels
from methods import CROSS_ENTROPY, JOINT, run_method

LABELS = {
    "symmetric_50": "50 % wrong, at random",
    "asymmetric_40": "40 % of five classes flipped",
    "human_worse": "CIFAR-10N, worst of three people",
}


def runs(budget: Budget, seeds: list[int]) -> list[Settings]:
    return [{"labels": k, "method": m, "seed": s} for s in seeds for k in LABELS for m in (CROSS_ENTROPY, JOINT)]


def run(settings: Settings, budget: Budget) -> Result:
    return run_method(settings["method"], budget.load(settings["labels"], settings["seed"]), budget, settings["seed"])


def draw(done: list[tuple[Settings, Result]], budget: Budget) -> Any:
    figure, axes = panels(len(LABELS))
    for ax, (labels, meaning) in zip(axes, LABELS.items(), strict=True):
        for method in (CROSS_ENTROPY, JOINT):
            curve = mean_over_seeds(done, "test_by_epoch", labels=labels, method=method)
            best, last = (
                100 * mean_over_seeds(done, key, labels=labels, method=method) for key in ("test_best", "test_last")
            )
            label = f"{method}: best {best:.1f}, last {last:.1f}"
            ax.plot(np.arange(1, len(curve) + 1), 100 * curve, label=label)
            print(f"{labels:15} {label}")
        ax.set(xlabel="epoch", ylabel="%", title=meaning)
        ax.legend(fontsize="small")
    figure.suptitle(f"Right on test images, {budget.n_images} training images")
    return figure


if __name__ == "__main__":
    main(Study("longer", runs, run, draw))
