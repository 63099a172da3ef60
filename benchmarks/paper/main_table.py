"""The paper's main tables: every method at every rate of symmetric or asymmetric noise, and on human labels.

The paper: joint optimisation is ahead at all but the lowest rates, and its last epoch is as good as its best.

    python benchmarks/paper/main_table.py symmetric --data FOLDER --jobs 2 --seeds 0
    python benchmarks/paper/main_table.py asymmetric --data FOLDER --jobs 2 --seeds 0
    python benchmarks/paper/main_table.py human --data FOLDER --jobs 2 --seeds 0
"""

from __future__ import annotations

import sys
from typing import Any

from harness import SMALL, Budget, Result, Settings, Study, main, mean_over_seeds, panels
from methods import JOINT, METHODS, run_method

RATES = {
    "symmetric": ("0", "10", "30", "50", "70", "90"),
    "asymmetric": ("10", "20", "30", "40", "50"),
    "human": ("aggregate", "worse"),
}
CODED = {"symmetric": "uniform", "asymmetric": "asymmetric", "human": "human"}  # 'symmetric': redrawn over all classes


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
        style = {"linewidth": 2.5, "color": "black", "zorder": 3} if method == JOINT else {"linestyle": "--"}
        for ax, (key, title) in zip(axes, titles.items(), strict=True):
            means = [100 * mean_over_seeds(done, key, rate=rate, method=method) for rate in RATES[KIND]]
            ax.plot(RATES[KIND], means, marker="o", markersize=3, label=method, **style)
            ax.set(xlabel=AXIS[KIND], ylabel="%", title=title)
    axes[0].legend(fontsize="x-small")
    print_table(done)
    figure.suptitle(f"{KIND.capitalize()} noise, {budget.n_images} images, {budget.epochs} epochs")
    return figure


def print_table(done: list[tuple[Settings, Result]]) -> None:
    print("last (best) / recovery".ljust(24), *(rate.rjust(18) for rate in RATES[KIND]))
    for method in METHODS:
        row = []
        for rate in RATES[KIND]:
            last, best, recovery = (
                100 * mean_over_seeds(done, key, rate=rate, method=method)
                for key in ("test_last", "test_best", "recovery")
            )
            row.append(f"{last:.1f} ({best:.1f}) / {recovery:.1f}".rjust(18))
        print(method.ljust(24), *row)


KIND = next((argument for argument in sys.argv[1:] if argument in RATES), "symmetric")

if __name__ == "__main__":
    main(Study(f"main_table_{KIND}", runs, run, draw, cpu=SMALL))
