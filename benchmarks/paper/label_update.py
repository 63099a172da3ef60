"""Hard labels against soft ones: share of right labels by epoch, for each way to update them.

The paper: soft labels recover more, and faster, than hard ones; of those the fewer change at a time, the slower.

    python benchmarks/paper/label_update.py --data FOLDER --jobs 2
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness import Budget, Result, Settings, Study, main, mean_over_seeds, panels
from joint import fit

PAPER_ROWS = 45_000
SOFT, HARD = "soft", "hard, all"


def rules(budget: Budget) -> dict[str, dict[str, Any]]:
    """Give the settings of each rule; k at a time as in the paper, and scaled to the number of images."""
    at_a_time = {f"hard, {k} at a time": k for k in (5_000, 500, 50)}
    if budget.n_images < PAPER_ROWS:
        at_a_time |= {
            f"hard, {k * budget.n_images // PAPER_ROWS} at a time (scaled)": k * budget.n_images // PAPER_ROWS
            for k in (5_000, 500, 50)
        }
    hard = {name: {"label_update": "hard", "n_relabel": k} for name, k in at_a_time.items()}
    return {SOFT: {"label_update": "soft"}, HARD: {"label_update": "hard"}} | hard


def runs(budget: Budget, seeds: list[int]) -> list[Settings]:
    return [{"rule": rule, "labels": "uniform_50", "seed": seed} for rule in rules(budget) for seed in seeds]


def run(settings: Settings, budget: Budget) -> Result:
    data = budget.load(settings["labels"], settings["seed"])
    return fit(budget, data, settings["seed"], **rules(budget)[settings["rule"]])[1]


def draw(done: list[tuple[Settings, Result]], budget: Budget) -> Any:
    figure, (recovery, test) = panels(2)
    for rule in rules(budget):
        style = "-" if rule in (SOFT, HARD) else ":" if "scaled" in rule else "--"
        at_end = mean_over_seeds(done, "recovery", rule=rule)
        for ax, key in ((recovery, "recovery_by_epoch"), (test, "test_by_epoch")):
            curve = mean_over_seeds(done, key, rule=rule)
            ax.plot(np.arange(1, len(curve) + 1), 100 * curve, style, label=f"{rule}: {at_end:.1%} at the end")
    recovery.set(xlabel="epoch", ylabel="%", title="right labels (recovery accuracy)")
    test.set(xlabel="epoch", ylabel="%", title="right on test images")
    test.legend(fontsize="x-small", loc="lower right")
    figure.suptitle("Ways to update labels, half of them redrawn at first (45 % wrong)")
    return figure


if __name__ == "__main__":
    main(Study("label_update", runs, run, draw))
