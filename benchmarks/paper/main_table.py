"""The paper's main tables: every method at every rate of symmetric or asymmetric noise, and on human labels.

The paper: joint optimisation is ahead at all but the lowest rates, and its last epoch is as good as its best.

    python benchmarks/paper/main_table.py symmetric --data FOLDER --jobs 2 --seeds 0
    python benchmarks/paper/main_table.py asymmetric --data FOLDER --jobs 2 --seeds 0
    python benchmarks/paper/main_table.py human --data FOLDER --jobs 2 --seeds 0
"""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd

from harness import SMALL, Budget, Result, Settings, Study, main, mean_over_seeds, panels
from methods import JOINT, METHODS, OURS, run_method
from results import RESULTS

RATES = {
    "symmetric": ("0", "10", "30", "50", "70", "90"),
    "asymmetric": ("10", "20", "30", "40", "50"),
    "human": ("aggregate", "worse"),
}
CODED = {"symmetric": "uniform", "asymmetric": "asymmetric", "human": "human"}  # 'symmetric': redrawn over all classes

STYLES = {
    JOINT: {"linewidth": 2.5, "color": "black", "zorder": 3},
    OURS: {"linewidth": 2.5, "color": "crimson", "zorder": 3},
}
AXIS = {
    "symmetric": "labels redrawn, %",
    "asymmetric": "labels of five classes flipped, %",
    "human": "labels of CIFAR-10N",
}


def runs(budget: Budget, seeds: list[int]) -> list[Settings]:
    return [
        {"noise": KIND, "rate": rate, "method": m, "seed": s} for s in seeds for rate in RATES[KIND] for m in METHODS
    ]


def run(settings: Settings, budget: Budget) -> Result:
    data = budget.load(f"{CODED[settings['noise']]}_{settings['rate']}", settings["seed"])
    return run_method(settings["method"], data, budget, settings["seed"])


def draw(done: list[tuple[Settings, Result]], budget: Budget) -> Any:
    figure, axes = panels(3, height=4.6)
    titles = {"test_last": "right on test images, last epoch", "test_best": "best epoch", "recovery": "right labels"}
    for method in METHODS:
        style = STYLES.get(method, {"linestyle": "--"})
        for ax, (key, title) in zip(axes, titles.items(), strict=True):
            means = [100 * mean_over_seeds(done, key, rate=rate, method=method) for rate in RATES[KIND]]
            ax.plot(RATES[KIND], means, marker="o", markersize=3, label=method, **style)
            ax.set(xlabel=AXIS[KIND], ylabel="%", title=title)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")
    means = table(done)
    print(means.to_string(index=False))
    means.to_csv(RESULTS / "paper" / f"main_table_{KIND}_{budget.name}.csv", index=False)
    figure.suptitle(f"{KIND.capitalize()} noise, {budget.n_images} images, {budget.epochs} epochs")
    return figure


def table(done: list[tuple[Settings, Result]]) -> pd.DataFrame:
    """Give a row a method: test accuracy of the last epoch (the best one), and right labels."""
    rows = []
    for method in METHODS:
        row = {"last (best) / right labels": method}
        for rate in RATES[KIND]:
            last, best, recovery = (
                100 * mean_over_seeds(done, key, rate=rate, method=method)
                for key in ("test_last", "test_best", "recovery")
            )
            row[rate] = f"{last:.1f} ({best:.1f}) / {recovery:.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


KIND = next((argument for argument in sys.argv[1:] if argument in RATES), "symmetric")

if __name__ == "__main__":
    main(Study(f"main_table_{KIND}", runs, run, draw, cpu=SMALL))
